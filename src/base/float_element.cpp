// SPDX-License-Identifier: Apache-2.0
#include "base/float_element.h"

#include "base/half.h"

namespace stator {

float load_float(const void* data, DType dtype, int64_t i) {
  if (dtype == DType::kFloat32) return static_cast<const float*>(data)[i];
  const uint16_t half = static_cast<const uint16_t*>(data)[i];
  return dtype == DType::kBFloat16 ? float_of_bfloat(half) : float_of_half(half);
}

void store_float(void* data, DType dtype, int64_t i, float value) {
  if (dtype == DType::kFloat32) {
    static_cast<float*>(data)[i] = value;
  } else {
    static_cast<uint16_t*>(data)[i] =
        dtype == DType::kFloat16 ? half_of_float(value) : bfloat_of_float(value);
  }
}

}  // namespace stator
