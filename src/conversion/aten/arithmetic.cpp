// SPDX-License-Identifier: Apache-2.0
//
// Elementwise arithmetic on two or three operands, tensors or scalars.
#include "base/check.h"
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// The dtype that PyTorch promotes self and other to, as computed in.
DType common_dtype(const Conversion& c, const Node& node) {
  return compute_dtype(result_type(c.graph(), node, {"self", "other"}));
}

/// self and other in their common dtype, through one layer. `boolean`: the op that stands for it
/// where both are bool.
Compute binary(Op op, std::optional<Op> boolean = std::nullopt) {
  return [op, boolean](Conversion& c, const Node& node) {
    const DType dtype = common_dtype(c, node);
    const Op used = dtype == DType::kBool && boolean ? *boolean : op;
    return elementwise(c, {c.operand(node, "self", dtype), c.operand(node, "other", dtype)}, used);
  };
}

/// The argument times alpha (1 by default) in `dtype`.
TensorId scaled(Conversion& c, const Node& node, std::string_view arg, DType dtype,
                std::string_view factor = "alpha") {
  const TensorId x = c.operand(node, arg, dtype);
  const auto value = constant_number(node, factor);
  if (node.is_none(factor) || (value && *value == 1.0)) {
    return x;
  }
  return c.network().add_elementwise(x, c.operand(node, factor, dtype),
                                     dtype == DType::kBool ? Op::kAnd : Op::kMul);
}

TensorId add(Conversion& c, const Node& node) {
  const DType dtype = common_dtype(c, node);
  return elementwise(c, {c.operand(node, "self", dtype), scaled(c, node, "other", dtype)},
                     dtype == DType::kBool ? Op::kOr : Op::kAdd);
}

TensorId subtract(Conversion& c, const Node& node) {
  const DType dtype = common_dtype(c, node);
  return elementwise(c, {c.operand(node, "self", dtype), scaled(c, node, "other", dtype)},
                     Op::kSub);
}

TensorId reverse_subtract(Conversion& c, const Node& node) {
  const DType dtype = common_dtype(c, node);
  return elementwise(c, {c.operand(node, "other", dtype), scaled(c, node, "self", dtype)},
                     Op::kSub);
}

TensorId true_divide(Conversion& c, const Node& node) {
  const DType dtype =
      compute_dtype(floating_dtype(result_type(c.graph(), node, {"self", "other"})));
  return elementwise(c, {c.operand(node, "self", dtype), c.operand(node, "other", dtype)},
                     Op::kDiv);
}

TensorId floor_divide(Conversion& c, const Node& node) {
  const DType dtype = common_dtype(c, node);
  return elementwise(c, {c.operand(node, "self", dtype), c.operand(node, "other", dtype)},
                     Op::kFloorDiv);
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
    return c.network().add_unary(true_divide(c, node), UnaryOp::kTrunc);
  }
  return elementwise(c, {c.operand(node, "self", dtype), c.operand(node, "other", dtype)},
                     Op::kTruncDiv);
}

/// x to a constant power, with the short forms that PyTorch's own kernel takes.
TensorId constant_power(Conversion& c, TensorId x, double exponent, DType dtype) {
  Network& n = c.network();
  const auto squared = [&] { return c.network().add_elementwise(x, x, Op::kMul); };
  if (exponent == 1) return x;
  if (exponent == 2) return squared();
  if (exponent == 3) return c.network().add_elementwise(squared(), x, Op::kMul);
  if (is_floating_point(dtype)) {
    if (exponent == 0.5) return n.add_unary(x, UnaryOp::kSqrt);
    if (exponent == -0.5) return n.add_unary(x, UnaryOp::kRsqrt);
    if (exponent == -1) return n.add_unary(x, UnaryOp::kReciprocal);
    if (exponent == -2) return n.add_unary(squared(), UnaryOp::kReciprocal);
  }
  return -1;
}

TensorId power(Conversion& c, const Node& node) {
  DType dtype = compute_dtype(result_type(c.graph(), node, {"self", "exponent"}));
  if (dtype == DType::kBool) {
    dtype = DType::kUInt8;  // 0 and 1 stay so, and the result is cast back
  }
  const TensorId x = c.operand(node, "self", dtype);
  if (const auto exponent = constant_number(node, "exponent")) {
    if (const TensorId short_form = constant_power(c, x, *exponent, dtype); short_form >= 0) {
      return short_form;
    }
  }
  return c.network().add_elementwise(x, c.operand(node, "exponent", dtype), Op::kPow);
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
    const TensorId a = c.operand(node, "self", dtype);
    const TensorId b = c.operand(node, "other", dtype);
    const TensorId b_or_best =
        choose(c, {n.add_unary(b, UnaryOp::kIsNan), a, c.network().add_elementwise(a, b, op)});
    return n.add_select(n.add_unary(a, UnaryOp::kIsNan), b, b_or_best);
  };
}

TensorId atan2(Conversion& c, const Node& node) {
  const DType dtype =
      compute_dtype(floating_dtype(result_type(c.graph(), node, {"self", "other"})));
  return elementwise(c, {c.operand(node, "self", dtype), c.operand(node, "other", dtype)},
                     Op::kAtan2);
}

/// self + value * tensor1 * tensor2, or / tensor2, in the order of PyTorch's kernel.
Compute add_combined(Op op) {
  return [op](Conversion& c, const Node& node) {
    const DType dtype = compute_dtype(result_type(c.graph(), node, {"self", "tensor1", "tensor2"}));
    const TensorId scaled_first = scaled(c, node, "tensor1", dtype, "value");
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
  const DType dtype = compute_dtype(result_type(c.graph(), node, {"self", "end"}));
  Network& n = c.network();
  const TensorId start = c.operand(node, "self", dtype);
  const TensorId end = c.operand(node, "end", dtype);
  const TensorId weight = c.operand(node, "weight", dtype);
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
  const DType dtype =
      compute_dtype(floating_dtype(result_type(c.graph(), node, {"self", "other"})));
  Network& n = c.network();
  const TensorId x = c.operand(node, "self", dtype);
  const TensorId y = c.operand(node, "other", dtype);
  const TensorId product = c.network().add_elementwise(x, n.add_unary(y, UnaryOp::kLog), Op::kMul);
  const TensorId zero = real(c, 0.0, dtype);
  const TensorId guarded =
      n.add_select(c.network().add_elementwise(x, zero, Op::kEqual), zero, product);
  return n.add_select(n.add_unary(y, UnaryOp::kIsNan), y, guarded);
}

/// sqrt(a² + b²) without overflow: m * sqrt(1 + (l/m)²) with m the larger magnitude.
TensorId hypot(Conversion& c, const Node& node) {
  const DType dtype = common_dtype(c, node);
  Network& n = c.network();
  const TensorId a = n.add_unary(c.operand(node, "self", dtype), UnaryOp::kAbs);
  const TensorId b = n.add_unary(c.operand(node, "other", dtype), UnaryOp::kAbs);
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
    r.add("aten.mul" + suffix, single(binary(Op::kMul, Op::kAnd)));
    r.add("aten.multiply" + suffix, single(binary(Op::kMul, Op::kAnd)));
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
