// SPDX-License-Identifier: Apache-2.0
//
// Elementwise arithmetic on two or three operands, tensors or scalars.
#include <cmath>

#include "base/check.h"
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// The dtype that PyTorch promotes self and other to.
DType common_dtype(const Conversion& c, const Node& node) {
  return result_type(c.graph(), node, {"self", "other"});
}

Pair operands(Conversion& c, const Node& node, DType common) {
  return {promoted_operand(c, node, "self", common), promoted_operand(c, node, "other", common)};
}

/// self and other in their common dtype, through one layer. `boolean`: the op that stands for it
/// where both are bool.
Compute binary(Op op, std::optional<Op> boolean = std::nullopt) {
  return [op, boolean](Conversion& c, const Node& node) {
    const DType dtype = common_dtype(c, node);
    return elementwise(c, operands(c, node, dtype),
                       dtype == DType::kBool && boolean ? *boolean : op);
  };
}

TensorId multiply(Conversion& c, const Node& node) {
  const DType dtype = common_dtype(c, node);
  return elementwise(c,
                     {wide_operand(c, node, "self", dtype), wide_operand(c, node, "other", dtype)},
                     dtype == DType::kBool ? Op::kAnd : Op::kMul);
}

/// An operand of a sum: the CPU rounds scalars, a GPU does not.
TensorId summand(Conversion& c, const Node& node, std::string_view arg, DType dtype) {
  return on_gpu(c.graph()) ? wide_operand(c, node, arg, dtype)
                           : promoted_operand(c, node, arg, dtype);
}

/// x, an operand in the dtype to compute in, times a factor (1 by default).
TensorId times(Conversion& c, const Node& node, TensorId x, std::string_view arg,
               const std::function<TensorId()>& factor) {
  const auto value = constant_number(node, arg);
  if (node.is_none(arg) || (value && *value == 1.0)) {
    return x;
  }
  const bool truth = c.network().type(x).dtype == DType::kBool;
  return c.network().add_elementwise(x, factor(), truth ? Op::kAnd : Op::kMul);
}

/// first + alpha * second, or the difference.
TensorId sum(Conversion& c, const Node& node, const char* first, const char* second, Op op) {
  const DType dtype = common_dtype(c, node);
  const TensorId a = summand(c, node, first, dtype);
  const TensorId b = times(c, node, summand(c, node, second, dtype), "alpha",
                           [&] { return summand(c, node, "alpha", dtype); });
  return c.network().add_elementwise(a, b, op);
}

TensorId add(Conversion& c, const Node& node) {
  return sum(c, node, "self", "other", common_dtype(c, node) == DType::kBool ? Op::kOr : Op::kAdd);
}

TensorId subtract(Conversion& c, const Node& node) {
  return sum(c, node, "self", "other", Op::kSub);
}

TensorId reverse_subtract(Conversion& c, const Node& node) {
  return sum(c, node, "other", "self", Op::kSub);
}

/// Divisors that are scalars stay as they are.
Pair fraction(Conversion& c, const Node& node, DType dtype) {
  return {promoted_operand(c, node, "self", dtype), wide_operand(c, node, "other", dtype)};
}

TensorId true_divide(Conversion& c, const Node& node) {
  const DType dtype = floating_dtype(common_dtype(c, node));
  return elementwise(c, fraction(c, node, dtype), Op::kDiv);
}

TensorId floor_divide(Conversion& c, const Node& node) {
  return elementwise(c, fraction(c, node, common_dtype(c, node)), Op::kFloorDiv);
}

/// Division with rounding_mode: None, "trunc" or "floor".
TensorId divide(Conversion& c, const Node& node) {
  const std::string mode = node.string("rounding_mode");
  if (mode.empty()) {
    return true_divide(c, node);
  }
  if (mode == "floor") {
    return floor_divide(c, node);
  }
  const DType dtype = common_dtype(c, node);
  if (is_floating_point(dtype)) {
    TensorId quotient = true_divide(c, node);
    // A GPU's kernel rounds the quotient of two tensors to their own type before it cuts it off.
    if (on_gpu(c.graph()) && has_tensor(node, "other")) quotient = c.cast(quotient, dtype);
    return c.cast(c.network().add_unary(quotient, UnaryOp::kTrunc), compute_dtype(dtype));
  }
  return elementwise(c, fraction(c, node, dtype), Op::kTruncDiv);
}

/// What float16's roots are taken of: the CPU's kernel has C's pow there, for which -inf counts as
/// inf and -0 as 0.
TensorId under_root(Conversion& c, TensorId x, DType dtype) {
  if (dtype != DType::kFloat16 || on_gpu(c.graph())) return x;
  const DType type = c.network().type(x).dtype;
  const TensorId infinite = elementwise(c, {x, real(c, -HUGE_VAL, type)}, Op::kEqual);
  const TensorId positive = elementwise(c, {x, real(c, 0.0, type)}, Op::kAdd);
  return choose(c, {infinite, real(c, HUGE_VAL, type), positive});
}

/// x to a constant power, with the short forms that PyTorch's own kernel takes.
TensorId constant_power(Conversion& c, TensorId x, double exponent, DType dtype) {
  Network& n = c.network();
  const auto squared = [&] { return c.network().add_elementwise(x, x, Op::kMul); };
  if (exponent == 1) return x;
  if (exponent == 2) return squared();
  if (exponent == 3) return c.network().add_elementwise(squared(), x, Op::kMul);
  if (is_floating_point(dtype)) {
    if (exponent == 0.5) return n.add_unary(under_root(c, x, dtype), UnaryOp::kSqrt);
    if (exponent == -0.5) return n.add_unary(under_root(c, x, dtype), UnaryOp::kRsqrt);
    if (exponent == -1) return n.add_unary(x, UnaryOp::kReciprocal);
    if (exponent == -2) return n.add_unary(squared(), UnaryOp::kReciprocal);
  }
  return -1;
}

TensorId power(Conversion& c, const Node& node) {
  DType dtype = result_type(c.graph(), node, {"self", "exponent"});
  if (dtype == DType::kBool) {
    dtype = DType::kUInt8;  // 0 and 1 stay so, and the result is cast back
  }
  const TensorId x = promoted_operand(c, node, "self", dtype);
  if (const auto exponent = constant_number(node, "exponent")) {
    if (const TensorId short_form = constant_power(c, x, *exponent, dtype); short_form >= 0) {
      return short_form;
    }
  }
  return c.network().add_elementwise(x, promoted_operand(c, node, "exponent", dtype), Op::kPow);
}

/// PyTorch raises an error for a negative constant power of integers, and takes a tensor's.
Support power_support(const SupportContext& c, const Node& node) {
  const auto exponent = constant_number(node, "exponent");
  const bool negative = exponent && *exponent < 0;
  return negative && !is_floating_point(result_type(c.graph, node, {"self", "exponent"}))
             ? Support::no("integers have no negative powers, for which PyTorch raises an error")
             : Support::yes();
}

/// fmax, fmin: the other operand where one is NaN.
Compute ignoring_nan(Op op) {
  return [op](Conversion& c, const Node& node) {
    const DType dtype = common_dtype(c, node);
    if (!is_floating_point(dtype)) {
      const Op boolean = op == Op::kMax ? Op::kOr : Op::kAnd;
      return binary(op, boolean)(c, node);
    }
    Network& n = c.network();
    const auto [a, b] = operands(c, node, dtype);
    const TensorId b_or_best =
        choose(c, {n.add_unary(b, UnaryOp::kIsNan), a, c.network().add_elementwise(a, b, op)});
    return n.add_select(n.add_unary(a, UnaryOp::kIsNan), b, b_or_best);
  };
}

TensorId atan2(Conversion& c, const Node& node) {
  return elementwise(c, operands(c, node, floating_dtype(common_dtype(c, node))), Op::kAtan2);
}

/// self + value * tensor1 * tensor2, or / tensor2, in the order of PyTorch's kernel.
Compute add_combined(Op op) {
  return [op](Conversion& c, const Node& node) {
    const DType dtype = compute_dtype(result_type(c.graph(), node, {"self", "tensor1", "tensor2"}));
    const TensorId scaled_first = times(c, node, c.operand(node, "tensor1", dtype), "value",
                                        [&] { return c.operand(node, "value", dtype); });
    const TensorId combined =
        c.network().add_elementwise(scaled_first, c.operand(node, "tensor2", dtype), op);
    return c.network().add_elementwise(c.operand(node, "self", dtype), combined, Op::kAdd);
  };
}

Support addcdiv_support(const SupportContext& c, const Node& node) {
  const DType dtype = result_type(c.graph, node, {"self", "tensor1", "tensor2"});
  return is_floating_point(dtype) ? Support::yes()
                                  : Support::no("addcdiv divides floating point numbers only");
}

/// PyTorch's lerp: start + weight * (end - start), from the nearer end so that both are exact.
TensorId lerp(Conversion& c, const Node& node) {
  const DType common = result_type(c.graph(), node, {"self", "end"});
  const DType dtype = compute_dtype(common);
  Network& n = c.network();
  const TensorId start = c.operand(node, "self", dtype);
  const TensorId end = c.operand(node, "end", dtype);
  const TensorId weight = has_tensor(node, "weight") ? promoted_operand(c, node, "weight", common)
                                                     : c.operand(node, "weight", dtype);
  const TensorId difference = c.network().add_elementwise(end, start, Op::kSub);
  const TensorId rest = c.network().add_elementwise(real(c, 1.0, dtype), weight, Op::kSub);
  const TensorId from_start = c.network().add_elementwise(
      start, c.network().add_elementwise(weight, difference, Op::kMul), Op::kAdd);
  const TensorId from_end = c.network().add_elementwise(
      end, c.network().add_elementwise(difference, rest, Op::kMul), Op::kSub);
  const TensorId near =
      elementwise(c, {n.add_unary(weight, UnaryOp::kAbs), real(c, 0.5, dtype)}, Op::kLess);
  return n.add_select(near, from_start, from_end);
}

/// x where y is not 0, else 0: xlogy multiplies x by log y and gives 0 for x = 0 (NaN for y NaN).
TensorId xlogy(Conversion& c, const Node& node) {
  Network& n = c.network();
  const auto [x, y] = operands(c, node, floating_dtype(common_dtype(c, node)));
  const TensorId product = c.network().add_elementwise(x, n.add_unary(y, UnaryOp::kLog), Op::kMul);
  const TensorId zero = real(c, 0.0, n.type(x).dtype);
  const TensorId guarded =
      n.add_select(c.network().add_elementwise(x, zero, Op::kEqual), zero, product);
  return n.add_select(n.add_unary(y, UnaryOp::kIsNan), y, guarded);
}

/// sqrt(a² + b²) without overflow: m * sqrt(1 + (l/m)²) with m the larger magnitude.
TensorId hypot(Conversion& c, const Node& node) {
  Network& n = c.network();
  const auto [x, y] = operands(c, node, common_dtype(c, node));
  const DType dtype = n.type(x).dtype;
  const TensorId a = n.add_unary(x, UnaryOp::kAbs);
  const TensorId b = n.add_unary(y, UnaryOp::kAbs);
  const TensorId large = c.network().add_elementwise(a, b, Op::kMax);
  const TensorId small = c.network().add_elementwise(a, b, Op::kMin);
  const TensorId ratio = c.network().add_elementwise(small, large, Op::kDiv);
  const TensorId one_plus = elementwise(
      c, {real(c, 1.0, dtype), c.network().add_elementwise(ratio, ratio, Op::kMul)}, Op::kAdd);
  const TensorId root =
      c.network().add_elementwise(large, n.add_unary(one_plus, UnaryOp::kSqrt), Op::kMul);
  // 0/0 and inf/inf are NaN: 0 stays, and an infinite side wins, over NaN too.
  const TensorId zero = real(c, 0.0, dtype);
  const TensorId finite =
      n.add_select(c.network().add_elementwise(large, zero, Op::kEqual), zero, root);
  const TensorId past_b = n.add_select(n.add_unary(b, UnaryOp::kIsInf), b, finite);
  return n.add_select(n.add_unary(a, UnaryOp::kIsInf), a, past_b);
}

Support hypot_support(const SupportContext& c, const Node& node) {
  return is_floating_point(result_type(c.graph, node, {"self", "other"}))
             ? Support::yes()
             : Support::no("hypot takes floating point numbers only");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_arithmetic(ConverterRegistry& r) {
  using namespace aten;
  for (const char* overload : {"Tensor", "Scalar"}) {
    const std::string suffix = std::string(".") + overload;
    r.add("aten.add" + suffix, single(add));
    r.add("aten.sub" + suffix, single(subtract));
    r.add("aten.subtract" + suffix, single(subtract));
    r.add("aten.rsub" + suffix, single(reverse_subtract));
    r.add("aten.mul" + suffix, single(multiply));
    r.add("aten.multiply" + suffix, single(multiply));
    r.add("aten.div" + suffix, single(divide));
    r.add("aten.div" + suffix + "_mode", single(divide));
    r.add("aten.divide" + suffix, single(divide));
    r.add("aten.divide" + suffix + "_mode", single(divide));
    r.add("aten.true_divide" + suffix, single(true_divide));
    r.add("aten.remainder" + suffix, single(binary(Op::kMod)));
    r.add("aten.fmod" + suffix, single(binary(Op::kFmod)));
    r.add("aten.lerp" + suffix, single(lerp));
  }
  r.add("aten.floor_divide.default", single(floor_divide));
  r.add("aten.floor_divide.Scalar", single(floor_divide));
  r.add("aten.remainder.Scalar_Tensor", single(binary(Op::kMod)));
  for (const char* overload : {"Tensor_Tensor", "Tensor_Scalar", "Scalar"}) {
    r.add(std::string("aten.pow.") + overload, single(power, power_support));
  }
  r.add("aten.maximum.default", single(binary(Op::kMax, Op::kOr)));
  r.add("aten.minimum.default", single(binary(Op::kMin, Op::kAnd)));
  r.add("aten.max.other", single(binary(Op::kMax, Op::kOr)));
  r.add("aten.min.other", single(binary(Op::kMin, Op::kAnd)));
  r.add("aten.fmax.default", single(ignoring_nan(Op::kMax)));
  r.add("aten.fmin.default", single(ignoring_nan(Op::kMin)));
  r.add("aten.atan2.default", single(atan2));
  r.add("aten.arctan2.default", single(atan2));
  r.add("aten.addcmul.default", single(add_combined(Op::kMul)));
  r.add("aten.addcdiv.default", single(add_combined(Op::kDiv), addcdiv_support));
  r.add("aten.hypot.default", single(hypot, hypot_support));
  for (const char* overload : {"Tensor", "Scalar_Self", "Scalar_Other"}) {
    r.add(std::string("aten.xlogy.") + overload, single(xlogy));
  }
}

}  // namespace stator
