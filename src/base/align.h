// SPDX-License-Identifier: Apache-2.0
//
// Whole numbers that are rounded up.
#pragma once

#include <cstdint>

namespace stator {

inline constexpr int64_t kAlignment =
    64;  // bytes: a cache line, a zmm register, and every blob of an engine file

/// `value` rounded up to a multiple of `alignment` (a power of two).
constexpr int64_t align_up(int64_t value, int64_t alignment = kAlignment) {
  return (value + alignment - 1) & -alignment;
}

/// The least whole number that is not under a / b; both positive (a may be 0).
constexpr int64_t ceil_quotient(int64_t a, int64_t b) { return (a + b - 1) / b; }
/// `value` rounded up to a multiple of `unit`, of any value.
constexpr int64_t round_up(int64_t value, int64_t unit) {
  return ceil_quotient(value, unit) * unit;
}

}  // namespace stator
