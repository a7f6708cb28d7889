// SPDX-License-Identifier: Apache-2.0
//
// Results that are views are made by the caller, as views.
#pragma once

#include "stator/graph.h"

namespace stator {

/// Moves the views that lead to user outputs behind the segments (Graph::output_views), where only
/// a view is right: of an input, of a weight, of what another output lies in too, or of a part of a
/// result, with gaps or with overlaps.
///   %v = aten.slice.Tensor(%x, 0, 1); return %v     →     return %x as %v
/// The node stays where others use it as well. Exact.
void take_output_views(Graph& graph);

}  // namespace stator
