// SPDX-License-Identifier: Apache-2.0
//
// Proofs about size expressions. Three methods, tried in turn: interval arithmetic; replacing every
// atom a by its least value plus a fresh nonnegative one (a polynomial whose other coefficients are
// then all nonnegative is at least its constant term), which keeps the correlation between terms;
// and, before both, replacing each loop index by the end of its range at which the expression is
// least.
#include <algorithm>
#include <bit>
#include <cmath>

#include "base/check.h"
#include "stator/expr.h"
#include "symbolic/polynomial.h"

namespace stator {
namespace {

struct Interval {
  std::optional<int64_t> least, greatest;
};

std::optional<int64_t> add(std::optional<int64_t> a, std::optional<int64_t> b) {
  return a && b ? apply(ExprKind::kAdd, *a, *b) : std::nullopt;
}

class IntervalOf {
 public:
  explicit IntervalOf(const Bounds& bounds) : bounds_(bounds) {}

  Interval of(const Expr& e) const {
    switch (e.kind()) {
      case ExprKind::kConstant:
        return {e.constant(), e.constant()};
      case ExprKind::kSymbol:
        return symbol(e.symbol_name());
      case ExprKind::kAdd: {
        Interval sum{0, 0};
        for (const Expr& term : e.operands()) {
          const Interval i = of(term);
          sum = {add(sum.least, i.least), add(sum.greatest, i.greatest)};
        }
        return sum;
      }
      case ExprKind::kMul: {
        Interval result{1, 1};
        for (const Expr& factor : e.operands()) {
          result = multiply(result, of(factor));
        }
        return result;
      }
      case ExprKind::kFloorDiv:
        return divide(of(e.operands()[0]), of(e.operands()[1]));
      case ExprKind::kMod:
        return modulo(of(e.operands()[0]), of(e.operands()[1]));
      case ExprKind::kMin:
      case ExprKind::kMax:
        return extremum(e.kind(), of(e.operands()[0]), of(e.operands()[1]));
      case ExprKind::kReal:
        return {};
      case ExprKind::kCall:
        return call(e);
    }
    return {};
  }

 private:
  /// Functions that grow with their operand, by its ends.
  Interval call(const Expr& e) const {
    const Expr& a = e.operands()[0];
    switch (e.function()) {
      case SizeFunction::kTruncToInt:
      case SizeFunction::kFloorToInt:
      case SizeFunction::kCeilToInt:
      case SizeFunction::kRoundToInt:
        return converted(e.function(), real(a));
      case SizeFunction::kPowByNatural: {
        const Interval base = of(a);
        const Interval exponent = of(e.operands()[1]);
        if (!base.least || *base.least < 1 || !exponent.least || *exponent.least < 0) {
          return {};
        }
        Interval i{stator::apply(e.function(), *base.least, *exponent.least), {}};
        if (base.greatest && exponent.greatest) {
          i.greatest = stator::apply(e.function(), *base.greatest, *exponent.greatest);
        }
        return i;
      }
      case SizeFunction::kBitAnd:
      case SizeFunction::kBitOr: {
        const Interval x = of(a);
        const Interval y = of(e.operands()[1]);
        if (!x.least || !y.least || *x.least < 0 || *y.least < 0) {
          return {};
        }
        return e.function() == SizeFunction::kBitAnd
                   ? extremum(ExprKind::kMin, {0, x.greatest}, {0, y.greatest})
                   : Interval{std::max(*x.least, *y.least), {}};
      }
      default:
        return e.is_condition() ? Interval{0, 1} : Interval{};
    }
  }

  struct RealInterval {
    double least = -HUGE_VAL, greatest = HUGE_VAL;
  };

  static Interval converted(SizeFunction function, const RealInterval& r) {
    const auto end = [function](double value) -> std::optional<int64_t> {
      return std::isfinite(value) ? stator::apply(function, std::bit_cast<int64_t>(value), 0)
                                  : std::nullopt;
    };
    return {end(r.least), end(r.greatest)};
  }

  /// Sums, and products and quotients with positive constants. Rounding keeps the order, so the
  /// ends are exact.
  RealInterval real(const Expr& e) const {
    if (e.kind() == ExprKind::kReal) {
      return {e.real_value(), e.real_value()};
    }
    if (e.kind() != ExprKind::kCall) {
      return {};
    }
    const auto positive = [](const RealInterval& r) {
      return r.least == r.greatest && r.least > 0;
    };
    switch (e.function()) {
      case SizeFunction::kToFloat:
        return converted_integer(of(e.operands()[0]));
      case SizeFunction::kIntTrueDiv: {
        const RealInterval by = converted_integer(of(e.operands()[1]));
        const RealInterval x = converted_integer(of(e.operands()[0]));
        return positive(by) ? RealInterval{x.least / by.least, x.greatest / by.least}
                            : RealInterval{};
      }
      case SizeFunction::kFloatAdd: {
        const RealInterval x = real(e.operands()[0]);
        const RealInterval y = real(e.operands()[1]);
        return {x.least + y.least, x.greatest + y.greatest};
      }
      case SizeFunction::kFloatMul: {
        const RealInterval x = real(e.operands()[0]);
        const RealInterval y = real(e.operands()[1]);
        if (positive(x)) return {y.least * x.least, y.greatest * x.least};
        return positive(y) ? RealInterval{x.least * y.least, x.greatest * y.least} : RealInterval{};
      }
      case SizeFunction::kFloatTrueDiv: {
        const RealInterval x = real(e.operands()[0]);
        const RealInterval y = real(e.operands()[1]);
        return positive(y) ? RealInterval{x.least / y.least, x.greatest / y.least} : RealInterval{};
      }
      case SizeFunction::kSqrt: {
        const RealInterval x = real(e.operands()[0]);
        return {x.least > 0 ? std::sqrt(x.least) : 0, std::sqrt(std::max(x.greatest, 0.0))};
      }
      default:
        return {};
    }
  }

  static RealInterval converted_integer(const Interval& i) {
    return {i.least ? static_cast<double>(*i.least) : -HUGE_VAL,
            i.greatest ? static_cast<double>(*i.greatest) : HUGE_VAL};
  }

  Interval symbol(const std::string& name) const {
    if (const auto extent = bounds_.extent(name)) {
      return {0, add(of(*extent).greatest, -1)};
    }
    const auto it = bounds_.ranges().find(name);
    if (it == bounds_.ranges().end()) {
      return {};
    }
    Interval i{it->second.first, it->second.second};
    if (it->second.first == INT64_MIN) {  // every integer is no less: nothing to compute with
      i.least.reset();
    }
    if (it->second.second == Bounds::kUnbounded) {
      i.greatest.reset();
    }
    return i;
  }

  static Interval multiply(const Interval& a, const Interval& b) {
    if (a.least && a.greatest && *a.least == *a.greatest) {
      return scale(b, *a.least);
    }
    if (b.least && b.greatest && *b.least == *b.greatest) {
      return scale(a, *b.least);
    }
    if (!a.least || !b.least || *a.least < 0 || *b.least < 0) {
      return {};  // sizes are nonnegative; nothing else needs to be sharp
    }
    Interval result;
    result.least = apply(ExprKind::kMul, *a.least, *b.least);
    if (a.greatest && b.greatest) {
      result.greatest = apply(ExprKind::kMul, *a.greatest, *b.greatest);
    }
    return result;
  }

  static Interval scale(const Interval& a, int64_t c) {
    const auto times = [c](std::optional<int64_t> v) {
      return v ? apply(ExprKind::kMul, *v, c) : v;
    };
    if (c == 0) {
      return {0, 0};
    }
    return c > 0 ? Interval{times(a.least), times(a.greatest)}
                 : Interval{times(a.greatest), times(a.least)};
  }

  static Interval divide(const Interval& a, const Interval& b) {
    if (!b.least || *b.least < 1) {
      return {};
    }
    Interval result;
    if (a.least) {
      // A nonnegative numerator is least over the greatest divisor.
      if (*a.least >= 0) {
        result.least = b.greatest ? *a.least / *b.greatest : 0;
      } else {
        result.least = apply(ExprKind::kFloorDiv, *a.least, *b.least);
      }
    }
    if (a.greatest) {
      if (*a.greatest >= 0) {
        result.greatest = *a.greatest / *b.least;
      } else {
        result.greatest = b.greatest ? apply(ExprKind::kFloorDiv, *a.greatest, *b.greatest) : -1;
      }
    }
    return result;
  }

  static Interval modulo(const Interval& a, const Interval& b) {
    if (!b.least || *b.least < 1) {
      return {};
    }
    Interval result{0, add(b.greatest, -1)};
    if (a.least && *a.least >= 0 && a.greatest &&
        (!result.greatest || *a.greatest < *result.greatest)) {
      result.greatest = a.greatest;
    }
    return result;
  }

  static Interval extremum(ExprKind kind, const Interval& a, const Interval& b) {
    Interval r;
    if (kind == ExprKind::kMin) {
      if (a.least && b.least) {
        r.least = std::min(*a.least, *b.least);
      }
      r.greatest = !a.greatest   ? b.greatest
                   : !b.greatest ? a.greatest
                                 : std::min(*a.greatest, *b.greatest);
    } else {
      r.least = !a.least ? b.least : !b.least ? a.least : std::max(*a.least, *b.least);
      if (a.greatest && b.greatest) {
        r.greatest = std::max(*a.greatest, *b.greatest);
      }
    }
    return r;
  }

  const Bounds& bounds_;
};

/// Every atom replaced by its least value + a nonnegative rest; nullopt when an atom has no least
/// value or a coefficient stays negative.
std::optional<int64_t> least_by_shift(const Expr& e, const Bounds& bounds) {
  const IntervalOf interval(bounds);
  Expr shifted = 0;
  for (const auto& [monomial, coefficient] : to_polynomial(e)) {
    Expr term = coefficient;
    for (const Expr& atom : monomial) {
      const std::optional<int64_t> least = interval.of(atom).least;
      if (!least) {
        return std::nullopt;
      }
      term = term * (Expr::symbol("rest of " + atom.str()) + *least);
    }
    shifted = shifted + term;
  }
  int64_t constant = 0;
  for (const auto& [monomial, coefficient] : to_polynomial(shifted)) {
    if (monomial.empty()) {
      constant = coefficient;
    } else if (coefficient < 0) {
      return std::nullopt;
    }
  }
  return constant;
}

std::optional<int64_t> least_without_indices(const Expr& e, const Bounds& bounds) {
  const std::optional<int64_t> by_interval = IntervalOf(bounds).of(e).least;
  const std::optional<int64_t> by_shift = least_by_shift(e, bounds);
  if (by_interval && by_shift) {
    return std::max(*by_interval, *by_shift);
  }
  return by_interval ? by_interval : by_shift;
}

/// `e` with each loop index that occurs linearly set to the end of its range where `e` is least.
Expr minimize_over_indices(Expr e, const Bounds& bounds) {
  for (int round = 0; round < 16; ++round) {
    std::set<std::string> names;
    e.collect_symbols(names);
    bool changed = false;
    for (const std::string& name : names) {
      const std::optional<Expr> extent = bounds.extent(name);
      if (!extent) {
        continue;
      }
      const std::optional<LinearForm> form = linear_form(e, {name});
      if (!form) {
        continue;
      }
      const Expr& c = form->coefficients.at(name);
      if (const auto low = least_without_indices(c, bounds); low && *low >= 0) {
        e = form->constant_term;
      } else if (const auto negated = least_without_indices(-c, bounds); negated && *negated >= 0) {
        e = form->constant_term + c * (*extent - 1);
      } else {
        continue;
      }
      changed = true;
      break;
    }
    if (!changed) {
      break;
    }
  }
  return e;
}

}  // namespace

void Bounds::set(std::string_view name, int64_t least, int64_t greatest) {
  ranges_[std::string(name)] = {least, greatest};
}

void Bounds::set_index(std::string_view name, const Expr& extent) {
  extents_.insert_or_assign(std::string(name), extent);
}

std::optional<Expr> Bounds::extent(std::string_view name) const {
  const auto it = extents_.find(std::string(name));
  return it == extents_.end() ? std::nullopt : std::optional<Expr>(it->second);
}

Expr Bounds::name_functions(const Expr& e) {
  if (!e.uses_functions()) {
    return e;
  }
  if (e.kind() == ExprKind::kCall) {
    STATOR_CHECK(!e.is_float(), "the double " + e.str() + " is no size");
    for (const auto& [name, call] : calls_) {
      if (call == e) {
        return Expr::symbol(name);
      }
    }
    const std::string name = "size" + std::to_string(calls_.size());
    const IntervalOf interval(*this);
    const Interval range = interval.of(e);
    ranges_[name] = {range.least.value_or(INT64_MIN), range.greatest.value_or(kUnbounded)};
    calls_.emplace(name, e);
    return Expr::symbol(name);
  }
  std::vector<Expr> operands;
  for (const Expr& operand : e.operands()) {
    operands.push_back(name_functions(operand));
  }
  return rebuild(e, operands);
}

void Bounds::set_call(std::string_view name, Expr call) {
  calls_.insert_or_assign(std::string(name), std::move(call));
}

Expr Bounds::expand(const Expr& e) const { return calls_.empty() ? e : e.substitute(calls_); }

void Bounds::expand(std::set<std::string>* symbols) const {
  for (const auto& [name, call] : calls_) {
    if (symbols->erase(name) > 0) {
      call.collect_symbols(*symbols);
    }
  }
}

std::optional<int64_t> Bounds::least(const Expr& e) const {
  if (e.is_constant()) {
    return e.constant();
  }
  return least_without_indices(extents_.empty() ? e : minimize_over_indices(e, *this), *this);
}

std::optional<int64_t> Bounds::greatest(const Expr& e) const {
  const std::optional<int64_t> negated = least(-e);
  return negated && *negated != INT64_MIN ? std::optional<int64_t>(-*negated) : std::nullopt;
}

bool Bounds::proves_less(const Expr& a, const Expr& b) const {
  const std::optional<int64_t> difference = least(b - a);
  return difference && *difference >= 1;
}

bool Bounds::proves_less_equal(const Expr& a, const Expr& b) const {
  const std::optional<int64_t> difference = least(b - a);
  return difference && *difference >= 0;
}

bool Bounds::proves_equal(const Expr& a, const Expr& b) const {
  return a == b || simplify(a - b, *this).is_constant(0);
}

bool Bounds::proves_not_equal(const Expr& a, const Expr& b) const {
  return proves_less(a, b) || proves_less(b, a);
}

}  // namespace stator
