// SPDX-License-Identifier: Apache-2.0
//
// exp: x = n ln 2 + r, e^x = 2^n (1 + r + r² P(r)). log: x = 2^e (1 + f), s = f/(2 + f), and
// log(1 + f) = f - (f²/2 - s (f²/2 + s² R(s²))), as fdlibm adds it up. erf: x (1 + E(x²)) up to 1,
// then 1 - e^(-x²) F.
#include <cmath>

#include "backends/cpu/codegen/double_math.h"
#include "backends/cpu/codegen/vector_polynomials.h"

namespace stator::cpu {
namespace {

using llvm::Value;

constexpr double kLog2E = 1.44269504088896341;
constexpr double kLn2 = 0.69314718055994531;
// ln 2 in two parts, the first with 32 digits, so that its product with an exponent is exact.
constexpr double kLn2High = 6.93147180369123816490e-01;
constexpr double kLn2Low = 1.90821492927058770002e-10;

}  // namespace

DoubleMath::DoubleMath(llvm::IRBuilder<>& builder, llvm::Type* like, Precision precision)
    : b(builder),
      real_(like->getWithNewType(builder.getDoubleTy())),
      whole_(like->getWithNewType(builder.getInt64Ty())),
      precision_(precision) {}

/// Even and odd powers apart: two short chains of dependent sums instead of a long one.
Value* DoubleMath::polynomial(Value* x, std::span<const double> highest_first) {
  const size_t count = highest_first.size();
  const auto chain = [&](Value* power, size_t first, size_t step) {
    Value* sum = num(highest_first[first]);
    for (size_t k = first + step; k < count; k += step) {
      sum = fma(sum, power, num(highest_first[k]));
    }
    return sum;
  };
  if (count < 6) {
    return chain(x, 0, 1);
  }
  Value* square = mul(x, x);
  const size_t even = (count - 1) % 2;  // of the constant's chain
  return fma(chain(square, 1 - even, 2), x, chain(square, even, 2));
}

Value* DoubleMath::odd(Value* x, std::span<const double> full, std::span<const double> single) {
  Value* z = mul(x, x);
  return fma(mul(x, z), polynomial(z, full, single), x);
}

Value* DoubleMath::any(Value* condition) {
  return real_->isVectorTy() ? b.CreateOrReduce(condition) : condition;
}

DoubleMath::Pair DoubleMath::two_sum(Value* x, Value* y) {
  Value* sum = add(x, y);
  Value* of_y = sub(sum, x);
  return {sum, add(sub(x, sub(sum, of_y)), sub(y, of_y))};
}

/// Of an integer-valued number in the range of exponents; the machine need not convert it.
Value* DoubleMath::power_of_two(Value* n) {
  return from_bits(b.CreateShl(bits(add(n, num(kInteger + 1023))), 52));
}

/// 2^n x, in two steps where 2^n itself may be out of range.
Value* DoubleMath::scale(Value* x, Value* n) {
  if (!is_double()) {
    return mul(x, power_of_two(n));
  }
  Value* exponents = bits(add(n, num(kInteger + 2 * 1023)));  // the sum of both
  Value* first = b.CreateLShr(exponents, 1);
  const auto factor = [&](Value* exponent) { return from_bits(b.CreateShl(exponent, 52)); };
  return mul(mul(x, factor(first)), factor(b.CreateSub(exponents, first)));
}

DoubleMath::Power DoubleMath::power(Value* x) {
  Value* n = sub(fma(x, num(kLog2E), num(kInteger)), num(kInteger));
  Value* r = is_double() ? fma(n, num(-kLn2Low), fma(n, num(-kLn2High), x)) : fma(n, num(-kLn2), x);
  return {n, fma(mul(r, r), polynomial(r, kExp, kExpSingle), r)};
}

/// Of x where the result is neither 0 nor infinity, of the nearest such number elsewhere.
DoubleMath::Power DoubleMath::held_power(Value* x, double most) {
  return power(at_least(at_most(x, is_double() ? most : 300), is_double() ? -746 : -300));
}

Value* DoubleMath::exp(Value* x) {
  const auto [n, p] = held_power(x, 710);
  return scale(add(p, num(1)), n);
}

Value* DoubleMath::exp2(Value* x) {
  Value* clamped = at_least(at_most(x, is_double() ? 1025 : 300), is_double() ? -1076 : -300);
  Value* n = rint(clamped);
  Value* r = mul(sub(clamped, n), kLn2);
  Value* p = fma(mul(r, r), polynomial(r, kExp, kExpSingle), r);
  return scale(add(p, num(1)), n);
}

/// 2 (2^(n-1) p + (2^(n-1) - 1/2)): 2^n may be too large where the result is not.
Value* DoubleMath::expm1(Value* x) {
  const auto [n, p] = power(at_least(at_most(x, 710), -50));
  Value* factor = power_of_two(sub(n, num(1)));
  Value* half = fma(factor, p, sub(factor, num(0.5)));
  return copysign(add(half, half), x);
}

/// x = 2^e (1 + f), 1 + f from sqrt(1/2) to sqrt(2), of a positive number.
DoubleMath::Normal DoubleMath::normalize(Value* x) {
  // Denormals are brought into the normal range; float32's are there.
  Value* bias = num(4503599627370496.0 + 1023);
  if (is_double()) {
    Value* small = less(x, 2.2250738585072014e-308);
    x = select(small, mul(x, 18014398509481984.0), x);
    bias = select(small, num(4503599627370496.0 + 1023 + 54), bias);
  }
  Value* shifted = b.CreateAdd(bits(x), word(0x3ff0000000000000ULL - 0x3fe6a09e667f3bcdULL));
  Value* exponent = b.CreateLShr(shifted, 52);
  Value* e = sub(from_bits(b.CreateOr(exponent, word(0x4330000000000000ULL))), bias);
  Value* mantissa = b.CreateSub(bits(x), b.CreateShl(b.CreateSub(exponent, word(1023)), 52));
  return {e, sub(from_bits(mantissa), num(1))};
}

DoubleMath::Logarithm DoubleMath::log_parts(Value* x) {
  const auto [e, f] = normalize(x);
  Value* s = div(f, add(f, num(2)));
  Value* z = mul(s, s);
  Value* half_square = mul(mul(f, f), 0.5);
  Value* tail = mul(s, fma(z, polynomial(z, kLog, kLogSingle), half_square));
  return {e, f, half_square, tail};
}

Value* DoubleMath::log_sum(const Logarithm& l, Value* correction) {
  Value* low = mul(l.e, kLn2Low);
  low = add(l.tail, correction == nullptr ? low : add(low, correction));
  return sub(mul(l.e, kLn2High), sub(sub(l.half_square, low), l.f));
}

Value* DoubleMath::finish_log(Value* x, Value* result) {
  result = select(equal(x, INFINITY), x, result);
  result = select(equal(x, 0), num(-INFINITY), result);
  return select(b.CreateFCmpULT(x, num(0)), num(NAN), result);
}

Value* DoubleMath::log(Value* x) { return finish_log(x, log_sum(log_parts(x), nullptr)); }

/// log(1 + f) in two parts, the first with 21 digits at most.
DoubleMath::Pair DoubleMath::log_split(const Logarithm& l) {
  Value* high = upper(sub(l.f, l.half_square));
  return {high, add(sub(sub(l.f, high), l.half_square), l.tail)};
}

Value* DoubleMath::log2(Value* x) {
  const Logarithm l = log_parts(x);
  if (!is_double()) {
    return finish_log(x, fma(sub(l.f, sub(l.half_square, l.tail)), num(kLog2E), l.e));
  }
  constexpr double kHigh = 1.44269504072144627571e+00, kLow = 1.67517131648865118353e-10;
  const auto [high, low] = log_split(l);
  Value* main = mul(high, kHigh);
  Value* sum = add(l.e, main);
  Value* rest = add(add(mul(add(low, high), kLow), mul(low, kHigh)), add(sub(l.e, sum), main));
  return finish_log(x, add(sum, rest));
}

Value* DoubleMath::log10(Value* x) {
  const Logarithm l = log_parts(x);
  constexpr double kTwo = 3.01029995663981195214e-01;  // log10 of 2
  if (!is_double()) {
    Value* part = mul(sub(l.f, sub(l.half_square, l.tail)), 0.43429448190325182765);
    return finish_log(x, fma(l.e, num(kTwo), part));
  }
  constexpr double kHigh = 4.34294481878168880939e-01, kLow = 2.50829467116452752298e-11;
  constexpr double kTwoHigh = 3.01029995663611771306e-01, kTwoLow = 3.69423907715893078616e-13;
  const auto [high, low] = log_split(l);
  Value* main = mul(high, kHigh);
  Value* of_e = mul(l.e, kTwoHigh);
  Value* sum = add(of_e, main);
  Value* rest = add(mul(l.e, kTwoLow), add(mul(add(low, high), kLow), mul(low, kHigh)));
  return finish_log(x, add(sum, add(rest, add(sub(of_e, sum), main))));
}

Value* DoubleMath::log1p(Value* x) {
  const auto [u, lost] = two_sum(num(1), x);
  Value* result = log_sum(log_parts(u), div(lost, u));
  return copysign(finish_log(u, result), x);
}

Value* DoubleMath::erf(Value* x) {
  Value* magnitude = abs(x);
  Value* z = mul(x, x);
  Value* near = fma(x, polynomial(z, kErfNear, kErfNearSingle), x);
  Value* held = at_most(magnitude, 6);  // 1 from there on
  Value* t = sub(num(1), div(num(8), add(held, num(4))));
  Value* e = exp(b.CreateFNeg(mul(held, held)));
  Value* far = sub(num(1), mul(e, polynomial(t, kErfFar, kErfFarSingle)));
  return select(less(magnitude, 1), near, copysign(far, x));
}

}  // namespace stator::cpu
