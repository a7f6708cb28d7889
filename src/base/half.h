// SPDX-License-Identifier: Apache-2.0
//
// Half precision numbers by their bits, in as few steps as there are without the processor's own.
#pragma once

#include <bit>
#include <cstdint>

namespace stator {

inline float float_of_half(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
  const uint32_t magnitude = static_cast<uint32_t>(half & 0x7fff) << 13;
  uint32_t bits = magnitude + (uint32_t{127 - 15} << 23);
  if (magnitude >= uint32_t{31} << 23) {  // infinity, NaN
    bits += uint32_t{255 - 31 - (127 - 15)} << 23;
  } else if (magnitude < uint32_t{1} << 23) {  // the fraction alone: as 1.fraction less 1
    const uint32_t one = uint32_t{127 - 14} << 23;
    bits = std::bit_cast<uint32_t>(std::bit_cast<float>(bits + (uint32_t{1} << 23)) -
                                   std::bit_cast<float>(one));
  }
  return std::bit_cast<float>(sign | bits);
}

/// To the nearest, ties to even; what is too large becomes infinite.
inline uint16_t half_of_float(float value) {
  const uint32_t all = std::bit_cast<uint32_t>(value);
  const uint32_t sign = all >> 16 & 0x8000;
  uint32_t bits = all & 0x7fffffff;
  if (bits >= uint32_t{127 + 16} << 23) {
    bits = bits > uint32_t{255} << 23 ? 0x7e00 : 0x7c00;
  } else if (bits < uint32_t{127 - 14} << 23) {
    // Beside a number whose last bit is the least half, the sum is rounded as the half is.
    const uint32_t beside = uint32_t{127 - 15 + 23 - 10 + 1} << 23;
    bits =
        std::bit_cast<uint32_t>(std::bit_cast<float>(bits) + std::bit_cast<float>(beside)) - beside;
  } else {
    bits = (bits - (uint32_t{127 - 15} << 23) + 0xfff + (bits >> 13 & 1)) >> 13;
  }
  return static_cast<uint16_t>(sign | bits);
}

inline float float_of_bfloat(uint16_t half) {
  return std::bit_cast<float>(static_cast<uint32_t>(half) << 16);
}

inline uint16_t bfloat_of_float(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  bits = value != value ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
  return static_cast<uint16_t>(bits >> 16);
}

}  // namespace stator
