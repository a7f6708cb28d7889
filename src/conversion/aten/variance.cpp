// SPDX-License-Identifier: Apache-2.0
//
// Variance and standard deviation, alone and with the mean.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// What is taken from the number of elements: the argument `correction` (1 for None), or the older
/// flag `unbiased`.
double correction_of(const Node& node) {
  if (node.find("unbiased") != nullptr) {
    return node.boolean("unbiased", true) ? 1.0 : 0.0;
  }
  return node.is_none("correction") ? 1.0 : node.number("correction");
}

/// max(0, elements - correction): dividing by it gives NaN or infinity where PyTorch has these.
TensorId divisor(Conversion& c, const Expr& elements, double correction, DType dtype) {
  Network& n = c.network();
  if (elements.is_constant()) {
    const double left = static_cast<double>(elements.constant()) - correction;
    return real(c, left > 0 ? left : 0.0, dtype);
  }
  const TensorId count = n.add_cast(n.add_size_value(elements), dtype);
  const TensorId left = n.add_elementwise(count, real(c, correction, dtype), Op::kSub);
  return n.add_elementwise(left, real(c, 0.0, dtype), Op::kMax);
}

struct Moments {
  TensorId variance, mean;  // the mean with its axes kept
};

TensorId as_recorded(Conversion& c, const Node& node, TensorId mean) {
  return c.network().add_reshape(mean, c.output_meta(node, 1).shape);
}

Moments moments(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const TensorType type = n.type(x);
  const std::vector<int64_t> axes = axes_of(node, "dim", type.rank());
  Expr elements = 1;
  for (const int64_t axis : axes) {
    elements = elements * type.shape[static_cast<size_t>(axis)];
  }
  const Shape& result = c.output_meta(node).shape;
  const TensorId mean = axes.empty() ? x : n.add_reduce(x, ReduceOp::kMean, axes, true);
  const TensorId distance = n.add_elementwise(x, mean, Op::kSub);
  const TensorId squares = n.add_elementwise(distance, distance, Op::kMul);
  const TensorId sum = axes.empty() ? squares : n.add_reduce(squares, ReduceOp::kSum, axes, true);
  const TensorId variance =
      n.add_elementwise(sum, divisor(c, elements, correction_of(node), type.dtype), Op::kDiv);
  return {n.add_reshape(variance, result), mean};
}

TensorId var(Conversion& c, const Node& node) { return moments(c, node).variance; }

TensorId std_deviation(Conversion& c, const Node& node) {
  return c.network().add_unary(var(c, node), UnaryOp::kSqrt);
}

std::vector<TensorId> var_mean(Conversion& c, const Node& node) {
  const Moments m = moments(c, node);
  return {m.variance, as_recorded(c, node, m.mean)};
}

std::vector<TensorId> std_mean(Conversion& c, const Node& node) {
  const Moments m = moments(c, node);
  return {c.network().add_unary(m.variance, UnaryOp::kSqrt), as_recorded(c, node, m.mean)};
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_variance(ConverterRegistry& r) {
  using namespace aten;
  for (const char* overload : {".default", ".dim", ".correction"}) {
    r.add(std::string("aten.var") + overload, single(var, floats("self")));
    r.add(std::string("aten.std") + overload, single(std_deviation, floats("self")));
    r.add(std::string("aten.var_mean") + overload, several(var_mean, floats("self")));
    r.add(std::string("aten.std_mean") + overload, several(std_mean, floats("self")));
  }
}

}  // namespace stator
