// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "stator/graph.h"

namespace stator {

/// What an archive says of values against what holds of every operator of their kind: how many
/// results there are, that a view keeps the element type, that a pointwise operator's result has
/// the shape that its operands broadcast to. kInvalidFile names the node, its source line and both.
Status check_types(const Graph& graph);

}  // namespace stator
