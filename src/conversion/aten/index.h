// SPDX-License-Identifier: Apache-2.0
//
// Advanced indexing, for reading (index) and writing (scatter).
#pragma once

#include "conversion/aten/common.h"

namespace stator::aten {

/// The operand of x[…, i, j, …] with the indexed axes adjacent.
struct Indexed {
  TensorId x = -1;                // transposed where the index tensors were apart
  std::vector<int64_t> order;     // that transposition
  int64_t first_axis = 0;         // where the indexed axes begin in x
  std::vector<TensorId> indices;  // int64
};
Indexed indexed_axes(Conversion& c, const Node& node);

/// The elements at the indices.
TensorId read_at(Conversion& c, const Indexed& indexed);
/// The whole operand, in its own order of axes, with `values` put (or added) at the indices.
TensorId write_at(Conversion& c, const Indexed& indexed, TensorId values, ScatterOp op);
/// What adds up: of truth values a sum is whether one is set.
inline ScatterOp sum_op(DType dtype) {
  return dtype == DType::kBool ? ScatterOp::kMax : ScatterOp::kAdd;
}
/// The type in which PyTorch adds up an update at a time: its CPU kernels round halves after each.
DType stepwise_dtype(const Conversion& c, DType dtype);

/// Refuses boolean masks, whose result has as many elements as the mask has ones.
Support integer_indices(const SupportContext& c, const Node& node);

/// Refuses a constant `index` that is out of range along `dim`.
Support places_along_dim(const SupportContext& c, const Node& node);

/// A size as a 0-d int64.
TensorId size_tensor(Conversion& c, const Expr& size);

/// A 0-d tensor as one of one element.
TensorId at_least_one_axis(Conversion& c, TensorId x);

}  // namespace stator::aten
