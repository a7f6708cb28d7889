// SPDX-License-Identifier: Apache-2.0
//
// Less usual elementwise functions of two operands.
#include <limits>

#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

DType floating_result(const Conversion& c, const Node& node) {
  return floating_dtype(result_type(c.graph(), node, {"self", "other"}));
}

Pair operands(Conversion& c, const Node& node) {
  const DType dtype = floating_result(c, node);
  return {promoted_operand(c, node, "self", dtype), promoted_operand(c, node, "other", dtype)};
}

/// 0 below zero, 1 above, `values` at zero; NaN stays NaN.
TensorId heaviside(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = compute_dtype(c.meta(node, "self").dtype);
  const TensorId x = c.operand(node, "self", dtype);
  const TensorId at_zero = c.operand(node, "values", dtype);
  const TensorId zero = whole(c, 0, dtype);
  const TensorId above = c.cast(n.add_elementwise(x, zero, Op::kGreater), dtype);
  return choose(c, {n.add_elementwise(x, zero, Op::kEqual), at_zero, above});
}

Support heaviside_support(const SupportContext& c, const Node& node) {
  return c.meta(node, "self").dtype == DType::kBool
             ? Support::no("heaviside of bool is not supported")
             : Support::yes();
}

/// max + log1p(exp(-|a - b|)) / log(base), and the common value where both are one infinity.
Compute logaddexp(bool base_two) {
  return [base_two](Conversion& c, const Node& node) {
    Network& n = c.network();
    const auto [a, b] = operands(c, node);
    const DType dtype = n.type(a).dtype;
    const TensorId most = n.add_elementwise(a, b, Op::kMax);
    const TensorId gap =
        n.add_unary(n.add_unary(n.add_elementwise(a, b, Op::kSub), UnaryOp::kAbs), UnaryOp::kNeg);
    TensorId rest =
        n.add_unary(n.add_unary(gap, base_two ? UnaryOp::kExp2 : UnaryOp::kExp), UnaryOp::kLog1p);
    if (base_two) {
      rest = n.add_elementwise(rest, real(c, 1.4426950408889634, dtype), Op::kMul);
    }
    const TensorId sum = n.add_elementwise(most, rest, Op::kAdd);
    const TensorId same = elementwise(
        c, {n.add_unary(a, UnaryOp::kIsInf), n.add_elementwise(a, b, Op::kEqual)}, Op::kAnd);
    return choose(c, {same, a, sum});
  };
}

TensorId float_power(Conversion& c, const Node& node) {
  return elementwise(
      c, {c.operand(node, "self", DType::kFloat64), c.operand(node, "exponent", DType::kFloat64)},
      Op::kPow);
}

/// x log1p(y), 0 for x = 0 (NaN for y NaN).
TensorId xlog1py(Conversion& c, const Node& node) {
  Network& n = c.network();
  const auto [x, y] = operands(c, node);
  const DType dtype = n.type(x).dtype;
  const TensorId product = n.add_elementwise(x, n.add_unary(y, UnaryOp::kLog1p), Op::kMul);
  const TensorId zero = real(c, 0.0, dtype);
  const TensorId guarded = n.add_select(n.add_elementwise(x, zero, Op::kEqual), zero, product);
  return n.add_select(n.add_unary(y, UnaryOp::kIsNan), y, guarded);
}

/// -x log x, 0 at 0, -inf below.
TensorId entr(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const DType dtype = n.type(x).dtype;
  const TensorId zero = real(c, 0.0, dtype);
  const TensorId product = n.add_elementwise(x, n.add_unary(x, UnaryOp::kLog), Op::kMul);
  const TensorId inside = choose(
      c, {n.add_elementwise(x, zero, Op::kEqual), zero, n.add_unary(product, UnaryOp::kNeg)});
  const TensorId below = real(c, -std::numeric_limits<double>::infinity(), dtype);
  const TensorId result = choose(c, {n.add_elementwise(x, zero, Op::kLess), below, inside});
  return n.add_select(n.add_unary(x, UnaryOp::kIsNan), x, result);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_special(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.heaviside.default", single(heaviside, heaviside_support));
  r.add("aten.logaddexp.default", single(logaddexp(false)));
  r.add("aten.logaddexp2.default", single(logaddexp(true)));
  for (const char* overload : {"Tensor_Tensor", "Tensor_Scalar", "Scalar"}) {
    r.add(std::string("aten.float_power.") + overload, single(float_power));
  }
  for (const char* overload : {"default", "self_scalar", "other_scalar"}) {
    r.add(std::string("aten.special_xlog1py.") + overload, single(xlog1py));
  }
  r.add("aten.special_entr.default", single(entr));
}

}  // namespace stator
