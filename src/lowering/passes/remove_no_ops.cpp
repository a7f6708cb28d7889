// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "graph/operator_set.h"
#include "graph/schema.h"
#include "graph/strides.h"
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

/// The order in memory that a node's result has and its argument has not: kNoted where both lie in
/// the same way, nullopt where it is none of PyTorch's formats.
std::optional<MemoryFormat> changed_format(const Graph& graph, ValueId from, ValueId to) {
  const TensorMeta& before = graph.value(from).tensor;
  const TensorMeta& after = graph.value(to).tensor;
  if (same_strides(before, after, graph.bounds)) return MemoryFormat::kNoted;
  const std::optional<DenseOrder> order = dense_order(after, graph.bounds);
  if (!order) return std::nullopt;
  if (moves_nothing(order->axes, after.shape)) return MemoryFormat::kContiguous;
  if (order->axes == AxisOrder{0, 2, 3, 1}) return MemoryFormat::kChannelsLast;
  if (order->axes == AxisOrder{0, 2, 3, 4, 1}) return MemoryFormat::kChannelsLast3d;
  return std::nullopt;
}

/// Whether somebody would notice that a copy is its argument: what is written to one of them would
/// be seen in the other. The caller can write to inputs and outputs, and to the model's weights.
bool copy_matters(const Graph& graph, const Memory& memory, ValueId argument, ValueId copy) {
  const ValueId from = memory.root(argument), to = memory.root(copy);
  if (from == to) return false;  // it is no copy
  const bool callers = graph.value(from).producer < 0 || memory.outputs(from) > 0;
  return (callers && memory.outputs(to) > 0) || memory.is_written(from) || memory.is_written(to);
}

/// Gives the users of a no-op its argument; false where that would be noticed.
bool remove_no_op(Graph& graph, Memory& memory, const Node& node) {
  const ValueUse self = std::get<ValueUse>(node.args.front().value);
  const ValueId result = node.outputs.front();
  const std::optional<MemoryFormat> format = changed_format(graph, self.id, result);
  if (!format || copy_matters(graph, memory, self.id, result)) return false;
  if (*format == MemoryFormat::kNoted) {
    graph.replace_uses(result, self.id);
    memory.merge(result, self.id);
  } else if (graph.is_output(result)) {
    return false;
  } else {
    graph.replace_uses(result, self.id, *format);
  }
  graph.remove_node(node.id);
  return true;
}

}  // namespace

int remove_no_ops(Graph& graph, const LoweringOptions& options) {
  int fired = 0;
  Memory memory(graph);
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
    } else if (is_no_op(graph, node) && remove_no_op(graph, memory, node)) {
      ++fired;
    }
  }
  return fired;
}

}  // namespace stator
