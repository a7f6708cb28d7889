// SPDX-License-Identifier: Apache-2.0
//
// What all generators of CUDA sources write with.
#pragma once

#include <cstdint>
#include <string>

namespace stator::cuda {

/// A whole number as the source has it.
inline std::string num(int64_t value) { return std::to_string(value); }

}  // namespace stator::cuda
