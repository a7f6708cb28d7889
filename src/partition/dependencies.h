// SPDX-License-Identifier: Apache-2.0
//
// What must run before what, over positions in Graph::order().
#pragma once

#include <vector>

#include "stator/graph.h"

namespace stator {

struct Dependencies {
  std::vector<std::vector<int>> before;  // for each position: the positions that come before it
  std::vector<std::vector<int>> after;   // the reverse
};

/// Edges from three sources: a tensor's producer before its users; the node that first yields a
/// data-dependent symbol before all that use the symbol; and, since PyTorch's state is shared,
/// random draws in their order and a node that writes an argument between all that stand before
/// and behind it.
Dependencies find_dependencies(const Graph& graph);

/// Symbols in a node's arguments and in the types of its results.
std::set<std::string> symbols_of(const Graph& graph, const Node& node);
/// Tensor and opaque values that a node uses, in argument order, each once.
std::vector<ValueId> values_used(const Node& node);

/// The node writes an argument.
bool writes_argument(const Node& node);

}  // namespace stator
