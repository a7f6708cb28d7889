// SPDX-License-Identifier: Apache-2.0
//
// Losses: differences of predictions and targets, reduced to a mean or a sum, or not.
#include <cmath>

#include "conversion/aten/formula.h"

namespace stator::aten {
namespace {

/// reduction: 0 none, 1 mean, 2 sum.
TensorId reduced(Conversion& c, const Node& node, Term loss) {
  const int64_t reduction = node.integer("reduction", 1);
  const int64_t rank = c.network().type(loss.id()).rank();
  if (reduction == 0 || rank == 0) {
    return loss.id();
  }
  std::vector<int64_t> axes;
  for (int64_t axis = 0; axis < rank; ++axis) axes.push_back(axis);
  return c.network().add_reduce(loss.id(), reduction == 1 ? ReduceOp::kMean : ReduceOp::kSum, axes,
                                false);
}

Term operand(Conversion& c, const Node& node, std::string_view arg, DType dtype) {
  return {c, c.operand(node, arg, compute_dtype(dtype))};
}

Compute difference(bool squared) {
  return [squared](Conversion& c, const Node& node) {
    const DType dtype = result_type(c.graph(), node, {"self", "target"});
    const Term d = operand(c, node, "self", dtype) - operand(c, node, "target", dtype);
    return reduced(c, node, squared ? d * d : abs(d));
  };
}

/// max(0, -target * (input1 - input2) + margin). Products of integers wrap around in their own
/// type, before the margin, a float, makes floats of them.
TensorId margin_ranking(Conversion& c, const Node& node) {
  const DType dtype = result_type(c.graph(), node, {"input1", "input2", "target"});
  const Term distance = operand(c, node, "input1", dtype) - operand(c, node, "input2", dtype);
  const Term product = (0 - operand(c, node, "target", dtype)) * distance;
  const DType result = floating_dtype(dtype);
  const Term margin(c, promoted_operand(c, node, "margin", result));
  return reduced(c, node, most(product.to(compute_dtype(result)) + margin, 0));
}

/// Where the target is -1 as its own type has it, which of bytes is 255.
Term is_minus_one(Conversion& c, const Node& node, Term target) {
  const bool bytes = c.graph().value(node.tensor("target")).tensor.dtype == DType::kUInt8;
  return target == (bytes ? 255 : -1);
}

/// self where target is 1, max(0, margin - self) where it is -1, both elsewhere.
TensorId hinge_embedding(Conversion& c, const Node& node) {
  const DType dtype = result_type(c.graph(), node, {"self", "target"});
  const Term x = operand(c, node, "self", dtype), target = operand(c, node, "target", dtype);
  const Term margin = most(Term(c, c.operand(node, "margin", x.dtype())) - x, 0);
  return reduced(c, node,
                 where(target == 1, 0, margin) + where(is_minus_one(c, node, target), 0, x));
}

/// The sum of a * b along the last axis; products of integers wrap around in their own type.
Term inner_product(Conversion& c, Term a, Term b, DType result) {
  const Term product = a * b;
  const Term wide = is_integral(product.dtype()) ? product.to(DType::kInt64) : product;
  const int64_t axis = c.network().type(wide.id()).rank() - 1;
  return Term(c, c.network().add_reduce(wide.id(), ReduceOp::kSum, {axis}, false)).to(result);
}

/// 1 - cos for targets of 1, max(0, cos - margin) for those of -1, else 0.
TensorId cosine_embedding(Conversion& c, const Node& node) {
  const DType dtype = compute_dtype(floating_dtype(c.output_meta(node).dtype));
  const DType own = result_type(c.graph(), node, {"input1", "input2"});
  const DType products = is_floating_point(own) ? dtype : own;
  const Term a = operand(c, node, "input1", products), b = operand(c, node, "input2", products);
  const auto inner = [&](Term x, Term y) { return inner_product(c, x, y, dtype); };
  const double eps = 1e-12;
  const Term cosine = inner(a, b) / sqrt((inner(a, a) + eps) * (inner(b, b) + eps));
  const Term target = operand(c, node, "target", dtype);
  const Term negative = most(cosine - Term(c, c.operand(node, "margin", dtype)), 0);
  return reduced(
      c, node, where(target == 1, 1.0 - cosine, where(is_minus_one(c, node, target), negative, 0)));
}

/// exp(input) - target * input, or input - target * log(input + eps); with Stirling's approximation
/// of log(target!) where `full`.
TensorId poisson_nll(Conversion& c, const Node& node) {
  const DType dtype = floating_dtype(result_type(c.graph(), node, {"input", "target"}));
  const Term x = operand(c, node, "input", dtype), target = operand(c, node, "target", dtype);
  Term loss = node.boolean("log_input")
                  ? x.apply(UnaryOp::kExp) - target * x
                  : x - target * (x + node.number("eps")).apply(UnaryOp::kLog);
  if (node.boolean("full")) {
    const Term stirling = target * target.apply(UnaryOp::kLog) - target +
                          0.5 * (target * 6.28318530717958647693).apply(UnaryOp::kLog);
    loss = loss + where(target <= 1, 0, stirling);
  }
  return reduced(c, node, loss);
}

/// Integers become floating point numbers on the way.
Support gives_floats(const SupportContext& c, const Node& node) {
  const DType dtype = c.graph.value(node.outputs[0]).tensor.dtype;
  return is_floating_point(dtype)
             ? Support::yes()
             : Support::no(std::string("its result is ") + torch_dtype_name(dtype));
}

/// Integers have no mean, so that PyTorch gives the error.
Support a_mean_of_floats(const SupportContext& c, const Node& node) {
  const DType dtype = result_type(c.graph, node, {"input1", "input2", "target"});
  return is_floating_point(dtype) || node.integer("reduction", 1) == 0
             ? Support::yes()
             : Support::no("it is a mean or a sum of integers");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_loss(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.mse_loss.default", single(difference(true), floats("self")));
  r.add("aten.l1_loss.default", single(difference(false), floats("self")));
  r.add("aten.margin_ranking_loss.default", single(margin_ranking, a_mean_of_floats));
  r.add("aten.hinge_embedding_loss.default", single(hinge_embedding, floats("self")));
  r.add("aten.cosine_embedding_loss.default", single(cosine_embedding, gives_floats));
  r.add("aten.poisson_nll_loss.default", single(poisson_nll, gives_floats));
}

}  // namespace stator
