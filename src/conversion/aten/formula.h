// SPDX-License-Identifier: Apache-2.0
//
// Formulas over tensors, element by element, written with operators. What special functions are
// made of: they compute in float64, so that a result rounded to float32 is right to the last place
// or the one before, and need no functions of float64 but those that loops have (+ - * / sqrt
// floor); exp, log, sin and cos stand here.
#pragma once

#include <initializer_list>
#include <limits>
#include <span>

#include "conversion/aten/common.h"

namespace stator::aten {

inline constexpr double kInfinity = std::numeric_limits<double>::infinity();
inline constexpr double kPi = 3.14159265358979323846;

/// A tensor in a formula. Operators take terms of one dtype; numbers become constants of it.
class Term {
 public:
  Term(Conversion& c, TensorId id) : c_(&c), id_(id) {}
  Conversion& conversion() const { return *c_; }
  TensorId id() const { return id_; }
  DType dtype() const { return c_->network().type(id_).dtype; }
  Term like(double value) const { return {*c_, real(*c_, value, dtype())}; }
  Term to(DType dtype) const { return {*c_, c_->cast(id_, dtype)}; }
  Term apply(UnaryOp op) const { return {*c_, c_->network().add_unary(id_, op)}; }
  Term apply(ElementwiseOp op, Term other) const {
    return {*c_, c_->network().add_elementwise(id_, other.id_, op)};
  }

 private:
  Conversion* c_;
  TensorId id_;
};

#define STATOR_TERM_OPERATOR(symbol, op)                                                \
  inline Term operator symbol(Term a, Term b) { return a.apply(ElementwiseOp::op, b); } \
  inline Term operator symbol(Term a, double b) { return a symbol a.like(b); }          \
  inline Term operator symbol(double a, Term b) { return b.like(a) symbol b; }
STATOR_TERM_OPERATOR(+, kAdd)
STATOR_TERM_OPERATOR(-, kSub)
STATOR_TERM_OPERATOR(*, kMul)
STATOR_TERM_OPERATOR(/, kDiv)
STATOR_TERM_OPERATOR(<, kLess)
STATOR_TERM_OPERATOR(<=, kLessEqual)
STATOR_TERM_OPERATOR(>, kGreater)
STATOR_TERM_OPERATOR(>=, kGreaterEqual)
STATOR_TERM_OPERATOR(==, kEqual)
STATOR_TERM_OPERATOR(&, kAnd)
STATOR_TERM_OPERATOR(|, kOr)
#undef STATOR_TERM_OPERATOR

inline Term operator-(Term x) { return x.apply(UnaryOp::kNeg); }
inline Term operator!(Term x) { return x.apply(UnaryOp::kNot); }
inline Term abs(Term x) { return x.apply(UnaryOp::kAbs); }
inline Term sqrt(Term x) { return x.apply(UnaryOp::kSqrt); }
inline Term floor(Term x) { return x.apply(UnaryOp::kFloor); }
inline Term round(Term x) { return x.apply(UnaryOp::kRound); }
inline Term is_nan(Term x) { return x.apply(UnaryOp::kIsNan); }
inline Term least(Term a, double b) { return a.apply(ElementwiseOp::kMin, a.like(b)); }
inline Term most(Term a, double b) { return a.apply(ElementwiseOp::kMax, a.like(b)); }

/// condition ? a : b
Term where(Term condition, Term a, Term b);
inline Term where(Term condition, Term a, double b) { return where(condition, a, a.like(b)); }
inline Term where(Term condition, double a, Term b) { return where(condition, b.like(a), b); }

/// By Horner's rule; the highest power first.
Term polynomial(Term x, std::span<const double> coefficients);
Term polynomial(Term x, std::initializer_list<double> coefficients);

/// Of float64: relative error below 1e-13; inf and 0 beyond ±170, further than float32 goes.
Term exponential(Term x);
/// Of float64 in the range of float32; -inf at 0, NaN below.
Term logarithm(Term x);
/// sin(pi r) and cos(pi r), |r| <= 1/2.
Term sine_of_turns(Term r);
Term cosine_of_turns(Term r);
struct SineCosine {
  Term sine, cosine;
};
/// Of float64; accurate to 1e-11 up to a million, and bounded beyond.
SineCosine sine_cosine(Term x);

/// A converter of the one operand: float64 in, rounded to float32 (and from there to halves).
Converter by_formula(std::function<Term(Term)> function);
/// The operand as a float64 term; integers count as float32.
Term float64_operand(Conversion& c, const Node& node, std::string_view arg);
/// No for float64 itself, of which the formulas do not have all digits.
Support float32_or_less(const SupportContext& c, const Node& node, std::string_view arg);

}  // namespace stator::aten
