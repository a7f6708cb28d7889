// SPDX-License-Identifier: Apache-2.0
//
// Assertions in a graph: which of them need no look at run time.
#pragma once

#include <map>
#include <set>
#include <string>

#include "stator/graph.h"

namespace stator {

class Assertions {
 public:
  explicit Assertions(const Graph& graph);

  /// Whether a node asserts what holds whatever the data is. Conditions on the inputs' sizes alone
  /// count: those are checked where shapes are bound. A condition on a tensor, or on a number that
  /// was read from one, does not: the node stays, and PyTorch runs it.
  bool is_settled(const Node& node) const;

 private:
  bool depends_on_data(const Node& node) const;
  bool is_foreign(const Expr& e) const;

  const Graph& graph_;
  std::set<std::string> given_;          // symbols of the inputs
  std::map<ValueId, NodeId> producers_;  // of what is no tensor
};

}  // namespace stator
