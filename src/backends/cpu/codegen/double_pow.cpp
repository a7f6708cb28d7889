// SPDX-License-Identifier: Apache-2.0
//
// |x|^y = 2^(y log2 |x|), the logarithm and its product in two parts, as fdlibm's e_pow.c has them.
#include <cmath>

#include "backends/cpu/codegen/double_math.h"
#include "backends/cpu/codegen/vector_polynomials.h"

namespace stator::cpu {
namespace {

using llvm::Value;

// 2/(3 ln 2), in two parts of which the first has 24 digits, and ln 2.
constexpr double kScale = 9.61796693925975554329e-01;
constexpr double kScaleHigh = 9.61796700954437255859e-01, kScaleLow = -7.02846165095275826516e-09;
constexpr double kPowLn2 = 6.93147180559945286227e-01;
constexpr double kPowLn2High = 6.93147182464599609375e-01, kPowLn2Low = -1.90465429995776804525e-09;

}  // namespace

/// Of a positive finite number, to some 2^-65 of the result; `high` has 21 digits.
DoubleMath::Pair DoubleMath::precise_log2(Value* x) {
  const auto [e, f] = normalize(x);
  // s = f/(2 + f) in two parts.
  Value* d = add(f, num(2));
  Value* inverse = div(num(1), d);
  Value* s = mul(f, inverse);
  Value* s_high = upper(s);
  Value* d_high = upper(d);
  Value* d_low = sub(f, sub(d_high, num(2)));
  Value* s_low = mul(inverse, sub(sub(f, mul(s_high, d_high)), mul(s_high, d_low)));
  // log(1 + f) = 2/3 s (3 + s² + s⁴ L(s²))
  Value* z = mul(s, s);
  Value* r = mul(mul(z, z), polynomial(z, kPow));
  r = add(r, mul(s_low, add(s_high, s)));
  z = mul(s_high, s_high);
  Value* t_high = upper(add(add(z, num(3)), r));
  Value* t_low = sub(r, sub(sub(t_high, num(3)), z));
  Value* u = mul(s_high, t_high);
  Value* v = add(mul(s_low, t_high), mul(t_low, s));
  Value* p_high = upper(add(u, v));
  Value* p_low = sub(v, sub(p_high, u));
  Value* high = mul(p_high, kScaleHigh);
  Value* low = add(mul(p_high, kScaleLow), mul(p_low, kScale));
  Value* sum = upper(add(add(high, low), e));
  return {sum, sub(low, sub(sub(sum, e), high))};
}

Value* DoubleMath::power_of_magnitude(Value* x, Value* y) {
  Value* size = abs(x);
  Value* is_zero = equal(size, 0);
  Value* is_edge = b.CreateOr(is_zero, equal(size, INFINITY));
  const Pair logarithm = precise_log2(select(is_edge, num(1), size));
  // Beyond 2^65 any power of a number but 1 is 0 or infinite.
  Value* held = at_least(at_most(y, 0x1p65), -0x1p65);
  Value* y_high = upper(held);
  Value* low = add(mul(sub(held, y_high), logarithm.high), mul(held, logarithm.low));
  Value* high = mul(y_high, logarithm.high);
  Value* sum = add(high, low);
  Value* fits = b.CreateFCmpOLE(abs(sum), num(1100));
  high = select(fits, high, at_least(at_most(sum, 1100), -1100));
  low = select(fits, low, num(0));
  Value* n = rint(add(high, low));
  Value* t = sub(high, n);
  Value* t_high = upper(add(t, low));
  Value* main = mul(t_high, kPowLn2High);
  Value* rest = add(mul(sub(low, sub(t_high, t)), kPowLn2), mul(t_high, kPowLn2Low));
  Value* r = add(main, rest);
  Value* lost = sub(rest, sub(r, main));
  Value* p = fma(mul(r, r), polynomial(r, kExp), fma(r, lost, lost));
  Value* power = scale(add(add(p, r), num(1)), n);
  Value* rises = b.CreateXor(is_zero, greater(y, 0));  // at an edge: to infinity
  Value* edge = select(equal(y, 0), num(1), select(rises, num(INFINITY), num(0)));
  return select(is_edge, edge, power);
}

}  // namespace stator::cpu
