// SPDX-License-Identifier: Apache-2.0
//
// Elements of float32, float16 and bfloat16 tensors in host memory, as floats.
#pragma once

#include <cstdint>

#include "stator/dtype.h"

namespace stator {

inline bool is_half(DType dtype) { return dtype == DType::kFloat16 || dtype == DType::kBFloat16; }

/// Element `i` of an array of `dtype`.
float load_float(const void* data, DType dtype, int64_t i);

/// Rounds to the nearest, ties to even; what is too large for a float16 becomes infinite.
void store_float(void* data, DType dtype, int64_t i, float value);

}  // namespace stator
