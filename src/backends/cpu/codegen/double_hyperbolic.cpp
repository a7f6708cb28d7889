// SPDX-License-Identifier: Apache-2.0
//
// Near 0 odd polynomials, further out by exp and log. asinh and acosh are log(1 + t) with what the
// sums lost added to the logarithm.
#include <cmath>

#include "backends/cpu/codegen/double_math.h"
#include "backends/cpu/codegen/vector_polynomials.h"

namespace stator::cpu {

using llvm::Value;

namespace {
constexpr double kLarge = 268435456;  // 2^28: 1 is lost beside its square
}  // namespace

/// e^x / 2, which is finite for more x than e^x.
Value* DoubleMath::half_exp(Value* magnitude) {
  const auto [n, p] = held_power(magnitude, 711);
  return scale(add(p, num(1)), sub(n, num(1)));
}

Value* DoubleMath::sinh(Value* x) {
  Value* magnitude = abs(x);
  Value* h = half_exp(magnitude);
  Value* far = copysign(sub(h, div(num(0.25), h)), x);
  return select(less(magnitude, 1), odd(x, kSinh, kSinhSingle), far);
}

Value* DoubleMath::cosh(Value* x) {
  Value* h = half_exp(abs(x));
  return add(h, div(num(0.25), h));
}

Value* DoubleMath::tanh(Value* x) {
  Value* magnitude = abs(x);
  Value* e = exp(at_most(add(magnitude, magnitude), 50));
  Value* far = sub(num(1), div(num(2), add(e, num(1))));
  return copysign(select(less(magnitude, 0.625), odd(x, kTanh, kTanhSingle), far), x);
}

/// log(1 + a + a²/(1 + sqrt(a² + 1))), log(2a) of the largest.
Value* DoubleMath::asinh(Value* x) {
  Value* a = abs(x);
  Value* large = greater(a, kLarge);
  Value* square = mul(a, a);
  Value* w = div(square, add(sqrt(add(square, num(1))), num(1)));
  Value* t = add(a, w);
  const auto [u, lost] = two_sum(num(1), t);
  Logarithm l = log_parts(select(large, a, u));
  l.e = add(l.e, select(large, num(1), num(0)));
  Value* result = nullptr;
  if (is_double()) {
    Value* correction = div(add(lost, sub(w, sub(t, a))), u);
    result = log_sum(l, select(large, num(0), correction));
  } else {
    Value* near = fma(mul(square, a), num(-1.0 / 6), a);
    result = select(less(a, 1e-4), near, log_sum(l, nullptr));
  }
  return copysign(select(less(a, INFINITY), result, a), x);  // of NaN too
}

/// log(1 + t + sqrt(t (t + 2))), t = x - 1, log(2x) of the largest.
Value* DoubleMath::acosh(Value* x) {
  Value* large = greater(x, kLarge);
  Value* t = sub(x, num(1));
  Value* w = sqrt(mul(t, add(t, num(2))));
  Value* sum = add(w, t);
  const auto [u, lost] = two_sum(num(1), sum);
  Logarithm l = log_parts(select(large, x, u));
  l.e = add(l.e, select(large, num(1), num(0)));
  Value* correction = select(large, num(0), div(add(lost, sub(t, sub(sum, w))), u));
  Value* result = select(equal(x, INFINITY), x, log_sum(l, correction));
  return select(b.CreateFCmpULT(x, num(1)), num(NAN), result);
}

/// log((1 + a)/(1 - a)) / 2
Value* DoubleMath::atanh(Value* x) {
  Value* a = abs(x);
  Value* far = log(div(add(num(1), a), sub(num(1), a)));
  return select(less(a, 0.5), odd(x, kAtanh, kAtanhSingle), copysign(mul(far, 0.5), x));
}

}  // namespace stator::cpu
