// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "graph/operator_set.h"
#include "lowering/passes/match.h"
#include "lowering/passes/passes.h"

namespace stator {
namespace {

struct Scores {
  ValueId q = kNoValue, k = kNoValue, mask = kNoValue;
  double scale = 1.0;
};

/// transpose(k, -2, -1) of four axes: k.
ValueId untransposed(const Matcher& m, const Graph& graph, ValueId id) {
  const Node* t = m.producer(id, {"aten.transpose.int", "aten.permute.default"});
  if (t == nullptr || graph.value(id).tensor.rank() != 4) {
    return kNoValue;
  }
  if (t->target == "aten.permute.default") {
    const std::vector<Expr> dims = t->sym_ints("dims");
    const std::vector<Expr> wanted = {0, 1, 3, 2};
    return dims == wanted ? t->tensor("self") : kNoValue;
  }
  const int64_t a = (t->integer("dim0") + 4) % 4;
  const int64_t b = (t->integer("dim1") + 4) % 4;
  return std::min(a, b) == 2 && std::max(a, b) == 3 ? t->tensor("self") : kNoValue;
}

/// [scale] [mask] around q kᵀ, from the outside in.
bool match_scores(const Matcher& m, const Graph& graph, ValueId id, Scores* scores) {
  if (m.uses(id) != 1) {
    return false;
  }
  if (const Node* add = m.producer(id, {"aten.add.Tensor"})) {
    if (scores->mask != kNoValue || scores->scale != 1.0 || add->number("alpha", 1) != 1) {
      return false;
    }
    scores->mask = tensor_operand(*add, "other");
    return scores->mask != kNoValue && is_floating_point(graph.value(scores->mask).tensor.dtype) &&
           match_scores(m, graph, tensor_operand(*add, "self"), scores);
  }
  for (const bool divides : {false, true}) {
    const Node* scaled = divides ? m.producer(id, {"aten.div.Tensor", "aten.div.Scalar"})
                                 : m.producer(id, {"aten.mul.Tensor", "aten.mul.Scalar"});
    if (scaled == nullptr) {
      continue;
    }
    const std::optional<double> factor = m.number(*scaled, "other");
    if (!factor.has_value() || *factor == 0 || scores->scale != 1.0) {
      return false;
    }
    scores->scale = divides ? 1.0 / *factor : *factor;
    return match_scores(m, graph, tensor_operand(*scaled, "self"), scores);
  }
  const Node* product = m.producer(id, {"aten.matmul.default"});
  if (product == nullptr) {
    return false;
  }
  scores->q = tensor_operand(*product, "self");
  scores->k = untransposed(m, graph, tensor_operand(*product, "other"));
  return scores->k != kNoValue && graph.value(scores->q).tensor.rank() == 4;
}

/// Batch and heads are the same sizes: nothing was broadcast by the products.
bool same_batch(const Graph& graph, ValueId a, ValueId b) {
  const std::vector<Expr>& x = graph.value(a).tensor.shape;
  const std::vector<Expr>& y = graph.value(b).tensor.shape;
  return x.size() == 4 && y.size() == 4 && x[0] == y[0] && x[1] == y[1];
}

}  // namespace

int recognize_attention(Graph& graph, const LoweringOptions& options) {
  Matcher m(graph);
  int fired = 0;
  const std::vector<NodeId> order = graph.order();
  for (const NodeId id : order) {
    const Node& node = graph.node(id);
    if (node.target != "aten.matmul.default" ||
        contains_operator(options.torch_executed_ops, node)) {
      continue;
    }
    const ValueId weights = tensor_operand(node, "self");
    const ValueId v = tensor_operand(node, "other");
    const Node* softmax = m.producer(weights, {"aten.softmax.int", "aten._softmax.default"});
    if (softmax == nullptr || m.uses(weights) != 1 ||
        contains_operator(options.torch_executed_ops, *softmax)) {
      continue;
    }
    const int64_t dim = softmax->integer("dim");
    Scores scores;
    if ((dim != -1 && dim != 3) ||
        !match_scores(m, graph, tensor_operand(*softmax, "self"), &scores) ||
        !same_batch(graph, scores.q, scores.k) || !same_batch(graph, scores.q, v) ||
        graph.value(scores.q).tensor.dtype != graph.value(weights).tensor.dtype) {
      continue;
    }
    std::vector<NamedArgument> args = {{"query", ValueUse{scores.q}},
                                       {"key", ValueUse{scores.k}},
                                       {"value", ValueUse{v}},
                                       {"scale", scores.scale}};
    if (scores.mask != kNoValue) {
      args.push_back({"attn_mask", ValueUse{scores.mask}});
    }
    m.replace(node, "aten.scaled_dot_product_attention.default", std::move(args));
    ++fired;
  }
  return fired;
}

}  // namespace stator
