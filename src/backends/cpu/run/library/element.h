// SPDX-License-Identifier: Apache-2.0
//
// Element types of the library's kernels: how they lie in memory.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>

#include "base/check.h"
#include "base/half.h"
#include "stator/dtype.h"

namespace stator::cpu {

/// A half in memory; a number that has an order and sums is a float.
template <DType D>
struct Half {
  uint16_t bits;
  operator float() const {
    return D == DType::kFloat16 ? float_of_half(bits) : float_of_bfloat(bits);
  }
  static Half of(float value) {
    return {D == DType::kFloat16 ? half_of_float(value) : bfloat_of_float(value)};
  }
};
using Float16 = Half<DType::kFloat16>;
using BFloat16 = Half<DType::kBFloat16>;

template <typename T>
inline constexpr bool is_half_type = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;
template <typename T>
inline constexpr bool is_real_type = std::is_floating_point_v<T> || is_half_type<T>;

/// A value in an element's own type.
template <typename T, typename V>
T element_of(V value) {
  if constexpr (is_half_type<T>) {
    return T::of(static_cast<float>(value));
  } else {
    return static_cast<T>(value);
  }
}

template <typename T>
bool is_nan(T x) {
  if constexpr (is_half_type<T>) {
    return (x.bits & 0x7fff) > (std::is_same_v<T, Float16> ? 0x7c00 : 0x7f80);
  } else {
    return x != x;
  }
}

/// visit(T()) for the type of a dtype's elements; bool's are bytes of 0 and 1.
template <typename Visit>
auto with_element(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::kFloat32:
      return visit(float());
    case DType::kFloat64:
      return visit(double());
    case DType::kFloat16:
      return visit(Float16());
    case DType::kBFloat16:
      return visit(BFloat16());
    case DType::kInt8:
      return visit(int8_t());
    case DType::kUInt8:
    case DType::kBool:
      return visit(uint8_t());
    case DType::kInt16:
      return visit(int16_t());
    case DType::kInt32:
      return visit(int32_t());
    case DType::kInt64:
      return visit(int64_t());
    default:
      STATOR_CHECK(false, std::string(dtype_name(dtype)) + " has no kernels in the library");
  }
}

}  // namespace stator::cpu
