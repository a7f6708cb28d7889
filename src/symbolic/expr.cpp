// SPDX-License-Identifier: Apache-2.0
//
// Canonical form: an expression is a polynomial over atoms (symbols and opaque //, %, Min, Max
// nodes) with int64 coefficients. Every operator works on polynomials and rebuilds the tree from
// them, so that equal polynomials have equal trees.
#include "stator/expr.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/check.h"
#include "symbolic/polynomial.h"

namespace stator {

struct ExprNode {
  ExprKind kind = ExprKind::kConstant;
  int64_t value = 0;
  std::string name;
  std::vector<Expr> operands;
  size_t hash = 0;
};

namespace {

void mix(size_t& seed, size_t value) {
  seed ^= value + 0x9e3779b97f4a7c15ULL + (seed << 6) + (seed >> 2);
}

int64_t floor_div_value(int64_t a, int64_t b) {
  STATOR_CHECK(b != 0 && !(a == INT64_MIN && b == -1), "division by zero in a size expression");
  const int64_t q = a / b;
  return (a % b != 0 && ((a < 0) != (b < 0))) ? q - 1 : q;
}

}  // namespace

struct ExprBuilder {
  static int64_t bits(const Expr& constant) { return constant.node_->value; }
  static Expr make(ExprKind kind, int64_t value, std::string name, std::vector<Expr> operands) {
    auto node = std::make_shared<ExprNode>();
    node->kind = kind;
    node->value = value;
    node->name = std::move(name);
    node->operands = std::move(operands);
    size_t hash = static_cast<size_t>(kind) * 0x51ed27ULL;
    mix(hash, std::hash<int64_t>{}(node->value));
    mix(hash, std::hash<std::string>{}(node->name));
    for (const Expr& operand : node->operands) {
      mix(hash, operand.hash());
    }
    node->hash = hash;
    return Expr(std::move(node));
  }
};

Expr::Expr(int64_t value) {
  // The small constants that fill every shape share their nodes.
  static const auto* small = [] {
    auto* nodes = new std::vector<std::shared_ptr<const ExprNode>>();
    for (int64_t v = -1; v <= 64; ++v) {
      auto node = std::make_shared<ExprNode>();
      node->value = v;
      node->hash = std::hash<int64_t>{}(v)*31 + 7;
      nodes->push_back(std::move(node));
    }
    return nodes;
  }();
  if (value >= -1 && value <= 64) {
    node_ = (*small)[static_cast<size_t>(value + 1)];
    return;
  }
  auto node = std::make_shared<ExprNode>();
  node->value = value;
  node->hash = std::hash<int64_t>{}(value)*31 + 7;
  node_ = std::move(node);
}

Expr Expr::symbol(std::string_view name) {
  return ExprBuilder::make(ExprKind::kSymbol, 0, std::string(name), {});
}

ExprKind Expr::kind() const { return node_->kind; }

int64_t Expr::constant() const {
  STATOR_CHECK(is_constant(), "size expression " + str() + " is not a constant");
  return node_->value;
}

Expr Expr::real(double value) {
  return ExprBuilder::make(ExprKind::kReal, std::bit_cast<int64_t>(value), "", {});
}

double Expr::real_value() const { return std::bit_cast<double>(node_->value); }

SizeFunction Expr::function() const { return static_cast<SizeFunction>(node_->value); }

bool Expr::uses_functions() const {
  return kind() == ExprKind::kCall ||
         std::any_of(node_->operands.begin(), node_->operands.end(),
                     [](const Expr& operand) { return operand.uses_functions(); });
}

const std::string& Expr::symbol_name() const { return node_->name; }
const std::vector<Expr>& Expr::operands() const { return node_->operands; }
size_t Expr::hash() const { return node_->hash; }

bool operator==(const Expr& a, const Expr& b) {
  if (a.node_ == b.node_) {
    return true;
  }
  const ExprNode& x = *a.node_;
  const ExprNode& y = *b.node_;
  return x.hash == y.hash && x.kind == y.kind && x.value == y.value && x.name == y.name &&
         x.operands == y.operands;
}

bool operator<(const Expr& a, const Expr& b) {
  if (a.node_ == b.node_) {
    return false;
  }
  const ExprNode& x = *a.node_;
  const ExprNode& y = *b.node_;
  if (x.kind != y.kind) {
    return x.kind < y.kind;
  }
  if (x.value != y.value) {
    return x.value < y.value;
  }
  if (x.name != y.name) {
    return x.name < y.name;
  }
  return std::lexicographical_compare(x.operands.begin(), x.operands.end(), y.operands.begin(),
                                      y.operands.end());
}

void Expr::collect_symbols(std::set<std::string>& names) const {
  if (is_symbol()) {
    names.insert(node_->name);
  }
  for (const Expr& operand : node_->operands) {
    operand.collect_symbols(names);
  }
}

bool Expr::uses_symbol(std::string_view name) const {
  if (is_symbol()) {
    return node_->name == name;
  }
  return std::any_of(node_->operands.begin(), node_->operands.end(),
                     [name](const Expr& operand) { return operand.uses_symbol(name); });
}

Expr Expr::substitute(const std::map<std::string, Expr>& values) const {
  switch (kind()) {
    case ExprKind::kConstant:
      return *this;
    case ExprKind::kSymbol: {
      const auto it = values.find(node_->name);
      return it == values.end() ? *this : it->second;
    }
    default:
      break;
  }
  std::vector<Expr> operands;
  bool changed = false;
  for (const Expr& operand : node_->operands) {
    operands.push_back(operand.substitute(values));
    changed = changed || !(operands.back() == operand);
  }
  return changed ? rebuild(*this, operands) : *this;
}

std::optional<int64_t> Expr::evaluate(const std::map<std::string, int64_t>& values) const {
  if (is_constant()) {
    return node_->value;
  }
  if (is_symbol()) {
    const auto it = values.find(node_->name);
    return it == values.end() ? std::nullopt : std::optional<int64_t>(it->second);
  }
  if (kind() == ExprKind::kReal) {
    return node_->value;
  }
  if (kind() == ExprKind::kCall) {
    const std::optional<int64_t> a = node_->operands[0].evaluate(values);
    const std::optional<int64_t> b =
        node_->operands.size() > 1 ? node_->operands[1].evaluate(values) : int64_t{0};
    return a && b ? apply(function(), *a, *b) : std::nullopt;
  }
  std::optional<int64_t> result;
  for (const Expr& operand : node_->operands) {
    const std::optional<int64_t> value = operand.evaluate(values);
    if (!value) {
      return std::nullopt;
    }
    result = result ? apply(kind(), *result, *value) : value;
    if (!result) {
      return std::nullopt;
    }
  }
  return result;
}

std::optional<int64_t> apply(ExprKind kind, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (kind) {
    case ExprKind::kAdd:
      return __builtin_add_overflow(a, b, &result) ? std::nullopt : std::optional(result);
    case ExprKind::kMul:
      return __builtin_mul_overflow(a, b, &result) ? std::nullopt : std::optional(result);
    case ExprKind::kFloorDiv:
    case ExprKind::kMod:
      if (b == 0 || (a == INT64_MIN && b == -1)) {
        return std::nullopt;
      }
      return kind == ExprKind::kFloorDiv ? floor_div_value(a, b) : a - floor_div_value(a, b) * b;
    case ExprKind::kMin:
      return std::min(a, b);
    case ExprKind::kMax:
      return std::max(a, b);
    default:
      return std::nullopt;
  }
}

Expr rebuild(ExprKind kind, const std::vector<Expr>& operands) {
  Expr result = operands[0];
  for (size_t i = 1; i < operands.size(); ++i) {
    switch (kind) {
      case ExprKind::kAdd:
        result = result + operands[i];
        break;
      case ExprKind::kMul:
        result = result * operands[i];
        break;
      case ExprKind::kFloorDiv:
        result = floor_div(result, operands[i]);
        break;
      case ExprKind::kMod:
        result = mod(result, operands[i]);
        break;
      case ExprKind::kMin:
        result = min(result, operands[i]);
        break;
      case ExprKind::kMax:
        result = max(result, operands[i]);
        break;
      default:
        STATOR_CHECK(false, "rebuild of a leaf");
    }
  }
  return result;
}

Expr rebuild(const Expr& like, const std::vector<Expr>& operands) {
  return like.kind() == ExprKind::kCall ? Expr::call(like.function(), operands)
                                        : rebuild(like.kind(), operands);
}

// ---------------------------------------------------------------- functions

namespace {

bool is_number(const Expr& e) { return e.is_constant() || e.kind() == ExprKind::kReal; }

/// floor(a / b), ceil(a / b) of integers: exact in doubles for every a below 2^53, which sizes are.
std::optional<Expr> integer_quotient(SizeFunction function, const Expr& of) {
  const bool quotient = of.kind() == ExprKind::kCall && of.function() == SizeFunction::kIntTrueDiv;
  if (!quotient || !of.operands()[1].is_constant() || of.operands()[1].constant() <= 0) {
    return std::nullopt;
  }
  if (function == SizeFunction::kFloorToInt) {
    return floor_div(of.operands()[0], of.operands()[1]);
  }
  return function == SizeFunction::kCeilToInt
             ? std::optional<Expr>(ceil_div(of.operands()[0], of.operands()[1]))
             : std::nullopt;
}

}  // namespace

Expr Expr::call(SizeFunction function, std::vector<Expr> operands) {
  const std::string_view types = size_function(function).types;
  STATOR_CHECK(types.size() == operands.size() + 1, "operands of a size function");
  bool numbers = true;
  for (size_t i = 0; i < operands.size(); ++i) {
    if (types[i] == 'f' && !operands[i].is_float()) {
      operands[i] = call(SizeFunction::kToFloat, {operands[i]});
    }
    STATOR_CHECK(types[i] == 'f' || !operands[i].is_float(), "a double as an integer operand");
    numbers = numbers && is_number(operands[i]);
  }
  if (numbers) {
    const int64_t b = operands.size() > 1 ? ExprBuilder::bits(operands[1]) : 0;
    if (const auto value = apply(function, ExprBuilder::bits(operands[0]), b)) {
      return types.back() == 'f' ? real(std::bit_cast<double>(*value)) : Expr(*value);
    }
  }
  if (operands.size() == 2 && operands[0].is_condition() && operands[1].is_condition()) {
    switch (function) {
      case SizeFunction::kBitAnd:
        return all(operands[0], operands[1]);
      case SizeFunction::kBitOr:
        return any(operands[0], operands[1]);
      default:
        break;
    }
  }
  if (types.front() == 'f' && types.back() == 'i') {  // a conversion
    const Expr& of = operands[0];
    if (of.kind() == ExprKind::kCall && of.function() == SizeFunction::kToFloat) {
      return of.operands()[0];
    }
    if (const auto quotient = integer_quotient(function, of)) {
      return *quotient;
    }
  }
  return ExprBuilder::make(ExprKind::kCall, static_cast<int64_t>(function), "",
                           std::move(operands));
}

bool Expr::is_float() const {
  return kind() == ExprKind::kReal ||
         (kind() == ExprKind::kCall &&
          std::string_view(size_function(function()).types).back() == 'f');
}

// ---------------------------------------------------------------- polynomials

Polynomial to_polynomial(const Expr& e) {
  Polynomial p;
  if (e.is_constant()) {
    if (e.constant() != 0) {
      p[{}] = e.constant();
    }
  } else if (e.kind() == ExprKind::kAdd) {
    for (const Expr& term : e.operands()) {
      for (const auto& [monomial, coefficient] : to_polynomial(term)) {
        p[monomial] += coefficient;
      }
    }
  } else if (e.kind() == ExprKind::kMul) {
    Monomial monomial;
    int64_t coefficient = 1;
    for (const Expr& factor : e.operands()) {
      if (factor.is_constant()) {
        coefficient = factor.constant();
      } else {
        monomial.push_back(factor);
      }
    }
    p[monomial] = coefficient;
  } else {
    p[{e}] = 1;
  }
  return p;
}

Expr from_monomial(const Monomial& monomial, int64_t coefficient) {
  if (monomial.empty()) {
    return Expr(coefficient);
  }
  if (monomial.size() == 1 && coefficient == 1) {
    return monomial[0];
  }
  std::vector<Expr> factors;
  if (coefficient != 1) {
    factors.emplace_back(coefficient);
  }
  factors.insert(factors.end(), monomial.begin(), monomial.end());
  return ExprBuilder::make(ExprKind::kMul, 0, "", std::move(factors));
}

Expr from_polynomial(const Polynomial& p) {
  std::vector<Expr> terms;
  for (const auto& [monomial, coefficient] : p) {
    if (coefficient != 0) {
      terms.push_back(from_monomial(monomial, coefficient));
    }
  }
  if (terms.empty()) {
    return Expr(0);
  }
  if (terms.size() == 1) {
    return terms[0];
  }
  std::rotate(terms.begin(), terms.begin() + (terms[0].is_constant() ? 1 : 0), terms.end());
  return ExprBuilder::make(ExprKind::kAdd, 0, "", std::move(terms));
}

Polynomial multiply(const Polynomial& a, const Polynomial& b) {
  Polynomial result;
  for (const auto& [ma, ca] : a) {
    for (const auto& [mb, cb] : b) {
      Monomial m = ma;
      m.insert(m.end(), mb.begin(), mb.end());
      std::sort(m.begin(), m.end());
      int64_t term = 0;
      int64_t& slot = result[m];
      STATOR_CHECK(
          !__builtin_mul_overflow(ca, cb, &term) && !__builtin_add_overflow(slot, term, &slot),
          "a size expression overflows 64 bits");
    }
  }
  return result;
}

std::optional<std::pair<Monomial, int64_t>> divide_term(const Monomial& m, int64_t c,
                                                        const Monomial& by, int64_t by_c) {
  if (by_c == 0 || c % by_c != 0) {
    return std::nullopt;
  }
  Monomial rest = m;
  for (const Expr& factor : by) {
    const auto it = std::find(rest.begin(), rest.end(), factor);
    if (it == rest.end()) {
      return std::nullopt;
    }
    rest.erase(it);
  }
  return std::pair(rest, c / by_c);
}

// ---------------------------------------------------------------- operators

Expr operator+(const Expr& a, const Expr& b) {
  if (a.is_float() || b.is_float()) {
    return Expr::call(SizeFunction::kFloatAdd, {a, b});
  }
  if (a.is_constant(0)) {
    return b;
  }
  if (b.is_constant(0)) {
    return a;
  }
  Polynomial p = to_polynomial(a);
  for (const auto& [monomial, coefficient] : to_polynomial(b)) {
    int64_t& slot = p[monomial];
    STATOR_CHECK(!__builtin_add_overflow(slot, coefficient, &slot),
                 "a size expression overflows 64 bits");
  }
  return from_polynomial(p);
}

Expr operator-(const Expr& a) { return Expr(-1) * a; }
Expr operator-(const Expr& a, const Expr& b) { return a + (-b); }

Expr operator*(const Expr& a, const Expr& b) {
  if (a.is_float() || b.is_float()) {
    return Expr::call(SizeFunction::kFloatMul, {a, b});
  }
  if (a.is_constant(1)) {
    return b;
  }
  if (b.is_constant(1)) {
    return a;
  }
  return from_polynomial(multiply(to_polynomial(a), to_polynomial(b)));
}

Expr product(const std::vector<Expr>& factors) {
  Expr result = 1;
  for (const Expr& factor : factors) {
    result = result * factor;
  }
  return result;
}

/// a == quotient * b + remainder, by taking out the terms of `a` that `b` divides; b is not a sum
/// of several terms, or divides as a whole.
void split_by_divisor(const Expr& a, const Expr& b, Expr* quotient, Expr* remainder) {
  const Polynomial pb = to_polynomial(b);
  Polynomial rest = to_polynomial(a);
  Polynomial q;
  if (pb.size() == 1) {
    const auto& [by, by_c] = *pb.begin();
    for (auto it = rest.begin(); it != rest.end();) {
      if (const auto divided = divide_term(it->first, it->second, by, by_c)) {
        q[divided->first] += divided->second;
        it = rest.erase(it);
      } else {
        ++it;
      }
    }
  } else if (!pb.empty()) {
    // Exact division by a sum: divide leading terms as long as possible; keep it only when nothing
    // remains.
    Polynomial work = rest;
    const auto& [by, by_c] = *pb.rbegin();
    for (int step = 0; step < 64 && !work.empty(); ++step) {
      const auto divided = divide_term(work.rbegin()->first, work.rbegin()->second, by, by_c);
      if (!divided) {
        break;
      }
      q[divided->first] += divided->second;
      for (const auto& [m, c] : multiply(pb, Polynomial{{divided->first, divided->second}})) {
        work[m] -= c;
        if (work[m] == 0) {
          work.erase(m);
        }
      }
    }
    if (work.empty()) {
      rest.clear();
    } else {
      q.clear();
    }
  }
  *quotient = from_polynomial(q);
  *remainder = from_polynomial(rest);
}

Expr floor_div(const Expr& a, const Expr& b) {
  if (b.is_constant(1)) {
    return a;
  }
  if (a.is_constant() && b.is_constant()) {
    return floor_div_value(a.constant(), b.constant());
  }
  Expr quotient;
  Expr rest;
  split_by_divisor(a, b, &quotient, &rest);
  if (rest.is_constant(0)) {
    return quotient;
  }
  if (rest.is_constant() && b.is_constant()) {
    return quotient + floor_div_value(rest.constant(), b.constant());
  }
  // (x // c) // d == x // (c*d) for positive constants.
  if (rest.kind() == ExprKind::kFloorDiv && b.is_constant() && b.constant() > 0 &&
      rest.operands()[1].is_constant() && rest.operands()[1].constant() > 0) {
    return quotient + floor_div(rest.operands()[0], rest.operands()[1] * b);
  }
  return quotient + ExprBuilder::make(ExprKind::kFloorDiv, 0, "", {rest, b});
}

Expr ceil_div(const Expr& a, const Expr& b) { return floor_div(a + b - 1, b); }

Expr mod(const Expr& a, const Expr& b) {
  if (b.is_constant(1)) {
    return 0;
  }
  if (a.is_constant() && b.is_constant()) {
    return a.constant() - floor_div_value(a.constant(), b.constant()) * b.constant();
  }
  Expr quotient;
  Expr rest;
  split_by_divisor(a, b, &quotient, &rest);
  if (rest.is_constant() && (b.is_constant() || rest.is_constant(0))) {
    return rest.is_constant(0) ? Expr(0) : mod(rest, b);
  }
  return ExprBuilder::make(ExprKind::kMod, 0, "", {rest, b});
}

namespace {

Expr extremum(ExprKind kind, const Expr& a, const Expr& b) {
  if (a.is_float() || b.is_float()) {
    return Expr::call(kind == ExprKind::kMin ? SizeFunction::kFloatMin : SizeFunction::kFloatMax,
                      {a, b});
  }
  if (a == b) {
    return a;
  }
  // Terms that differ by a constant compare without bounds.
  const Expr difference = a - b;
  if (difference.is_constant()) {
    return (difference.constant() < 0) == (kind == ExprKind::kMin) ? a : b;
  }
  std::vector<Expr> operands{a, b};
  std::sort(operands.begin(), operands.end());
  return ExprBuilder::make(kind, 0, "", std::move(operands));
}

}  // namespace

Expr min(const Expr& a, const Expr& b) { return extremum(ExprKind::kMin, a, b); }
Expr max(const Expr& a, const Expr& b) { return extremum(ExprKind::kMax, a, b); }

}  // namespace stator
