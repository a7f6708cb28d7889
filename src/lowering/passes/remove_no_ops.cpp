// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "graph/operator_set.h"
#include "graph/schema.h"
#include "lowering/passes/assertions.h"
#include "lowering/passes/passes.h"

namespace stator {
namespace {

const std::set<std::string, std::less<>> kAlways = {
    "aten.alias.default",           "aten.detach.default",
    "aten.lift_fresh.default",      "aten.lift.default",
    "aten.contiguous.default",      "aten.clone.default",
    "aten.lift_fresh_copy.default", "aten.positive.default",
    "aten.resolve_conj.default",    "aten.resolve_neg.default",
};
/// No-ops when the result has the type and shape of the argument.
const std::set<std::string, std::less<>> kWhenSameType = {
    "aten._to_copy.default",  "aten.to.dtype",
    "aten.to.dtype_layout",   "aten.to.device",
    "aten.to.other",          "aten.type_as.default",
    "aten.expand.default",    "aten.view.default",
    "aten.reshape.default",   "aten._unsafe_view.default",
    "aten.expand_as.default", "aten.flatten.using_ints",
    "aten.squeeze.dim",       "aten.squeeze.default",
    "aten.squeeze.dims",      "aten.slice.Tensor",
    "aten.float.default",
};
bool same_type(const Graph& graph, ValueId a, ValueId b) {
  const TensorMeta& x = graph.value(a).tensor;
  const TensorMeta& y = graph.value(b).tensor;
  return graph.value(a).kind == graph.value(b).kind && x.dtype == y.dtype && x.device == y.device &&
         x.shape == y.shape;
}

bool is_no_op(const Graph& graph, const Node& node) {
  if (node.outputs.size() != 1 || node.args.empty()) {
    return false;
  }
  const auto* self = std::get_if<ValueUse>(&node.args.front().value);
  if (self == nullptr || graph.value(self->id).kind != ValueKind::kTensor ||
      !same_type(graph, self->id, node.outputs.front())) {
    return false;
  }
  if (node.target == "aten.dropout.default" || node.target == "aten.feature_dropout.default") {
    return !node.boolean("train") || node.number("p") == 0;
  }
  if (node.target == "aten.slice.Tensor") {
    // The same shape is the same slice, unless it starts elsewhere.
    return node.integer("step", 1) == 1;
  }
  return kAlways.contains(node.target) || kWhenSameType.contains(node.target);
}

}  // namespace

int remove_no_ops(Graph& graph, const LoweringOptions& options) {
  int fired = 0;
  const Assertions assertions(graph);
  const std::vector<NodeId> order = graph.order();
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (contains_operator(options.torch_executed_ops, node)) {
      continue;
    }
    if (assertions.is_settled(node)) {
      graph.remove_node(id);
      ++fired;
    } else if (is_no_op(graph, node)) {
      graph.replace_uses(node.outputs.front(), std::get<ValueUse>(node.args.front().value).id);
      graph.remove_node(id);
      ++fired;
    }
  }
  return fired;
}

}  // namespace stator
