// SPDX-License-Identifier: Apache-2.0
//
// exp: n = round(x / ln 2), e^x = 2^n e^r with |r| <= ln(2)/2 by a polynomial of degree 6 (Taylor,
// last coefficients moved for the least greatest error). log: x = 2^e m with m in [2/3, 4/3), then
// 2 atanh((m-1)/(m+1)). erf: N. Juffa's single-precision approximation
// (https://stackoverflow.com/a/35148199, two-clause BSD). tanh: odd polynomial near 0, else through
// exp. sin and cos: reduced in double precision by pi/2; above 1e5 as M. Payne and R. Hanek do,
// "Radian reduction for trigonometric functions" (SIGNUM Newsletter 18, 1983).
#include "backends/cpu/codegen/vector_math.h"

#include <cmath>
#include <utility>

#include "backends/cpu/codegen/double_math.h"
#include "base/check.h"

namespace stator::cpu {
namespace {

using llvm::Value;
using llvm::Intrinsic::ID;

class Math {
 public:
  static constexpr double kNearAngle = 1e5;

  Math(llvm::IRBuilder<>& builder, llvm::Type* type) : b(builder), type(type) {}

  Value* num(double v) { return llvm::ConstantFP::get(type, v); }
  Value* integer(int32_t v) { return llvm::ConstantInt::getSigned(int_type(), v); }
  llvm::Type* int_type(unsigned bits = 32) { return type->getWithNewType(b.getIntNTy(bits)); }
  Value* call(ID id, Value* x) { return b.CreateUnaryIntrinsic(id, x); }
  Value* fma(Value* x, Value* y, Value* z) {
    return b.CreateIntrinsic(type, llvm::Intrinsic::fmuladd, {x, y, z});
  }
  Value* fma(Value* x, Value* y, double z) { return fma(x, y, num(z)); }
  Value* abs(Value* x) { return call(llvm::Intrinsic::fabs, x); }
  Value* min(Value* x, double y) { return b.CreateMinNum(x, num(y)); }
  Value* max(Value* x, double y) { return b.CreateMaxNum(x, num(y)); }
  Value* copysign(Value* x, Value* sign) {
    return b.CreateBinaryIntrinsic(llvm::Intrinsic::copysign, x, sign);
  }
  Value* select(Value* c, Value* x, Value* y) { return b.CreateSelect(c, x, y); }
  Value* is_nan(Value* x) { return b.CreateFCmpUNO(x, x); }
  Value* bits(Value* x) { return b.CreateBitCast(x, int_type()); }
  Value* from_bits(Value* x) { return b.CreateBitCast(x, type); }
  Value* keep_nan(Value* x, Value* result) { return select(is_nan(x), x, result); }
  bool is_double() const { return type->getScalarType()->isDoubleTy(); }
  DoubleMath wide() { return {b, type, DoubleMath::Precision::kDouble}; }

  /// 2^n of an integer-valued float within the normal range.
  Value* power_of_two(Value* n) {
    Value* i = b.CreateFPToSI(n, int_type());
    return from_bits(b.CreateShl(b.CreateAdd(i, integer(127)), integer(23)));
  }

  Value* exp(Value* x) {
    if (is_double()) return wide().exp(x);
    // Beyond these the result is 0 or infinity; the clamp keeps 2^n representable in two steps.
    const auto [n, r] = split(max(min(x, 89.0), -104.0));
    return keep_nan(x, scale(exp_polynomial(r), n));
  }
  /// Of -80 to 80, where 2^n is a normal number.
  Value* plain_exp(Value* x) {
    const auto [n, r] = split(x);
    return b.CreateFMul(exp_polynomial(r), power_of_two(n));
  }
  /// x = n ln 2 + r
  std::pair<Value*, Value*> split(Value* x) {
    Value* n = call(llvm::Intrinsic::rint, b.CreateFMul(x, num(1.44269504088896341)));
    return {n, fma(n, num(2.12194440e-4), fma(n, num(-0.693359375), x))};
  }
  /// 2^n p, in two steps, since 2^n itself may be out of range.
  Value* scale(Value* p, Value* n) {
    Value* half = call(llvm::Intrinsic::floor, b.CreateFMul(n, num(0.5)));
    Value* rest = b.CreateFSub(n, half);
    return b.CreateFMul(b.CreateFMul(p, power_of_two(half)), power_of_two(rest));
  }
  Value* exp_polynomial(Value* r) {
    Value* p = num(1.9875691500e-4);
    for (const double c :
         {1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}) {
      p = fma(p, r, c);
    }
    return fma(b.CreateFMul(p, r), r, b.CreateFAdd(r, num(1.0)));
  }

  Value* exp2(Value* x) {
    if (is_double()) return wide().exp2(x);
    Value* clamped = max(min(x, 129.0), -150.0);
    Value* n = call(llvm::Intrinsic::rint, clamped);
    Value* r = b.CreateFMul(b.CreateFSub(clamped, n), num(0.69314718055994531));
    return keep_nan(x, scale(exp_polynomial(r), n));
  }

  Value* expm1(Value* x) {
    if (is_double()) return wide().expm1(x);
    Value* p = num(1.0 / 5040);
    for (const double c : {1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5}) {
      p = fma(p, x, c);
    }
    Value* near = fma(b.CreateFMul(x, x), p, x);
    Value* far = b.CreateFSub(exp(x), num(1.0));
    return copysign(select(b.CreateFCmpOLT(abs(x), num(0.35)), near, far), x);
  }

  /// log of a positive normal number given as m 2^e.
  Value* log(Value* x) {
    if (is_double()) return wide().log(x);
    // Denormals are brought into the normal range first.
    Value* small = b.CreateFCmpOLT(x, num(1.17549435e-38));
    Value* y = select(small, b.CreateFMul(x, num(8388608.0)), x);
    Value* shift = select(small, num(-23.0), num(0.0));
    Value* i = b.CreateSub(bits(y), integer(0x3f2aaaab));  // 2/3
    Value* e = b.CreateAShr(i, integer(23));
    Value* m = from_bits(b.CreateAdd(b.CreateAnd(i, integer(0x007fffff)), integer(0x3f2aaaab)));
    Value* exponent = b.CreateFAdd(b.CreateSIToFP(e, type), shift);
    Value* f = b.CreateFSub(m, num(1.0));
    Value* s = b.CreateFDiv(f, b.CreateFAdd(m, num(1.0)));
    Value* z = b.CreateFMul(s, s);
    Value* p = num(2.0 / 11);
    for (const double c : {2.0 / 9, 2.0 / 7, 2.0 / 5, 2.0 / 3}) {
      p = fma(p, z, c);
    }
    // log(1+f) = f - s (f - s^2 P) with the leading terms exact.
    Value* tail = b.CreateFMul(s, b.CreateFSub(f, b.CreateFMul(z, p)));
    Value* result = b.CreateFSub(f, tail);
    result = fma(exponent, num(0.693359375), fma(exponent, num(-2.12194440e-4), result));
    result = select(b.CreateFCmpOEQ(x, num(INFINITY)), x, result);
    result = select(b.CreateFCmpOEQ(x, num(0.0)), num(-INFINITY), result);
    return select(b.CreateFCmpULT(x, num(0.0)), num(NAN), result);
  }

  Value* log1p(Value* x) {
    if (is_double()) return wide().log1p(x);
    Value* u = b.CreateFAdd(x, num(1.0));
    Value* lost = b.CreateFSub(b.CreateFSub(u, num(1.0)), x);
    Value* result = b.CreateFSub(log(u), b.CreateFDiv(lost, u));
    result = select(b.CreateFCmpOEQ(u, num(1.0)), x, result);
    Value* odd = b.CreateOr(b.CreateFCmpOEQ(x, num(INFINITY)), b.CreateFCmpOEQ(u, num(0.0)));
    return select(odd, log(u), result);
  }

  Value* sigmoid(Value* x) {
    return b.CreateFDiv(num(1.0), b.CreateFAdd(exp(b.CreateFNeg(x)), num(1.0)));
  }

  Value* tanh(Value* x) {
    if (is_double()) return wide().tanh(x);
    Value* z = b.CreateFMul(x, x);
    Value* p = num(-5.70498872745e-3);
    for (const double c :
         {2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1}) {
      p = fma(p, z, c);
    }
    Value* near = fma(b.CreateFMul(p, z), x, x);
    Value* e = exp(b.CreateFMul(abs(x), num(2.0)));
    Value* far = b.CreateFSub(num(1.0), b.CreateFDiv(num(2.0), b.CreateFAdd(e, num(1.0))));
    return keep_nan(x, copysign(select(b.CreateFCmpOLT(abs(x), num(0.625)), near, far), x));
  }

  Value* erf(Value* x) {
    if (is_double()) return wide().erf(x);
    Value* magnitude = abs(x);
    // Beyond 4 the result is 1; held there, e^far is no denormal number, which would cost a trap
    // into microcode for the whole vector.
    Value* t = min(magnitude, 4.0);
    Value* s = b.CreateFMul(t, t);
    Value* far = fma(num(-1.72853470e-5), t, 3.83197126e-4);
    Value* u = fma(num(-3.88396438e-3), t, 2.42546219e-2);
    far = fma(far, s, u);
    far = fma(far, t, -1.06777877e-1);
    far = fma(far, t, -6.34846687e-1);
    far = fma(far, t, -1.28717512e-1);
    far = fma(far, t, b.CreateFNeg(t));
    far = copysign(b.CreateFSub(num(1.0), plain_exp(far)), x);
    far = select(b.CreateFCmpOGT(magnitude, num(4.0)), copysign(num(1.0), x), far);
    Value* near = num(-5.96761703e-4);
    for (const double c :
         {4.99119423e-3, -2.67681349e-2, 1.12819925e-1, -3.76125336e-1, 1.28379166e-1}) {
      near = fma(near, s, c);
    }
    near = fma(near, x, x);
    return keep_nan(x, select(b.CreateFCmpOGT(t, num(0.927734375)), far, near));
  }

  Value* gelu(Value* x) {
    Value* factor = fma(erf(b.CreateFMul(x, num(0.70710678118654752))), num(0.5), 0.5);
    return b.CreateFMul(x, factor);
  }

  Value* gelu_tanh(Value* x) {
    Value* cube = b.CreateFMul(b.CreateFMul(x, x), x);
    Value* inner = b.CreateFMul(fma(cube, num(0.044715), x), num(1.5957691216057308));
    return b.CreateFMul(x, sigmoid(inner));  // (1 + tanh(z)) / 2 = sigmoid(2z)
  }

  Value* softplus(Value* x) {
    Value* soft = log1p(exp(x));
    return keep_nan(x, select(b.CreateFCmpOGT(x, num(20.0)), x, soft));
  }

  Value* hard_sigmoid(Value* x) {
    Value* y = max(min(b.CreateFAdd(x, num(3.0)), 6.0), 0.0);
    return keep_nan(x, b.CreateFDiv(y, num(6.0)));
  }

  /// An argument as quadrant * pi/2 + rest, |rest| <= pi/4.
  struct Angle {
    Value* quadrant;  // i32, modulo 4
    Value* rest;
  };

  /// pi/2 in two parts, the first with 33 digits: its product with a quadrant below 2^20 is exact.
  Angle reduce_near(Value* x) {
    llvm::Type* wide = type->getWithNewType(b.getDoubleTy());
    Value* y = b.CreateFPExt(x, wide);
    const auto wide_num = [wide](double v) { return llvm::ConstantFP::get(wide, v); };
    Value* n = call(llvm::Intrinsic::rint, b.CreateFMul(y, wide_num(0.63661977236758134)));
    Value* r = b.CreateFSub(y, b.CreateFMul(n, wide_num(1.57079632673412561417)));
    r = b.CreateFSub(r, b.CreateFMul(n, wide_num(6.07710050650619224932e-11)));
    Value* near = b.CreateFCmpOLE(abs(x), num(kNearAngle));
    return {b.CreateFPToSI(select(near, n, wide_num(0)), int_type()), b.CreateFPTrunc(r, type)};
  }

  /// Payne and Hanek: x = m 2^e, and of the binary digits of 2/pi only the 96 matter whose product
  /// with m 2^e lies below 4 and above the result's precision. For |x| > kNearAngle, finite.
  Angle reduce_far(Value* x) {
    Value* magnitude = b.CreateAnd(bits(x), integer(0x7fffffff));
    Value* exponent = b.CreateSub(b.CreateLShr(magnitude, integer(23)), integer(150));
    Value* mantissa = b.CreateAnd(magnitude, integer(0x7fffff));
    mantissa = b.CreateOr(mantissa, integer(0x800000));
    // Digits from 2^31 down: the first word holds none of 2/pi yet.
    Value* position = b.CreateAdd(exponent, integer(30));
    const std::vector<Value*> window = two_over_pi(position, 3);
    const auto widen = [&](Value* v) { return b.CreateZExt(v, int_type(64)); };
    const auto wide_int = [&](int64_t v) { return llvm::ConstantInt::getSigned(int_type(64), v); };
    Value* m = widen(mantissa);
    Value* low = b.CreateMul(m, widen(window[2]));
    Value* middle = b.CreateAdd(b.CreateMul(m, widen(window[1])), b.CreateLShr(low, wide_int(32)));
    Value* high = b.CreateAdd(b.CreateMul(m, widen(window[0])), b.CreateLShr(middle, wide_int(32)));
    // Two digits of quadrant, 62 of fraction.
    Value* product =
        b.CreateOr(b.CreateShl(high, wide_int(32)), b.CreateAnd(middle, wide_int(0xffffffff)));
    Value* rounded = b.CreateAdd(product, wide_int(int64_t{1} << 61));
    Value* quadrant = b.CreateTrunc(b.CreateLShr(rounded, wide_int(62)), int_type());
    Value* fraction = b.CreateAShr(b.CreateShl(product, wide_int(2)), wide_int(2));
    llvm::Type* wide = type->getWithNewType(b.getDoubleTy());
    constexpr double kUnit = 1.5707963267948966 / 4611686018427387904.0;  // pi/2 * 2^-62
    Value* rest = b.CreateFMul(b.CreateSIToFP(fraction, wide), llvm::ConstantFP::get(wide, kUnit));
    rest = b.CreateFPTrunc(rest, type);
    Value* negative = b.CreateFCmpOLT(x, num(0.0));
    return {select(negative, b.CreateNeg(quadrant), quadrant),
            select(negative, b.CreateFNeg(rest), rest)};
  }

  /// `count` words of 32 binary digits of 2/pi, from digit `position` of a table whose first word
  /// holds the digits of 2^31 to 2^0.
  std::vector<Value*> two_over_pi(Value* position, int count) {
    static constexpr uint32_t kDigits[] = {0,          0xA2F9836E, 0x4E441529, 0xFC2757D1,
                                           0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB};
    constexpr int kStarts = 5;  // the largest exponent begins in word 4
    Value* word = b.CreateAShr(position, integer(5));
    Value* shift = b.CreateAnd(position, integer(31));
    std::vector<Value*> words;
    for (int k = 0; k <= count; ++k) {
      Value* digits = integer(static_cast<int32_t>(kDigits[k]));
      for (int start = 1; start < kStarts; ++start) {
        digits = select(b.CreateICmpEQ(word, integer(start)),
                        integer(static_cast<int32_t>(kDigits[start + k])), digits);
      }
      words.push_back(digits);
    }
    std::vector<Value*> window;
    for (size_t k = 0; k < static_cast<size_t>(count); ++k) {
      window.push_back(
          b.CreateIntrinsic(int_type(), llvm::Intrinsic::fshl, {words[k], words[k + 1], shift}));
    }
    return window;
  }

  /// The long reduction runs only when a lane needs it.
  Angle reduce(Value* x) {
    const Angle near = reduce_near(x);
    Value* is_far = b.CreateFCmpOGT(abs(x), num(kNearAngle));
    Value* any_far = type->isVectorTy() ? b.CreateOrReduce(is_far) : is_far;
    llvm::BasicBlock* before = b.GetInsertBlock();
    llvm::Function* function = before->getParent();
    auto* far_block = llvm::BasicBlock::Create(b.getContext(), "far_angle", function);
    auto* after = llvm::BasicBlock::Create(b.getContext(), "angle", function);
    b.CreateCondBr(any_far, far_block, after);
    b.SetInsertPoint(far_block);
    const Angle far = reduce_far(x);
    Value* far_quadrant = select(is_far, far.quadrant, near.quadrant);
    Value* far_rest = select(is_far, far.rest, near.rest);
    b.CreateBr(after);
    b.SetInsertPoint(after);
    const auto merge = [&](Value* of_near, Value* of_far) {
      llvm::PHINode* phi = b.CreatePHI(of_near->getType(), 2);
      phi->addIncoming(of_near, before);
      phi->addIncoming(of_far, far_block);
      return phi;
    };
    return {merge(near.quadrant, far_quadrant), merge(near.rest, far_rest)};
  }

  /// sin (phase 0) or cos (phase 1).
  Value* wave(Value* x, int phase) {
    auto [quadrant, f] = reduce(x);
    quadrant = b.CreateAdd(quadrant, integer(phase));
    Value* z = b.CreateFMul(f, f);
    Value* s = num(-1.9515295891e-4);
    s = fma(fma(s, z, 8.3321608736e-3), z, -1.6666654611e-1);
    s = fma(b.CreateFMul(s, z), f, f);
    Value* c = num(2.443315711809948e-5);
    c = fma(fma(c, z, -1.388731625493765e-3), z, 4.166664568298827e-2);
    c = fma(b.CreateFMul(c, z), z, fma(z, num(-0.5), 1.0));
    Value* odd = b.CreateICmpNE(b.CreateAnd(quadrant, integer(1)), integer(0));
    Value* negative = b.CreateICmpNE(b.CreateAnd(quadrant, integer(2)), integer(0));
    Value* result = select(odd, c, s);
    result = select(negative, b.CreateFNeg(result), result);
    result = phase == 0 ? select(b.CreateFCmpOEQ(x, num(0.0)), x, result) : result;  // of -0, -0
    return select(b.CreateFCmpOLT(abs(x), num(INFINITY)), result, num(NAN));
  }

  llvm::IRBuilder<>& b;
  llvm::Type* type;
};

/// Of float32 through float64, or of float64; null: not there.
Value* emit_in_double(DoubleMath m, UnaryOp op, Value* x) {
  switch (op) {
    case UnaryOp::kTan:
      return m.tan(x);
    case UnaryOp::kAsin:
      return m.asin(x);
    case UnaryOp::kAcos:
      return m.acos(x);
    case UnaryOp::kAtan:
      return m.atan(x);
    case UnaryOp::kSinh:
      return m.sinh(x);
    case UnaryOp::kCosh:
      return m.cosh(x);
    case UnaryOp::kAsinh:
      return m.asinh(x);
    case UnaryOp::kAcosh:
      return m.acosh(x);
    case UnaryOp::kAtanh:
      return m.atanh(x);
    default:
      return nullptr;
  }
}

Value* emit_real(Math& m, UnaryOp op, Value* x) {
  llvm::IRBuilder<>& b = m.b;
  switch (op) {
    case UnaryOp::kExp:
      return m.exp(x);
    case UnaryOp::kExp2:
      return m.exp2(x);
    case UnaryOp::kExpm1:
      return m.expm1(x);
    case UnaryOp::kLog:
      return m.log(x);
    case UnaryOp::kLog2:
      return m.is_double() ? m.wide().log2(x) : b.CreateFMul(m.log(x), m.num(1.44269504088896341));
    case UnaryOp::kLog10:
      return m.is_double() ? m.wide().log10(x) : b.CreateFMul(m.log(x), m.num(0.43429448190325183));
    case UnaryOp::kLog1p:
      return m.log1p(x);
    case UnaryOp::kSin:
      return m.is_double() ? m.wide().sin(x) : m.wave(x, 0);
    case UnaryOp::kCos:
      return m.is_double() ? m.wide().cos(x) : m.wave(x, 1);
    case UnaryOp::kTanh:
      return m.tanh(x);
    case UnaryOp::kErf:
      return m.erf(x);
    case UnaryOp::kSigmoid:
      return m.sigmoid(x);
    case UnaryOp::kGelu:
      return m.gelu(x);
    case UnaryOp::kGeluTanh:
      return m.gelu_tanh(x);
    case UnaryOp::kSilu:
      return b.CreateFMul(x, m.sigmoid(x));
    case UnaryOp::kMish:
      return b.CreateFMul(x, m.tanh(m.softplus(x)));
    case UnaryOp::kSoftplus:
      return m.softplus(x);
    case UnaryOp::kLogSigmoid:
      return b.CreateFNeg(m.softplus(b.CreateFNeg(x)));
    case UnaryOp::kHardSigmoid:
      return m.hard_sigmoid(x);
    case UnaryOp::kHardSwish:
      return b.CreateFMul(x, m.hard_sigmoid(x));
    default:
      break;
  }
  if (m.is_double()) {
    return emit_in_double(m.wide(), op, x);
  }
  const DoubleMath wide(b, m.type, DoubleMath::Precision::kSingle);
  return b.CreateFPTrunc(emit_in_double(wide, op, b.CreateFPExt(x, wide.type())), m.type);
}

Value* emit_floating(Math& m, UnaryOp op, Value* x) {
  llvm::IRBuilder<>& b = m.b;
  switch (op) {
    case UnaryOp::kNeg:
      return b.CreateFNeg(x);
    case UnaryOp::kAbs:
      return m.abs(x);
    case UnaryOp::kSign: {
      Value* positive = b.CreateUIToFP(b.CreateFCmpOGT(x, m.num(0)), m.type);
      Value* negative = b.CreateUIToFP(b.CreateFCmpOLT(x, m.num(0)), m.type);
      return b.CreateFSub(positive, negative);  // 0 of NaN, as in PyTorch
    }
    case UnaryOp::kSqrt:
      return m.call(llvm::Intrinsic::sqrt, x);
    case UnaryOp::kRsqrt:
      return b.CreateFDiv(m.num(1.0), m.call(llvm::Intrinsic::sqrt, x));
    case UnaryOp::kReciprocal:
      return b.CreateFDiv(m.num(1.0), x);
    case UnaryOp::kFloor:
      return m.call(llvm::Intrinsic::floor, x);
    case UnaryOp::kCeil:
      return m.call(llvm::Intrinsic::ceil, x);
    case UnaryOp::kRound:
      return m.call(llvm::Intrinsic::rint, x);
    case UnaryOp::kTrunc:
      return m.call(llvm::Intrinsic::trunc, x);
    case UnaryOp::kIsNan:
      return m.is_nan(x);
    case UnaryOp::kIsInf:
      return b.CreateFCmpOEQ(m.abs(x), m.num(INFINITY));
    case UnaryOp::kSignBit: {
      Value* bits = b.CreateBitCast(x, m.int_type(m.type->getScalarSizeInBits()));
      return b.CreateICmpSLT(bits, llvm::Constant::getNullValue(bits->getType()));
    }
    case UnaryOp::kNot:
      return b.CreateUIToFP(b.CreateFCmpOEQ(x, m.num(0)), m.type);
    case UnaryOp::kRelu:
      // NaN compares false both ways and stays.
      return b.CreateSelect(b.CreateFCmpOLE(x, m.num(0)), m.num(0), x);
    default:
      return nullptr;
  }
}

}  // namespace

bool has_unary(UnaryOp op, DType dtype) {
  if (dtype == DType::kFloat32 || dtype == DType::kFloat64) {
    return true;
  }
  switch (op) {
    case UnaryOp::kNeg:
    case UnaryOp::kAbs:
    case UnaryOp::kSign:
    case UnaryOp::kSignBit:
    case UnaryOp::kRelu:
    case UnaryOp::kNot:
      return is_integral(dtype) || (dtype == DType::kBool && op == UnaryOp::kNot);
    default:
      return false;
  }
}

Value* emit_atan2(llvm::IRBuilder<>& b, Value* y, Value* x) {
  if (y->getType()->getScalarType()->isDoubleTy()) {
    return DoubleMath(b, y->getType(), DoubleMath::Precision::kDouble).atan2(y, x);
  }
  DoubleMath math(b, y->getType(), DoubleMath::Precision::kSingle);
  Value* angle = math.atan2(b.CreateFPExt(y, math.type()), b.CreateFPExt(x, math.type()));
  return b.CreateFPTrunc(angle, y->getType());
}

Value* emit_unary(llvm::IRBuilder<>& builder, UnaryOp op, DType dtype, Value* x) {
  STATOR_CHECK(has_unary(op, dtype), std::string(name_of(op)) + " has no vector form");
  if (is_floating_point(dtype)) {
    Math math(builder, x->getType());
    Value* result = emit_floating(math, op, x);
    return result != nullptr ? result : emit_real(math, op, x);
  }
  Value* zero = llvm::Constant::getNullValue(x->getType());
  switch (op) {
    case UnaryOp::kNeg:
      return builder.CreateNeg(x);
    case UnaryOp::kAbs:
      return dtype == DType::kUInt8
                 ? x
                 : builder.CreateBinaryIntrinsic(llvm::Intrinsic::abs, x, builder.getFalse());
    case UnaryOp::kSign: {
      Value* positive = builder.CreateZExt(builder.CreateICmpNE(x, zero), x->getType());
      return dtype == DType::kUInt8
                 ? positive
                 : builder.CreateSelect(builder.CreateICmpSLT(x, zero),
                                        llvm::Constant::getAllOnesValue(x->getType()), positive);
    }
    case UnaryOp::kSignBit:
      return dtype == DType::kUInt8 ? builder.CreateICmpULT(x, zero)
                                    : builder.CreateICmpSLT(x, zero);
    case UnaryOp::kRelu:
      return dtype == DType::kUInt8 ? x
                                    : builder.CreateBinaryIntrinsic(llvm::Intrinsic::smax, x, zero);
    default:
      return builder.CreateNot(x);
  }
}

}  // namespace stator::cpu
