// SPDX-License-Identifier: Apache-2.0
#include "graph/conditions.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "symbolic/polynomial.h"

namespace stator {
namespace {

constexpr int64_t kMostPoints = 4096;
constexpr int64_t kMostRemainders = 1024;
constexpr int64_t kFar = int64_t{1} << 53;  // a bound beyond is none

struct Axis {
  std::string symbol;
  int64_t least, greatest;
};

/// The symbols with their ranges; empty where there are more points than may be tried.
std::vector<Axis> few_points(const Expr& condition, const Bounds& bounds) {
  std::set<std::string> symbols;
  condition.collect_symbols(symbols);
  std::vector<Axis> axes;
  int64_t points = 1;
  for (const std::string& symbol : symbols) {
    const auto range = bounds.ranges().find(symbol);
    if (range == bounds.ranges().end()) return {};
    const auto [least, greatest] = range->second;
    if (greatest == Bounds::kUnbounded || greatest - least >= kMostPoints) return {};
    points *= greatest - least + 1;
    if (points > kMostPoints) return {};
    axes.push_back({symbol, least, greatest});
  }
  return axes;
}

/// The next point, the first axis fastest; false behind the last one.
bool next_point(const std::vector<Axis>& axes, std::map<std::string, int64_t>& point) {
  for (const Axis& axis : axes) {
    int64_t& value = point[axis.symbol];
    if (value < axis.greatest) {
      ++value;
      return true;
    }
    value = axis.least;
  }
  return false;
}

bool holds_at_each(const Expr& condition, const std::vector<Axis>& axes) {
  std::map<std::string, int64_t> point;
  for (const Axis& axis : axes) point[axis.symbol] = axis.least;
  do {
    const std::optional<int64_t> value = condition.evaluate(point);
    if (!value || *value == 0) return false;
  } while (next_point(axes, point));
  return true;
}

bool is_proved(const Expr& condition, const Bounds& bounds) {
  const Expr left = simplify(condition, bounds);
  return left.is_constant() && !left.is_constant(0);
}

/// Truncated quotients of what is no less than 0 are floors, which are quotients of integers.
Expr with_floors(const Expr& e, const Bounds& bounds) {
  if (e.operands().empty()) return e;
  std::vector<Expr> operands;
  for (const Expr& operand : e.operands()) operands.push_back(with_floors(operand, bounds));
  if (e.kind() != ExprKind::kCall || e.function() != SizeFunction::kTruncToInt ||
      operands[0].kind() != ExprKind::kCall ||
      operands[0].function() != SizeFunction::kIntTrueDiv) {
    return rebuild(e, operands);
  }
  const std::vector<Expr>& parts = operands[0].operands();
  const bool positive = parts[1].is_constant() && parts[1].constant() > 0;
  return positive && bounds.least(parts[0]).value_or(-1) >= 0
             ? Expr::call(SizeFunction::kFloorToInt, operands)
             : rebuild(e, operands);
}

/// Of each symbol a number that it may grow by without a change of the remainders and with a
/// constant change of the quotients that it stands in; `factor`: what all of `e` is divided by.
/// False where that is no small number.
bool collect_periods(const Expr& e, int64_t factor, std::map<std::string, int64_t>& periods) {
  if (e.is_symbol()) {
    int64_t& period = periods.try_emplace(e.symbol_name(), 1).first->second;
    period = std::lcm(period, factor);
    return period <= kMostRemainders;
  }
  const bool divides = e.kind() == ExprKind::kFloorDiv || e.kind() == ExprKind::kMod;
  if (divides && e.operands()[1].is_constant()) {
    const int64_t by = e.operands()[1].constant();
    // A remainder that does not change stays as it is under any division.
    const int64_t outer = e.kind() == ExprKind::kMod ? 1 : factor;
    if (by < 1 || by > kMostRemainders / outer) return false;
    return collect_periods(e.operands()[0], outer * by, periods);
  }
  const std::vector<Expr>& operands = e.operands();
  return std::all_of(operands.begin(), operands.end(), [&](const Expr& operand) {
    return collect_periods(operand, factor, periods);
  });
}

/// The bounds of q where a symbol is period*q + remainder; false where there is no such value.
bool set_quotient(const std::string& symbol, int64_t period, int64_t remainder,
                  const Bounds& bounds, Bounds* quotients) {
  const auto range = bounds.ranges().find(symbol);
  if (range == bounds.ranges().end()) return true;
  auto [least, greatest] = range->second;
  const auto divided = [&](int64_t end, int64_t more) {
    return floor_div(Expr(end - remainder + more), period).constant();
  };
  least = least > -kFar ? divided(least, period - 1) : INT64_MIN;
  greatest = greatest < kFar ? divided(greatest, 0) : Bounds::kUnbounded;
  if (least > greatest) return false;
  quotients->set(symbol, least, greatest);
  return true;
}

/// Tries all remainders of the symbols by what they are divided by: n = 8*q + r has neither // 8
/// nor % 8 of anything but constants left, and what remains is a polynomial in q.
bool is_proved_for_each_remainder(const Expr& condition, const Bounds& bounds) {
  std::map<std::string, int64_t> periods;
  if (!collect_periods(condition, 1, periods)) return false;
  std::vector<Axis> axes;
  int64_t points = 1;
  for (const auto& [symbol, period] : periods) {
    if (period == 1) continue;
    points *= period;
    if (points > kMostRemainders) return false;
    axes.push_back({symbol, 0, period - 1});
  }
  if (axes.empty()) return false;
  std::map<std::string, int64_t> remainders;
  for (const Axis& axis : axes) remainders[axis.symbol] = 0;
  do {
    Bounds quotients = bounds;
    std::map<std::string, Expr> written;
    bool any = true;
    for (const auto& [symbol, remainder] : remainders) {
      const int64_t period = periods[symbol];
      any = any && set_quotient(symbol, period, remainder, bounds, &quotients);
      written.emplace(symbol, Expr::symbol(symbol) * period + remainder);
    }
    if (any && !is_proved(condition.substitute(written), quotients)) return false;
  } while (next_point(axes, remainders));
  return true;
}

/// The condition with a symbol for each quotient and remainder, whose values are fewer than those
/// of what they are computed from. That they belong together is forgotten.
Expr with_quotients_named(const Expr& e, const Bounds& bounds, std::map<Expr, std::string>& names,
                          Bounds* named) {
  if (e.operands().empty()) return e;
  const bool divides = e.kind() == ExprKind::kFloorDiv || e.kind() == ExprKind::kMod;
  const std::optional<int64_t> least = divides ? bounds.least(e) : std::nullopt;
  const std::optional<int64_t> greatest = divides ? bounds.greatest(e) : std::nullopt;
  if (least && greatest) {
    const std::string fresh = "quotient " + std::to_string(names.size());
    const std::string& name = names.try_emplace(e, fresh).first->second;
    named->set(name, *least, *greatest);
    return Expr::symbol(name);
  }
  std::vector<Expr> operands;
  for (const Expr& operand : e.operands()) {
    operands.push_back(with_quotients_named(operand, bounds, names, named));
  }
  return rebuild(e, operands);
}

bool holds_at_few_points(const Expr& condition, const Bounds& bounds) {
  Bounds named = bounds;
  std::map<Expr, std::string> names;
  const Expr shorter = with_quotients_named(condition, bounds, names, &named);
  const std::vector<Axis> axes = few_points(shorter, named);
  return !axes.empty() && holds_at_each(shorter, axes);
}

}  // namespace

bool holds_for_all(const Expr& condition, const Bounds& bounds) {
  const Expr left = simplify(condition, bounds);
  if (left.is_constant()) return !left.is_constant(0);
  const Expr whole = bounds.expand(left);
  const std::vector<Axis> axes = few_points(whole, bounds);
  if (!axes.empty()) return holds_at_each(whole, axes);
  const Expr integral = simplify(with_floors(whole, bounds), bounds);
  return is_proved(integral, bounds) || holds_at_few_points(integral, bounds) ||
         is_proved_for_each_remainder(integral, bounds);
}

}  // namespace stator
