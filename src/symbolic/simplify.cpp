// SPDX-License-Identifier: Apache-2.0
//
// What bounds allow beyond the canonical form: quotients and remainders of index sums. With g a
// common factor of the divisor b = g*c and of some terms of the numerator a = g*p + r:
//   0 <= r < g   gives   a // b == p // c   and   a % b == g*(p % c) + r,
// where c is no less than 0 or r is 0: 3 // -2 == -2, and 1 // -1 == -1.
#include <algorithm>
#include <set>

#include "stator/expr.h"
#include "symbolic/polynomial.h"

namespace stator {
namespace {

/// The factors common to a term and a (single-term) divisor.
Expr common_factor(const Monomial& m, int64_t c, const Monomial& by, int64_t by_c) {
  int64_t x = c < 0 ? -c : c;
  int64_t y = by_c < 0 ? -by_c : by_c;
  while (y != 0) {
    x %= y;
    std::swap(x, y);
  }
  Expr g = x;
  Monomial rest = m;
  for (const Expr& factor : by) {
    const auto it = std::find(rest.begin(), rest.end(), factor);
    if (it != rest.end()) {
      g = g * factor;
      rest.erase(it);
    }
  }
  return g;
}

struct Split {
  Expr g, p, r, c;
};

bool is_no_less_than_0(const Expr& e, const Bounds& bounds) {
  const std::optional<int64_t> low = bounds.least(e);
  return low && *low >= 0;
}

/// a == g*p + r with 0 <= r < g proved and b == g*c, if there is one with g > 1. Integers that are
/// no sizes may be negative, and so c: then only r == 0 will do.
std::optional<Split> split(const Expr& a, const Expr& b, const Bounds& bounds) {
  const Polynomial pb = to_polynomial(b);
  if (pb.size() != 1) {
    return std::nullopt;
  }
  const auto& [by, by_c] = *pb.begin();
  for (const auto& [m, c] : to_polynomial(a)) {
    const Expr g = common_factor(m, c, by, by_c);
    if (g.is_constant(1) || g.is_constant(0)) {
      continue;
    }
    Split s;
    s.g = g;
    split_by_divisor(a, g, &s.p, &s.r);
    Expr remainder;
    split_by_divisor(b, g, &s.c, &remainder);
    const bool splits =
        s.r.is_constant(0) || (is_no_less_than_0(s.c, bounds) && is_no_less_than_0(s.r, bounds));
    if (remainder.is_constant(0) && splits && bounds.proves_less(s.r, g)) {
      return s;
    }
  }
  return std::nullopt;
}

/// (x // c) // b == x // (c*b) for every b > 0; sizes are no less than 0, and a divisor of 0 has no
/// value either way.
Expr nested_quotient(const Expr& a, const Expr& b, const Bounds& bounds) {
  if (a.kind() == ExprKind::kFloorDiv) {
    if (is_no_less_than_0(b, bounds)) {
      return nested_quotient(a.operands()[0], a.operands()[1] * b, bounds);
    }
  }
  return floor_div(a, b);
}

Expr simplify_quotient(const Expr& a, const Expr& b, const Bounds& bounds) {
  if (is_no_less_than_0(a, bounds) && bounds.proves_less(a, b)) {
    return 0;
  }
  if (const std::optional<Split> s = split(a, b, bounds)) {
    const Expr q = floor_div(s->p, s->c);
    return q.kind() == ExprKind::kFloorDiv
               ? simplify_quotient(q.operands()[0], q.operands()[1], bounds)
               : simplify(q, bounds);
  }
  return nested_quotient(a, b, bounds);
}

Expr simplify_remainder(const Expr& a, const Expr& b, const Bounds& bounds) {
  if (is_no_less_than_0(a, bounds) && bounds.proves_less(a, b)) {
    return a;
  }
  if (const std::optional<Split> s = split(a, b, bounds)) {
    const Expr m = mod(s->p, s->c);
    const Expr inner = m.kind() == ExprKind::kMod
                           ? simplify_remainder(m.operands()[0], m.operands()[1], bounds)
                           : simplify(m, bounds);
    return s->g * inner + s->r;
  }
  return mod(a, b);
}

/// c*b*(a // b) + c*(a % b) is c*a: a remainder is written as a - b*(a // b) where that makes the
/// sum shorter.
Expr join_remainders(const Expr& sum, const Bounds& bounds) {
  const Polynomial terms = to_polynomial(sum);
  std::set<Expr> remainders;
  for (const auto& [monomial, coefficient] : terms) {
    for (const Expr& factor : monomial) {
      if (factor.kind() == ExprKind::kMod) {
        remainders.insert(factor);
      }
    }
  }
  for (const Expr& remainder : remainders) {
    const Expr& a = remainder.operands()[0];
    const Expr& b = remainder.operands()[1];
    const Expr written = a - b * nested_quotient(a, b, bounds);
    Expr candidate = 0;
    for (const auto& [monomial, coefficient] : terms) {
      Monomial rest = monomial;
      const auto at = std::find(rest.begin(), rest.end(), remainder);
      if (at == rest.end()) {
        candidate = candidate + from_monomial(monomial, coefficient);
        continue;
      }
      rest.erase(at);
      candidate = candidate + from_monomial(rest, coefficient) * written;
    }
    if (to_polynomial(candidate).size() < terms.size()) {
      return join_remainders(candidate, bounds);
    }
  }
  return sum;
}

/// What the bounds say of a comparison.
Expr simplify_condition(const Expr& e, const Bounds& bounds) {
  const std::vector<Expr>& operands = e.operands();
  if (e.function() == SizeFunction::kLess) {
    if (bounds.proves_less(operands[0], operands[1])) return 1;
    if (bounds.proves_less_equal(operands[1], operands[0])) return 0;
  } else if (e.function() == SizeFunction::kEqual) {
    if (bounds.proves_equal(operands[0], operands[1])) return 1;
    if (bounds.proves_not_equal(operands[0], operands[1])) return 0;
  }
  return e;
}

}  // namespace

Expr simplify(const Expr& e, const Bounds& bounds) {
  switch (e.kind()) {
    case ExprKind::kConstant:
    case ExprKind::kReal:
      return e;
    case ExprKind::kSymbol: {
      if (const auto extent = bounds.extent(e.symbol_name()); extent && extent->is_constant(1)) {
        return 0;  // an index of a dimension of size 1
      }
      const auto it = bounds.ranges().find(e.symbol_name());
      const bool fixed = it != bounds.ranges().end() && it->second.first == it->second.second;
      return fixed ? Expr(it->second.first) : e;
    }
    default:
      break;
  }
  std::vector<Expr> operands;
  for (const Expr& operand : e.operands()) {
    operands.push_back(simplify(operand, bounds));
  }
  const Expr rebuilt = rebuild(e, operands);
  // Rebuilding may have changed the kind; only an outermost quotient, remainder or extremum is left
  // to look at.
  switch (rebuilt.kind()) {
    case ExprKind::kFloorDiv:
      return simplify_quotient(rebuilt.operands()[0], rebuilt.operands()[1], bounds);
    case ExprKind::kMod:
      return simplify_remainder(rebuilt.operands()[0], rebuilt.operands()[1], bounds);
    case ExprKind::kMin:
    case ExprKind::kMax: {
      const Expr& a = rebuilt.operands()[0];
      const Expr& b = rebuilt.operands()[1];
      const bool want_less = rebuilt.kind() == ExprKind::kMin;
      if (bounds.proves_less_equal(a, b)) {
        return want_less ? a : b;
      }
      if (bounds.proves_less_equal(b, a)) {
        return want_less ? b : a;
      }
      return rebuilt;
    }
    case ExprKind::kAdd:
      if (e.kind() == ExprKind::kAdd) {
        return join_remainders(rebuilt, bounds);
      }
      [[fallthrough]];
    case ExprKind::kMul: {
      // A quotient that came out of floor_div's own splitting (q + r//b) may simplify further.
      if (e.kind() != ExprKind::kFloorDiv && e.kind() != ExprKind::kMod) {
        return rebuilt;
      }
      std::vector<Expr> parts;
      for (const Expr& part : rebuilt.operands()) {
        parts.push_back(simplify(part, bounds));
      }
      return rebuild(rebuilt.kind(), parts);
    }
    case ExprKind::kCall:
      return simplify_condition(rebuilt, bounds);
    default:
      return rebuilt;
  }
}

std::optional<LinearForm> linear_form(const Expr& e, const std::vector<std::string>& symbols) {
  const std::set<std::string> wanted(symbols.begin(), symbols.end());
  const auto uses_wanted = [&wanted](const Expr& atom) {
    return std::any_of(wanted.begin(), wanted.end(),
                       [&atom](const std::string& name) { return atom.uses_symbol(name); });
  };
  LinearForm form;
  for (const std::string& name : symbols) {
    form.coefficients[name] = 0;
  }
  for (const auto& [monomial, coefficient] : to_polynomial(e)) {
    std::optional<std::string> index;
    Monomial rest;
    for (const Expr& atom : monomial) {
      if (!uses_wanted(atom)) {
        rest.push_back(atom);
      } else if (atom.is_symbol() && !index) {
        index = atom.symbol_name();
      } else {
        return std::nullopt;
      }
    }
    const Expr part = from_monomial(rest, coefficient);
    if (index) {
      form.coefficients[*index] = form.coefficients[*index] + part;
    } else {
      form.constant_term = form.constant_term + part;
    }
  }
  return form;
}

}  // namespace stator
