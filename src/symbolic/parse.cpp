// SPDX-License-Identifier: Apache-2.0
//
// Reads the two forms in which PyTorch writes size expressions: infix as Python prints them, and
// sympy's srepr (Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(1))), freely mixed. The
// text comes from files: depth and length are limited, and nothing but integers comes out.
#include <cctype>
#include <charconv>

#include "base/check.h"
#include "stator/expr.h"

namespace stator {
namespace {

constexpr int kMaxDepth = 200;
constexpr size_t kMaxLength = 1 << 16;

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  Result<Expr> parse() {
    if (text_.size() > kMaxLength) {
      return fail("is longer than 65536 characters");
    }
    STATOR_TRY(Expr e, sum(0));
    skip_space();
    if (at_ != text_.size()) {
      return fail("has unexpected text at character " + std::to_string(at_ + 1));
    }
    return e;
  }

 private:
  Error fail(const std::string& why) const {
    return Error{ErrorCode::kInvalidArgument,
                 "size expression '" + std::string(text_.substr(0, 200)) + "' " + why};
  }
  void skip_space() {
    while (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])) != 0) {
      ++at_;
    }
  }
  bool take(std::string_view token) {
    skip_space();
    if (text_.substr(at_).starts_with(token)) {
      at_ += token.size();
      return true;
    }
    return false;
  }
  bool next_is(std::string_view token) {
    skip_space();
    return text_.substr(at_).starts_with(token);
  }

  Result<Expr> sum(int depth) {
    if (depth > kMaxDepth) {
      return fail("is nested too deeply");
    }
    STATOR_TRY(Expr left, term(depth));
    for (;;) {
      if (take("+")) {
        STATOR_TRY(Expr right, term(depth));
        left = left + right;
      } else if (take("-")) {
        STATOR_TRY(Expr right, term(depth));
        left = left - right;
      } else {
        return left;
      }
    }
  }

  Result<Expr> term(int depth) {
    STATOR_TRY(Expr left, factor(depth));
    for (;;) {
      if (next_is("**")) {
        return fail("has a power that is not a small constant");
      }
      if (take("//")) {
        STATOR_TRY(Expr right, factor(depth));
        STATOR_TRY(left, divided(left, right, ExprKind::kFloorDiv));
      } else if (take("*")) {
        STATOR_TRY(Expr right, factor(depth));
        left = left * right;
      } else if (take("%")) {
        STATOR_TRY(Expr right, factor(depth));
        STATOR_TRY(left, divided(left, right, ExprKind::kMod));
      } else {
        return left;
      }
    }
  }

  Result<Expr> divided(const Expr& a, const Expr& b, ExprKind kind) {
    if (b.is_constant(0)) {
      return fail("divides by zero");
    }
    return kind == ExprKind::kFloorDiv ? floor_div(a, b) : mod(a, b);
  }

  Result<Expr> factor(int depth) {
    if (take("-")) {
      if (depth > kMaxDepth) {
        return fail("is nested too deeply");
      }
      STATOR_TRY(Expr e, factor(depth + 1));
      return -e;
    }
    STATOR_TRY(Expr base, atom(depth));
    if (take("**")) {
      STATOR_TRY(Expr exponent, atom(depth));
      return power(base, exponent);
    }
    return base;
  }

  Result<Expr> power(const Expr& base, const Expr& exponent) {
    if (!exponent.is_constant() || exponent.constant() < 0 || exponent.constant() > 8) {
      return fail("has a power that is not a small constant");
    }
    Expr result = 1;
    for (int64_t i = 0; i < exponent.constant(); ++i) {
      result = result * base;
    }
    return result;
  }

  Result<Expr> atom(int depth) {
    skip_space();
    if (at_ == text_.size()) {
      return fail("ends too early");
    }
    const char c = text_[at_];
    if (c == '(') {
      ++at_;
      STATOR_TRY(Expr e, sum(depth + 1));
      if (!take(")")) {
        return fail("lacks a closing parenthesis");
      }
      return e;
    }
    if (std::isdigit(static_cast<unsigned char>(c)) != 0) {
      return number();
    }
    if (std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$') {
      return name_or_call(depth);
    }
    return fail("has unexpected text at character " + std::to_string(at_ + 1));
  }

  Result<Expr> number() {
    int64_t value = 0;
    const auto [end, error] =
        std::from_chars(text_.data() + at_, text_.data() + text_.size(), value);
    if (error != std::errc()) {
      return fail("has a number that does not fit 64 bits");
    }
    at_ = static_cast<size_t>(end - text_.data());
    if (at_ < text_.size() && (text_[at_] == '.' || text_[at_] == 'e')) {
      return fail("has a number that is not an integer");
    }
    return Expr(value);
  }

  std::string_view word() {
    const size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 ||
                                  text_[at_] == '_' || text_[at_] == '$' || text_[at_] == '.')) {
      ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

  Result<Expr> name_or_call(int depth) {
    std::string_view name = word();
    if (!next_is("(")) {
      return Expr::symbol(name);
    }
    // "torch.utils._sympy.functions.FloorDiv" → "FloorDiv"
    if (const size_t dot = name.rfind('.'); dot != std::string_view::npos) {
      name = name.substr(dot + 1);
    }
    take("(");
    if (name == "Symbol") {
      return quoted_symbol();
    }
    std::vector<Expr> args;
    while (!next_is(")")) {
      STATOR_TRY(Expr e, sum(depth + 1));
      args.push_back(e);
      if (!take(",")) {
        break;
      }
    }
    if (!take(")")) {
      return fail("lacks a closing parenthesis");
    }
    return call(name, args);
  }

  /// Symbol('s0', positive=True, integer=True)
  Result<Expr> quoted_symbol() {
    skip_space();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    const size_t end =
        quote == '\'' || quote == '"' ? text_.find(quote, at_ + 1) : std::string_view::npos;
    const size_t close = end == std::string_view::npos ? end : text_.find(')', end);
    if (close == std::string_view::npos || end == at_ + 1) {
      return fail("has a malformed Symbol");
    }
    const std::string_view name = text_.substr(at_ + 1, end - at_ - 1);
    at_ = close + 1;
    return Expr::symbol(name);
  }

  Result<Expr> call(std::string_view name, const std::vector<Expr>& args) {
    const auto fold = [&args](ExprKind kind) {
      Expr result = args[0];
      for (size_t i = 1; i < args.size(); ++i) {
        switch (kind) {
          case ExprKind::kAdd:
            result = result + args[i];
            break;
          case ExprKind::kMul:
            result = result * args[i];
            break;
          case ExprKind::kMin:
            result = min(result, args[i]);
            break;
          default:
            result = max(result, args[i]);
            break;
        }
      }
      return result;
    };
    if (args.empty()) {
      return fail("calls " + std::string(name) + " without arguments");
    }
    if (name == "Integer" && args.size() == 1) {
      return args[0];
    }
    if (name == "Add") {
      return fold(ExprKind::kAdd);
    }
    if (name == "Mul") {
      return fold(ExprKind::kMul);
    }
    if (name == "Max") {
      return fold(ExprKind::kMax);
    }
    if (name == "Min") {
      return fold(ExprKind::kMin);
    }
    if (args.size() == 2) {
      if (name == "FloorDiv" || name == "CleanDiv") {
        return divided(args[0], args[1], ExprKind::kFloorDiv);
      }
      if (name == "Mod" || name == "PythonMod") {
        return divided(args[0], args[1], ExprKind::kMod);
      }
      if (name == "CeilDiv") {
        return args[1].is_constant(0) ? Result<Expr>(fail("divides by zero"))
                                      : ceil_div(args[0], args[1]);
      }
      if (name == "Pow" || name == "PowByNatural") {
        return power(args[0], args[1]);
      }
    }
    return fail("uses the function " + std::string(name) + ", which sizes cannot hold");
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

Result<Expr> parse_expr(std::string_view text) {
  try {
    return Parser(text).parse();
  } catch (const InternalError&) {  // overflow while folding constants
    return Error{ErrorCode::kInvalidArgument,
                 "size expression '" + std::string(text.substr(0, 200)) + "' overflows 64 bits"};
  }
}

}  // namespace stator
