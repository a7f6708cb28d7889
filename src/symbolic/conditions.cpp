// SPDX-License-Identifier: Apache-2.0
//
// Conditions are expressions of value 0 or 1: comparisons, Min for "and", 1 - c for "not".
#include <string_view>

#include "stator/expr.h"

namespace stator {

bool Expr::is_condition() const {
  switch (kind()) {
    case ExprKind::kConstant:
      return constant() == 0 || constant() == 1;
    case ExprKind::kCall:
      return std::string_view(size_function(function()).types).back() == 'c';
    case ExprKind::kMin:
    case ExprKind::kMax:
      return operands()[0].is_condition() && operands()[1].is_condition();
    case ExprKind::kAdd: {  // 1 - condition
      const Expr opposite = Expr::none(*this);
      return opposite.kind() != ExprKind::kAdd && opposite.is_condition();
    }
    default:
      return false;
  }
}

Expr Expr::equal(const Expr& a, const Expr& b) {
  if (a.is_float() || b.is_float()) {
    return Expr::call(SizeFunction::kFloatEqual, {a, b});
  }
  const Expr difference = a - b;
  return difference.is_constant() ? Expr(difference.is_constant(0) ? 1 : 0)
                                  : Expr::call(SizeFunction::kEqual, {a, b});
}

Expr Expr::less(const Expr& a, const Expr& b) {
  if (a.is_float() || b.is_float()) {
    return Expr::call(SizeFunction::kFloatLess, {a, b});
  }
  const Expr difference = a - b;
  return difference.is_constant() ? Expr(difference.constant() < 0 ? 1 : 0)
                                  : Expr::call(SizeFunction::kLess, {a, b});
}

Expr Expr::less_equal(const Expr& a, const Expr& b) {
  return a.is_float() || b.is_float() ? Expr::call(SizeFunction::kFloatLessEqual, {a, b})
                                      : less(a, b + 1);
}

Expr Expr::all(const Expr& a, const Expr& b) {
  return a.is_constant() ? (a.is_constant(0) ? a : b) : (b.is_constant(1) ? a : min(a, b));
}

Expr Expr::any(const Expr& a, const Expr& b) {
  return Expr::none(Expr::all(Expr::none(a), Expr::none(b)));
}

Expr Expr::none(const Expr& condition) { return Expr(1) - condition; }

}  // namespace stator
