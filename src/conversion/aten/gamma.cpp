// SPDX-License-Identifier: Apache-2.0
//
// The gamma function's logarithm and its derivatives: Stirling's series beyond 10, to which smaller
// arguments are moved by recurrence, and reflection below 1/2. In float64 (formula.h).
#include <cmath>
#include <limits>

#include "conversion/aten/formula.h"

namespace stator::aten {
namespace {

constexpr int kSteps = 10;          // of the recurrence
constexpr int64_t kMostOrder = 20;  // of polygamma

/// Distance to the nearest whole number, in turns of half a period of tan(pi x).
Term turns(Term x) { return x - round(x); }

/// x where it is 1/2 or more, 1 - x below.
Term reflected(Term x) { return where(x < 0.5, 1.0 - x, x); }

/// log gamma(y), y >= 1/2.
Term log_gamma_right(Term y) {
  const Term near = y < kSteps;
  const Term base = where(near, y, 1);
  Term product = base;
  for (int k = 1; k < kSteps; ++k) {
    product = product * (base + k);
  }
  const Term z = where(near, y + kSteps, y);
  const Term p = 1.0 / z;
  const Term series =
      p * polynomial(p * p, {-691. / 360360, 1. / 1188, -1. / 1680, 1. / 1260, -1. / 360, 1. / 12});
  const Term stirling = (z - 0.5) * logarithm(z) - z + 0.91893853320467274178 + series;
  return where(near, stirling - logarithm(product), stirling);
}

Term log_gamma(Term x) {
  const Term right = log_gamma_right(reflected(x));
  const Term left = 1.14472988584940017414 - logarithm(abs(sine_of_turns(turns(x)))) - right;
  const Term value = where(x < 0.5, left, right);
  const Term zeros = where((x == 1) | (x == 2), 0, value);
  return where(abs(x) == kInfinity, kInfinity, zeros);
}

/// pi / tan(pi x); infinite at whole numbers.
Term cotangent(Term x) {
  const Term r = turns(x);
  return cosine_of_turns(r) / sine_of_turns(r);
}

Term digamma(Term x) {
  const Term y = reflected(x);
  const Term near = y < kSteps;
  Term sum = 1.0 / y;
  for (int k = 1; k < kSteps; ++k) {
    sum = sum + 1.0 / (y + k);
  }
  const Term z = where(near, y + kSteps, y);
  const Term p = 1.0 / (z * z);
  const Term series = p * polynomial(p, {-1. / 132, 1. / 240, -1. / 252, 1. / 120, -1. / 12});
  const Term beyond = logarithm(z) - 0.5 / z + series;
  const Term right = where(near, beyond - sum, beyond);
  const Term value = where(x < 0.5, right - kPi * cotangent(x), right);
  // 0 keeps the sign of its pole; at the others there is no limit.
  const Term at_zero = where(1.0 / x > 0, -kInfinity, x.like(kInfinity));
  const Term poles = where(x == 0, at_zero, std::numeric_limits<double>::quiet_NaN());
  return where((x <= 0) & (x == floor(x)), poles, value);
}

/// x to a whole power of at least 1.
Term whole_power(Term x, int64_t n) {
  if (n == 1) {
    return x;
  }
  const Term half = whole_power(x, n / 2);
  const Term square = half * half;
  return n % 2 == 0 ? square : square * x;
}

/// Hurwitz's zeta function of a whole s > 1 and q >= 1/2, by Euler and Maclaurin.
Term zeta(int64_t s, Term q) {
  Term sum = whole_power(1.0 / q, s);
  for (int k = 1; k < kSteps; ++k) {
    sum = sum + whole_power(1.0 / (q + k), s);
  }
  // Bernoulli's numbers of even order over the factorials.
  constexpr double kBernoulli[] = {1. / 12,       -1. / 720,     1. / 30240,
                                   -1. / 1209600, 1. / 47900160, -691. / 1307674368000};
  std::vector<double> series;
  double rising = static_cast<double>(s);
  for (int k = 0; k < 6; ++k) {
    series.insert(series.begin(), kBernoulli[k] * rising);
    rising *= static_cast<double>(s + 2 * k + 1) * static_cast<double>(s + 2 * k + 2);
  }
  const Term p = 1.0 / (q + kSteps);
  const Term tail = polynomial(p * p, series) * p + 0.5;
  const double first = 1.0 / static_cast<double>(s - 1);
  return sum + whole_power(p, s - 1) * (tail * p + first);
}

/// d^n/dx^n cot(pi x) / pi^n as a polynomial in the cotangent c: P' = -(1 + c²) dP/dc. It is odd
/// or even with n + 1, so that it is given in c².
std::vector<double> cotangent_derivative(int64_t n) {
  std::vector<double> p = {0, 1};
  for (int64_t step = 0; step < n; ++step) {
    std::vector<double> next(p.size() + 1, 0.0);
    for (size_t k = 1; k < p.size(); ++k) {
      next[k - 1] -= static_cast<double>(k) * p[k];
      next[k + 1] -= static_cast<double>(k) * p[k];
    }
    p = next;
  }
  std::vector<double> halved;
  for (size_t k = p.size(); k-- > 0;) {
    if (k % 2 == static_cast<size_t>((n + 1) % 2)) {
      halved.push_back(p[k]);
    }
  }
  return halved;
}

Term polygamma_of(int64_t n, Term x) {
  if (n == 0) {
    return digamma(x);
  }
  const double sign = n % 2 == 0 ? -1.0 : 1.0;
  const double factor = sign * std::tgamma(static_cast<double>(n + 1));
  const Term right = factor * zeta(n + 1, reflected(x));
  const Term c = cotangent(x);
  const Term even = polynomial(c * c, cotangent_derivative(n));
  const Term derivative = n % 2 == 0 ? even * c : even;
  const Term mirrored = n % 2 == 0 ? right : -right;
  const Term left = mirrored - std::pow(kPi, static_cast<double>(n + 1)) * derivative;
  const Term value = where(x < 0.5, left, right);
  return where((x <= 0) & (x == floor(x)), sign * kInfinity, value);
}

TensorId polygamma(Conversion& c, const Node& node) {
  const Term x = float64_operand(c, node, "self");
  return polygamma_of(node.integer("n"), x).to(DType::kFloat32).id();
}

Support polygamma_support(const SupportContext& c, const Node& node) {
  if (Support constant = constant_arguments(node, {"n"}); !constant) {
    return constant;
  }
  const int64_t n = node.integer("n");
  return n >= 0 && n <= kMostOrder ? float32_or_less(c, node, "self")
                                   : Support::no("its order is " + std::to_string(n));
}

/// The sum of log gamma(x - k/2) over k < p, and a constant.
TensorId mvlgamma(Conversion& c, const Node& node) {
  const Term x = float64_operand(c, node, "self");
  const int64_t p = node.integer("p");
  Term sum = log_gamma(x);
  for (int64_t k = 1; k < p; ++k) {
    sum = sum + log_gamma(x - 0.5 * static_cast<double>(k));
  }
  const double constant = static_cast<double>(p * (p - 1)) * 0.25 * std::log(kPi);
  return (sum + constant).to(DType::kFloat32).id();
}

Support mvlgamma_support(const SupportContext& c, const Node& node) {
  if (Support constant = constant_arguments(node, {"p"}); !constant) {
    return constant;
  }
  return node.integer("p") <= 8 ? float32_or_less(c, node, "self")
                                : Support::no("its dimension p is above 8");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_gamma(ConverterRegistry& r) {
  using namespace aten;
  for (const char* name : {"lgamma", "special_gammaln"}) {
    r.add(std::string("aten.") + name + ".default", by_formula(log_gamma));
  }
  for (const char* name : {"digamma", "special_digamma", "special_psi"}) {
    r.add(std::string("aten.") + name + ".default", by_formula(digamma));
  }
  for (const char* name : {"polygamma", "special_polygamma"}) {
    r.add(std::string("aten.") + name + ".default", single(polygamma, polygamma_support));
  }
  for (const char* name : {"mvlgamma", "special_multigammaln"}) {
    r.add(std::string("aten.") + name + ".default", single(mvlgamma, mvlgamma_support));
  }
}

}  // namespace stator
