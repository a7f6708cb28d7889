// SPDX-License-Identifier: Apache-2.0
//
// Powers of float32 in float64: 2^(y log2 |x|), each part to 1e-12, rounded once; those of float64
// by double_pow.cpp. The cases around
// zeros, infinities, NaN and negative bases are those of C's pow (IEC 60559, F.10.4.4).
#include <cmath>
#include <initializer_list>

#include "backends/cpu/codegen/double_math.h"
#include "backends/cpu/codegen/vector_math.h"

namespace stator::cpu {
namespace {

using llvm::Value;

/// Vectors or scalars of float64.
class Doubles {
 public:
  Doubles(llvm::IRBuilder<>& builder, llvm::Type* like)
      : b(builder),
        real_(element(like, builder.getDoubleTy())),
        whole_(element(like, builder.getInt64Ty())) {}

  Value* number(double v) const { return llvm::ConstantFP::get(real_, v); }
  Value* bits(uint64_t v) const { return llvm::ConstantInt::get(whole_, v); }
  Value* of(Value* x) const { return b.CreateFPExt(x, real_); }
  Value* unary(llvm::Intrinsic::ID id, Value* x) const { return b.CreateUnaryIntrinsic(id, x); }
  Value* polynomial(Value* x, std::initializer_list<double> highest_first) const {
    Value* sum = nullptr;
    for (const double c : highest_first) {
      sum = sum == nullptr ? number(c) : b.CreateFAdd(b.CreateFMul(sum, x), number(c));
    }
    return sum;
  }
  Value* log2(Value* x) const;
  Value* exp2(Value* x) const;

 private:
  static llvm::Type* element(llvm::Type* like, llvm::Type* scalar) {
    auto* vector = llvm::dyn_cast<llvm::VectorType>(like);
    return vector == nullptr ? scalar : llvm::VectorType::get(scalar, vector);
  }
  llvm::IRBuilder<>& b;
  llvm::Type *real_, *whole_;
};

/// Of normal numbers: the exponent, and 2 atanh(s) / ln 2 of a mantissa near 1, s = (m-1)/(m+1).
Value* Doubles::log2(Value* x) const {
  Value* word = b.CreateBitCast(x, whole_);
  // From sqrt(1/2) up: what lies above sqrt(2) counts to the next exponent.
  Value* shifted = b.CreateAdd(word, bits(0x3ff0000000000000ULL - 0x3fe6a09e667f3bcdULL));
  Value* exponent = b.CreateSub(b.CreateLShr(shifted, 52), bits(1023));
  Value* mantissa = b.CreateSub(word, b.CreateShl(exponent, 52));
  Value* m = b.CreateBitCast(mantissa, real_);
  Value* s = b.CreateFDiv(b.CreateFSub(m, number(1)), b.CreateFAdd(m, number(1)));
  Value* square = b.CreateFMul(s, s);
  Value* series = polynomial(
      square, {1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0});
  Value* part = b.CreateFMul(b.CreateFMul(s, series), number(2.8853900817779268));  // 2 / ln 2
  return b.CreateFAdd(b.CreateSIToFP(exponent, real_), part);
}

/// For -1000 … 1000: by Taylor's series of e^(f ln 2), |f| <= 1/2, and the exponent's bits.
Value* Doubles::exp2(Value* x) const {
  Value* whole = unary(llvm::Intrinsic::rint, x);
  Value* f = b.CreateFMul(b.CreateFSub(x, whole), number(0.69314718055994531));
  Value* power =
      polynomial(f, {1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
                     1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0});
  Value* exponent = b.CreateFPToSI(whole, whole_);
  Value* scale = b.CreateBitCast(b.CreateShl(b.CreateAdd(exponent, bits(1023)), 52), real_);
  return b.CreateFMul(power, scale);
}

/// |x|^y of float32, in float64.
Value* magnitude(llvm::IRBuilder<>& b, const Doubles& d, Value* x, Value* y) {
  Value *zero = d.number(0), *one = d.number(1), *infinity = d.number(HUGE_VAL);
  Value* size = d.unary(llvm::Intrinsic::fabs, x);
  Value* is_zero = b.CreateFCmpOEQ(size, zero);
  Value* is_infinite = b.CreateFCmpOEQ(size, infinity);
  Value* logarithm = d.log2(b.CreateSelect(b.CreateOr(is_zero, is_infinite), one, size));
  logarithm = b.CreateSelect(is_zero, d.number(-HUGE_VAL), logarithm);
  logarithm = b.CreateSelect(is_infinite, infinity, logarithm);
  // 1 to any power is 1, also to an infinite one, and anything to the power of 0.
  Value* product = b.CreateSelect(b.CreateFCmpOEQ(size, one), zero, b.CreateFMul(y, logarithm));
  Value* safe = b.CreateSelect(b.CreateFCmpUNO(product, product), zero, product);
  safe = b.CreateSelect(b.CreateFCmpOGT(safe, d.number(1000)), d.number(1000), safe);
  safe = b.CreateSelect(b.CreateFCmpOLT(safe, d.number(-1000)), d.number(-1000), safe);
  return d.exp2(safe);
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
