// SPDX-License-Identifier: Apache-2.0
//
// Expressions as polynomials over atoms, for the files of this folder.
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "stator/expr.h"

namespace stator {

/// Sorted factors, repeated for powers; empty is the constant term.
using Monomial = std::vector<Expr>;
/// Coefficients, none of them zero.
using Polynomial = std::map<Monomial, int64_t>;

Polynomial to_polynomial(const Expr& e);
Expr from_polynomial(const Polynomial& p);
Expr from_monomial(const Monomial& monomial, int64_t coefficient);
Polynomial multiply(const Polynomial& a, const Polynomial& b);
/// (c*m) / (by_c*by) when that is exact.
std::optional<std::pair<Monomial, int64_t>> divide_term(const Monomial& m, int64_t c,
                                                        const Monomial& by, int64_t by_c);
/// a == quotient * b + remainder.
void split_by_divisor(const Expr& a, const Expr& b, Expr* quotient, Expr* remainder);

/// The operator on values; nullopt on overflow or division by zero.
std::optional<int64_t> apply(ExprKind kind, int64_t a, int64_t b);
/// A function on values, doubles as their bits; nullopt on overflow and where Python raises.
std::optional<int64_t> apply(SizeFunction function, int64_t a, int64_t b);
/// The operator on expressions, folded from the left.
Expr rebuild(ExprKind kind, const std::vector<Expr>& operands);
/// What `like` is, of other operands.
Expr rebuild(const Expr& like, const std::vector<Expr>& operands);

}  // namespace stator
