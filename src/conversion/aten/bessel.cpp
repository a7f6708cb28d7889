// SPDX-License-Identifier: Apache-2.0
//
// Bessel functions of order 0 and 1: polynomials near zero, and beyond it those of the amplitude
// and the phase (special_polynomials.inc). In float64 (formula.h).
#include <limits>

#include "conversion/aten/formula.h"
#include "conversion/aten/special_polynomials.inc"

namespace stator::aten {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kTwoOverPi = 0.63661977236758134308;

/// What the two orders differ in.
struct Modified {
  std::span<const double> inner, outer;  // of I exp(-x)
  std::span<const double> small;         // of I up to 2
  std::span<const double> rest, far;     // of K without its logarithm, of K exp(x)
};
const Modified kModified[] = {{kI0eInner, kI0eOuter, kI0Small, kK0Inner, kK0eOuter},
                              {kI1eInner, kI1eOuter, kI1Small, kK1Inner, kK1eOuter}};

struct Ordinary {
  std::span<const double> j, y;  // up to 8
  std::span<const double> p, q;  // beyond
};
const Ordinary kOrdinary[] = {{kJ0Inner, kY0Inner, kP0, kQ0}, {kJ1Inner, kY1Inner, kP1, kQ1}};

/// I(x) exp(-|x|). Order 1 is odd: its polynomial within is that of I(x)/x.
Term scaled_i(int order, Term x) {
  const Term y = abs(x);
  const Term within = polynomial(least(y, 8) * 0.25 - 1.0, kModified[order].inner);
  const Term edge = most(y, 8);
  const Term beyond = polynomial(16.0 / edge - 1.0, kModified[order].outer) / sqrt(edge);
  if (order == 0) {
    return where(y <= 8, within, beyond);
  }
  return where(y <= 8, within * x, where(x < 0, -beyond, beyond));
}

std::function<Term(Term)> modified_i(int order, bool scaled) {
  return [=](Term x) {
    const Term value = scaled_i(order, x);
    if (scaled) {
      return value;
    }
    const Term result = value * exponential(abs(x));
    const Term infinite = order == 1 ? x : abs(x);  // inf times a vanishing factor
    const Term value_or_infinity = where(abs(x) > 170, infinite * kInfinity, result);
    return where(abs(x) == kInfinity, kNan, value_or_infinity);  // as PyTorch's kernel has it
  };
}

std::function<Term(Term)> modified_k(int order, bool scaled) {
  return [=](Term x) {
    const Modified& m = kModified[order];
    const Term near = least(x, 2);
    const Term t = near * near * 0.5 - 1.0;
    const Term log_half = logarithm(near * 0.5);
    const Term i = polynomial(t, m.small);
    const Term rest = polynomial(t, m.rest);
    const Term within = order == 0 ? rest - log_half * i : rest / near + log_half * near * i;
    const Term edge = most(x, 2);
    const Term beyond = polynomial(4.0 / edge - 1.0, m.far) / sqrt(edge);
    const Term value = scaled ? where(x <= 2, within * exponential(near), beyond)
                              : where(x <= 2, within, beyond * exponential(-edge));
    return where(x < 0, kNan, where(x == 0, kInfinity, value));
  };
}

struct Phase {
  Term sine, cosine, amplitude, p, q;
};

/// Beyond 8: the amplitude sqrt(2 / (pi x)) and the angle x - (2 order + 1) pi/4.
Phase phase(int order, Term x) {
  const Term edge = most(x, 8);
  const Term inverse = 1.0 / edge;
  const Term t = 128.0 * (inverse * inverse) - 1.0;
  const auto [s, c] = sine_cosine(edge);
  const Term difference = (s - c) * 0.70710678118654752440;
  const Term sum = (s + c) * 0.70710678118654752440;
  return {order == 0 ? difference : -sum, order == 0 ? sum : difference, sqrt(kTwoOverPi * inverse),
          polynomial(t, kOrdinary[order].p), polynomial(t, kOrdinary[order].q) * inverse};
}

/// J within 8, of t = x²/32 - 1; of order 1 it is J/x.
Term near_j(int order, Term near) {
  return polynomial(near * near * (1. / 32) - 1.0, kOrdinary[order].j);
}

std::function<Term(Term)> bessel_j(int order) {
  return [=](Term x) {
    const Term y = abs(x);
    const Term near = least(y, 8);
    const Phase f = phase(order, y);
    const Term beyond = where(y == kInfinity, 0, f.amplitude * (f.p * f.cosine - f.q * f.sine));
    if (order == 0) {
      return where(y <= 8, near_j(0, near), beyond);
    }
    return where(y <= 8, near_j(1, near) * x, where(x < 0, -beyond, beyond));
  };
}

std::function<Term(Term)> bessel_y(int order) {
  return [=](Term x) {
    const Term near = least(x, 8);
    const Term rest = polynomial(near * near * (1. / 32) - 1.0, kOrdinary[order].y);
    const Term product = kTwoOverPi * logarithm(near) * near_j(order, near);
    const Term within = order == 0 ? rest + product : rest / near + product * near;
    const Phase f = phase(order, x);
    const Term beyond = where(x == kInfinity, 0, f.amplitude * (f.p * f.sine + f.q * f.cosine));
    const Term value = where(x <= 8, within, beyond);
    return where(x < 0, kNan, where(x == 0, -kInfinity, value));
  };
}

/// sin(x)/x
Term spherical_j0(Term x) {
  const Term square = least(x * x, 1);
  const Term within =
      polynomial(square, {-1. / 39916800, 1. / 362880, -1. / 5040, 1. / 120, -1. / 6, 1});
  const Term beyond = where(abs(x) == kInfinity, 0, sine_cosine(x).sine / x);
  return where(abs(x) < 0.5, within, beyond);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_bessel(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.i0.default", by_formula(modified_i(0, false)));
  r.add("aten.special_spherical_bessel_j0.default", by_formula(spherical_j0));
  for (const int order : {0, 1}) {
    const std::string n = std::to_string(order) + ".default", special = "aten.special_";
    const std::string e = std::to_string(order) + "e.default";
    r.add(special + "i" + n, by_formula(modified_i(order, false)));
    r.add(special + "i" + e, by_formula(modified_i(order, true)));
    r.add(special + "modified_bessel_i" + n, by_formula(modified_i(order, false)));
    r.add(special + "modified_bessel_k" + n, by_formula(modified_k(order, false)));
    r.add(special + "scaled_modified_bessel_k" + n, by_formula(modified_k(order, true)));
    r.add(special + "bessel_j" + n, by_formula(bessel_j(order)));
    r.add(special + "bessel_y" + n, by_formula(bessel_y(order)));
  }
}

}  // namespace stator
