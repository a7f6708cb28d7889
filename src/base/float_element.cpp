// SPDX-License-Identifier: Apache-2.0
#include "base/float_element.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace stator {
namespace {

float from_half(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16;
  const uint32_t exponent = (h >> 10) & 31, mantissa = h & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | mantissa << 13);
  const float magnitude = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                        : std::ldexp(static_cast<float>(mantissa | 1024),
                                                     static_cast<int>(exponent) - 25);
  return sign != 0 ? -magnitude : magnitude;
}

uint16_t to_half(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (std::isnan(f)) return static_cast<uint16_t>(sign | 0x7e00);
  const float a = std::abs(f);
  if (a == 0.0F) return sign;
  if (a >= 65520.0F) return static_cast<uint16_t>(sign | 0x7c00);
  int exponent = 0;
  std::frexp(a, &exponent);
  // The spacing of halves at this size; denormals share the least normal's.
  const int step = std::max(exponent - 11, -24);
  const float rounded = std::nearbyint(std::ldexp(a, -step));
  if (step == -24) return static_cast<uint16_t>(sign | static_cast<uint16_t>(rounded));
  auto mantissa = static_cast<uint32_t>(rounded);
  int biased = step + 25;
  if (mantissa == 2048) {
    mantissa = 1024;
    ++biased;
  }
  return static_cast<uint16_t>(sign | biased << 10 | (mantissa & 1023));
}

uint16_t to_bfloat(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  bits = std::isnan(value) ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
  return static_cast<uint16_t>(bits >> 16);
}

}  // namespace

float load_float(const void* data, DType dtype, int64_t i) {
  if (dtype == DType::kFloat32) return static_cast<const float*>(data)[i];
  const uint16_t half = static_cast<const uint16_t*>(data)[i];
  return dtype == DType::kBFloat16 ? std::bit_cast<float>(static_cast<uint32_t>(half) << 16)
                                   : from_half(half);
}

void store_float(void* data, DType dtype, int64_t i, float value) {
  if (dtype == DType::kFloat32) {
    static_cast<float*>(data)[i] = value;
  } else {
    static_cast<uint16_t*>(data)[i] = dtype == DType::kFloat16 ? to_half(value) : to_bfloat(value);
  }
}

}  // namespace stator
