// SPDX-License-Identifier: Apache-2.0
//
// Layers that no region stands for, written as layers that loops hold: gathers whose places are
// computed where they are read, reductions, selects. One file a family; expand.cpp has the table.
#pragma once

#include <optional>
#include <vector>

#include "optimizer/optimizer.h"
#include "optimizer/passes/rewrite.h"

namespace stator::expand {

/// What an expansion sees and writes to.
struct Expansion {
  Rewriter& rewriter;
  const BackendTraits& traits;
  const NetworkLayer& layer;  // of the source

  Network& to() const { return rewriter.network(); }
  TensorId input(size_t k) const { return rewriter.map(layer.inputs[k]); }
  const TensorType& type(size_t k) const { return rewriter.source().type(layer.inputs[k]); }
  const TensorType& result(size_t k = 0) const { return rewriter.source().type(layer.outputs[k]); }
};

/// The layer's results in other layers, in order; nullopt, and nothing added, where the layer stays
/// as it is. The results have the types that the layer's own have, and the same values bit by bit
/// (floating-point sums: within rounding), NaN, negative zero and empty tensors included.
using Results = std::optional<std::vector<TensorId>>;

/// Whether loops of the backend hold tensors of this type.
bool in_loops(const BackendTraits& traits, DType dtype);
/// 0, 1, … along `axis` of a tensor of `rank` axes, in `dtype`; the other axes have one element.
TensorId coordinate(Network& to, const Expr& size, int64_t axis, int64_t rank, DType dtype);

Results reduce_nothing(const Expansion& e);    // extremes.cpp: over no axes
Results concat(const Expansion& e);            // joins.cpp: of many parts
Results adaptive_pooling(const Expansion& e);  // pooling.cpp: windows of the whole image
Results resize(const Expansion& e);            // resize.cpp

}  // namespace stator::expand
