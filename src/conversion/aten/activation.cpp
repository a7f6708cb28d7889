// SPDX-License-Identifier: Apache-2.0
//
// Activation functions.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

Compute unary(UnaryOp op) {
  return [op](Conversion& c, const Node& node) {
    return c.network().add_unary(floating_operand(c, node, "self"), op);
  };
}

TensorId relu(Conversion& c, const Node& node) {
  if (is_floating_point(c.meta(node, "self").dtype)) {
    return unary(UnaryOp::kRelu)(c, node);
  }
  const TensorId x = c.tensor(node, "self");
  return c.network().add_elementwise(x, whole(c, 0, c.network().type(x).dtype), Op::kMax);
}

TensorId gelu(Conversion& c, const Node& node) {
  const bool by_tanh = node.string("approximate", "none") == "tanh";
  return unary(by_tanh ? UnaryOp::kGeluTanh : UnaryOp::kGelu)(c, node);
}

/// min(max(x, low), high), either bound absent. In the dtype that all three promote to.
Compute clamp(const char* low, const char* high) {
  return [low, high](Conversion& c, const Node& node) {
    const DType dtype = compute_dtype(result_type(c.graph(), node, {"self", low, high}));
    const bool truth = dtype == DType::kBool;
    TensorId x = c.operand(node, "self", dtype);
    if (!node.is_none(low)) {
      x = c.network().add_elementwise(x, c.operand(node, low, dtype), truth ? Op::kOr : Op::kMax);
    }
    if (!node.is_none(high)) {
      x = c.network().add_elementwise(x, c.operand(node, high, dtype), truth ? Op::kAnd : Op::kMin);
    }
    return x;
  };
}

/// hardtanh keeps its operand's dtype; relu6 is hardtanh from 0 to 6.
TensorId clamp_between(Conversion& c, const Node& node, double low, double high) {
  const DType dtype = compute_dtype(c.meta(node, "self").dtype);
  const TensorId x = c.operand(node, "self", dtype);
  return elementwise(
      c, {c.network().add_elementwise(x, real(c, low, dtype), Op::kMax), real(c, high, dtype)},
      Op::kMin);
}

TensorId hardtanh(Conversion& c, const Node& node) {
  return clamp_between(c, node, node.number("min_val", -1.0), node.number("max_val", 1.0));
}

TensorId relu6(Conversion& c, const Node& node) { return clamp_between(c, node, 0.0, 6.0); }

/// x where x > 0, else x * slope.
TensorId leaky(Conversion& c, TensorId x, TensorId slope) {
  const TensorId positive =
      c.network().add_elementwise(x, real(c, 0.0, c.network().type(x).dtype), Op::kGreater);
  return c.network().add_select(positive, x, c.network().add_elementwise(x, slope, Op::kMul));
}

TensorId leaky_relu(Conversion& c, const Node& node) {
  const TensorId x = floating_operand(c, node, "self");
  return leaky(c, x, real(c, node.number("negative_slope", 0.01), c.network().type(x).dtype));
}

/// In eval mode the slope is the middle of its range.
TensorId rrelu(Conversion& c, const Node& node) {
  const TensorId x = floating_operand(c, node, "self");
  const double slope = (node.number("lower", 1.0 / 8) + node.number("upper", 1.0 / 3)) / 2;
  return leaky(c, x, real(c, slope, c.network().type(x).dtype));
}

Support not_training(const SupportContext&, const Node& node) {
  return node.boolean("training") ? Support::no("it is in training mode, where its slope is random")
                                  : Support::yes();
}

/// One slope, or one a channel (axis 1).
TensorId prelu(Conversion& c, const Node& node) {
  const TensorId x = floating_operand(c, node, "self");
  const auto& type = c.network().type(x);
  Shape shape(static_cast<size_t>(type.rank()), Expr(1));
  const Expr channels = product(c.meta(node, "weight").shape);
  if (shape.size() > 1) {
    shape[1] = channels;
  }
  const TensorId slope = c.operand(node, "weight", type.dtype);
  return leaky(c, x, c.network().add_reshape(slope, shape));
}

TensorId prelu_kernel(Conversion& c, const Node& node) {
  const TensorId x = floating_operand(c, node, "self");
  return leaky(c, x, c.operand(node, "weight", c.network().type(x).dtype));
}

/// scale * x where x >= 0, else scale * alpha * expm1(input_scale * x).
TensorId elu_with(Conversion& c, const Node& node, double alpha, double scale, double input_scale) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const DType dtype = n.type(x).dtype;
  const auto times = [&](TensorId t, double factor) {
    return factor == 1.0 ? t : c.network().add_elementwise(t, real(c, factor, dtype), Op::kMul);
  };
  const TensorId negative = c.network().add_elementwise(x, real(c, 0.0, dtype), Op::kLess);
  const TensorId below = times(n.add_unary(times(x, input_scale), UnaryOp::kExpm1), alpha * scale);
  return n.add_select(negative, below, times(x, scale));
}

TensorId elu(Conversion& c, const Node& node) {
  return elu_with(c, node, node.number("alpha", 1.0), node.number("scale", 1.0),
                  node.number("input_scale", 1.0));
}

TensorId selu(Conversion& c, const Node& node) {
  return elu_with(c, node, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946,
                  1.0);
}

TensorId celu(Conversion& c, const Node& node) {
  const double alpha = node.number("alpha", 1.0);
  return elu_with(c, node, alpha, 1.0, 1.0 / alpha);
}

/// log1p(exp(beta x)) / beta, and x itself where beta x > threshold.
TensorId softplus(Conversion& c, const Node& node) {
  Network& n = c.network();
  const double beta = node.number("beta", 1.0);
  const double threshold = node.number("threshold", 20.0);
  const TensorId x = floating_operand(c, node, "self");
  if (beta == 1.0 && threshold == 20.0) {
    return n.add_unary(x, UnaryOp::kSoftplus);
  }
  const DType dtype = n.type(x).dtype;
  const TensorId scaled = c.network().add_elementwise(x, real(c, beta, dtype), Op::kMul);
  const TensorId smooth = elementwise(
      c, {n.add_unary(n.add_unary(scaled, UnaryOp::kExp), UnaryOp::kLog1p), real(c, beta, dtype)},
      Op::kDiv);
  return n.add_select(c.network().add_elementwise(scaled, real(c, threshold, dtype), Op::kGreater),
                      x, smooth);
}

/// The second output is what the gradient reuses: exp(-|x|).
std::vector<TensorId> log_sigmoid_forward(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const TensorId magnitude = n.add_unary(n.add_unary(x, UnaryOp::kAbs), UnaryOp::kNeg);
  return {n.add_unary(x, UnaryOp::kLogSigmoid), n.add_unary(magnitude, UnaryOp::kExp)};
}

TensorId threshold(Conversion& c, const Node& node) {
  const DType dtype = compute_dtype(c.meta(node, "self").dtype);
  const TensorId x = c.operand(node, "self", dtype);
  const TensorId below =
      c.network().add_elementwise(x, c.operand(node, "threshold", dtype), Op::kLessEqual);
  return c.network().add_select(below, c.operand(node, "value", dtype), x);
}

TensorId hardshrink(Conversion& c, const Node& node) {
  const TensorId x = floating_operand(c, node, "self");
  const DType dtype = c.network().type(x).dtype;
  // The bound is rounded to the tensor's own dtype.
  const TensorId bound = node.find("lambd") == nullptr
                             ? real(c, 0.5, dtype)
                             : promoted_operand(c, node, "lambd", c.meta(node, "self").dtype);
  const TensorId least = c.network().add_unary(bound, UnaryOp::kNeg);
  const TensorId inside = elementwise(c,
                                      {c.network().add_elementwise(x, least, Op::kGreaterEqual),
                                       c.network().add_elementwise(x, bound, Op::kLessEqual)},
                                      Op::kAnd);
  return c.network().add_select(inside, real(c, 0.0, dtype), x);
}

/// x moved towards 0 by lambd; 0 * x between, so that NaN stays. A GPU's kernel rounds lambd to x's
/// own type.
TensorId softshrink(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const DType dtype = n.type(x).dtype;
  const bool rounds = on_gpu(c.graph()) && node.find("lambd") != nullptr;
  const TensorId bound = rounds ? promoted_operand(c, node, "lambd", c.meta(node, "self").dtype)
                                : real(c, node.number("lambd", 0.5), dtype);
  const TensorId low = n.add_unary(bound, UnaryOp::kNeg);
  const TensorId between = c.network().add_elementwise(x, real(c, 0.0, dtype), Op::kMul);
  const TensorId below = choose(c, {c.network().add_elementwise(x, low, Op::kLess),
                                    c.network().add_elementwise(x, bound, Op::kAdd), between});
  return choose(c, {c.network().add_elementwise(x, bound, Op::kGreater),
                    c.network().add_elementwise(x, bound, Op::kSub), below});
}

TensorId tanhshrink(Conversion& c, const Node& node) {
  const TensorId x = floating_operand(c, node, "self");
  return c.network().add_elementwise(x, c.network().add_unary(x, UnaryOp::kTanh), Op::kSub);
}

TensorId softsign(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const TensorId one = real(c, 1.0, n.type(x).dtype);
  return c.network().add_elementwise(
      x, c.network().add_elementwise(n.add_unary(x, UnaryOp::kAbs), one, Op::kAdd), Op::kDiv);
}

/// The first half along dim, gated by the sigmoid of the second.
TensorId glu(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "self");
  const TensorType type = n.type(x);
  const auto dim = static_cast<size_t>(normalize_dim(node.integer("dim", -1), type.rank()));
  Shape start(type.shape.size(), Expr(0)), size = type.shape;
  const std::vector<int64_t> step(type.shape.size(), 1);
  size[dim] = floor_div(type.shape[dim], 2);
  const TensorId value = n.add_slice(x, start, size, step);
  start[dim] = size[dim];
  const TensorId gate = n.add_slice(x, start, size, step);
  return c.network().add_elementwise(value, n.add_unary(gate, UnaryOp::kSigmoid), Op::kMul);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_activation(ConverterRegistry& r) {
  using namespace aten;
  const auto add = [&](const char* name, Compute compute, Validate support = {}) {
    r.add(std::string("aten.") + name + ".default", single(std::move(compute), support));
  };
  add("relu", relu);
  add("relu6", relu6);
  add("hardtanh", hardtanh);
  add("gelu", gelu);
  add("silu", unary(UnaryOp::kSilu));
  add("mish", unary(UnaryOp::kMish));
  add("hardswish", unary(UnaryOp::kHardSwish));
  add("hardsigmoid", unary(UnaryOp::kHardSigmoid));
  add("log_sigmoid", unary(UnaryOp::kLogSigmoid));
  r.add("aten.log_sigmoid_forward.default", several(log_sigmoid_forward));
  for (const char* name : {"clamp.default", "clamp.Tensor", "clip.default", "clip.Tensor"}) {
    r.add(std::string("aten.") + name, single(clamp("min", "max")));
  }
  for (const char* overload : {"default", "Tensor"}) {
    r.add(std::string("aten.clamp_min.") + overload, single(clamp("min", "")));
    r.add(std::string("aten.clamp_max.") + overload, single(clamp("", "max")));
  }
  add("leaky_relu", leaky_relu);
  add("rrelu", rrelu, not_training);
  add("prelu", prelu);
  add("_prelu_kernel", prelu_kernel);
  add("elu", elu);
  add("selu", selu);
  add("celu", celu);
  add("softplus", softplus);
  add("threshold", threshold);
  add("hardshrink", hardshrink);
  add("softshrink", softshrink);
  add("tanhshrink", tanhshrink);
  add("softsign", softsign);
  add("glu", glu);
}

}  // namespace stator
