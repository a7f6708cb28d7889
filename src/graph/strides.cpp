// SPDX-License-Identifier: Apache-2.0
#include "graph/strides.h"

#include <algorithm>
#include <set>
#include <string>

#include "graph/schema.h"
#include "stator/layer.h"

namespace stator {
namespace {

bool equal(const Expr& a, const Expr& b, const Bounds& bounds) {
  return a == b || bounds.proves_equal(a, b);
}

std::vector<Expr> strides_of(const TensorMeta& meta) {
  return meta.strides.size() == meta.shape.size() ? meta.strides : contiguous_strides(meta.shape);
}

bool is_empty(const TensorMeta& meta) {
  return std::any_of(meta.shape.begin(), meta.shape.end(),
                     [](const Expr& size) { return size.is_constant(0); });
}

/// The next axis from the fast end: one whose stride is the number of elements so far. Where
/// several are, all but one have one element.
int next_axis(const TensorMeta& meta, const std::vector<Expr>& strides,
              const std::vector<bool>& taken, const Expr& elements, const Bounds& bounds) {
  int found = -1;
  for (size_t k = 0; k < strides.size(); ++k) {
    if (taken[k] || !equal(strides[k], elements, bounds)) continue;
    if (meta.shape[k].is_constant(1)) return static_cast<int>(k);
    found = static_cast<int>(k);
  }
  return found;
}

/// An axis whose stride nobody needs.
int idle_axis(const TensorMeta& meta, const std::vector<bool>& taken) {
  for (size_t k = taken.size(); k-- > 0;) {
    if (!taken[k] && (meta.shape[k].is_constant(1) || is_empty(meta))) return static_cast<int>(k);
  }
  return -1;
}

/// Whether a tensor of these strides can be seen in another shape without a copy: runs of axes that
/// lie one behind the other are taken apart on their own.
bool is_viewable(const TensorMeta& from, const std::vector<Expr>& to, const Bounds& bounds) {
  if (is_empty(from)) return true;
  const std::vector<Expr> strides = strides_of(from);
  Expr run = 1;  // elements of the run of axes that ends here
  auto wanted = static_cast<int64_t>(to.size()) - 1;
  bool any = false;
  for (size_t k = from.shape.size(); k-- > 0;) {
    run = simplify(run * from.shape[k], bounds);
    any = true;
    // The run goes on while the next axis that has a stride continues it.
    size_t before = k;
    while (before > 0 && from.shape[before - 1].is_constant(1)) --before;
    const bool goes_on = before > 0 && equal(strides[before - 1],
                                             simplify(strides[k] * from.shape[k], bounds), bounds);
    if (from.shape[k].is_constant(1) || goes_on) continue;
    Expr taken = 1;
    while (wanted >= 0 && !equal(taken, run, bounds)) {
      taken = simplify(taken * to[static_cast<size_t>(wanted--)], bounds);
    }
    while (wanted >= 0 && to[static_cast<size_t>(wanted)].is_constant(1)) --wanted;
    if (!equal(taken, run, bounds)) return false;
    run = 1;
    any = false;
  }
  return !any || equal(run, 1, bounds);
}

/// Operators whose schema calls the result a view, which they give where they need not copy.
bool may_copy(const std::string& target) {
  static const auto& targets = *new std::set<std::string, std::less<>>{
      "aten.reshape.default",    "aten.reshape_as.default",
      "aten.flatten.using_ints", "aten.contiguous.default",
      "aten.to.dtype",           "aten.to.dtype_layout",
      "aten.to.device",          "aten.to.other",
      "aten.to.prim_Device",     "aten.to.prim_dtype",
      "aten.to.prim_other",      "aten.type_as.default",
      "aten.ravel.default",      "aten.flatten.named_out_dim",
      "aten.float.default",
  };
  return targets.contains(target);
}

/// Operators that give their argument itself in the mode of inference, which no schema says.
bool gives_argument(const Node& node) {
  const bool dropout = node.target == "aten.dropout.default" ||
                       node.target == "aten.feature_dropout.default" ||
                       node.target == "aten.alpha_dropout.default";
  return dropout && !node.boolean("train");
}

}  // namespace

std::optional<DenseOrder> dense_order(const TensorMeta& meta, const Bounds& bounds) {
  const std::vector<Expr> strides = strides_of(meta);
  DenseOrder order;
  std::vector<bool> taken(strides.size(), false);
  Expr elements = 1;
  for (size_t i = 0; i < strides.size(); ++i) {
    int axis = next_axis(meta, strides, taken, elements, bounds);
    if (axis < 0) {
      axis = idle_axis(meta, taken);
      order.exact = false;
    }
    if (axis < 0) return std::nullopt;
    const Expr& size = meta.shape[static_cast<size_t>(axis)];
    taken[static_cast<size_t>(axis)] = true;
    order.axes.push_back(axis);
    if (!size.is_constant(0)) elements = simplify(elements * size, bounds);
  }
  std::reverse(order.axes.begin(), order.axes.end());
  return order;
}

bool moves_nothing(const AxisOrder& order, const std::vector<Expr>& shape) {
  int64_t last = -1;
  for (const int64_t axis : order) {
    if (shape[static_cast<size_t>(axis)].is_constant(1)) continue;
    if (axis < last) return false;
    last = axis;
  }
  return true;
}

std::vector<Expr> in_memory_order(const std::vector<Expr>& shape, const AxisOrder& order) {
  std::vector<Expr> sizes;
  for (const int64_t axis : order) sizes.push_back(shape[static_cast<size_t>(axis)]);
  return sizes;
}

bool is_row_major(const TensorMeta& meta, const Bounds& bounds) {
  const std::optional<DenseOrder> order = dense_order(meta, bounds);
  return order && (is_empty(meta) || moves_nothing(order->axes, meta.shape));
}

bool same_strides(const TensorMeta& a, const TensorMeta& b, const Bounds& bounds) {
  if (a.shape.size() != b.shape.size()) return false;
  if (is_empty(a) && is_empty(b)) return true;
  const std::vector<Expr> of_a = strides_of(a), of_b = strides_of(b);
  for (size_t k = 0; k < of_a.size(); ++k) {
    const bool idle = a.shape[k].is_constant(1) && b.shape[k].is_constant(1);
    if (!idle && !equal(of_a[k], of_b[k], bounds)) return false;
  }
  return true;
}

ValueId aliased_argument(const Graph& graph, const Node& node) {
  const Schema* schema = find_schema(node.target);
  const bool view = schema != nullptr && schema->is_view && !schema->is_mutating;
  if ((!view && !gives_argument(node)) || node.args.empty() || node.outputs.empty()) {
    return kNoValue;
  }
  const auto* self = std::get_if<ValueUse>(&node.args.front().value);
  if (self == nullptr || self->id == kNoValue || self->format != MemoryFormat::kNoted ||
      graph.value(self->id).kind != ValueKind::kTensor) {
    return kNoValue;
  }
  if (!may_copy(node.target)) return self->id;
  const TensorMeta& from = graph.value(self->id).tensor;
  const TensorMeta& to = graph.value(node.outputs.front()).tensor;
  if (from.dtype != to.dtype || from.device != to.device || node.boolean("copy")) return kNoValue;
  const bool reshapes = from.shape != to.shape;
  const bool views =
      reshapes ? is_viewable(from, to.shape, graph.bounds) : same_strides(from, to, graph.bounds);
  return views ? self->id : kNoValue;
}

bool is_alias(const Graph& graph, const Node& node) {
  return aliased_argument(graph, node) != kNoValue;
}

bool sees_memory(const Node& node) { return node.target.starts_with("aten.as_strided"); }

bool sees_memory(const Graph& graph) {
  const auto node_sees = [](const Node& node) { return sees_memory(node); };
  return std::any_of(graph.output_views.begin(), graph.output_views.end(), node_sees) ||
         std::any_of(graph.order().begin(), graph.order().end(),
                     [&](NodeId id) { return sees_memory(graph.node(id)); });
}

Memory::Memory(const Graph& graph) {
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    if (const ValueId argument = aliased_argument(graph, node); argument != kNoValue) {
      for (const ValueId output : node.outputs) parent_[output] = argument;
    }
  }
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    const Schema* schema = find_schema(node.target);
    if (schema == nullptr || !schema->is_mutating) continue;
    for (const NamedArgument& arg : node.args) {
      if (const auto* use = std::get_if<ValueUse>(&arg.value)) written_[root(use->id)] = true;
    }
  }
  for (const GraphOutput& output : graph.outputs) {
    if (const auto* use = std::get_if<ValueUse>(&output.value)) ++outputs_[root(use->id)];
  }
}

ValueId Memory::root(ValueId id) const {
  for (auto found = parent_.find(id); found != parent_.end(); found = parent_.find(id)) {
    id = found->second;
  }
  return id;
}

int Memory::outputs(ValueId root) const {
  const auto found = outputs_.find(root);
  return found == outputs_.end() ? 0 : found->second;
}

bool Memory::is_written(ValueId root) const {
  const auto found = written_.find(root);
  return found != written_.end() && found->second;
}

void Memory::merge(ValueId id, ValueId argument) {
  const ValueId from = root(id), to = root(argument);
  if (from == to) return;
  outputs_[to] += outputs_[from];
  written_[to] = written_[to] || written_[from];
  parent_[from] = to;
}

}  // namespace stator
