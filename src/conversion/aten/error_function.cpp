// SPDX-License-Identifier: Apache-2.0
//
// The complementary error function and its relatives, around exp(x²) erfc(x), which is smooth
// (special_polynomials.inc). In float64 (formula.h).
#include <limits>

#include "conversion/aten/formula.h"
#include "conversion/aten/special_polynomials.inc"

namespace stator::aten {
namespace {

constexpr double kRootHalf = 0.70710678118654752440;

/// exp(x²) erfc(x), x >= 0.
Term scaled_right(Term x) {
  const Term t = 1.0 - 7.5 / (x + 3.75);
  return polynomial(t, kErfcx) / (1.0 + 2.0 * x);
}

Term erfc(Term x) {
  const Term magnitude = abs(x);
  const Term right = scaled_right(magnitude) * exponential(-(x * x));
  return where(x < 0, 2.0 - right, right);
}

Term erfcx(Term x) {
  const Term right = scaled_right(abs(x));
  return where(x < 0, 2.0 * exponential(x * x) - right, right);
}

/// log(erfc(-x/√2) / 2): by the scaled function below -1, where the plain one vanishes.
Term log_ndtr(Term x) {
  const Term y = x * -kRootHalf;
  const Term scaled = scaled_right(abs(y));
  const Term below = logarithm(scaled * 0.5) - y * y;
  const Term rest = 0.5 * scaled * exponential(-(y * y));  // of the side that is nearer
  const Term missing = where(x < 0, 1.0 - rest, rest);
  const Term above = where(missing < 1e-8, -missing, logarithm(1.0 - missing));
  return where(x < -1, below, above);
}

/// erfinv of the magnitude 1 - z, given z and w = -log(z (2 - z)).
Term inverse(Term z, Term w) {
  const Term inner = (1.0 - z) * polynomial(least(w, 6) * (1. / 3) - 1.0, kErfinvInner);
  const Term root = sqrt(most(w, 6));
  const Term outer = polynomial((root - 6.45) * 0.25, kErfinvOuter);
  const Term value = where(w < 6, inner, outer);
  return where(z == 0, kInfinity, value);
}

Term erfinv(Term x) {
  const Term z = 1.0 - abs(x);
  const Term w = -logarithm(z * (1.0 + abs(x)));
  const Term magnitude = inverse(z, least(w, 109));
  // A root of a negative number is NaN, as there is no value beyond 1.
  return where(x < 0, -magnitude, magnitude);
}

/// The normal distribution's quantile: -√2 erfinv(1 - 2p) below the middle, where 2p is exact.
Term ndtri(Term p) {
  const Term upper = p > 0.5;
  const Term z = 2.0 * where(upper, 1.0 - p, p);
  const Term magnitude = inverse(z, least(-logarithm(z * (2.0 - z)), 109)) * 1.41421356237309504880;
  return where(upper, magnitude, -magnitude);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_error_function(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.erfc.default", by_formula(erfc));
  r.add("aten.special_erfc.default", by_formula(erfc));
  r.add("aten.special_erfcx.default", by_formula(erfcx));
  r.add("aten.special_log_ndtr.default", by_formula(log_ndtr));
  r.add("aten.erfinv.default", by_formula(erfinv));
  r.add("aten.special_erfinv.default", by_formula(erfinv));
  r.add("aten.special_ndtri.default", by_formula(ndtri));
}

}  // namespace stator
