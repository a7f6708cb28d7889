// SPDX-License-Identifier: Apache-2.0
//
// Types as the dry-run report prints them.
#pragma once

#include <string>
#include <vector>

#include "stator/graph.h"

namespace stator {

/// "Tensor: (1, 512, 768)@float32"; a dynamic dimension prints its range, "(min=1, max=8)"; other
/// kinds of values print as "SymInt", "SymFloat", "SymBool", "None", "Object".
std::string report_type(const Graph& graph, const Value& value);
/// "List[a, b]".
std::string report_list(const std::vector<std::string>& types);
/// The user inputs as the user nests them: "Tensor: …", "Tuple(…)", "Dict{name: …}" within one
/// list. Flat when the graph holds no tree.
std::string report_inputs(const Graph& graph);
std::string report_outputs(const Graph& graph);

}  // namespace stator
