// SPDX-License-Identifier: Apache-2.0
#include "graph/operator_set.h"
#include "lowering/passes/match.h"
#include "lowering/passes/passes.h"

namespace stator {
namespace {

/// x * x or x ^ 2: x.
ValueId squared(const Matcher& m, ValueId id) {
  if (const Node* pow = m.producer(id, {"aten.pow.Tensor_Scalar"})) {
    return m.number(*pow, "exponent") == 2.0 ? pow->tensor("self") : kNoValue;
  }
  if (const Node* mul = m.producer(id, {"aten.mul.Tensor"})) {
    const ValueId a = tensor_operand(*mul, "self");
    return a == tensor_operand(*mul, "other") ? a : kNoValue;
  }
  const Node* square = m.producer(id, {"aten.square.default"});
  return square != nullptr ? square->tensor("self") : kNoValue;
}

struct Rms {
  ValueId x = kNoValue;
  double epsilon = 0;
};

/// rsqrt(mean(x ^ 2, -1, keepdim) + eps).
Rms match_factor(const Matcher& m, const Graph& graph, ValueId id) {
  const Node* rsqrt = m.producer(id, {"aten.rsqrt.default"});
  if (rsqrt == nullptr) {
    return {};
  }
  const Node* add = m.producer(rsqrt->tensor("self"), {"aten.add.Tensor", "aten.add.Scalar"});
  if (add == nullptr || add->number("alpha", 1) != 1) {
    return {};
  }
  const std::optional<double> epsilon = m.number(*add, "other");
  const Node* mean = m.producer(tensor_operand(*add, "self"), {"aten.mean.dim"});
  if (!epsilon.has_value() || mean == nullptr || !mean->boolean("keepdim") ||
      !mean->is_none("dtype")) {
    return {};
  }
  const std::vector<Expr> dims = mean->sym_ints("dim");
  const ValueId x = squared(m, tensor_operand(*mean, "self"));
  if (x == kNoValue || dims.size() != 1 || !dims[0].is_constant()) {
    return {};
  }
  const int64_t rank = graph.value(x).tensor.rank();
  const bool last = dims[0].is_constant(-1) || dims[0].is_constant(rank - 1);
  const bool fixed = rank > 0 && graph.value(x).tensor.shape.back().is_constant();
  return last && fixed ? Rms{x, *epsilon} : Rms{};
}

/// x * factor(x).
Rms match_product(const Matcher& m, const Graph& graph, const Node& node) {
  for (const auto& [a, b] : {std::pair{"self", "other"}, {"other", "self"}}) {
    const Rms rms = match_factor(m, graph, tensor_operand(node, b));
    if (rms.x != kNoValue && rms.x == tensor_operand(node, a)) {
      return rms;
    }
  }
  return {};
}

}  // namespace

int recognize_rms_norm(Graph& graph, const LoweringOptions& options) {
  Matcher m(graph);
  int fired = 0;
  const std::vector<NodeId> order = graph.order();
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (node.target != "aten.mul.Tensor" || contains_operator(options.torch_executed_ops, node)) {
      continue;
    }
    const TensorMeta& type = graph.value(node.outputs.front()).tensor;
    // y * weight, where y is the normalized x and nobody else reads it.
    for (const auto& [a, b] : {std::pair{"self", "other"}, {"other", "self"}}) {
      const Node* inner = m.producer(tensor_operand(node, a), {"aten.mul.Tensor"});
      const ValueId weight = tensor_operand(node, b);
      if (inner == nullptr || weight == kNoValue || m.uses(inner->outputs.front()) != 1 ||
          contains_operator(options.torch_executed_ops, *inner)) {
        continue;
      }
      const Rms rms = match_product(m, graph, *inner);
      if (rms.x == kNoValue) {
        continue;
      }
      const TensorMeta& w = graph.value(weight).tensor;
      if (w.rank() != 1 || !(w.shape[0] == type.shape.back()) || w.dtype != type.dtype ||
          graph.value(rms.x).tensor.dtype != type.dtype) {
        continue;
      }
      m.replace(node, "aten.rms_norm.default",
                {{"input", ValueUse{rms.x}},
                 {"normalized_shape", std::vector<Expr>{type.shape.back()}},
                 {"weight", ValueUse{weight}},
                 {"eps", rms.epsilon}});
      ++fired;
      break;
    }
  }
  return fired;
}

}  // namespace stator
