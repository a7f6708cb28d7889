// SPDX-License-Identifier: Apache-2.0
//
// Quantization as torch.export writes it (PT2E: torch.ops.quantized_decomposed), as training fakes
// it, and as ModelOpt marks it. The values are those of PyTorch's kernels: round half to even, zero
// points and bounds applied to whole numbers. What stands between a dequantization and the next
// quantization is computed in float32.
#include <numeric>

#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

/// min(max(x, low), high) of one type.
TensorId clamp(Conversion& c, TensorId x, double low, double high) {
  const DType dtype = c.network().type(x).dtype;
  const TensorId above = elementwise(c, {x, real(c, low, dtype)}, Op::kMax);
  return elementwise(c, {above, real(c, high, dtype)}, Op::kMin);
}

TensorId rounded(Conversion& c, TensorId x) { return c.network().add_unary(x, UnaryOp::kRound); }

/// round(x * inverse) + zero, within the bounds; all of one type.
TensorId quantized(Conversion& c, const Node& node, TensorId x, TensorId inverse, TensorId zero) {
  const TensorId whole = rounded(c, elementwise(c, {x, inverse}, Op::kMul));
  const TensorId moved = elementwise(c, {whole, zero}, Op::kAdd);
  return clamp(c, moved, node.number("quant_min"), node.number("quant_max"));
}

TensorId quantize_per_tensor(Conversion& c, const Node& node) {
  const TensorId x = c.operand(node, "input", DType::kFloat32);
  const TensorId inverse = real(c, 1.0 / node.number("scale"), DType::kFloat32);
  const TensorId zero = real(c, node.number("zero_point"), DType::kFloat32);
  return quantized(c, node, x, inverse, zero);
}

/// A number that is given as a tensor of one element, with or without an axis.
TensorId one_number(Conversion& c, const Node& node, std::string_view arg, DType dtype) {
  return c.network().add_reshape(c.operand(node, arg, dtype), {});
}

/// The scale as a tensor of one element; PyTorch reads it into a double.
TensorId quantize_by_tensor(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.operand(node, "input", DType::kFloat32);
  const TensorId scale = one_number(c, node, "scale", DType::kFloat64);
  const TensorId inverse = n.add_cast(n.add_unary(scale, UnaryOp::kReciprocal), DType::kFloat32);
  const TensorId zero = one_number(c, node, "zero_point", DType::kFloat32);
  return quantized(c, node, x, inverse, zero);
}

TensorId dequantize_per_tensor(Conversion& c, const Node& node) {
  const TensorId x = c.operand(node, "input", DType::kFloat32);
  const TensorId zero = real(c, node.number("zero_point"), DType::kFloat32);
  const TensorId moved = elementwise(c, {x, zero}, Op::kSub);
  return elementwise(c, {moved, real(c, node.number("scale"), DType::kFloat32)}, Op::kMul);
}

TensorId dequantize_by_tensor(Conversion& c, const Node& node) {
  const TensorId x = c.operand(node, "input", DType::kFloat32);
  const TensorId zero = one_number(c, node, "zero_point", DType::kFloat32);
  const TensorId scale = one_number(c, node, "scale", DType::kFloat32);
  return elementwise(c, {elementwise(c, {x, zero}, Op::kSub), scale}, Op::kMul);
}

/// A list with one number for each index along `axis`, to be broadcast against the operand.
TensorId along_axis(Conversion& c, const Node& node, std::string_view list, DType dtype,
                    std::string_view operand) {
  Network& n = c.network();
  const TensorId values = c.operand(node, list, dtype);
  const size_t rank = c.meta(node, operand).shape.size();
  Shape shape(rank, Expr(1));
  const int64_t axis = node.integer("axis");
  shape[static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis)] =
      n.type(values).shape[0];
  return n.add_reshape(values, shape);
}

TensorId quantize_per_channel(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = c.meta(node, "scales").dtype;
  const TensorId x = c.operand(node, "input", dtype);
  const TensorId scale = along_axis(c, node, "scales", dtype, "input");
  const TensorId inverse = n.add_unary(scale, UnaryOp::kReciprocal);
  return quantized(c, node, x, inverse, along_axis(c, node, "zero_points", dtype, "input"));
}

/// The zero points are taken off in the integers' common type, as PyTorch does.
TensorId dequantize_per_channel(Conversion& c, const Node& node) {
  const DType dtype = c.meta(node, "scales").dtype;
  TensorId x = c.tensor(node, "input");
  if (has_tensor(node, "zero_points")) {
    const DType common = result_type(c.graph(), node, {"input", "zero_points"});
    x = elementwise(
        c, {c.operand(node, "input", common), along_axis(c, node, "zero_points", common, "input")},
        Op::kSub);
  }
  return elementwise(
      c, {c.network().add_cast(x, dtype), along_axis(c, node, "scales", dtype, "input")}, Op::kMul);
}

/// (clamp(round(x / scale) + zero) - zero) * scale: what training sees of quantization.
TensorId faked(Conversion& c, const Node& node, TensorId x, TensorId scale, TensorId zero) {
  const TensorId inverse = c.network().add_unary(scale, UnaryOp::kReciprocal);
  const TensorId q = quantized(c, node, x, inverse, zero);
  return elementwise(c, {elementwise(c, {q, zero}, Op::kSub), scale}, Op::kMul);
}

TensorId fake_per_tensor(Conversion& c, const Node& node) {
  const TensorId x = c.operand(node, "self", DType::kFloat32);
  const TensorId scale = real(c, node.number("scale"), DType::kFloat32);
  return faked(c, node, x, scale, real(c, node.number("zero_point"), DType::kFloat32));
}

TensorId fake_by_tensor(Conversion& c, const Node& node) {
  const TensorId x = c.operand(node, "self", DType::kFloat32);
  const TensorId scale = one_number(c, node, "scale", DType::kFloat32);
  const TensorId zero = one_number(c, node, "zero_point", DType::kFloat32);
  return faked(c, node, x, scale, zero);
}

TensorId fake_per_channel(Conversion& c, const Node& node) {
  const TensorId x = c.operand(node, "self", DType::kFloat32);
  const TensorId scale = along_axis(c, node, "scale", DType::kFloat32, "self");
  return faked(c, node, x, scale, along_axis(c, node, "zero_point", DType::kFloat32, "self"));
}

/// ModelOpt: x between -amax and amax in steps of amax / bound, where bound is the largest integer
/// of so many bits.
TensorId modelopt(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = floating_operand(c, node, "input");
  const DType dtype = n.type(x).dtype;
  const bool is_unsigned = node.boolean("unsigned");
  const auto bits = node.integer("num_bits") - 1 + static_cast<int64_t>(is_unsigned);
  const auto bound = static_cast<double>((int64_t{1} << bits) - 1);
  const double least = is_unsigned ? 0 : node.boolean("narrow_range") ? -bound : -bound - 1;
  const TensorId amax = c.operand(node, "amax", dtype);
  const TensorId scale = elementwise(c, {real(c, bound, dtype), amax}, Op::kDiv);
  const TensorId q = clamp(c, rounded(c, elementwise(c, {x, scale}, Op::kMul)), least, bound);
  return elementwise(c, {q, scale}, Op::kDiv);
}

/// The least (or the largest) of all elements and zero.
TensorId extreme(Conversion& c, TensorId x, bool least) {
  Network& n = c.network();
  std::vector<int64_t> axes(n.type(x).shape.size());
  std::iota(axes.begin(), axes.end(), int64_t{0});
  const ReduceOp reduce = least ? ReduceOp::kMin : ReduceOp::kMax;
  const TensorId one = axes.empty() ? x : n.add_reduce(x, reduce, axes, false);
  return elementwise(c, {one, real(c, 0, DType::kFloat32)}, least ? Op::kMin : Op::kMax);
}

/// Scale (f64) and zero point (i64) for what the elements reach, of one element each: dynamic
/// quantization. Zero is always among the numbers that have an integer.
ComputeAll choose_parameters(bool symmetric) {
  return [symmetric](Conversion& c, const Node& node) -> std::vector<TensorId> {
    Network& n = c.network();
    constexpr DType kReal = DType::kFloat32;
    const TensorId x = c.operand(node, "input", kReal);
    const double least = node.number("quant_min"), most = node.number("quant_max");
    const TensorId low = extreme(c, x, true), high = extreme(c, x, false);
    const TensorId range = symmetric
                               ? elementwise(c, {n.add_unary(low, UnaryOp::kNeg), high}, Op::kMax)
                               : elementwise(c, {high, low}, Op::kSub);
    const double steps = symmetric ? (most - least) / 2 : most - least;
    const TensorId exact = elementwise(c, {range, real(c, steps, kReal)}, Op::kDiv);
    const TensorId scale = elementwise(c, {exact, real(c, node.number("eps"), kReal)}, Op::kMax);
    TensorId zero = real(c, node.dtype("dtype") == DType::kUInt8 ? 128 : 0, kReal);
    if (!symmetric) {
      const TensorId whole = rounded(c, elementwise(c, {low, scale}, Op::kDiv));
      zero = clamp(c, elementwise(c, {real(c, least, kReal), whole}, Op::kSub), least, most);
    }
    return {n.add_cast(n.add_reshape(scale, {1}), DType::kFloat64),
            n.add_cast(n.add_reshape(zero, {1}), DType::kInt64)};
  };
}

Support whole_float32(const SupportContext& c, const Node& node) {
  const TensorMeta& x = c.meta(node, "input");
  if (x.dtype != DType::kFloat32) return Support::no("its input is no float32");
  for (const Expr& size : x.shape) {
    if (size.is_constant(0)) return Support::no("its input is empty");
  }
  return constant_arguments(node, {"quant_min", "quant_max", "eps"});
}

Support constant_scale(const SupportContext&, const Node& node) {
  if (node.find("scale") != nullptr && constant_number(node, "scale").value_or(1) == 0) {
    return Support::no("its scale is zero");
  }
  return constant_arguments(node, {"quant_min", "quant_max"});
}

Support channel_axis(const SupportContext& c, const Node& node) {
  const char* operand = node.find("input") != nullptr ? "input" : "self";
  const auto rank = static_cast<int64_t>(c.meta(node, operand).shape.size());
  const Support constant = constant_arguments(node, {"quant_min", "quant_max", "axis"});
  if (!constant.ok()) return constant;
  const int64_t axis = node.integer("axis");
  return axis >= -rank && axis < rank ? Support::yes()
                                      : Support::no("its axis is none of the operand's");
}

Support integer_modelopt(const SupportContext& c, const Node& node) {
  if (node.integer("exponent_bits") != 0) return Support::no("it quantizes to a float format");
  const int64_t bits = node.integer("num_bits");
  if (bits < 2 || bits > 16) return Support::no("it has " + std::to_string(bits) + " bits");
  return floating_point_argument(c, node, "input");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_quantization(ConverterRegistry& r) {
  using namespace aten;
  const std::string pt2e = "quantized_decomposed.";
  r.add(pt2e + "quantize_per_tensor.default", single(quantize_per_tensor, constant_scale));
  r.add(pt2e + "quantize_per_tensor.tensor", single(quantize_by_tensor, constant_scale));
  r.add(pt2e + "dequantize_per_tensor.default", single(dequantize_per_tensor));
  r.add(pt2e + "dequantize_per_tensor.tensor", single(dequantize_by_tensor));
  r.add(pt2e + "choose_qparams.tensor", several(choose_parameters(false), whole_float32));
  r.add(pt2e + "choose_qparams_symmetric.tensor", several(choose_parameters(true), whole_float32));
  r.add(pt2e + "quantize_per_channel.default", single(quantize_per_channel, channel_axis));
  r.add(pt2e + "dequantize_per_channel.default", single(dequantize_per_channel, channel_axis));
  r.add("aten.fake_quantize_per_tensor_affine.default", single(fake_per_tensor, constant_scale));
  r.add("aten.fake_quantize_per_tensor_affine.tensor_qparams",
        single(fake_by_tensor, constant_scale));
  r.add("aten.fake_quantize_per_channel_affine.default", single(fake_per_channel, channel_axis));
  r.add("tensorrt.quantize_op.default", single(modelopt, integer_modelopt));
}

}  // namespace stator
