// SPDX-License-Identifier: Apache-2.0
//
// Reads the three forms in which PyTorch writes size expressions: infix as sympy prints it, sympy's
// srepr (Add(Mul(Integer(2), Symbol('s0', integer=True)), Integer(1))), and the Python of guards
// (math.trunc(1.5*torch.sym_float(L['x'].size()[0])) == 12), freely mixed. The text comes from
// files: depth and length are limited, and nothing but numbers comes out.
#include <cctype>
#include <charconv>

#include "base/check.h"
#include "stator/expr.h"
#include "symbolic/parse_calls.h"

namespace stator {
namespace {

constexpr int kMaxDepth = 200;
constexpr size_t kMaxLength = 1 << 16;

class Parser {
 public:
  Parser(std::string_view text, const InputResolver& resolve) : text_(text), resolve_(resolve) {}

  Result<Expr> parse() {
    if (text_.size() > kMaxLength) {
      return fail("is longer than 65536 characters");
    }
    STATOR_TRY(Expr e, condition(0));
    skip_space();
    if (at_ != text_.size()) {
      return fail("has unexpected text at character " + std::to_string(at_ + 1));
    }
    return e.is_float() ? Result<Expr>(fail("is no integer")) : e;
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
  bool next_is(std::string_view token) {
    skip_space();
    return text_.substr(at_).starts_with(token);
  }
  bool take(std::string_view token) {
    if (!next_is(token)) {
      return false;
    }
    at_ += token.size();
    return true;
  }
  /// An operator that begins no longer one: "<" of "<5", not of "<=" or "<<".
  bool take_operator(std::string_view token, std::string_view longer) {
    if (!next_is(token)) {
      return false;
    }
    const size_t end = at_ + token.size();
    if (end < text_.size() && longer.find(text_[end]) != std::string_view::npos) {
      return false;
    }
    at_ = end;
    return true;
  }
  bool take_word(std::string_view name) {
    if (!next_is(name)) {
      return false;
    }
    const size_t end = at_ + name.size();
    if (end < text_.size() &&
        (std::isalnum(static_cast<unsigned char>(text_[end])) != 0 || text_[end] == '_')) {
      return false;
    }
    at_ = end;
    return true;
  }

  // ------------------------------------------------------------ conditions, in Python's order

  Result<Expr> condition(int depth) {
    if (depth > kMaxDepth) {
      return fail("is nested too deeply");
    }
    STATOR_TRY(Expr left, conjunction(depth));
    while (take_word("or")) {
      STATOR_TRY(const Expr right, conjunction(depth));
      left = Expr::any(truth(left), truth(right));
    }
    return left;
  }

  Result<Expr> conjunction(int depth) {
    STATOR_TRY(Expr left, negation(depth));
    while (take_word("and")) {
      STATOR_TRY(const Expr right, negation(depth));
      left = Expr::all(truth(left), truth(right));
    }
    return left;
  }

  Result<Expr> negation(int depth) {
    if (depth > kMaxDepth) {
      return fail("is nested too deeply");
    }
    if (take_word("not")) {
      STATOR_TRY(const Expr e, negation(depth + 1));
      return Expr::none(truth(e));
    }
    return comparison(depth);
  }

  /// 2 <= s0 <= 5 is (2 <= s0) and (s0 <= 5).
  Result<Expr> comparison(int depth) {
    STATOR_TRY(Expr left, bits_or(depth));
    std::optional<Expr> all;
    for (;;) {
      const Comparison kind = take_comparison();
      if (kind == Comparison::kNone) {
        return all ? *all : left;
      }
      STATOR_TRY(const Expr right, bits_or(depth));
      const Expr one = compared(kind, left, right);
      all = all ? Expr::all(*all, one) : one;
      left = right;
    }
  }

  Comparison take_comparison() {
    if (take("==")) return Comparison::kEqual;
    if (take("!=")) return Comparison::kNotEqual;
    if (take("<=")) return Comparison::kLessEqual;
    if (take(">=")) return Comparison::kGreaterEqual;
    if (take_operator("<", "<")) return Comparison::kLess;
    if (take_operator(">", ">")) return Comparison::kGreater;
    return Comparison::kNone;
  }

  // ------------------------------------------------------------ bits

  Result<Expr> bits_or(int depth) {
    STATOR_TRY(Expr left, bits_xor(depth));
    while (take("|")) {
      STATOR_TRY(const Expr right, bits_xor(depth));
      STATOR_TRY(left, bitwise(SizeFunction::kBitOr, left, right));
    }
    return left;
  }

  Result<Expr> bits_xor(int depth) {
    STATOR_TRY(Expr left, bits_and(depth));
    while (take("^")) {
      STATOR_TRY(const Expr right, bits_and(depth));
      STATOR_TRY(left, bitwise(SizeFunction::kBitXor, left, right));
    }
    return left;
  }

  Result<Expr> bits_and(int depth) {
    STATOR_TRY(Expr left, shift(depth));
    while (take("&")) {
      STATOR_TRY(const Expr right, shift(depth));
      STATOR_TRY(left, bitwise(SizeFunction::kBitAnd, left, right));
    }
    return left;
  }

  Result<Expr> shift(int depth) {
    STATOR_TRY(Expr left, sum(depth));
    for (;;) {
      const bool to_left = take("<<");
      if (!to_left && !take(">>")) {
        return left;
      }
      STATOR_TRY(const Expr right, sum(depth));
      STATOR_TRY(left, call(to_left ? "LShift" : "RShift", {left, right}));
    }
  }

  Result<Expr> bitwise(SizeFunction function, const Expr& a, const Expr& b) {
    if (a.is_float() || b.is_float()) {
      return fail("takes bits of a number that is not an integer");
    }
    return Expr::call(function, {a, b});
  }

  // ------------------------------------------------------------ arithmetic

  Result<Expr> sum(int depth) {
    if (depth > kMaxDepth) {
      return fail("is nested too deeply");
    }
    STATOR_TRY(Expr left, term(depth));
    for (;;) {
      if (take("+")) {
        STATOR_TRY(const Expr right, term(depth));
        left = left + right;
      } else if (take("-")) {
        STATOR_TRY(const Expr right, term(depth));
        left = left - right;
      } else {
        return left;
      }
    }
  }

  Result<Expr> term(int depth) {
    STATOR_TRY(Expr left, factor(depth));
    for (;;) {
      if (take("//")) {
        STATOR_TRY(const Expr right, factor(depth));
        STATOR_TRY(left, call("FloorDiv", {left, right}));
      } else if (take_operator("*", "*")) {
        STATOR_TRY(const Expr right, factor(depth));
        left = left * right;
      } else if (take("/")) {
        STATOR_TRY(const Expr right, factor(depth));
        STATOR_TRY(left, call("TrueDiv", {left, right}));
      } else if (take("%")) {
        STATOR_TRY(const Expr right, factor(depth));
        STATOR_TRY(left, call("PythonMod", {left, right}));
      } else {
        return left;
      }
    }
  }

  Result<Expr> factor(int depth) {
    if (depth > kMaxDepth) {
      return fail("is nested too deeply");
    }
    if (take("-")) {
      STATOR_TRY(const Expr e, factor(depth + 1));
      return -e;
    }
    if (take("+")) {
      return factor(depth + 1);
    }
    if (take("~")) {  // sympy's Not
      STATOR_TRY(const Expr e, factor(depth + 1));
      return e.is_condition() ? Result<Expr>(Expr::none(e)) : fail("inverts what is no condition");
    }
    STATOR_TRY(Expr base, atom(depth));
    if (take("**")) {
      STATOR_TRY(const Expr exponent, factor(depth + 1));
      return call("Pow", {base, exponent});
    }
    return base;
  }

  Result<Expr> atom(int depth) {
    skip_space();
    if (at_ == text_.size()) {
      return fail("ends too early");
    }
    const char c = text_[at_];
    if (c == '(') {
      ++at_;
      STATOR_TRY(Expr e, condition(depth + 1));
      if (!take(")")) {
        return fail("lacks a closing parenthesis");
      }
      return e;
    }
    if (std::isdigit(static_cast<unsigned char>(c)) != 0 || c == '.') {
      return number();
    }
    if (std::isalpha(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '$') {
      return name_or_call(depth);
    }
    return fail("has unexpected text at character " + std::to_string(at_ + 1));
  }

  Result<Expr> number() {
    const char* const begin = text_.data() + at_;
    const char* const limit = text_.data() + text_.size();
    int64_t value = 0;
    const auto whole = std::from_chars(begin, limit, value);
    const bool integer = whole.ptr == limit || (*whole.ptr != '.' && *whole.ptr != 'e');
    if (integer && whole.ec != std::errc()) {
      return fail("has a number that does not fit 64 bits");
    }
    if (integer) {
      at_ = static_cast<size_t>(whole.ptr - text_.data());
      return Expr(value);
    }
    double real = 0;
    const auto read = std::from_chars(begin, limit, real);
    if (read.ec != std::errc()) {
      return fail("has a number that is none");
    }
    at_ = static_cast<size_t>(read.ptr - text_.data());
    return Expr::real(real);
  }

  std::string_view word() {
    const size_t begin = at_;
    while (at_ < text_.size() && (std::isalnum(static_cast<unsigned char>(text_[at_])) != 0 ||
                                  text_[at_] == '_' || text_[at_] == '$' || text_[at_] == '.')) {
      ++at_;
    }
    return text_.substr(begin, at_ - begin);
  }

  // ------------------------------------------------------------ names and calls

  Result<Expr> name_or_call(int depth) {
    std::string_view name = word();
    if (name == "L" && next_is("[")) {
      return input_property();
    }
    if (name == "True" || name == "true") {
      return Expr(1);
    }
    if (name == "False" || name == "false") {
      return Expr(0);
    }
    if (!next_is("(")) {
      return Expr::symbol(name);
    }
    // "torch.utils._sympy.functions.FloorDiv" → "FloorDiv"
    if (const size_t dot = name.rfind('.'); dot != std::string_view::npos) {
      name = name.substr(dot + 1);
    }
    take("(");
    if (name == "Symbol" || name == "Float") {
      return quoted(name == "Float");
    }
    std::vector<Expr> args;
    while (!next_is(")")) {
      STATOR_TRY(Expr e, condition(depth + 1));
      args.push_back(std::move(e));
      if (!take(",")) {
        break;
      }
    }
    if (!take(")")) {
      return fail("lacks a closing parenthesis");
    }
    if (args.empty()) {
      return fail("calls " + std::string(name) + " without arguments");
    }
    return call(name, args);
  }

  Result<Expr> call(std::string_view name, const std::vector<Expr>& args) {
    Result<Expr> e = call_by_name(name, args);
    return e.ok() ? std::move(e) : Result<Expr>(fail(e.error().message));
  }

  /// 'x' or "x"; empty where there is none.
  std::string_view quoted_text() {
    skip_space();
    const char quote = at_ < text_.size() ? text_[at_] : '\0';
    const size_t end =
        quote == '\'' || quote == '"' ? text_.find(quote, at_ + 1) : std::string_view::npos;
    if (end == std::string_view::npos) {
      return {};
    }
    const std::string_view inside = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    return inside;
  }

  /// Symbol('s0', positive=True, integer=True), Float('1.5', precision=53)
  Result<Expr> quoted(bool is_number) {
    const std::string_view inside = quoted_text();
    const size_t close = inside.empty() ? std::string_view::npos : text_.find(')', at_);
    if (close == std::string_view::npos) {
      return fail("has a malformed Symbol or Float");
    }
    at_ = close + 1;
    if (!is_number) {
      return Expr::symbol(inside);
    }
    double real = 0;
    const auto read = std::from_chars(inside.data(), inside.data() + inside.size(), real);
    return read.ec == std::errc() && read.ptr == inside.data() + inside.size()
               ? Result<Expr>(Expr::real(real))
               : fail("has a number that is none");
  }

  /// What follows L: ['x'][0].field.size()[1]
  Result<Expr> input_property() {
    InputProperty property;
    for (;;) {
      if (take("[")) {
        if (next_is("'") || next_is("\"")) {
          property.keys.emplace_back(quoted_text());
        } else {
          property.keys.emplace_back(word());
        }
        if (!take("]")) {
          return fail("lacks a closing bracket");
        }
        continue;
      }
      if (!take(".")) {
        break;
      }
      const std::string_view name = word();
      const bool sized = name == "size" || name == "stride";
      if (!sized && name != "storage_offset") {
        property.keys.emplace_back(name);
        continue;
      }
      property.kind = name == "size"     ? InputProperty::kSize
                      : name == "stride" ? InputProperty::kStride
                                         : InputProperty::kStorageOffset;
      if (!take("()") || (sized && !take_dim(&property.dim))) {
        return fail("has a malformed " + std::string(name));
      }
      break;
    }
    return resolve_ ? resolve_(property) : fail("names an input");
  }

  bool take_dim(int64_t* dim) {
    if (!take("[")) {
      return false;
    }
    const std::string_view digits = word();
    const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), *dim);
    return read.ec == std::errc() && *dim >= 0 && take("]");
  }

  std::string_view text_;
  const InputResolver& resolve_;
  size_t at_ = 0;
};

}  // namespace

Result<Expr> parse_expr(std::string_view text, const InputResolver& resolve) {
  try {
    return Parser(text, resolve).parse();
  } catch (const InternalError&) {  // overflow while folding constants
    return Error{ErrorCode::kInvalidArgument,
                 "size expression '" + std::string(text.substr(0, 200)) + "' overflows 64 bits"};
  }
}

}  // namespace stator
