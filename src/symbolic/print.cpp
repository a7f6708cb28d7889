// SPDX-License-Identifier: Apache-2.0
#include "stator/expr.h"
#include "symbolic/polynomial.h"

namespace stator {
namespace {

enum Precedence { kSum = 0, kProduct = 1, kAtom = 2 };

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

std::string print(const Expr& e, Precedence context) {
  std::string s;
  Precedence own = kAtom;
  switch (e.kind()) {
    case ExprKind::kConstant:
      s = std::to_string(e.constant());
      return context == kAtom && e.constant() < 0 ? "(" + s + ")" : s;
    case ExprKind::kSymbol:
      return e.symbol_name();
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

std::string Expr::str() const { return print(*this, kSum); }

}  // namespace stator
