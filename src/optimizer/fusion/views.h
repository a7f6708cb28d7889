// SPDX-License-Identifier: Apache-2.0
//
// Views as index maps: where an element of a view's result lies in its operand.
#pragma once

#include <optional>
#include <vector>

#include "region/region.h"
#include "stator/network.h"

namespace stator {

using Index = std::vector<Expr>;

/// True for transpose, reshape, expand, slice, and padding with the input's own elements: layers
/// that only rename elements.
bool is_view(const LayerAttributes& attributes);
/// The operand's index for an index of the result. `layer` is a view.
Index view_index(const Network& network, const NetworkLayer& layer, const Index& index,
                 const Bounds& bounds);
/// Row-major offset of an index.
Expr flat_index(const std::vector<Expr>& shape, const Index& index, const Bounds& bounds);
/// The index of a row-major offset.
Index unflatten(const Expr& offset, const std::vector<Expr>& shape, const Bounds& bounds);

}  // namespace stator
