// SPDX-License-Identifier: Apache-2.0
//
// Powers of float32 in float64: 2^(y log2 |x|), to 1e-9, rounded once; those of float64 by
// double_pow.cpp. The cases around zeros, infinities, NaN and negative bases are those of C's pow
// (IEC 60559, F.10.4.4).
#include <cmath>

#include "backends/cpu/codegen/double_math.h"
#include "backends/cpu/codegen/vector_math.h"

namespace stator::cpu {
namespace {

using llvm::Value;

/// Vectors or scalars of float64.
class Doubles {
 public:
  Doubles(llvm::IRBuilder<>& builder, llvm::Type* like)
      : b(builder), real_(like->getWithNewType(builder.getDoubleTy())) {}

  Value* number(double v) const { return llvm::ConstantFP::get(real_, v); }
  Value* of(Value* x) const { return b.CreateFPExt(x, real_); }
  Value* unary(llvm::Intrinsic::ID id, Value* x) const { return b.CreateUnaryIntrinsic(id, x); }

 private:
  llvm::IRBuilder<>& b;
  llvm::Type* real_;
};

/// |x|^y of float32, in float64.
Value* magnitude(llvm::IRBuilder<>& b, const Doubles& d, Value* x, Value* y) {
  DoubleMath math(b, x->getType(), DoubleMath::Precision::kSingle);
  Value* size = d.unary(llvm::Intrinsic::fabs, x);
  Value* logarithm = math.log2(size);
  // 1 to any power is 1, also to an infinite one, and anything to the power of 0.
  Value* product = b.CreateFMul(y, logarithm);
  Value* nothing = b.CreateFCmpUNO(product, product);
  return math.exp2(b.CreateSelect(nothing, d.number(0), product));
}

/// With the signs of odd powers, and NaN.
Value* finish(llvm::IRBuilder<>& b, const Doubles& d, Value* x, Value* y, Value* power) {
  Value *zero = d.number(0), *one = d.number(1);
  Value* half = b.CreateFMul(y, d.number(0.5));
  Value* is_whole = b.CreateFCmpOEQ(d.unary(llvm::Intrinsic::trunc, y), y);
  Value* is_even = b.CreateFCmpOEQ(d.unary(llvm::Intrinsic::trunc, half), half);
  Value* is_odd = b.CreateAnd(is_whole, b.CreateNot(is_even));
  Value* sign = b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, one, x);
  power = b.CreateSelect(is_odd, b.CreateFMul(power, sign), power);
  Value* is_infinite = b.CreateFCmpOEQ(x, d.number(-HUGE_VAL));
  Value* below = b.CreateAnd(b.CreateFCmpOLT(x, zero), b.CreateNot(is_infinite));
  Value* nowhere = b.CreateOr(b.CreateFCmpUNO(x, y), b.CreateAnd(below, b.CreateNot(is_whole)));
  power = b.CreateSelect(nowhere, d.number(NAN), power);
  Value* is_one = b.CreateOr(b.CreateFCmpOEQ(x, one), b.CreateFCmpOEQ(y, zero));
  return b.CreateSelect(is_one, one, power);
}

}  // namespace

Value* emit_power(llvm::IRBuilder<>& b, Value* x, Value* y) {
  const Doubles d(b, x->getType());
  if (x->getType()->getScalarType()->isDoubleTy()) {
    DoubleMath math(b, x->getType(), DoubleMath::Precision::kDouble);
    return finish(b, d, x, y, math.power_of_magnitude(x, y));
  }
  Value *wide_x = d.of(x), *wide_y = d.of(y);
  Value* power = finish(b, d, wide_x, wide_y, magnitude(b, d, wide_x, wide_y));
  return b.CreateFPTrunc(power, x->getType());
}

}  // namespace stator::cpu
