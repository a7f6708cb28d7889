// SPDX-License-Identifier: Apache-2.0
//
// Elementwise functions of one operand: one layer each, in the dtype that PyTorch computes in.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// Of floating point numbers; integers and bool become float32 first.
Compute of_floats(UnaryOp op) {
  return [op](Conversion& c, const Node& node) {
    return c.network().add_unary(floating_operand(c, node, "self"), op);
  };
}

/// Of any number; the dtype stays.
Compute of_numbers(UnaryOp op) {
  return [op](Conversion& c, const Node& node) {
    return c.network().add_unary(c.operand(node, "self", compute_dtype(c.meta(node, "self").dtype)),
                                 op);
  };
}

/// Rounding: nothing to do for integers.
Compute rounding(UnaryOp op) {
  return [op](Conversion& c, const Node& node) {
    const DType dtype = c.meta(node, "self").dtype;
    return is_floating_point(dtype) ? of_floats(op)(c, node) : c.tensor(node, "self");
  };
}

/// abs, sign and positive of bool are the operand itself.
Compute of_magnitude(UnaryOp op) {
  return [op](Conversion& c, const Node& node) {
    return c.meta(node, "self").dtype == DType::kBool ? c.tensor(node, "self")
                                                      : of_numbers(op)(c, node);
  };
}

/// NaN and infinity tests; integers have neither.
Compute classify(UnaryOp op) {
  return [op](Conversion& c, const Node& node) {
    if (is_floating_point(c.meta(node, "self").dtype)) {
      return of_floats(op)(c, node);
    }
    return c.network().add_fill(c.output_meta(node).shape, DType::kBool, Scalar::of(int64_t{0}));
  };
}

TensorId isfinite(Conversion& c, const Node& node) {
  Network& n = c.network();
  if (!is_floating_point(c.meta(node, "self").dtype)) {
    return n.add_fill(c.output_meta(node).shape, DType::kBool, Scalar::of(int64_t{1}));
  }
  const TensorId x = floating_operand(c, node, "self");
  const TensorId neither =
      elementwise(c, {n.add_unary(x, UnaryOp::kIsNan), n.add_unary(x, UnaryOp::kIsInf)}, Op::kOr);
  return n.add_unary(neither, UnaryOp::kNot);
}

/// isposinf, isneginf.
Compute infinite_with_sign(Op comparison) {
  return [comparison](Conversion& c, const Node& node) {
    Network& n = c.network();
    if (!is_floating_point(c.meta(node, "self").dtype)) {
      return n.add_fill(c.output_meta(node).shape, DType::kBool, Scalar::of(int64_t{0}));
    }
    const TensorId x = floating_operand(c, node, "self");
    const TensorId sided = n.add_elementwise(x, real(c, 0.0, n.type(x).dtype), comparison);
    return n.add_elementwise(n.add_unary(x, UnaryOp::kIsInf), sided, Op::kAnd);
  };
}

TensorId square(Conversion& c, const Node& node) {
  const DType dtype = c.meta(node, "self").dtype;
  const TensorId x =
      c.operand(node, "self", dtype == DType::kBool ? DType::kInt64 : compute_dtype(dtype));
  return c.network().add_elementwise(x, x, Op::kMul);
}

TensorId frac(Conversion& c, const Node& node) {
  const TensorId x = floating_operand(c, node, "self");
  return c.network().add_elementwise(x, c.network().add_unary(x, UnaryOp::kTrunc), Op::kSub);
}

/// x times a constant: deg2rad, rad2deg.
Compute times(double factor) {
  return [factor](Conversion& c, const Node& node) {
    const TensorId x = floating_operand(c, node, "self");
    return c.network().add_elementwise(x, real(c, factor, c.network().type(x).dtype), Op::kMul);
  };
}

/// log(x / (1 - x)), of x clamped to [eps, 1 - eps] where eps is given.
TensorId logit(Conversion& c, const Node& node) {
  Network& n = c.network();
  TensorId x = floating_operand(c, node, "self");
  const DType dtype = n.type(x).dtype;
  const TensorId one = real(c, 1.0, dtype);
  if (!node.is_none("eps")) {
    const double eps = node.number("eps");
    const TensorId low = real(c, eps, dtype);
    x = n.add_elementwise(x, low, Op::kMax);
    x = n.add_elementwise(x, n.add_elementwise(one, low, Op::kSub), Op::kMin);
  }
  const TensorId odds = n.add_elementwise(x, n.add_elementwise(one, x, Op::kSub), Op::kDiv);
  return n.add_unary(odds, UnaryOp::kLog);
}

/// sin(pi x)/(pi x), 1 at 0.
TensorId sinc(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const DType dtype = n.type(x).dtype;
  const TensorId angle = n.add_elementwise(x, real(c, 3.14159265358979323846, dtype), Op::kMul);
  const TensorId ratio = n.add_elementwise(n.add_unary(angle, UnaryOp::kSin), angle, Op::kDiv);
  const TensorId at_zero = n.add_elementwise(x, real(c, 0.0, dtype), Op::kEqual);
  return n.add_select(at_zero, real(c, 1.0, dtype), ratio);
}

TensorId nan_to_num(Conversion& c, const Node& node) {
  const DType stored = c.meta(node, "self").dtype;
  if (!is_floating_point(stored)) {
    return c.tensor(node, "self");
  }
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const DType dtype = n.type(x).dtype;
  const double largest = stored == DType::kFloat64    ? 1.7976931348623157e308
                         : stored == DType::kFloat16  ? 65504.0
                         : stored == DType::kBFloat16 ? 3.3895313892515355e38
                                                      : 3.4028234663852886e38;
  const TensorId no_nan =
      choose(c, {n.add_unary(x, UnaryOp::kIsNan), real(c, node.number("nan", 0.0), dtype), x});
  const TensorId infinite = n.add_unary(x, UnaryOp::kIsInf);
  const TensorId positive = n.add_elementwise(x, real(c, 0.0, dtype), Op::kGreater);
  const TensorId bound = choose(c, {positive, real(c, node.number("posinf", largest), dtype),
                                    real(c, node.number("neginf", -largest), dtype)});
  return n.add_select(infinite, bound, no_nan);
}

/// torch.round(x, decimals): scaled by a power of ten, rounded, scaled back.
TensorId round_decimals(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const DType dtype = n.type(x).dtype;
  const int64_t decimals = node.integer("decimals");
  double power = 1;
  for (int64_t i = 0; i < (decimals < 0 ? -decimals : decimals); ++i) {
    power *= 10;
  }
  const TensorId scale = real(c, power, dtype);
  const Op before = decimals < 0 ? Op::kDiv : Op::kMul;
  const Op after = decimals < 0 ? Op::kMul : Op::kDiv;
  const TensorId rounded = n.add_unary(n.add_elementwise(x, scale, before), UnaryOp::kRound);
  return n.add_elementwise(rounded, scale, after);
}

Support not_bool(const SupportContext& c, const Node& node) {
  return c.meta(node, "self").dtype == DType::kBool
             ? Support::no("argument self is bool, and a bool has no negative")
             : Support::yes();
}

struct Named {
  const char* name;
  UnaryOp op;
};

constexpr Named kFloatFunctions[] = {
    {"exp", UnaryOp::kExp},
    {"exp2", UnaryOp::kExp2},
    {"expm1", UnaryOp::kExpm1},
    {"log", UnaryOp::kLog},
    {"log2", UnaryOp::kLog2},
    {"log10", UnaryOp::kLog10},
    {"log1p", UnaryOp::kLog1p},
    {"sqrt", UnaryOp::kSqrt},
    {"rsqrt", UnaryOp::kRsqrt},
    {"reciprocal", UnaryOp::kReciprocal},
    {"sin", UnaryOp::kSin},
    {"cos", UnaryOp::kCos},
    {"tan", UnaryOp::kTan},
    {"asin", UnaryOp::kAsin},
    {"acos", UnaryOp::kAcos},
    {"atan", UnaryOp::kAtan},
    {"sinh", UnaryOp::kSinh},
    {"cosh", UnaryOp::kCosh},
    {"tanh", UnaryOp::kTanh},
    {"asinh", UnaryOp::kAsinh},
    {"acosh", UnaryOp::kAcosh},
    {"atanh", UnaryOp::kAtanh},
    {"erf", UnaryOp::kErf},
    {"sigmoid", UnaryOp::kSigmoid},
    {"special_erf", UnaryOp::kErf},
    {"special_expit", UnaryOp::kSigmoid},
    {"arcsin", UnaryOp::kAsin},
    {"arccos", UnaryOp::kAcos},
    {"arctan", UnaryOp::kAtan},
    {"arcsinh", UnaryOp::kAsinh},
    {"arccosh", UnaryOp::kAcosh},
    {"arctanh", UnaryOp::kAtanh},
    {"special_exp2", UnaryOp::kExp2},
    {"special_expm1", UnaryOp::kExpm1},
    {"special_log1p", UnaryOp::kLog1p},
};

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_unary(ConverterRegistry& r) {
  using namespace aten;
  const auto add = [&](const char* name, Compute compute, Validate support = {}) {
    r.add(std::string("aten.") + name + ".default", single(std::move(compute), support));
  };
  for (const Named& function : kFloatFunctions) {
    add(function.name, of_floats(function.op));
  }
  for (const char* name : {"neg", "negative"}) add(name, of_numbers(UnaryOp::kNeg), not_bool);
  for (const char* name : {"abs", "absolute"}) add(name, of_magnitude(UnaryOp::kAbs));
  for (const char* name : {"sign", "sgn"}) add(name, of_magnitude(UnaryOp::kSign));
  add("floor", rounding(UnaryOp::kFloor));
  add("ceil", rounding(UnaryOp::kCeil));
  add("round", rounding(UnaryOp::kRound));
  for (const char* name : {"trunc", "fix"}) add(name, rounding(UnaryOp::kTrunc));
  r.add("aten.round.decimals", single(round_decimals, floats("self")));
  add("isnan", classify(UnaryOp::kIsNan));
  add("isinf", classify(UnaryOp::kIsInf));
  add("isfinite", isfinite);
  add("isposinf", infinite_with_sign(Op::kGreater));
  add("isneginf", infinite_with_sign(Op::kLess));
  add("square", square);
  add("frac", frac, floats("self"));
  add("deg2rad", times(0.017453292519943295769236907684886));
  add("rad2deg", times(57.295779513082320876798154814105));
  for (const char* name : {"logit", "special_logit"}) add(name, logit);
  for (const char* name : {"sinc", "special_sinc"}) add(name, sinc);
  add("nan_to_num", nan_to_num);
}

}  // namespace stator
