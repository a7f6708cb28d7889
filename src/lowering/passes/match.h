// SPDX-License-Identifier: Apache-2.0
//
// What recognizers share: looking at producers, use counts and constant operands.
#pragma once

#include <optional>
#include <string_view>

#include "stator/graph.h"

namespace stator {

/// The tensor that an argument is; kNoValue where it is a number or missing.
ValueId tensor_operand(const Node& node, std::string_view arg);

/// A graph with the number of users of each value, as it was when the matcher was made.
class Matcher {
 public:
  explicit Matcher(Graph& graph);
  Graph& graph() { return graph_; }

  /// The node that makes a value when it is one of `targets`; else nullptr.
  const Node* producer(ValueId id, std::initializer_list<std::string_view> targets) const;
  /// Nodes that read the value, graph outputs counted as one more.
  int uses(ValueId id) const { return uses_[static_cast<size_t>(id)]; }
  /// The number that an operand is: a scalar argument, or a constant tensor of one element.
  std::optional<double> number(const Node& node, std::string_view arg) const;
  /// Replaces the value by a new node before `at`; the new node takes name and source of `at`.
  void replace(const Node& at, std::string target, std::vector<NamedArgument> args);

 private:
  Graph& graph_;
  std::vector<int> uses_;
};

}  // namespace stator
