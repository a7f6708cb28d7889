// SPDX-License-Identifier: Apache-2.0
//
// Finds what stands for quantized numbers in a network: (q - zero) * scale, where q holds whole
// numbers of 8 bits.
#pragma once

#include <optional>
#include <vector>

#include "stator/network.h"

namespace stator {

/// value = (q - zero) * scale, or (q - zero) / scale; all of them tensors of the network.
struct QuantizedOperand {
  TensorId q = -1;             // of `dtype`, or of another type with whole numbers that fit it
  DType dtype = DType::kInt8;  // kInt8 or kUInt8
  TensorId zero = -1;          // -1: none; broadcasts against q
  TensorId scale = -1;         // -1: one; broadcasts against q
  bool divides = false;        // by the scale
  bool transposed = false;     // the last two axes of value are those of q, swapped
  const TensorType* type = nullptr;  // of q
};

std::optional<QuantizedOperand> find_quantized(const Network& network, TensorId value);

/// The number that all elements of a constant tensor have (through reshapes and casts).
std::optional<double> constant_value(const Network& network, TensorId id);

/// Whether the tensor is computed from constants alone.
bool from_constants(const Network& network, TensorId id);

}  // namespace stator
