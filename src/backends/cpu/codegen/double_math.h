// SPDX-License-Identifier: Apache-2.0
//
// Elementary functions in float64, as IR over scalars or vectors of any width, without calls:
// float64's own, and those of float32 that are computed here and rounded once (Precision::kSingle,
// with fewer terms; results are within 0.51 ulp of float32, and float32's denormals are no special
// case here). Polynomials are those of scripts/fit_vector_functions.py, the ways to them the ones
// of Sun's fdlibm (exp, expm1, log, log2, log10, log1p, sin, cos, asin, acos, asinh, acosh) and of
// S. Moshier's Cephes (atan). Largest errors: vector_math.h.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include <span>
#include <utility>

namespace stator::cpu {

class DoubleMath {
 public:
  using Value = llvm::Value;
  enum class Precision { kSingle, kDouble };

  /// `like`: a scalar, or a vector type of as many lanes.
  DoubleMath(llvm::IRBuilder<>& builder, llvm::Type* like, Precision precision);

  llvm::Type* type() const { return real_; }

  // double_exponential.cpp
  Value* exp(Value* x);
  Value* exp2(Value* x);
  Value* expm1(Value* x);
  Value* log(Value* x);
  Value* log2(Value* x);
  Value* log10(Value* x);
  Value* log1p(Value* x);
  Value* erf(Value* x);

  // double_hyperbolic.cpp
  Value* sinh(Value* x);
  Value* cosh(Value* x);
  Value* tanh(Value* x);
  Value* asinh(Value* x);
  Value* acosh(Value* x);
  Value* atanh(Value* x);

  // double_angle.cpp
  Value* sin(Value* x) { return wave(x, 0); }
  Value* cos(Value* x) { return wave(x, 1); }
  Value* tan(Value* x);

  // double_pow.cpp
  /// |x|^y, both not NaN.
  Value* power_of_magnitude(Value* x, Value* y);

  // double_inverse.cpp
  Value* asin(Value* x);
  Value* acos(Value* x);
  Value* atan(Value* x);
  Value* atan2(Value* y, Value* x);

 private:
  Value* num(double v) const { return llvm::ConstantFP::get(real_, v); }
  Value* word(uint64_t v) const { return llvm::ConstantInt::get(whole_, v); }
  Value* add(Value* x, Value* y) { return b.CreateFAdd(x, y); }
  Value* sub(Value* x, Value* y) { return b.CreateFSub(x, y); }
  Value* mul(Value* x, Value* y) { return b.CreateFMul(x, y); }
  Value* div(Value* x, Value* y) { return b.CreateFDiv(x, y); }
  Value* mul(Value* x, double y) { return mul(x, num(y)); }
  Value* fma(Value* x, Value* y, Value* z) {
    return b.CreateIntrinsic(real_, llvm::Intrinsic::fmuladd, {x, y, z});
  }
  Value* unary(llvm::Intrinsic::ID id, Value* x) { return b.CreateUnaryIntrinsic(id, x); }
  Value* abs(Value* x) { return unary(llvm::Intrinsic::fabs, x); }
  Value* sqrt(Value* x) { return unary(llvm::Intrinsic::sqrt, x); }
  Value* rint(Value* x) { return unary(llvm::Intrinsic::rint, x); }
  Value* copysign(Value* x, Value* sign) {
    return b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, x, sign);
  }
  Value* select(Value* c, Value* x, Value* y) { return b.CreateSelect(c, x, y); }
  Value* less(Value* x, double y) { return b.CreateFCmpOLT(x, num(y)); }
  Value* greater(Value* x, double y) { return b.CreateFCmpOGT(x, num(y)); }
  Value* equal(Value* x, double y) { return b.CreateFCmpOEQ(x, num(y)); }
  /// NaN stays.
  Value* at_most(Value* x, double y) { return select(greater(x, y), num(y), x); }
  Value* at_least(Value* x, double y) { return select(less(x, y), num(y), x); }
  Value* bits(Value* x) { return b.CreateBitCast(x, whole_); }
  Value* from_bits(Value* x) { return b.CreateBitCast(x, real_); }
  bool is_double() const { return precision_ == Precision::kDouble; }

  Value* polynomial(Value* x, std::span<const double> highest_first);
  /// The one for the precision at hand.
  Value* polynomial(Value* x, std::span<const double> full, std::span<const double> single) {
    return polynomial(x, is_double() ? full : single);
  }
  /// x (1 + z p(z)), z = x².
  Value* odd(Value* x, std::span<const double> full, std::span<const double> single);
  Value* any(Value* condition);

  /// A number and what its rounding lost.
  struct Pair {
    Value *high, *low;
  };
  Pair two_sum(Value* x, Value* y);

  /// 1.5 * 2^52: added to a small integer, the integer stands in the number's last digits.
  static constexpr double kInteger = 6755399441055744.0;

  /// e^x = 2^n (1 + p), p relatively exact.
  struct Power {
    Value *n, *p;
  };
  Power power(Value* x);
  Power held_power(Value* x, double most);
  Value* power_of_two(Value* n);
  Value* scale(Value* x, Value* n);
  Value* half_exp(Value* magnitude);

  struct Normal {
    Value *e, *f;
  };
  Normal normalize(Value* x);
  /// log(x (1 + c)) = e ln 2 + log(1 + f) for a normal x; c may be null. Zero, infinity and what
  /// has no logarithm: finish_log.
  struct Logarithm {
    Value *e, *f, *half_square, *tail;  // log(1 + f) = f - (half_square - tail)
  };
  Logarithm log_parts(Value* x);
  Value* log_sum(const Logarithm& parts, Value* correction);
  Value* finish_log(Value* x, Value* result);
  Pair log_split(const Logarithm& parts);

  /// An argument as quadrant * pi/2 + high + low, |high| <= pi/4.
  struct Angle {
    Value* quadrant;  // i64, its last two digits
    Value *high, *low;
  };
  Angle reduce(Value* x);
  Angle reduce_near(Value* x);
  Angle reduce_far(Value* x);
  Angle reduce_lane(Value* x);
  Value* wave(Value* x, int phase);

  /// Without the last 32 digits: products of two such are exact.
  Value* upper(Value* x) { return from_bits(b.CreateAnd(bits(x), word(0xffffffff00000000ULL))); }
  Pair precise_log2(Value* x);

  /// asin(s) of s <= 1/2 with the square z, without s itself.
  Value* asin_tail(Value* s, Value* z);
  Value* atan_tail(Value* r);

  llvm::IRBuilder<>& b;
  llvm::Type *real_, *whole_;
  Precision precision_;
};

}  // namespace stator::cpu
