// SPDX-License-Identifier: Apache-2.0
#include <charconv>

#include "stator/expr.h"
#include "symbolic/polynomial.h"

namespace stator {
namespace {

enum Precedence { kComparison = -1, kSum = 0, kProduct = 1, kAtom = 2 };

std::string print(const Expr& e, Precedence context);

std::string print_sum(const Expr& e) {
  std::string s;
  for (const Expr& term : e.operands()) {
    const std::string text = print(term, kSum);
    if (s.empty()) {
      s = text;
    } else if (text[0] == '-') {
      s += " - " + text.substr(1);
    } else {
      s += " + " + text;
    }
  }
  return s;
}

std::string print_product(const Expr& e) {
  std::string s;
  for (const Expr& factor : e.operands()) {
    if (s.empty() && factor.is_constant(-1)) {
      s = "-";
      continue;
    }
    if (!s.empty() && s != "-") {
      s += "*";
    }
    s += factor.is_constant() ? std::to_string(factor.constant()) : print(factor, kAtom);
  }
  return s;
}

/// The shortest text that reads back as the same double, and as a double.
std::string print_real(double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  const std::string s(text, end);
  return s.find_first_of(".en") == std::string::npos ? s + ".0" : s;
}

/// "1.7*ToFloat(s0)", "s0 == 4", "TruncToInt(…)".
std::string print_call(const Expr& e, Precedence* own) {
  const auto infix = [&](const char* op, Precedence precedence, Precedence operands) {
    *own = precedence;
    return print(e.operands()[0], operands) + op + print(e.operands()[1], operands);
  };
  switch (e.function()) {
    case SizeFunction::kFloatAdd:
      return infix(" + ", kSum, kAtom);
    case SizeFunction::kFloatMul:
      return infix("*", kProduct, kAtom);
    case SizeFunction::kFloatTrueDiv:
    case SizeFunction::kIntTrueDiv:
      return infix("/", kProduct, kAtom);
    case SizeFunction::kEqual:
    case SizeFunction::kFloatEqual:
      return infix(" == ", kComparison, kSum);
    case SizeFunction::kLess:
    case SizeFunction::kFloatLess:
      return infix(" < ", kComparison, kSum);
    case SizeFunction::kFloatLessEqual:
      return infix(" <= ", kComparison, kSum);
    default:
      break;
  }
  std::string s = std::string(size_function(e.function()).name) + "(";
  for (size_t i = 0; i < e.operands().size(); ++i) {
    s += (i == 0 ? "" : ", ") + print(e.operands()[i], kComparison);
  }
  return s + ")";
}

std::string print(const Expr& e, Precedence context) {
  std::string s;
  Precedence own = kAtom;
  switch (e.kind()) {
    case ExprKind::kConstant:
      s = std::to_string(e.constant());
      return context == kAtom && e.constant() < 0 ? "(" + s + ")" : s;
    case ExprKind::kSymbol:
      return e.symbol_name();
    case ExprKind::kReal:
      s = print_real(e.real_value());
      return context == kAtom && e.real_value() < 0 ? "(" + s + ")" : s;
    case ExprKind::kCall:
      s = print_call(e, &own);
      break;
    case ExprKind::kAdd:
      own = kSum;
      s = print_sum(e);
      break;
    case ExprKind::kMul:
      own = kProduct;
      s = print_product(e);
      break;
    case ExprKind::kFloorDiv:
      own = kProduct;
      s = print(e.operands()[0], kAtom) + "//" + print(e.operands()[1], kAtom);
      break;
    case ExprKind::kMod:
      own = kProduct;
      s = print(e.operands()[0], kAtom) + " % " + print(e.operands()[1], kAtom);
      break;
    case ExprKind::kMin:
    case ExprKind::kMax:
      s = std::string(e.kind() == ExprKind::kMin ? "Min(" : "Max(") + print(e.operands()[0], kSum) +
          ", " + print(e.operands()[1], kSum) + ")";
      break;
  }
  return own < context ? "(" + s + ")" : s;
}

}  // namespace

std::string Expr::str() const { return print(*this, kComparison); }

}  // namespace stator
