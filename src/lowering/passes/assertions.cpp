// SPDX-License-Identifier: Apache-2.0
#include "lowering/passes/assertions.h"

#include <algorithm>

namespace stator {
namespace {

const std::set<std::string, std::less<>> kOfSizes = {
    "aten._assert_scalar.default",
    "aten.sym_constrain_range.default",
    "aten.sym_constrain_range_for_size.default",
    "aten._functional_sym_constrain_range.default",
};

}  // namespace

Assertions::Assertions(const Graph& graph) : graph_(graph) {
  for (const GraphInput& input : graph.inputs) {
    const Value& value = graph.value(input.value);
    value.expr.collect_symbols(given_);
    for (const Expr& size : value.tensor.shape) {
      size.collect_symbols(given_);
    }
  }
  for (const NodeId id : graph.order()) {
    for (const ValueId output : graph.node(id).outputs) {
      if (graph.value(output).kind != ValueKind::kTensor) {
        producers_[output] = id;
      }
    }
  }
}

bool Assertions::is_settled(const Node& node) const {
  // What is known of a tensor without its elements was true when the graph was made.
  if (node.target == "aten._assert_tensor_metadata.default") {
    return true;
  }
  return kOfSizes.contains(node.target) && !depends_on_data(node);
}

bool Assertions::is_foreign(const Expr& e) const {
  std::set<std::string> symbols;
  e.collect_symbols(symbols);
  return !std::includes(given_.begin(), given_.end(), symbols.begin(), symbols.end());
}

bool Assertions::depends_on_data(const Node& node) const {
  for (const NamedArgument& arg : node.args) {
    if (const auto* e = std::get_if<Expr>(&arg.value)) {
      if (is_foreign(*e)) {
        return true;
      }
    } else if (const auto* use = std::get_if<ValueUse>(&arg.value);
               use != nullptr && use->id != kNoValue) {
      const auto producer = producers_.find(use->id);
      const bool is_tensor = graph_.value(use->id).kind == ValueKind::kTensor;
      if (is_foreign(graph_.value(use->id).expr) ||
          (producer != producers_.end() && depends_on_data(graph_.node(producer->second)))) {
        return true;
      }
      // The sizes of a tensor are not its data; what else makes a number of one reads it.
      if (is_tensor && !node.target.starts_with("aten.sym_") && node.target != "aten.size.int") {
        return true;
      }
    }
  }
  return false;
}

}  // namespace stator
