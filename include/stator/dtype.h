// SPDX-License-Identifier: Apache-2.0
//
// Element types, with PyTorch's names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace stator {

enum class DType : uint8_t {
  kFloat32,
  kFloat64,
  kFloat16,
  kBFloat16,
  kInt8,
  kUInt8,
  kInt16,
  kInt32,
  kInt64,
  kBool,
  kComplex64,
  kComplex128,
  kFloat8E4M3,
  kFloat8E5M2,
};
inline constexpr int kDTypeCount = 14;

/// Short name for printed forms: "f32", "i64", "bool", "c64", "f8e4m3".
const char* dtype_name(DType dtype);
/// PyTorch's name without "torch.": "float32", "int64".
const char* torch_dtype_name(DType dtype);
/// Either name, or nullopt.
std::optional<DType> parse_dtype(std::string_view name);
/// Bytes of one element (bool: 1).
int64_t dtype_bytes(DType dtype);
bool is_floating_point(DType dtype);  // f64, f32, f16, bf16, f8*
bool is_integral(DType dtype);        // i8 … i64, u8; not bool
bool is_byte(DType dtype);            // int8 or uint8
bool is_complex(DType dtype);
/// f32, f64, i8 … i64, u8 and bool: what every backend's loops compute in.
bool is_plain_number(DType dtype);
/// PyTorch's promotion for two tensors of dimension >= 1 (torch.promote_types).
DType promote_types(DType a, DType b);

}  // namespace stator
