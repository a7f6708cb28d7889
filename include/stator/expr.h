// SPDX-License-Identifier: Apache-2.0
//
// Symbolic integers: sizes, strides, offsets and index maps as expressions over named symbols; and
// what PyTorch computes sizes with besides: floats, conversions, conditions.
//
// An Expr is an immutable value that is cheap to copy. Building one simplifies it: sums of products
// are kept in one canonical order with constants folded, so that equal polynomials are equal
// objects (`==` is structural). floor_div and mod have Python's meaning (they round towards minus
// infinity). Functions of the table below are atoms of such sums; floats among them are computed in
// double, in the order that they are written in, as Python does. A condition is 0 or 1.
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
  kReal,      // a constant double
  kCall,      // a SizeFunction of 1 or 2 operands
};

/// Functions that sizes are computed with; an operand or result is an integer or a double, as
/// size_function() says.
enum class SizeFunction : uint8_t {
  kToFloat,
  kIntTrueDiv,
  kFloatAdd,
  kFloatMul,
  kFloatTrueDiv,
  kFloatPow,
  kFloatMin,
  kFloatMax,
  kRoundDecimal,
  kTruncToFloat,
  kSqrt,
  kExp,
  kLog,
  kLog2,
  kSin,
  kCos,
  kTan,
  kSinh,
  kCosh,
  kTanh,
  kAsin,
  kAcos,
  kAtan,
  kAsinh,
  kTruncToInt,
  kFloorToInt,
  kCeilToInt,
  kRoundToInt,  // half to even
  kPowByNatural,
  kBitAnd,
  kBitOr,
  kBitXor,
  kEqual,
  kLess,
  kFloatEqual,
  kFloatLess,
  kFloatLessEqual,
};
inline constexpr int kSizeFunctionCount = static_cast<int>(SizeFunction::kFloatLessEqual) + 1;

/// A row of the table: the name in texts, and 'i' (integer), 'f' (double) or 'c' (condition) of
/// each operand and, last, of the result: "ff" of Sqrt, "iif" of IntTrueDiv.
struct SizeFunctionInfo {
  const char* name;
  const char* types;
};
const SizeFunctionInfo& size_function(SizeFunction function);

struct ExprNode;

class Expr {
 public:
  Expr() : Expr(0) {}
  Expr(int64_t value);  // NOLINT: implicit, so that sizes read as numbers
  Expr(int value) : Expr(static_cast<int64_t>(value)) {}  // NOLINT: implicit
  static Expr symbol(std::string_view name);
  static Expr real(double value);
  /// The function of these operands, folded where they are constants; integers among operands that
  /// are to be doubles are converted.
  static Expr call(SizeFunction function, std::vector<Expr> operands);
  // Conditions: 1 where they hold, else 0. The operands of the last three are conditions.
  static Expr equal(const Expr& a, const Expr& b);
  static Expr less(const Expr& a, const Expr& b);
  static Expr less_equal(const Expr& a, const Expr& b);
  static Expr all(const Expr& a, const Expr& b);
  static Expr any(const Expr& a, const Expr& b);
  static Expr none(const Expr& a);

  ExprKind kind() const;
  bool is_constant() const { return kind() == ExprKind::kConstant; }
  bool is_constant(int64_t value) const { return is_constant() && constant() == value; }
  bool is_symbol() const { return kind() == ExprKind::kSymbol; }
  bool is_float() const;                   // a double, and no size
  bool is_condition() const;               // 0 or 1
  int64_t constant() const;                // of a kConstant
  const std::string& symbol_name() const;  // of a kSymbol
  double real_value() const;               // of a kReal
  SizeFunction function() const;           // of a kCall
  const std::vector<Expr>& operands() const;

  /// Canonical text, Python syntax: "2*s0*s1 + 3", "(s0 + 1)//2", "s0 % 4", "Max(1, s0)".
  std::string str() const;
  size_t hash() const;
  void collect_symbols(std::set<std::string>& names) const;
  bool uses_symbol(std::string_view name) const;
  /// Every occurrence of the given symbols replaced at once.
  Expr substitute(const std::map<std::string, Expr>& values) const;
  bool uses_functions() const;  // holds a kCall
  /// The value under the given symbols (a double's bits where is_float()), or nullopt when one is
  /// missing, on overflow or division by zero.
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

/// A property of an input as guards name it: L['x'][0].size()[1] has keys "x" and "0", and is size
/// 1 of what stands there.
struct InputProperty {
  enum Kind : uint8_t { kValue, kSize, kStride, kStorageOffset };
  std::vector<std::string> keys;
  Kind kind = kValue;
  int64_t dim = 0;
};
using InputResolver = std::function<Result<Expr>(const InputProperty&)>;

/// Reads Python and sympy text as PyTorch and its archives write it: numbers, names, arithmetic,
/// comparisons, and / or / not, and the functions of torch.utils._sympy, of math and of torch
/// (torch.sym_float) under their names. `resolve` gives the value of L[…], which guards hold.
/// An unknown function is an error.
Result<Expr> parse_expr(std::string_view text, const InputResolver& resolve = {});

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

  /// `e` with each call of a SizeFunction replaced by a symbol that stands for it: what reads
  /// sizes, kernels above all, then knows sums, quotients and extrema alone. Equal calls share one.
  Expr name_functions(const Expr& e);
  void set_call(std::string_view name, Expr call);  // `name` stands for `call`
  const std::map<std::string, Expr>& calls() const { return calls_; }
  /// The inverse: symbols that stand for calls replaced by them.
  Expr expand(const Expr& e) const;
  /// Likewise for names: those of calls replaced by the symbols that these are computed from.
  void expand(std::set<std::string>* symbols) const;

 private:
  std::map<std::string, std::pair<int64_t, int64_t>> ranges_;
  std::map<std::string, Expr> extents_;
  std::map<std::string, Expr> calls_;  // by the symbol that stands for it
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
