// SPDX-License-Identifier: Apache-2.0
//
// Parts of floating point numbers: signs, neighbours, mantissa and exponent.
#include <limits>

#include "conversion/aten/formula.h"

namespace stator::aten {
namespace {

Term sign_bit(Term x) { return x.apply(UnaryOp::kSignBit); }

TensorId signbit(Conversion& c, const Node& node) {
  const DType dtype = c.meta(node, "self").dtype;
  const Term x(
      c, c.operand(node, "self", dtype == DType::kBool ? DType::kUInt8 : compute_dtype(dtype)));
  return (is_floating_point(dtype) ? sign_bit(x) : x < 0).id();
}

TensorId copysign(Conversion& c, const Node& node) {
  const DType dtype = floating_dtype(result_type(c.graph(), node, {"self", "other"}));
  const Term magnitude = abs(Term(c, promoted_operand(c, node, "self", dtype)));
  const Term sign(c, promoted_operand(c, node, "other", dtype));
  return where(sign_bit(sign), -magnitude, magnitude).id();
}

/// self * 2^other: the power in the dtype that PyTorch gives it, where it may overflow.
TensorId ldexp(Conversion& c, const Node& node) {
  const DType exponents = floating_dtype(c.meta(node, "other").dtype);
  const Term power = Term(c, c.operand(node, "other", compute_dtype(exponents)))
                         .apply(UnaryOp::kExp2)
                         .to(exponents);
  const DType result = compute_dtype(c.output_meta(node).dtype);
  return (Term(c, c.operand(node, "self", result)) * power.to(result)).id();
}

/// 0 for positive numbers, pi for negative ones; NaN stays.
TensorId angle(Conversion& c, const Node& node) {
  const Term x(c, floating_operand(c, node, "self"));
  const Term value = where(x < 0, x.like(3.14159265358979323846), 0.0);
  return where(is_nan(x), x, value).id();
}

/// 2^n of whole n up to ±150, in float64.
Term power_of_two(Term n) {
  const Term half = floor(n * 0.5);
  const auto power = [](Term e) {
    return e.to(DType::kFloat32).apply(UnaryOp::kExp2).to(DType::kFloat64);
  };
  return power(half) * power(n - half);
}

/// x = mantissa * 2^exponent with a mantissa of 1/2 to 1: the logarithm says where it is about.
std::vector<TensorId> frexp(Conversion& c, const Node& node) {
  const Term x = float64_operand(c, node, "self");
  const Term magnitude = abs(x);
  const Term plain =
      (magnitude == 0) | (magnitude == std::numeric_limits<double>::infinity()) | is_nan(magnitude);
  const Term safe = where(plain, 1, magnitude);
  const Term tiny = safe < 0x1p-100;  // float32's logarithm is of normal numbers
  const Term normal = where(tiny, safe * 0x1p64, safe).to(DType::kFloat32);
  const Term log = normal.apply(UnaryOp::kLog2).to(DType::kFloat64);
  const Term guess = floor(log) + where(tiny, log.like(-63), 1);
  const Term first = safe * power_of_two(-guess);
  const Term above = first >= 1, below = first < 0.5;
  const Term exponent = where(above, guess + 1, where(below, guess - 1, guess));
  const Term mantissa = where(above, first * 0.5, where(below, first * 2.0, first));
  const Term signed_mantissa = where(x < 0, -mantissa, mantissa);
  return {where(plain, x, signed_mantissa).to(DType::kFloat32).id(),
          where(plain, 0, exponent).to(DType::kInt32).id()};
}

/// The float32 next to self towards other: a little more than half the distance to it is added in
/// float64, and rounding does the rest.
TensorId nextafter(Conversion& c, const Node& node) {
  const Term x = float64_operand(c, node, "self");
  const Term y = float64_operand(c, node, "other");
  const Term magnitude = abs(x);
  const Term step = most(magnitude * (0x1p-24 * (1 + 0x1p-20)), 0.75 * 0x1p-149);
  const Term moved = where(y > x, x + step, x - step);
  const Term largest = where(x < 0, x.like(-std::numeric_limits<float>::max()),
                             static_cast<double>(std::numeric_limits<float>::max()));
  const Term inside = where(magnitude == std::numeric_limits<double>::infinity(), largest, moved);
  const Term next = where(x == y, y, inside);
  return where(is_nan(x) | is_nan(y), x + y, next).to(DType::kFloat32).id();
}

Support only_float32(const SupportContext& c, const Node& node) {
  return c.meta(node, "self").dtype == DType::kFloat32
             ? Support::yes()
             : Support::no(std::string("argument self is ") +
                           torch_dtype_name(c.meta(node, "self").dtype) +
                           ", and it is converted for torch.float32 only");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_numbers(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.signbit.default", single(signbit));
  r.add("aten.copysign.Tensor", single(copysign));
  r.add("aten.copysign.Scalar", single(copysign));
  r.add("aten.ldexp.Tensor", single(ldexp));
  r.add("aten.angle.default", single(angle));
  r.add("aten.frexp.Tensor", several(frexp, only_float32));
  r.add("aten.nextafter.default", single(nextafter, only_float32));
}

}  // namespace stator
