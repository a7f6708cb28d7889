// SPDX-License-Identifier: Apache-2.0
#include "graph/conditions.h"

#include <set>

namespace stator {
namespace {

constexpr int64_t kMostPoints = 4096;

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
bool advance(const std::vector<Axis>& axes, std::map<std::string, int64_t>& point) {
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

}  // namespace

bool holds_for_all(const Expr& condition, const Bounds& bounds) {
  const Expr left = simplify(condition, bounds);
  if (left.is_constant()) {
    return !left.is_constant(0);
  }
  const Expr whole = bounds.expand(left);
  const std::vector<Axis> axes = few_points(whole, bounds);
  if (axes.empty()) {
    return false;
  }
  std::map<std::string, int64_t> point;
  for (const Axis& axis : axes) point[axis.symbol] = axis.least;
  do {
    const std::optional<int64_t> value = whole.evaluate(point);
    if (!value || *value == 0) return false;
  } while (advance(axes, point));
  return true;
}

}  // namespace stator
