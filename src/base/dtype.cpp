// SPDX-License-Identifier: Apache-2.0
#include "stator/dtype.h"

#include <array>

#include "base/check.h"

namespace stator {
namespace {

enum class Category : uint8_t { kBool, kIntegral, kFloating, kComplex };

struct DTypeFacts {
  const char* name;
  const char* torch_name;
  int64_t bytes;
  Category category;
};

// In the order of the enum.
constexpr std::array<DTypeFacts, kDTypeCount> kFacts = {{
    {"f32", "float32", 4, Category::kFloating},
    {"f64", "float64", 8, Category::kFloating},
    {"f16", "float16", 2, Category::kFloating},
    {"bf16", "bfloat16", 2, Category::kFloating},
    {"i8", "int8", 1, Category::kIntegral},
    {"u8", "uint8", 1, Category::kIntegral},
    {"i16", "int16", 2, Category::kIntegral},
    {"i32", "int32", 4, Category::kIntegral},
    {"i64", "int64", 8, Category::kIntegral},
    {"bool", "bool", 1, Category::kBool},
    {"c64", "complex64", 8, Category::kComplex},
    {"c128", "complex128", 16, Category::kComplex},
    {"f8e4m3", "float8_e4m3fn", 1, Category::kFloating},
    {"f8e5m2", "float8_e5m2", 1, Category::kFloating},
}};

const DTypeFacts& facts(DType dtype) {
  const auto index = static_cast<size_t>(dtype);
  STATOR_CHECK(index < kFacts.size(), "dtype out of range");
  return kFacts[index];
}

DType promote_integral(DType a, DType b) {
  if (a == b) {
    return a;
  }
  // u8 with a signed type of the same width needs the next wider one.
  if (a == DType::kUInt8 || b == DType::kUInt8) {
    const DType other = a == DType::kUInt8 ? b : a;
    return other == DType::kInt8 ? DType::kInt16 : other;
  }
  return dtype_bytes(a) >= dtype_bytes(b) ? a : b;
}

DType promote_floating(DType a, DType b) {
  if (a == b) {
    return a;
  }
  if (dtype_bytes(a) == dtype_bytes(b)) {
    return DType::kFloat32;  // f16 with bf16 (and the f8 pair, which PyTorch refuses to mix)
  }
  return dtype_bytes(a) > dtype_bytes(b) ? a : b;
}

}  // namespace

const char* dtype_name(DType dtype) { return facts(dtype).name; }
const char* torch_dtype_name(DType dtype) { return facts(dtype).torch_name; }
int64_t dtype_bytes(DType dtype) { return facts(dtype).bytes; }
bool is_floating_point(DType dtype) { return facts(dtype).category == Category::kFloating; }
bool is_byte(DType dtype) { return dtype == DType::kInt8 || dtype == DType::kUInt8; }

bool is_integral(DType dtype) { return facts(dtype).category == Category::kIntegral; }
bool is_complex(DType dtype) { return facts(dtype).category == Category::kComplex; }
bool is_plain_number(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat64 || dtype == DType::kBool ||
         is_integral(dtype);
}

std::optional<DType> parse_dtype(std::string_view name) {
  for (size_t i = 0; i < kFacts.size(); ++i) {
    if (name == kFacts[i].name || name == kFacts[i].torch_name) {
      return static_cast<DType>(i);
    }
  }
  return std::nullopt;
}

DType promote_types(DType a, DType b) {
  const Category ca = facts(a).category;
  const Category cb = facts(b).category;
  if (ca == Category::kComplex || cb == Category::kComplex) {
    const bool wide = a == DType::kComplex128 || b == DType::kComplex128 || a == DType::kFloat64 ||
                      b == DType::kFloat64;
    return wide ? DType::kComplex128 : DType::kComplex64;
  }
  if (ca != cb) {
    return static_cast<int>(ca) > static_cast<int>(cb) ? a : b;
  }
  switch (ca) {
    case Category::kBool:
      return DType::kBool;
    case Category::kIntegral:
      return promote_integral(a, b);
    default:
      return promote_floating(a, b);
  }
}

}  // namespace stator
