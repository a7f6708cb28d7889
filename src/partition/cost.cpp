// SPDX-License-Identifier: Apache-2.0
#include "partition/cost.h"

#include <algorithm>
#include <set>
#include <string_view>

#include "partition/dependencies.h"

namespace stator {
namespace {

class Costs {
 public:
  Costs(const Graph& graph, const std::map<std::string, int64_t>& sizes)
      : graph_(graph), sizes_(sizes) {}

  double flops(const Node& node) const {
    const std::string_view op = packet(node.target);
    const double results = elements_of(node.outputs);
    const std::vector<ValueId> inputs = tensors_of(node);
    if (op == "linear") return inputs.empty() ? 0 : 2 * results * dim(inputs[0], -1);
    if (op == "mm" || op == "bmm" || op == "matmul") {
      return inputs.empty() ? 0 : 2 * results * dim(inputs[0], -1);
    }
    if (op == "addmm" || op == "baddbmm") {
      return inputs.size() < 2 ? 0 : 2 * results * dim(inputs[1], -1);
    }
    if (op.find("conv") != std::string_view::npos && inputs.size() >= 2) {
      const double filter = elements(inputs[1]);
      if (op.find("transpose") != std::string_view::npos) {
        return 2 * elements(inputs[0]) * filter / std::max(1.0, dim(inputs[1], 0));
      }
      return 2 * results * filter / std::max(1.0, dim(inputs[1], 0));
    }
    if (op.find("scaled_dot_product") != std::string_view::npos && inputs.size() >= 3) {
      return 2 * elements(inputs[0]) * dim(inputs[1], -2) + 2 * results * dim(inputs[1], -2);
    }
    return results;
  }

  double bytes(ValueId id) const {
    const Value& value = graph_.value(id);
    return value.kind == ValueKind::kTensor
               ? elements(id) * static_cast<double>(dtype_bytes(value.tensor.dtype))
               : 0;
  }

  std::vector<ValueId> tensors_of(const Node& node) const {
    std::vector<ValueId> tensors;
    for (const ValueId id : values_used(node)) {
      if (graph_.value(id).kind == ValueKind::kTensor) tensors.push_back(id);
    }
    return tensors;
  }

 private:
  /// "add" of "aten.add.Tensor".
  static std::string_view packet(std::string_view target) {
    const size_t begin = target.find('.');
    if (begin == std::string_view::npos) return target;
    const size_t end = target.find('.', begin + 1);
    return target.substr(begin + 1, end == std::string_view::npos ? end : end - begin - 1);
  }

  double size(const Expr& e) const {
    if (const std::optional<int64_t> known = e.evaluate(sizes_)) {
      return static_cast<double>(*known);
    }
    return 1;
  }

  double elements(ValueId id) const {
    double count = 1;
    for (const Expr& e : graph_.value(id).tensor.shape) count *= size(e);
    return count;
  }

  double elements_of(const std::vector<ValueId>& ids) const {
    double count = 0;
    for (const ValueId id : ids) {
      if (graph_.value(id).kind == ValueKind::kTensor) count += elements(id);
    }
    return count;
  }

  double dim(ValueId id, int k) const {
    const std::vector<Expr>& shape = graph_.value(id).tensor.shape;
    const int at = k < 0 ? static_cast<int>(shape.size()) + k : k;
    return at < 0 || at >= static_cast<int>(shape.size()) ? 1
                                                          : size(shape[static_cast<size_t>(at)]);
  }

  const Graph& graph_;
  const std::map<std::string, int64_t>& sizes_;
};

}  // namespace

double operator_flops(const Graph& graph, const Node& node,
                      const std::map<std::string, int64_t>& sizes) {
  return Costs(graph, sizes).flops(node);
}

Cost segment_cost(const Graph& graph, const std::vector<NodeId>& nodes,
                  const std::map<std::string, int64_t>& sizes) {
  const Costs costs(graph, sizes);
  const std::set<NodeId> inside(nodes.begin(), nodes.end());
  std::set<ValueId> made, read, used_outside;
  for (const NodeId id : nodes) {
    const Node& node = graph.node(id);
    made.insert(node.outputs.begin(), node.outputs.end());
  }
  for (const NodeId id : graph.order()) {
    for (const ValueId value : costs.tensors_of(graph.node(id))) {
      (inside.count(id) != 0 ? read : used_outside).insert(value);
    }
  }
  for (const GraphOutput& output : graph.outputs) {
    if (const auto* use = std::get_if<ValueUse>(&output.value)) used_outside.insert(use->id);
  }
  Cost cost;
  for (const NodeId id : nodes) cost.flops += costs.flops(graph.node(id));
  for (const ValueId id : read) {
    if (made.count(id) == 0) cost.bytes += costs.bytes(id);
  }
  for (const ValueId id : made) {
    if (used_outside.count(id) != 0) cost.bytes += costs.bytes(id);
  }
  return cost;
}

}  // namespace stator
