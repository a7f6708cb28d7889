// SPDX-License-Identifier: Apache-2.0
//
// sin, cos, tan: reduced by pi/2, as fdlibm does, in parts of 33 digits whose products with the
// quadrant's number are exact; further out as M. Payne and R. Hanek do ("Radian reduction for
// trigonometric functions", SIGNUM Newsletter 18, 1983), lane by lane in integers, since few
// arguments are so large.
#include <llvm/IR/Module.h>

#include <cmath>
#include <cstdint>

#include "backends/cpu/codegen/double_math.h"
#include "backends/cpu/codegen/vector_polynomials.h"

namespace stator::cpu {
namespace {

using llvm::Value;

constexpr double kNear = 1e6;  // below 2^20 quadrants
constexpr double kParts[] = {0x1.921fb544p+0, 0x1.0b4611a6p-34, 0x1.3198a2ep-69,
                             0x1.b839a252049c1p-104};  // of pi/2
constexpr double kSecondPart = 6.077100506506192e-11;  // with all digits

/// The digits of 2/pi, as a table in the code.
Value* table(llvm::IRBuilder<>& b) {
  constexpr const char* kName = "stator.two_over_pi";
  llvm::Module* module = b.GetInsertBlock()->getModule();
  llvm::Constant* digits = llvm::ConstantDataArray::get(b.getContext(), llvm::ArrayRef(kTwoOverPi));
  llvm::GlobalVariable* known = module->getGlobalVariable(kName, true);
  return known != nullptr
             ? known
             : new llvm::GlobalVariable(*module, digits->getType(), true,
                                        llvm::GlobalValue::PrivateLinkage, digits, kName);
}

}  // namespace

DoubleMath::Angle DoubleMath::reduce_near(Value* x) {
  Value* shifted = add(mul(x, 0.63661977236758134), num(kInteger));
  Value* quadrant = bits(shifted);
  Value* n = sub(shifted, num(kInteger));
  Value* first = sub(x, mul(n, kParts[0]));
  if (!is_double()) {
    return {quadrant, sub(first, mul(n, kSecondPart)), nullptr};
  }
  const Pair second = two_sum(first, mul(n, -kParts[1]));
  const Pair third = two_sum(second.high, mul(n, -kParts[2]));
  Value* rest = sub(add(second.low, third.low), mul(n, kParts[3]));
  Value* high = add(third.high, rest);
  return {quadrant, high, add(sub(third.high, high), rest)};
}

/// One number m 2^e, |x| > 1: of the digits of 2/pi only the 192 matter whose product with m 2^e
/// lies below 4 and above the result's precision.
DoubleMath::Angle DoubleMath::reduce_lane(Value* x) {
  llvm::Type *i64 = b.getInt64Ty(), *i128 = b.getInt128Ty();
  const auto number = [&](uint64_t v) { return b.getInt64(v); };
  Value* magnitude = b.CreateAnd(b.CreateBitCast(x, i64), number(0x7fffffffffffffffULL));
  Value* exponent = b.CreateSub(b.CreateLShr(magnitude, 52), number(1075));
  Value* m = b.CreateOr(b.CreateAnd(magnitude, number(0xfffffffffffffULL)), number(1ULL << 52));
  // The table's first digit is that of 2^63; the first that matters has the weight 2^1.
  Value* position = b.CreateAdd(exponent, number(62));
  Value* start = b.CreateLShr(position, 6);
  Value* shift = b.CreateAnd(position, number(63));
  Value* digits = table(b);
  const auto load = [&](uint64_t k) {
    Value* place = b.CreateGEP(i64, digits, b.CreateAdd(start, number(k)));
    return b.CreateAlignedLoad(i64, place, llvm::Align(8));
  };
  Value* words[] = {load(0), load(1), load(2), load(3)};
  const auto window = [&](size_t k) {
    return b.CreateIntrinsic(i64, llvm::Intrinsic::fshl, {words[k], words[k + 1], shift});
  };
  const auto wide = [&](Value* v) { return b.CreateZExt(v, i128); };
  const auto upper = [&](Value* v) { return b.CreateTrunc(b.CreateLShr(v, 64), i64); };
  Value* low = b.CreateMul(wide(m), wide(window(2)));
  Value* middle = b.CreateAdd(b.CreateMul(wide(m), wide(window(1))), b.CreateLShr(low, 64));
  Value* top = b.CreateAdd(b.CreateMul(m, window(0)), upper(middle));
  // Two digits of quadrant, 126 of fraction, which is taken to the nearest quadrant.
  Value* quadrant = b.CreateLShr(b.CreateAdd(top, number(1ULL << 61)), 62);
  Value* product = b.CreateOr(b.CreateShl(wide(top), 64), wide(b.CreateTrunc(middle, i64)));
  Value* fraction = b.CreateShl(product, 2);
  Value* below = b.CreateICmpSLT(fraction, llvm::ConstantInt::get(i128, 0));
  fraction = b.CreateSelect(below, b.CreateNeg(fraction), fraction);
  // Its first 64 digits times those of pi/2, 2^63 of which are 1.
  Value* zeros = b.CreateBinaryIntrinsic(llvm::Intrinsic::ctlz, fraction, b.getFalse());
  Value* safe = b.CreateAnd(zeros, llvm::ConstantInt::get(i128, 127));
  Value* leading = upper(b.CreateShl(fraction, safe));
  Value* rest = upper(b.CreateMul(wide(leading), wide(number(0xc90fdaa22168c235ULL))));
  // fraction = leading 2^(-64 - zeros), pi/2 = digits 2^-63: half the rest counts 2^(-62 - zeros).
  Value* scale = b.CreateShl(b.CreateSub(number(1023 - 62), b.CreateTrunc(zeros, i64)), 52);
  scale = b.CreateBitCast(scale, b.getDoubleTy());
  const auto part = [&](uint64_t digits) {
    Value* v = b.CreateAnd(b.CreateLShr(rest, 1), number(digits));
    return b.CreateFMul(b.CreateSIToFP(v, b.getDoubleTy()), scale);
  };
  Value *high = part(~uint64_t{0x3ff}), *last = part(0x3ff);
  Value* negative = b.CreateFCmpOLT(x, llvm::ConstantFP::get(b.getDoubleTy(), 0.0));
  Value* turned = b.CreateXor(negative, below);
  return {b.CreateSelect(negative, b.CreateNeg(quadrant), quadrant),
          b.CreateSelect(turned, b.CreateFNeg(high), high),
          b.CreateSelect(turned, b.CreateFNeg(last), last)};
}

/// The lanes one after the other.
DoubleMath::Angle DoubleMath::reduce_far(Value* x) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(real_);
  if (vector == nullptr) {
    return reduce_lane(x);
  }
  llvm::BasicBlock* before = b.GetInsertBlock();
  auto* body = llvm::BasicBlock::Create(b.getContext(), "far_lane", before->getParent());
  auto* after = llvm::BasicBlock::Create(b.getContext(), "far_angles", before->getParent());
  b.CreateBr(body);
  b.SetInsertPoint(body);
  llvm::PHINode* lane = b.CreatePHI(b.getInt64Ty(), 2);
  llvm::PHINode* sums[] = {b.CreatePHI(whole_, 2), b.CreatePHI(real_, 2), b.CreatePHI(real_, 2)};
  const Angle one = reduce_lane(b.CreateExtractElement(x, lane));
  Value* parts[] = {one.quadrant, one.high, one.low};
  Value* next = b.CreateAdd(lane, b.getInt64(1));
  for (size_t k = 0; k < 3; ++k) {
    parts[k] = b.CreateInsertElement(sums[k], parts[k], lane);
    sums[k]->addIncoming(llvm::Constant::getNullValue(sums[k]->getType()), before);
    sums[k]->addIncoming(parts[k], body);
  }
  lane->addIncoming(b.getInt64(0), before);
  lane->addIncoming(next, body);
  b.CreateCondBr(b.CreateICmpULT(next, b.getInt64(vector->getNumElements())), body, after);
  b.SetInsertPoint(after);
  return {parts[0], parts[1], parts[2]};
}

/// The long reduction runs only when a lane needs it.
DoubleMath::Angle DoubleMath::reduce(Value* x) {
  const Angle near = reduce_near(x);
  Value* is_far = greater(abs(x), kNear);
  llvm::BasicBlock* before = b.GetInsertBlock();
  auto* far_block = llvm::BasicBlock::Create(b.getContext(), "far", before->getParent());
  auto* after = llvm::BasicBlock::Create(b.getContext(), "angle", before->getParent());
  b.CreateCondBr(any(is_far), far_block, after);
  b.SetInsertPoint(far_block);
  // Not of numbers beyond the table: infinity, whose result is NaN.
  const Angle far = reduce_far(select(b.CreateAnd(is_far, less(abs(x), INFINITY)), x, num(kNear)));
  const Angle chosen = {select(is_far, far.quadrant, near.quadrant),
                        select(is_far, far.high, near.high),
                        is_double() ? select(is_far, far.low, near.low) : nullptr};
  llvm::BasicBlock* end = b.GetInsertBlock();
  b.CreateBr(after);
  b.SetInsertPoint(after);
  const auto merge = [&](Value* of_near, Value* of_far) -> Value* {
    if (of_near == nullptr) return nullptr;
    llvm::PHINode* phi = b.CreatePHI(of_near->getType(), 2);
    phi->addIncoming(of_near, before);
    phi->addIncoming(of_far, end);
    return phi;
  };
  return {merge(near.quadrant, chosen.quadrant), merge(near.high, chosen.high),
          merge(near.low, chosen.low)};
}

/// sin (phase 0) or cos (phase 1).
Value* DoubleMath::wave(Value* x, int phase) {
  const auto [turn, high, low] = reduce(x);
  Value* quadrant = b.CreateAdd(turn, word(static_cast<uint64_t>(phase)));
  Value* z = mul(high, high);
  Value* half = mul(z, 0.5);
  Value* s = mul(mul(high, z), polynomial(z, kSin, kSinSingle));
  Value* c = mul(mul(z, z), polynomial(z, kCos, kCosSingle));
  Value* w = sub(num(1), half);
  if (low != nullptr) {
    s = add(s, mul(low, w));
    c = add(c, sub(sub(sub(num(1), w), half), mul(high, low)));
  }
  Value* odd = b.CreateICmpNE(b.CreateAnd(quadrant, word(1)), word(0));
  Value* result = select(odd, add(w, c), add(high, s));
  Value* sign = b.CreateShl(b.CreateAnd(quadrant, word(2)), 62);
  result = from_bits(b.CreateXor(bits(result), sign));
  result = phase == 0 ? select(equal(x, 0), x, result) : result;  // of -0, -0
  return select(less(abs(x), INFINITY), result, num(NAN));
}

Value* DoubleMath::tan(Value* x) {
  const auto [quadrant, high, low] = reduce(x);
  Value* z = mul(high, high);
  Value* tail = mul(mul(high, z), polynomial(z, kTan, kTanSingle));
  Value* t = add(high, tail);
  if (low != nullptr) {
    t = add(high, add(tail, fma(mul(t, t), low, low)));
  }
  Value* odd = b.CreateICmpNE(b.CreateAnd(quadrant, word(1)), word(0));
  Value* result = div(select(odd, num(-1), t), select(odd, t, num(1)));
  result = select(equal(x, 0), x, result);  // of -0, -0
  return select(less(abs(x), INFINITY), result, num(NAN));
}

}  // namespace stator::cpu
