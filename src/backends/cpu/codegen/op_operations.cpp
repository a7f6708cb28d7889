// SPDX-License-Identifier: Apache-2.0
//
// Conversions and operations of two operands as IR.
#include <cmath>

#include "backends/cpu/codegen/op_emitter.h"
#include "backends/cpu/codegen/vector_math.h"
#include "base/check.h"
#include "base/float_element.h"

namespace stator::cpu {

using llvm::Value;

namespace {

/// A scalar or vector type with another element type.
llvm::Type* with_element(llvm::Type* shape, llvm::Type* element) {
  auto* vector = llvm::dyn_cast<llvm::VectorType>(shape);
  return vector == nullptr ? element : llvm::VectorType::get(element, vector);
}

}  // namespace

/// A half's bits as the float32 of the same value.
Value* OpEmitter::widen(DType half, Value* bits) {
  llvm::Type* real = with_element(bits->getType(), b_.getFloatTy());
  if (half == DType::kFloat16) {
    Value* value = b_.CreateBitCast(bits, with_element(bits->getType(), b_.getHalfTy()));
    return b_.CreateFPExt(value, real);
  }
  llvm::Type* wide = with_element(bits->getType(), b_.getInt32Ty());
  return b_.CreateBitCast(b_.CreateShl(b_.CreateZExt(bits, wide), 16), real);
}

/// The bits of a float32 rounded to a half, ties to even; denormals are kept, NaN is a quiet one.
Value* OpEmitter::narrow(DType half, Value* x) {
  llvm::Type* result = with_element(x->getType(), b_.getInt16Ty());
  if (half == DType::kFloat16) {
    // Behind a fence: LLVM would compute a maximum of widened halves on the halves, by a library.
    x = b_.CreateArithmeticFence(x, x->getType());
    Value* value = b_.CreateFPTrunc(x, with_element(x->getType(), b_.getHalfTy()));
    return b_.CreateBitCast(value, result);
  }
  llvm::Type* wide = with_element(x->getType(), b_.getInt32Ty());
  const auto number = [&](uint64_t n) { return llvm::ConstantInt::get(wide, n); };
  Value* bits = b_.CreateBitCast(x, wide);
  Value* odd = b_.CreateAnd(b_.CreateLShr(bits, 16), number(1));
  Value* rounded = b_.CreateAdd(b_.CreateAdd(bits, number(0x7fff)), odd);
  Value* quiet = b_.CreateOr(bits, number(0x400000));
  Value* high = b_.CreateSelect(b_.CreateFCmpUNO(x, x), quiet, rounded);
  return b_.CreateTrunc(b_.CreateLShr(high, 16), result);
}

Value* OpEmitter::cast(DType from, DType to, Value* x) {
  if (from == to) {
    return x;
  }
  if (is_half(from)) {
    return cast(DType::kFloat32, to, widen(from, x));
  }
  if (is_half(to)) {
    return narrow(to, cast(from, DType::kFloat32, x));
  }
  llvm::Type* scalar = register_type(b_.getContext(), to);
  llvm::Type* type = x->getType()->isVectorTy()
                         ? llvm::VectorType::get(scalar, llvm::cast<llvm::VectorType>(x->getType()))
                         : scalar;
  Value* zero = llvm::Constant::getNullValue(x->getType());
  const bool from_real = is_floating_point(from), to_real = is_floating_point(to);
  if (to == DType::kBool) {
    return from_real ? b_.CreateFCmpUNE(x, zero) : b_.CreateICmpNE(x, zero);
  }
  if (from_real && to_real) {
    return from == DType::kFloat32 ? b_.CreateFPExt(x, type) : b_.CreateFPTrunc(x, type);
  }
  const bool from_unsigned = from == DType::kBool || from == DType::kUInt8;
  if (to_real) {
    return from_unsigned ? b_.CreateUIToFP(x, type) : b_.CreateSIToFP(x, type);
  }
  if (from_real) {
    // Through 64 bits, or 32 for smaller types, which then wrap: so the machine's own conversions
    // do it, and with them eager PyTorch. What does not fit those is their least number.
    const unsigned bits = to == DType::kInt64 ? 64 : 32;
    llvm::Type* wide = type->getWithNewBitWidth(bits);
    const double limit = std::ldexp(1.0, static_cast<int>(bits) - 1);
    Value* fits = b_.CreateAnd(b_.CreateFCmpOGE(x, llvm::ConstantFP::get(x->getType(), -limit)),
                               b_.CreateFCmpOLT(x, llvm::ConstantFP::get(x->getType(), limit)));
    Value* value = b_.CreateFPToSI(b_.CreateSelect(fits, x, zero), wide);
    const int64_t least = to == DType::kInt64 ? INT64_MIN : INT32_MIN;
    value = b_.CreateSelect(fits, value, llvm::ConstantInt::getSigned(wide, least));
    return bits == type->getScalarSizeInBits() ? value : b_.CreateTrunc(value, type);
  }
  return from_unsigned ? b_.CreateZExtOrTrunc(x, type) : b_.CreateSExtOrTrunc(x, type);
}

/// Quotients and rests of integers. A division by zero ends the run; one by -1 wraps around.
Value* OpEmitter::divide(ElementwiseOp op, bool is_unsigned, Value* a, Value* b,
                         const Point& point) {
  Value* zero = llvm::Constant::getNullValue(b->getType());
  Value* one = llvm::ConstantInt::get(b->getType(), 1);
  Value* by_zero = b_.CreateICmpEQ(b, zero);
  Value* wrong = by_zero;
  if (point.mask != nullptr && wrong->getType()->isVectorTy()) {
    wrong = b_.CreateAnd(wrong, point.mask);
  }
  report_where(wrong, b_.getInt64(0), b_.getInt64(0), kDivisionSite);
  const bool quotient = op == ElementwiseOp::kFloorDiv || op == ElementwiseOp::kTruncDiv;
  if (is_unsigned) {
    Value* d = b_.CreateSelect(by_zero, one, b);
    Value* q = emit_quotient(b_, a, d, true);
    return quotient ? q : b_.CreateSub(a, b_.CreateMul(q, d));
  }
  Value* minus_one = b_.CreateICmpEQ(b, llvm::Constant::getAllOnesValue(b->getType()));
  Value* d = b_.CreateSelect(b_.CreateOr(by_zero, minus_one), one, b);
  Value* q = emit_quotient(b_, a, d, false);
  Value* rest = b_.CreateSub(a, b_.CreateMul(q, d));
  q = b_.CreateSelect(minus_one, b_.CreateNeg(a), q);
  const bool floors = op == ElementwiseOp::kFloorDiv || op == ElementwiseOp::kMod;
  if (floors) {
    Value* signs = b_.CreateICmpSLT(b_.CreateXor(a, b), zero);
    Value* lower = b_.CreateAnd(b_.CreateICmpNE(rest, zero), signs);
    q = b_.CreateSelect(lower, b_.CreateSub(q, one), q);
    rest = b_.CreateSelect(lower, b_.CreateAdd(rest, b), rest);
  }
  return quotient ? q : rest;
}

/// Bits that are shifted out are gone; by less than nothing or more than there are, all of them.
Value* OpEmitter::shift(ElementwiseOp op, bool is_unsigned, Value* a, Value* b) {
  llvm::Type* type = a->getType();
  const unsigned bits = type->getScalarSizeInBits();
  Value* fits = b_.CreateICmpULT(b, llvm::ConstantInt::get(type, bits));
  Value* zero = llvm::Constant::getNullValue(type);
  if (op == ElementwiseOp::kShiftLeft) {
    return b_.CreateSelect(fits, b_.CreateShl(a, b_.CreateSelect(fits, b, zero)), zero);
  }
  if (is_unsigned) {
    return b_.CreateSelect(fits, b_.CreateLShr(a, b_.CreateSelect(fits, b, zero)), zero);
  }
  return b_.CreateAShr(a, b_.CreateSelect(fits, b, llvm::ConstantInt::get(type, bits - 1)));
}

bool has_elementwise(ElementwiseOp op, DType dtype) {
  if (is_half(dtype)) {
    return false;
  }
  const bool real = is_floating_point(dtype);
  switch (op) {
    case ElementwiseOp::kAdd:
    case ElementwiseOp::kSub:
    case ElementwiseOp::kMul:
      return dtype != DType::kBool;
    case ElementwiseOp::kMin:
    case ElementwiseOp::kMax:
    case ElementwiseOp::kEqual:
    case ElementwiseOp::kNotEqual:
    case ElementwiseOp::kLess:
    case ElementwiseOp::kLessEqual:
    case ElementwiseOp::kGreater:
    case ElementwiseOp::kGreaterEqual:
      return true;
    case ElementwiseOp::kDiv:
    case ElementwiseOp::kAtan2:
      return real;
    case ElementwiseOp::kPow:
    case ElementwiseOp::kTruncDiv:
    case ElementwiseOp::kFloorDiv:
    case ElementwiseOp::kMod:
    case ElementwiseOp::kFmod:
      return dtype != DType::kBool;
    case ElementwiseOp::kShiftLeft:
    case ElementwiseOp::kShiftRight:
      return is_integral(dtype) && dtype != DType::kBool;
    case ElementwiseOp::kAnd:
    case ElementwiseOp::kOr:
    case ElementwiseOp::kXor:
      return !real;
    default:
      return false;
  }
}

Value* OpEmitter::elementwise(const LoopOp& op, Value* a, Value* b, const Point& point) {
  const DType dtype = program_.ops[static_cast<size_t>(op.a)].dtype;
  const bool real = is_floating_point(dtype);
  const bool is_unsigned = dtype == DType::kUInt8 || dtype == DType::kBool;
  const auto extreme = [&](llvm::Intrinsic::ID s, llvm::Intrinsic::ID u) {
    return b_.CreateBinaryIntrinsic(is_unsigned ? u : s, a, b);
  };
  const auto nan_wins = [&](Value* better) {
    Value* result = b_.CreateSelect(better, a, b);
    return b_.CreateSelect(b_.CreateFCmpUNO(a, a), a, result);
  };
  const auto compare = [&](llvm::CmpInst::Predicate f, llvm::CmpInst::Predicate s,
                           llvm::CmpInst::Predicate u) {
    return real ? b_.CreateFCmp(f, a, b) : b_.CreateICmp(is_unsigned ? u : s, a, b);
  };
  using P = llvm::CmpInst;
  switch (op.elementwise) {
    case ElementwiseOp::kAdd:
      return real ? b_.CreateFAdd(a, b) : b_.CreateAdd(a, b);
    case ElementwiseOp::kSub:
      return real ? b_.CreateFSub(a, b) : b_.CreateSub(a, b);
    case ElementwiseOp::kMul:
      return real ? b_.CreateFMul(a, b) : b_.CreateMul(a, b);
    case ElementwiseOp::kDiv:
      return b_.CreateFDiv(a, b);
    case ElementwiseOp::kTruncDiv:
      return real ? b_.CreateUnaryIntrinsic(llvm::Intrinsic::trunc, b_.CreateFDiv(a, b))
                  : divide(op.elementwise, is_unsigned, a, b, point);
    case ElementwiseOp::kFloorDiv:
      return real ? emit_floor_division(b_, a, b)
                  : divide(op.elementwise, is_unsigned, a, b, point);
    case ElementwiseOp::kMod:
      return real ? emit_remainder(b_, a, b) : divide(op.elementwise, is_unsigned, a, b, point);
    case ElementwiseOp::kFmod:
      return real ? emit_fmod(b_, a, b) : divide(op.elementwise, is_unsigned, a, b, point);
    case ElementwiseOp::kAtan2:
      return emit_atan2(b_, a, b);
    case ElementwiseOp::kPow:
      return real ? emit_power(b_, a, b) : emit_integer_power(b_, a, b, is_unsigned);
    case ElementwiseOp::kShiftLeft:
    case ElementwiseOp::kShiftRight:
      return shift(op.elementwise, is_unsigned, a, b);
    case ElementwiseOp::kMin:
      return real ? nan_wins(b_.CreateFCmpOLT(a, b))
                  : extreme(llvm::Intrinsic::smin, llvm::Intrinsic::umin);
    case ElementwiseOp::kMax:
      return real ? nan_wins(b_.CreateFCmpOGT(a, b))
                  : extreme(llvm::Intrinsic::smax, llvm::Intrinsic::umax);
    case ElementwiseOp::kEqual:
      return compare(P::FCMP_OEQ, P::ICMP_EQ, P::ICMP_EQ);
    case ElementwiseOp::kNotEqual:
      return compare(P::FCMP_UNE, P::ICMP_NE, P::ICMP_NE);
    case ElementwiseOp::kLess:
      return compare(P::FCMP_OLT, P::ICMP_SLT, P::ICMP_ULT);
    case ElementwiseOp::kLessEqual:
      return compare(P::FCMP_OLE, P::ICMP_SLE, P::ICMP_ULE);
    case ElementwiseOp::kGreater:
      return compare(P::FCMP_OGT, P::ICMP_SGT, P::ICMP_UGT);
    case ElementwiseOp::kGreaterEqual:
      return compare(P::FCMP_OGE, P::ICMP_SGE, P::ICMP_UGE);
    case ElementwiseOp::kAnd:
      return b_.CreateAnd(a, b);
    case ElementwiseOp::kOr:
      return b_.CreateOr(a, b);
    case ElementwiseOp::kXor:
      return b_.CreateXor(a, b);
    default:
      STATOR_CHECK(false, std::string(name_of(op.elementwise)) + " is not generated");
  }
}

}  // namespace stator::cpu
