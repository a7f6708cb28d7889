// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace stator {

inline constexpr int64_t kAlignment =
    64;  // bytes: a cache line, a zmm register, and every blob of an engine file

/// `value` rounded up to a multiple of `alignment` (a power of two).
constexpr int64_t align_up(int64_t value, int64_t alignment = kAlignment) {
  return (value + alignment - 1) & -alignment;
}

}  // namespace stator
