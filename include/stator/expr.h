// SPDX-License-Identifier: Apache-2.0
//
// Symbolic integers: sizes, strides, offsets and index maps as expressions over named symbols.
//
// An Expr is an immutable value that is cheap to copy. Building one simplifies it: sums of products
// are kept in one canonical order with constants folded, so that equal polynomials are equal
// objects (`==` is structural). floor_div and mod have Python's meaning (they round towards minus
// infinity).
//
// What holds for a symbol (its least and greatest value, exclusive bounds by another expression) is
// kept outside, in a Bounds; simplify(expr, bounds) uses it: (i*d + j) // d == i where 0 <= j < d.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "stator/result.h"

namespace stator {

enum class ExprKind : uint8_t {
  kConstant,
  kSymbol,
  kAdd,       // n operands
  kMul,       // n operands; at most one constant, first
  kFloorDiv,  // 2 operands
  kMod,       // 2 operands
  kMin,       // 2 operands
  kMax,       // 2 operands
};

struct ExprNode;

class Expr {
 public:
  Expr() : Expr(0) {}
  Expr(int64_t value);  // NOLINT: implicit, so that sizes read as numbers
  Expr(int value) : Expr(static_cast<int64_t>(value)) {}  // NOLINT: implicit
  static Expr symbol(std::string_view name);

  ExprKind kind() const;
  bool is_constant() const { return kind() == ExprKind::kConstant; }
  bool is_constant(int64_t value) const { return is_constant() && constant() == value; }
  bool is_symbol() const { return kind() == ExprKind::kSymbol; }
  int64_t constant() const;                // of a kConstant
  const std::string& symbol_name() const;  // of a kSymbol
  const std::vector<Expr>& operands() const;

  /// Canonical text, Python syntax: "2*s0*s1 + 3", "(s0 + 1)//2", "s0 % 4", "Max(1, s0)".
  std::string str() const;
  size_t hash() const;
  void collect_symbols(std::set<std::string>& names) const;
  bool uses_symbol(std::string_view name) const;
  /// Every occurrence of the given symbols replaced at once.
  Expr substitute(const std::map<std::string, Expr>& values) const;
  /// The value under the given symbols, or nullopt when one is missing, on overflow or division by
  /// zero.
  std::optional<int64_t> evaluate(const std::map<std::string, int64_t>& values) const;

  friend bool operator==(const Expr& a, const Expr& b);
  friend bool operator<(const Expr& a,
                        const Expr& b);  // a total order, for containers and printing

 private:
  explicit Expr(std::shared_ptr<const ExprNode> node) : node_(std::move(node)) {}
  friend struct ExprBuilder;
  std::shared_ptr<const ExprNode> node_;
};

Expr operator+(const Expr& a, const Expr& b);
Expr operator-(const Expr& a, const Expr& b);
Expr operator-(const Expr& a);
Expr operator*(const Expr& a, const Expr& b);
Expr floor_div(const Expr& a, const Expr& b);
Expr ceil_div(const Expr& a, const Expr& b);
Expr mod(const Expr& a, const Expr& b);
Expr min(const Expr& a, const Expr& b);
Expr max(const Expr& a, const Expr& b);
/// Product of all (1 for none).
Expr product(const std::vector<Expr>& factors);

/// Reads Python / sympy text as the archives hold it: integers, names, + - * // % ** (constant
/// power), parentheses, unary minus, floor_div forms FloorDiv(a, b), PythonMod/Mod(a, b),
/// CleanDiv(a, b), Max(...), Min(...), ceiling/floor of a quotient, TruncToInt, Integer(n), s0
/// + 1.0 is refused.
Result<Expr> parse_expr(std::string_view text);

/// What is known of symbols.
class Bounds {
 public:
  static constexpr int64_t kUnbounded = INT64_MAX;
  /// least <= name <= greatest (kUnbounded: no upper limit).
  void set(std::string_view name, int64_t least, int64_t greatest = kUnbounded);
  /// 0 <= name < extent, extent itself symbolic: what a loop index obeys.
  void set_index(std::string_view name, const Expr& extent);
  std::optional<int64_t> least(const Expr& e) const;     // a proved lower bound
  std::optional<int64_t> greatest(const Expr& e) const;  // a proved upper bound
  /// True only when proved for all values that the bounds admit.
  bool proves_less(const Expr& a, const Expr& b) const;        // a <  b
  bool proves_less_equal(const Expr& a, const Expr& b) const;  // a <= b
  bool proves_equal(const Expr& a, const Expr& b) const;
  bool proves_not_equal(const Expr& a, const Expr& b) const;
  /// The extent given to set_index, if any.
  std::optional<Expr> extent(std::string_view name) const;
  const std::map<std::string, std::pair<int64_t, int64_t>>& ranges() const { return ranges_; }

 private:
  std::map<std::string, std::pair<int64_t, int64_t>> ranges_;
  std::map<std::string, Expr> extents_;
};

/// `e` rewritten by what the bounds prove (floor_div and mod of index sums, min and max); never
/// longer.
Expr simplify(const Expr& e, const Bounds& bounds);

/// `e` as constant_term + sum(coefficient_k * symbol_k) over the given symbols; coefficients and
/// the constant term hold none of them. nullopt when `e` is not linear in them (one under //, %,
/// min, max, or squared).
struct LinearForm {
  Expr constant_term;
  std::map<std::string, Expr> coefficients;  // every given symbol, 0 where it does not occur
};
std::optional<LinearForm> linear_form(const Expr& e, const std::vector<std::string>& symbols);

}  // namespace stator

template <>
struct std::hash<stator::Expr> {
  size_t operator()(const stator::Expr& e) const { return e.hash(); }
};
