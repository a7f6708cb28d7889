// SPDX-License-Identifier: Apache-2.0
//
// Quotients of integers by the machine's division of floating-point numbers, which comes in
// vectors: the quotient of two numbers of n digits, rounded to more than 2n or cut to an integer
// below 2^n, is the right integer. Powers by squaring.
#include "backends/cpu/codegen/vector_math.h"

namespace stator::cpu {
namespace {

using llvm::Value;

/// Of numbers of up to 32 digits.
Value* short_quotient(llvm::IRBuilder<>& b, Value* x, Value* y, bool is_unsigned) {
  llvm::Type* type = x->getType();
  const bool narrow = type->getScalarSizeInBits() <= 16;
  llvm::Type* real = type->getWithNewType(narrow ? b.getFloatTy() : b.getDoubleTy());
  llvm::Type* word = type->getWithNewType(b.getInt32Ty());
  const auto convert = [&](Value* v) {
    Value* wide = is_unsigned ? b.CreateZExtOrTrunc(v, word) : b.CreateSExtOrTrunc(v, word);
    return b.CreateSIToFP(wide, real);
  };
  Value* quotient = b.CreateFPToSI(b.CreateFDiv(convert(x), convert(y)), word);
  return b.CreateZExtOrTrunc(quotient, type);
}

/// Of numbers of 64 digits, where all lanes have no more than 50: the conversions take as many.
Value* long_quotient(llvm::IRBuilder<>& b, Value* x, Value* y) {
  llvm::Type* type = x->getType();
  llvm::Type* real = type->getWithNewType(b.getDoubleTy());
  constexpr int64_t kMost = int64_t{1} << 50;
  const auto whole = [&](int64_t v) { return llvm::ConstantInt::getSigned(type, v); };
  const auto too_long = [&](Value* v) {
    return b.CreateICmpUGT(b.CreateAdd(v, whole(kMost)), whole(2 * kMost));
  };
  // 1.5 * 2^52: the integer stands in the last digits of the number.
  constexpr double kInteger = 6755399441055744.0;
  Value* magic = b.CreateBitCast(llvm::ConstantFP::get(real, kInteger), type);
  const auto convert = [&](Value* v) {
    Value* sum = b.CreateBitCast(b.CreateAdd(v, magic), real);
    return b.CreateFSub(sum, llvm::ConstantFP::get(real, kInteger));
  };
  llvm::Function* function = b.GetInsertBlock()->getParent();
  const auto block = [&](const char* name) {
    return llvm::BasicBlock::Create(b.getContext(), name, function);
  };
  llvm::BasicBlock *quick = block("short_numbers"), *slow = block("long_numbers");
  llvm::BasicBlock* after = block("quotient");
  b.CreateCondBr(b.CreateOrReduce(b.CreateOr(too_long(x), too_long(y))), slow, quick);
  b.SetInsertPoint(quick);
  Value* ratio = b.CreateFDiv(convert(x), convert(y));
  ratio = b.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, ratio);
  Value* shifted = b.CreateFAdd(ratio, llvm::ConstantFP::get(real, kInteger));
  Value* short_one = b.CreateSub(b.CreateBitCast(shifted, type), magic);
  b.CreateBr(after);
  b.SetInsertPoint(slow);
  Value* long_one = b.CreateSDiv(x, y);
  b.CreateBr(after);
  b.SetInsertPoint(after);
  llvm::PHINode* result = b.CreatePHI(type, 2);
  result->addIncoming(short_one, quick);
  result->addIncoming(long_one, slow);
  return result;
}

}  // namespace

Value* emit_quotient(llvm::IRBuilder<>& b, Value* x, Value* y, bool is_unsigned) {
  if (!x->getType()->isVectorTy()) {
    return is_unsigned ? b.CreateUDiv(x, y) : b.CreateSDiv(x, y);
  }
  return x->getType()->getScalarSizeInBits() == 64 ? long_quotient(b, x, y)
                                                   : short_quotient(b, x, y, is_unsigned);
}

Value* emit_integer_power(llvm::IRBuilder<>& b, Value* x, Value* y, bool is_unsigned) {
  llvm::Type* type = x->getType();
  Value *zero = llvm::ConstantInt::get(type, 0), *one = llvm::ConstantInt::get(type, 1);
  llvm::BasicBlock* before = b.GetInsertBlock();
  auto* body = llvm::BasicBlock::Create(b.getContext(), "power_digit", before->getParent());
  auto* after = llvm::BasicBlock::Create(b.getContext(), "power", before->getParent());
  b.CreateBr(body);
  b.SetInsertPoint(body);
  llvm::PHINode *result = b.CreatePHI(type, 2), *factor = b.CreatePHI(type, 2);
  llvm::PHINode* rest = b.CreatePHI(type, 2);
  const auto is_odd = [&](Value* v) { return b.CreateICmpNE(b.CreateAnd(v, one), zero); };
  Value* product = b.CreateMul(result, b.CreateSelect(is_odd(rest), factor, one));
  Value* square = b.CreateMul(factor, factor);
  Value* left = b.CreateLShr(rest, 1);
  result->addIncoming(one, before);
  result->addIncoming(product, body);
  factor->addIncoming(x, before);
  factor->addIncoming(square, body);
  // Negative ones count as 0 here, so that they do not lengthen the loop.
  Value* exponent = y;
  if (!is_unsigned) {
    llvm::IRBuilder<> start(before->getTerminator());
    exponent = start.CreateBinaryIntrinsic(llvm::Intrinsic::smax, y, zero);
  }
  rest->addIncoming(exponent, before);
  rest->addIncoming(left, body);
  Value* more = b.CreateICmpNE(left, zero);
  b.CreateCondBr(type->isVectorTy() ? b.CreateOrReduce(more) : more, body, after);
  b.SetInsertPoint(after);
  if (is_unsigned) {
    return product;
  }
  // Of negative exponents only 1 and -1 have a power.
  Value* minus_one = llvm::Constant::getAllOnesValue(type);
  Value* turned = b.CreateSelect(is_odd(y), minus_one, one);
  Value* inverse = b.CreateSelect(b.CreateICmpEQ(x, minus_one), turned, zero);
  inverse = b.CreateSelect(b.CreateICmpEQ(x, one), one, inverse);
  return b.CreateSelect(b.CreateICmpSLT(y, zero), inverse, product);
}

}  // namespace stator::cpu
