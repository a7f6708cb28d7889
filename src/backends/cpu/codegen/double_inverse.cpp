// SPDX-License-Identifier: Apache-2.0
//
// asin: s + s³ P(s²) up to 1/2, beyond by pi/2 - 2 asin(sqrt((1 - x)/2)). atan: the argument turned
// by pi/4 or pi/2 into [-1/3, 1/2], the same for quotients. Constants that the results lie at are
// in two parts.
#include <cmath>
#include <cstdint>

#include "backends/cpu/codegen/double_math.h"
#include "backends/cpu/codegen/vector_polynomials.h"

namespace stator::cpu {
namespace {

using llvm::Value;

// Three halves of them are float64's too.
constexpr double kHalfPi = 1.57079632679489656, kHalfPiLow = 6.12323399573676604e-17;

}  // namespace

Value* DoubleMath::asin_tail(Value* s, Value* z) {
  return mul(mul(s, z), polynomial(z, kAsin, kAsinSingle));
}

Value* DoubleMath::asin(Value* x) {
  Value* a = abs(x);
  Value* outer = greater(a, 0.5);
  Value* z = select(outer, mul(sub(num(1), a), 0.5), mul(a, a));
  Value* s = select(outer, sqrt(z), a);
  Value* tail = asin_tail(s, z);
  Value* near = add(s, tail);
  const Pair difference = two_sum(num(kHalfPi), mul(s, -2));
  Value* rest = sub(add(tail, tail), add(num(kHalfPiLow), difference.low));
  Value* turned = sub(difference.high, rest);
  return copysign(select(outer, turned, near), x);
}

Value* DoubleMath::acos(Value* x) {
  Value* a = abs(x);
  Value* outer = greater(a, 0.5);
  Value* z = select(outer, mul(sub(num(1), a), 0.5), mul(a, a));
  Value* s = select(outer, sqrt(z), x);
  Value* tail = asin_tail(s, z);
  Value* middle = sub(num(kHalfPi), sub(s, sub(num(kHalfPiLow), tail)));
  Value* right = add(s, tail);
  Value* left = sub(num(kHalfPi), add(s, sub(tail, num(kHalfPiLow))));
  Value* half = select(less(x, 0), left, right);
  return select(outer, add(half, half), middle);
}

Value* DoubleMath::atan_tail(Value* r) {
  Value* z = mul(r, r);
  return mul(mul(r, z), polynomial(z, kAtan, kAtanSingle));
}

Value* DoubleMath::atan(Value* x) {
  Value* a = abs(x);
  Value* small = less(a, 0.5);
  Value* large = greater(a, 2);
  Value* above = select(small, a, select(large, num(-1), sub(a, num(1))));
  Value* below = select(small, num(1), select(large, a, add(a, num(1))));
  Value* r = div(above, below);
  const auto turned = [&](double half_turn) {
    return select(small, num(0), select(large, num(half_turn), num(half_turn / 2)));
  };
  Value* tail = add(atan_tail(r), turned(kHalfPiLow));
  return copysign(add(turned(kHalfPi), add(r, tail)), x);
}

Value* DoubleMath::atan2(Value* y, Value* x) {
  Value *a = abs(y), *c = abs(x);
  if (is_double()) {  // so that the sum is finite
    Value* factor = select(b.CreateOr(greater(a, 1e300), greater(c, 1e300)), num(0x1p-10), num(1));
    a = mul(a, factor);
    c = mul(c, factor);
  }
  Value* infinite = b.CreateAnd(equal(a, INFINITY), equal(c, INFINITY));
  a = select(infinite, num(1), a);
  c = select(infinite, num(1), c);
  Value* small = b.CreateFCmpOLE(a, mul(c, 0.5));
  Value* large = b.CreateFCmpOGT(a, add(c, c));
  Value* above = select(small, a, select(large, b.CreateFNeg(c), sub(a, c)));
  Value* below = select(small, c, select(large, a, add(a, c)));
  below = select(equal(below, 0), num(1), below);
  Value* r = div(above, below);
  Value* behind = b.CreateICmpSLT(bits(x), word(0));
  r = select(behind, b.CreateFNeg(r), r);
  const auto turned = [&](double half_turn) {
    Value* front = select(small, num(0), select(large, num(half_turn), num(half_turn / 2)));
    Value* back =
        select(small, num(2 * half_turn), select(large, num(half_turn), num(half_turn * 1.5)));
    return select(behind, back, front);
  };
  Value* tail = add(atan_tail(r), turned(kHalfPiLow));
  return copysign(add(turned(kHalfPi), add(r, tail)), y);
}

}  // namespace stator::cpu
