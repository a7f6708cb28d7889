// SPDX-License-Identifier: Apache-2.0
//
// Slices along one axis, shared by the families that cut tensors.
#pragma once

#include "conversion/aten/common.h"

namespace stator::aten {

/// x[start : start + step * size : step] along `axis`, all else whole. step may be negative.
TensorId slice_axis(Conversion& c, TensorId x, int64_t axis, const Expr& start, const Expr& size,
                    int64_t step = 1);

/// `index` counted from the front: what PyTorch makes of a negative one. nullopt where its sign is
/// not known for all sizes.
std::optional<Expr> from_front(const Bounds& bounds, const Expr& index, const Expr& size);

/// The first element of slice(start, …) after PyTorch's clamping to [0, size].
std::optional<Expr> slice_start(const Graph& graph, const Node& node, const Expr& size);

/// Refuses a start whose sign depends on the sizes.
Support known_start(const SupportContext& c, const Node& node);

}  // namespace stator::aten
