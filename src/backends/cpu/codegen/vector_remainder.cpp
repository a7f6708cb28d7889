// SPDX-License-Identifier: Apache-2.0
//
// Remainders of floating-point numbers, exact as C's fmod: a quotient cut to 25 digits has an exact
// product with the divisor, and what it leaves is exact. Quotients of more digits, which are few,
// take several such steps in a loop. float32 is computed in float64.
#include <cmath>

#include "backends/cpu/codegen/vector_math.h"

namespace stator::cpu {
namespace {

using llvm::Value;

constexpr double kMostQuotient = 33554432;  // 2^25
constexpr uint64_t kQuotientDigits = ~((uint64_t{1} << 28) - 1);
constexpr uint64_t kUpperDigits = ~((uint64_t{1} << 27) - 1);

class Remainder {
 public:
  Remainder(llvm::IRBuilder<>& builder, llvm::Type* type)
      : b(builder),
        type_(type),
        real_(type->getWithNewType(builder.getDoubleTy())),
        whole_(type->getWithNewType(builder.getInt64Ty())) {}

  Value* fmod(Value* x, Value* y);

 private:
  bool is_double() const { return type_ == real_; }
  Value* num(double v) const { return llvm::ConstantFP::get(real_, v); }
  Value* abs(Value* x) { return b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, x); }
  Value* keep(Value* x, uint64_t mask) {
    Value* bits = b.CreateAnd(b.CreateBitCast(x, whole_), llvm::ConstantInt::get(whole_, mask));
    return b.CreateBitCast(bits, real_);
  }
  Value* any(Value* condition) {
    return type_->isVectorTy() ? b.CreateOrReduce(condition) : condition;
  }
  Value* step(Value* x, Value* y, Value* ratio);
  Value* far_step(Value* x, Value* y);
  Value* loop(Value* x, Value* y);

  llvm::IRBuilder<>& b;
  llvm::Type *type_, *real_, *whole_;
};

/// x - q y, q the ratio cut to an integer of 25 digits.
Value* Remainder::step(Value* x, Value* y, Value* ratio) {
  Value* q = b.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, ratio);
  q = keep(q, kQuotientDigits);
  if (!is_double()) {
    return b.CreateFSub(x, b.CreateFMul(q, y));
  }
  // The divisor in two parts, so that products are exact without a fused multiplication; the first
  // difference may need a digit more than there are, which the second takes up.
  Value* y_high = keep(y, kUpperDigits);
  Value* product = b.CreateFMul(q, y_high);
  Value* rest = b.CreateFSub(x, product);
  Value* lost = b.CreateFSub(b.CreateFSub(x, rest), product);
  Value* low = b.CreateFSub(b.CreateFMul(q, b.CreateFSub(y, y_high)), lost);
  rest = b.CreateFSub(rest, low);
  // The ratio may have been rounded up to an integer.
  return b.CreateSelect(b.CreateFCmpOLT(rest, num(0)), b.CreateFAdd(rest, y), rest);
}

/// Of any ratio. One that is no number itself is made smaller; one that is cut is not rounded up.
Value* Remainder::far_step(Value* x, Value* y) {
  Value* back = nullptr;
  if (is_double()) {
    const auto beyond = [&](double shrink, double grow) {
      return b.CreateFCmpOGT(b.CreateFMul(x, num(shrink)), b.CreateFMul(y, num(grow)));
    };
    Value* huge = beyond(0x1p-500, 0x1p500);
    Value* more = beyond(0x1p-750, 0x1p750);
    const auto choose = [&](double of_more, double of_huge) {
      return b.CreateSelect(more, num(of_more), b.CreateSelect(huge, num(of_huge), num(1)));
    };
    back = choose(0x1p700, 0x1p450);
    x = b.CreateFMul(x, choose(0x1p-700, 0x1p-450));
    y = b.CreateFMul(y, back);
  }
  Value* ratio = b.CreateFDiv(x, y);
  Value* cut = b.CreateFMul(ratio, num(1 - 0x1p-50));
  ratio = b.CreateSelect(b.CreateFCmpOGT(ratio, num(kMostQuotient)), cut, ratio);
  Value* rest = step(x, y, ratio);
  return is_double() ? b.CreateFMul(rest, back) : rest;
}

/// Steps until every lane is below its divisor, or NaN.
Value* Remainder::loop(Value* x, Value* y) {
  llvm::BasicBlock* before = b.GetInsertBlock();
  auto* body = llvm::BasicBlock::Create(b.getContext(), "far_rest", before->getParent());
  auto* after = llvm::BasicBlock::Create(b.getContext(), "rest", before->getParent());
  b.CreateBr(body);
  b.SetInsertPoint(body);
  llvm::PHINode* rest = b.CreatePHI(real_, 2);
  Value* next = far_step(rest, y);
  rest->addIncoming(x, before);
  rest->addIncoming(next, b.GetInsertBlock());
  b.CreateCondBr(any(b.CreateFCmpOGE(next, y)), body, after);
  b.SetInsertPoint(after);
  return next;
}

Value* Remainder::fmod(Value* x, Value* y) {
  Value* wide_x = is_double() ? x : b.CreateFPExt(x, real_);
  Value* size = abs(wide_x);
  Value* divisor = abs(is_double() ? y : b.CreateFPExt(y, real_));
  Value* endless = b.CreateFCmpOEQ(divisor, num(INFINITY));
  Value* ratio = b.CreateFDiv(size, divisor);
  Value* near = step(size, divisor, ratio);
  llvm::BasicBlock* before = b.GetInsertBlock();
  auto* far_block = llvm::BasicBlock::Create(b.getContext(), "far_ratio", before->getParent());
  auto* after = llvm::BasicBlock::Create(b.getContext(), "remainder", before->getParent());
  Value* far = any(b.CreateFCmpOGE(ratio, num(kMostQuotient)));
  b.CreateCondBr(far, far_block, after);
  b.SetInsertPoint(far_block);
  Value* looped = loop(size, divisor);
  llvm::BasicBlock* end = b.GetInsertBlock();
  b.CreateBr(after);
  b.SetInsertPoint(after);
  llvm::PHINode* rest = b.CreatePHI(real_, 2);
  rest->addIncoming(near, before);
  rest->addIncoming(looped, end);
  // Nothing is taken from a finite number by an infinite divisor.
  Value* whole = b.CreateAnd(endless, b.CreateFCmpOLT(size, num(INFINITY)));
  Value* result = b.CreateSelect(whole, size, rest);
  result = b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, result, wide_x);
  return is_double() ? result : b.CreateFPTrunc(result, type_);
}

/// Where a remainder is not 0 and has the other sign than its divisor.
Value* other_side(llvm::IRBuilder<>& b, Value* rest, Value* y) {
  Value* zero = llvm::ConstantFP::get(y->getType(), 0.0);
  Value* signs = b.CreateXor(b.CreateFCmpOLT(rest, zero), b.CreateFCmpOLT(y, zero));
  return b.CreateAnd(b.CreateFCmpUNE(rest, zero), signs);
}

}  // namespace

Value* emit_fmod(llvm::IRBuilder<>& b, Value* x, Value* y) {
  return Remainder(b, x->getType()).fmod(x, y);
}

Value* emit_remainder(llvm::IRBuilder<>& b, Value* x, Value* y) {
  Value* rest = emit_fmod(b, x, y);
  return b.CreateSelect(other_side(b, rest, y), b.CreateFAdd(rest, y), rest);
}

/// As PyTorch rounds: exact quotients stay, signs of zero are those of x / y.
Value* emit_floor_division(llvm::IRBuilder<>& b, Value* x, Value* y) {
  const auto num = [&](double v) { return llvm::ConstantFP::get(x->getType(), v); };
  Value* rest = emit_fmod(b, x, y);
  Value* plain = b.CreateFDiv(x, y);
  Value* quotient = b.CreateFDiv(b.CreateFSub(x, rest), y);
  Value* lower = b.CreateFSub(quotient, num(1));
  quotient = b.CreateSelect(other_side(b, rest, y), lower, quotient);
  Value* floored = b.CreateUnaryIntrinsic(llvm::Intrinsic::floor, quotient);
  Value* above = b.CreateFCmpOGT(b.CreateFSub(quotient, floored), num(0.5));
  floored = b.CreateSelect(above, b.CreateFAdd(floored, num(1)), floored);
  Value* zero = b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, num(0), plain);
  floored = b.CreateSelect(b.CreateFCmpOEQ(quotient, num(0)), zero, floored);
  return b.CreateSelect(b.CreateFCmpOEQ(y, num(0)), plain, floored);
}

}  // namespace stator::cpu
