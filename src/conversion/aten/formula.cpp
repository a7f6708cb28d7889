// SPDX-License-Identifier: Apache-2.0
#include "conversion/aten/formula.h"

#include <limits>

namespace stator::aten {
namespace {

/// 2^n for whole n up to ±250, by float32's powers of two, which are exact.
Term power_of_two(Term n) {
  const Term half = floor(n * 0.5);
  const auto power = [](Term e) {
    return e.to(DType::kFloat32).apply(UnaryOp::kExp2).to(DType::kFloat64);
  };
  return power(half) * power(n - half);
}

/// exp(x), |x| <= 170.
Term exponential_within(Term x) {
  const Term n = round(x * 1.44269504088896340736);
  const Term r = (x - n * 0x1.62e42feep-1) - n * 1.90821492927058770002e-10;
  const Term power = polynomial(r, {1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320, 1. / 5040,
                                    1. / 720, 1. / 120, 1. / 24, 1. / 6, 0.5, 1, 1});
  return power * power_of_two(n);
}

/// sin y and cos y of small y, as y * S(y²) and C(y²).
Term sine_series(Term y) {
  return y * polynomial(y * y, {-1. / 121645100408832000, 1. / 355687428096000, -1. / 1307674368000,
                                1. / 6227020800, -1. / 39916800, 1. / 362880, -1. / 5040, 1. / 120,
                                -1. / 6, 1});
}

Term cosine_series(Term y) {
  return polynomial(y * y, {1. / 2432902008176640000, -1. / 6402373705728000, 1. / 20922789888000,
                            -1. / 87178291200, 1. / 479001600, -1. / 3628800, 1. / 40320, -1. / 720,
                            1. / 24, -0.5, 1});
}

/// "self", or "x" as some of the special functions call it.
const char* operand_name(const Node& node) { return node.find("self") != nullptr ? "self" : "x"; }

}  // namespace

Term where(Term condition, Term a, Term b) {
  return {a.conversion(), a.conversion().network().add_select(condition.id(), a.id(), b.id())};
}

Term polynomial(Term x, std::span<const double> coefficients) {
  Term sum = x.like(coefficients.front());
  for (const double coefficient : coefficients.subspan(1)) {
    sum = sum * x + coefficient;
  }
  return sum;
}

Term polynomial(Term x, std::initializer_list<double> coefficients) {
  return polynomial(x, std::span<const double>(coefficients.begin(), coefficients.size()));
}

Term exponential(Term x) {
  const Term inside = exponential_within(least(most(x, -170), 170));
  return where(x > 170, kInfinity, where(x < -170, 0, inside));
}

/// One step of Newton's from float32's logarithm, whose error is a millionth: log x = l +
/// log(1 + e) with 1 + e = x exp(-l).
Term logarithm(Term x) {
  const Term tiny = x < 0x1p-100;
  const Term scaled = where(tiny, x * 0x1p120, x);
  const Term start = scaled.to(DType::kFloat32).apply(UnaryOp::kLog).to(DType::kFloat64);
  const Term e = scaled * exponential_within(least(most(-start, -170), 170)) - 1;
  const Term sum = start + e * polynomial(e, {1. / 3, -0.5, 1});
  const Term inside = where(tiny, sum - 83.17766166719343, sum);  // 120 log 2
  return where(x == 0, -kInfinity, where(x == kInfinity, kInfinity, inside));
}

Term sine_of_turns(Term r) { return sine_series(r * kPi); }
Term cosine_of_turns(Term r) { return cosine_series(r * kPi); }

SineCosine sine_cosine(Term x) {
  const Term n = round(x * 0.636619772367581343);
  // pi/2 in parts of 33 bits: products with n are exact up to a million.
  const Term r = ((x - n * 1.57079632673412561417) - n * 6.07710050630396597660e-11) -
                 n * 2.02226624879595063154e-21;
  const Term y = least(most(r, -0.8), 0.8);
  const Term s = sine_series(y), c = cosine_series(y);
  const Term quarter = n - 4.0 * floor(n * 0.25);
  const Term odd = (quarter == 1) | (quarter == 3);
  const Term sine = where(odd, c, s), cosine = where(odd, s, c);
  return {where(quarter >= 2, -sine, sine),
          where((quarter == 1) | (quarter == 2), -cosine, cosine)};
}

Term float64_operand(Conversion& c, const Node& node, std::string_view arg) {
  return {c, c.cast(floating_operand(c, node, arg), DType::kFloat64)};
}

Support float32_or_less(const SupportContext& c, const Node& node, std::string_view arg) {
  return c.meta(node, arg).dtype != DType::kFloat64
             ? Support::yes()
             : Support::no("argument " + std::string(arg) +
                           " is torch.float64, and the function is converted to float32's digits");
}

Converter by_formula(std::function<Term(Term)> function) {
  return single(
      [function = std::move(function)](Conversion& c, const Node& node) {
        return function(float64_operand(c, node, operand_name(node))).to(DType::kFloat32).id();
      },
      [](const SupportContext& c, const Node& node) {
        return float32_or_less(c, node, operand_name(node));
      });
}

}  // namespace stator::aten
