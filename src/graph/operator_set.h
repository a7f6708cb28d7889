// SPDX-License-Identifier: Apache-2.0
//
// Sets of operators as users write them (torch_executed_ops), and the printed name of an operator.
#pragma once

#include <set>
#include <string>
#include <string_view>

#include "stator/graph.h"

namespace stator {

/// "aten.add.Tensor" for every accepted spelling: "torch.ops.aten.add.Tensor",
/// "aten::add.Tensor", "aten.add.Tensor"; a packet ("aten.add") stays a packet.
std::string canonical_operator_name(std::string_view name);
/// "torch.ops.aten.add.Tensor"; Python functions ("_operator.mul") as they are.
std::string qualified_operator_name(std::string_view target);
/// True when the set holds the overload or its packet, in any accepted spelling.
bool contains_operator(const std::set<std::string>& operators, std::string_view target);
/// The same for a node: what it is now, or what the user wrote before lowering replaced it.
bool contains_operator(const std::set<std::string>& operators, const Node& node);

}  // namespace stator
