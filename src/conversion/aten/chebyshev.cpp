// SPDX-License-Identifier: Apache-2.0
//
// Chebyshev's polynomials of the four kinds, of a degree that is data: by doubling, one step a bit
// of the degree, from (U[-1], U[0]) = (0, 1) to (U[n-1], U[n]). In float64 (formula.h).
#include "conversion/aten/formula.h"

namespace stator::aten {
namespace {

constexpr int kBits = 20;  // of the degree

struct Pair64 {
  Term before, at;  // U[n-1], U[n]
};

/// U[2k-1] = 2 U[k-1] (U[k] - x U[k-1]), U[2k] = U[k]² - U[k-1]², and one degree more for a bit.
Pair64 second_kind(Term x, Term n) {
  Pair64 u{x.like(0), x.like(1)};
  Term rest = n;
  for (int bit = kBits - 1; bit >= 0; --bit) {
    const double weight = static_cast<double>(1 << bit);
    const Term is_set = rest >= weight;
    rest = where(is_set, rest - weight, rest);
    const Term odd = 2.0 * u.before * (u.at - x * u.before);
    const Term even = u.at * u.at - u.before * u.before;
    u = {where(is_set, even, odd), where(is_set, 2.0 * x * even - odd, even)};
  }
  return u;
}

enum class Kind : uint8_t { kT, kU, kV, kW };

Term value(Kind kind, Term x, const Pair64& u) {
  switch (kind) {
    case Kind::kT:
      return u.at - x * u.before;
    case Kind::kU:
      return u.at;
    case Kind::kV:
      return u.at - u.before;
    default:
      return u.at + u.before;
  }
}

Compute chebyshev(Kind kind, bool shifted) {
  return [kind, shifted](Conversion& c, const Node& node) {
    const DType dtype = floating_dtype(result_type(c.graph(), node, {"x", "n"}));
    const auto operand = [&](const char* arg) {
      return Term(c, promoted_operand(c, node, arg, dtype)).to(DType::kFloat64);
    };
    const Term given = operand("x");
    const Term x = shifted ? 2.0 * given - 1.0 : given;
    const Term n = operand("n").apply(UnaryOp::kTrunc);
    const Term result = where(n < 0, 0, value(kind, x, second_kind(x, most(n, 0))));
    return result.to(DType::kFloat32).id();
  };
}

Support chebyshev_support(const SupportContext& c, const Node& node) {
  const DType dtype = result_type(c.graph, node, {"x", "n"});
  if (dtype == DType::kFloat64) {
    return Support::no("its result is torch.float64, and it is converted to float32's digits");
  }
  const auto degree = constant_number(node, "n");
  return degree && *degree >= (1 << kBits) ? Support::no("its degree is above a million")
                                           : Support::yes();
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_chebyshev(ConverterRegistry& r) {
  using namespace aten;
  struct Named {
    const char* letter;
    Kind kind;
  };
  for (const auto& [letter, kind] :
       {Named{"t", Kind::kT}, {"u", Kind::kU}, {"v", Kind::kV}, {"w", Kind::kW}}) {
    for (const bool shifted : {false, true}) {
      const std::string name = std::string("aten.special_") + (shifted ? "shifted_" : "") +
                               "chebyshev_polynomial_" + letter;
      for (const char* overload : {".default", ".x_scalar", ".n_scalar"}) {
        r.add(name + overload, single(chebyshev(kind, shifted), chebyshev_support));
      }
    }
  }
}

}  // namespace stator
