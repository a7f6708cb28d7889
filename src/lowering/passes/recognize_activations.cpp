// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "graph/operator_set.h"
#include "lowering/passes/match.h"
#include "lowering/passes/passes.h"

namespace stator {
namespace {

const Node* product_of(const Matcher& m, ValueId id) {
  return m.producer(id, {"aten.mul.Tensor", "aten.mul.Scalar"});
}
const Node* sum_of(const Matcher& m, ValueId id) {
  return m.producer(id, {"aten.add.Tensor", "aten.add.Scalar"});
}

bool near(std::optional<double> value, double expected) {
  return value.has_value() && std::abs(*value - expected) <= 1e-5 * std::abs(expected);
}

/// `node` is value * number (either way round): the value.
ValueId scaled(const Matcher& m, const Node* node, double factor) {
  if (node == nullptr) {
    return kNoValue;
  }
  if (near(m.number(*node, "other"), factor)) {
    return tensor_operand(*node, "self");
  }
  if (near(m.number(*node, "self"), factor)) {
    return tensor_operand(*node, "other");
  }
  return kNoValue;
}

/// `node` is value + number: the value.
ValueId shifted(const Matcher& m, const Node* node, double term) {
  if (node == nullptr || node->number("alpha", 1) != 1) {
    return kNoValue;
  }
  if (near(m.number(*node, "other"), term)) {
    return tensor_operand(*node, "self");
  }
  return near(m.number(*node, "self"), term) ? tensor_operand(*node, "other") : kNoValue;
}

bool is_cube(const Matcher& m, ValueId id, ValueId x) {
  const Node* pow = m.producer(id, {"aten.pow.Tensor_Scalar"});
  return pow != nullptr && tensor_operand(*pow, "self") == x &&
         near(m.number(*pow, "exponent"), 3.0);
}

/// tanh(sqrt(2/pi) * (x + 0.044715 * x^3)) + 1 of `x`.
bool is_gelu_factor(const Matcher& m, ValueId id, ValueId x) {
  const ValueId tanh_value = shifted(m, sum_of(m, id), 1.0);
  const Node* tanh = m.producer(tanh_value, {"aten.tanh.default"});
  if (tanh == nullptr) {
    return false;
  }
  const ValueId inner = scaled(m, product_of(m, tanh->tensor("self")), std::sqrt(2.0 / M_PI));
  const Node* sum = sum_of(m, inner);
  if (sum == nullptr || sum->number("alpha", 1) != 1) {
    return false;
  }
  for (const auto& [a, b] : {std::pair{"self", "other"}, {"other", "self"}}) {
    const ValueId cube = scaled(m, product_of(m, tensor_operand(*sum, b)), 0.044715);
    if (tensor_operand(*sum, a) == x && is_cube(m, cube, x)) {
      return true;
    }
  }
  return false;
}

/// (0.5 * x) * factor(x): x.
ValueId gelu_argument(const Matcher& m, const Node& node) {
  for (const auto& [a, b] : {std::pair{"self", "other"}, {"other", "self"}}) {
    const ValueId x = scaled(m, product_of(m, tensor_operand(node, a)), 0.5);
    if (x != kNoValue && is_gelu_factor(m, tensor_operand(node, b), x)) {
      return x;
    }
  }
  return kNoValue;
}

/// x * sigmoid(x): x.
ValueId silu_argument(const Matcher& m, const Node& node) {
  for (const auto& [a, b] : {std::pair{"self", "other"}, {"other", "self"}}) {
    const ValueId x = tensor_operand(node, a);
    const Node* sigmoid = m.producer(tensor_operand(node, b), {"aten.sigmoid.default"});
    if (sigmoid != nullptr && sigmoid->tensor("self") == x &&
        m.uses(sigmoid->outputs.front()) == 1) {
      return x;
    }
  }
  return kNoValue;
}

}  // namespace

int recognize_activations(Graph& graph, const LoweringOptions& options) {
  Matcher m(graph);
  int fired = 0;
  const std::vector<NodeId> order = graph.order();
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (node.target != "aten.mul.Tensor" || contains_operator(options.torch_executed_ops, node)) {
      continue;
    }
    if (const ValueId x = gelu_argument(m, node); x != kNoValue) {
      m.replace(node, "aten.gelu.default",
                {{"self", ValueUse{x}}, {"approximate", std::string("tanh")}});
      ++fired;
    } else if (const ValueId y = silu_argument(m, node); y != kNoValue) {
      m.replace(node, "aten.silu.default", {{"self", ValueUse{y}}});
      ++fired;
    }
  }
  return fired;
}

}  // namespace stator
