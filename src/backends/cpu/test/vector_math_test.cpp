// SPDX-License-Identifier: Apache-2.0
//
// Every elementary function as generated, over the whole range of its type, against the C library
// in long double.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "backends/cpu/codegen/register.h"
#include "engine_fixture.h"

namespace stator::cpu::test {
namespace {

using Exact = long double;

struct Function {
  UnaryOp op;
  std::function<Exact(Exact)> exact;
  // Largest allowed errors beyond rounding, in ulps of the result, of float32 and of float64; or so
  // much, in ulps of 1, where a formula cancels.
  double single, wide;
  double absolute;
};

Exact sigmoid(Exact x) { return 1 / (1 + std::exp(-x)); }
Exact softplus(Exact x) { return x > 20 ? x : std::log1p(std::exp(x)); }
Exact gelu(Exact x) { return x * std::erfc(-x * std::sqrt(0.5L)) / 2; }

const std::vector<Function>& functions() {
  constexpr double kTiny = 1e-28;
  static const std::vector<Function> list = {
      {UnaryOp::kExp, [](Exact x) { return std::exp(x); }, 1, 0.6, 0},
      {UnaryOp::kExp2, [](Exact x) { return std::exp2(x); }, 1, 0.6, 0},
      {UnaryOp::kExpm1, [](Exact x) { return std::expm1(x); }, 5, 1.6, 0},
      {UnaryOp::kLog, [](Exact x) { return std::log(x); }, 1, 0.4, 0},
      {UnaryOp::kLog2, [](Exact x) { return std::log2(x); }, 2, 0.4, 0},
      {UnaryOp::kLog10, [](Exact x) { return std::log10(x); }, 2, 0.4, 0},
      {UnaryOp::kLog1p, [](Exact x) { return std::log1p(x); }, 2, 0.5, 0},
      {UnaryOp::kSin, [](Exact x) { return std::sin(x); }, 1.5, 0.4, 0},
      {UnaryOp::kCos, [](Exact x) { return std::cos(x); }, 1.5, 0.4, 0},
      {UnaryOp::kTan, [](Exact x) { return std::tan(x); }, 0.05, 1.2, 0},
      {UnaryOp::kAsin, [](Exact x) { return std::asin(x); }, 0.05, 0.8, 0},
      {UnaryOp::kAcos, [](Exact x) { return std::acos(x); }, 0.05, 0.8, 0},
      {UnaryOp::kAtan, [](Exact x) { return std::atan(x); }, 0.05, 1.0, 0},
      {UnaryOp::kSinh, [](Exact x) { return std::sinh(x); }, 0.05, 1.2, 0},
      {UnaryOp::kCosh, [](Exact x) { return std::cosh(x); }, 0.05, 1.2, 0},
      {UnaryOp::kTanh, [](Exact x) { return std::tanh(x); }, 2, 1.0, 0},
      {UnaryOp::kAsinh, [](Exact x) { return std::asinh(x); }, 0.05, 0.8, 0},
      {UnaryOp::kAcosh, [](Exact x) { return std::acosh(x); }, 0.05, 1.3, 0},
      {UnaryOp::kAtanh, [](Exact x) { return std::atanh(x); }, 0.05, 1.0, 0},
      {UnaryOp::kErf, [](Exact x) { return std::erf(x); }, 1, 1.2, 0},
      {UnaryOp::kSigmoid, sigmoid, 4, 2, kTiny},
      {UnaryOp::kSilu, [](Exact x) { return x * sigmoid(x); }, 6, 3, kTiny},
      {UnaryOp::kGelu, gelu, 8, 4, 5},
      {UnaryOp::kSoftplus, softplus, 4, 2, kTiny},
      {UnaryOp::kLogSigmoid, [](Exact x) { return -softplus(-x); }, 4, 2, kTiny},
      {UnaryOp::kMish, [](Exact x) { return x * std::tanh(softplus(x)); }, 8, 4, kTiny},
      {UnaryOp::kSqrt, [](Exact x) { return std::sqrt(x); }, 0, 0, 0},
      {UnaryOp::kRsqrt, [](Exact x) { return 1 / std::sqrt(x); }, 1.5, 1.5, 0},
      {UnaryOp::kReciprocal, [](Exact x) { return 1 / x; }, 0, 0, 0},
      {UnaryOp::kFloor, [](Exact x) { return std::floor(x); }, 0, 0, 0},
      {UnaryOp::kRound, [](Exact x) { return std::nearbyint(x); }, 0, 0, 0},
  };
  return list;
}

template <typename T>
std::vector<T> special_values() {
  using Limits = std::numeric_limits<T>;
  return {T(0.0),
          T(-0.0),
          Limits::infinity(),
          -Limits::infinity(),
          Limits::quiet_NaN(),
          Limits::max(),
          Limits::min(),
          Limits::denorm_min(),
          T(1),
          T(-1),
          T(0.5),
          T(2)};
}

/// Every exponent and sign with steps through the mantissas, denser where functions bend, the
/// multiples of pi/2 from both sides, and the special values.
template <typename T>
std::vector<T> all_over() {
  std::vector<T> values = special_values<T>();
  using Word = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  constexpr int kCount = 200000;
  for (int i = 0; i < kCount; ++i) {
    const Word word = static_cast<Word>(i) * (std::numeric_limits<Word>::max() / kCount) +
                      static_cast<Word>(i) * static_cast<Word>(7919);
    T x = 0;
    std::memcpy(&x, &word, sizeof(T));
    if (std::isfinite(x)) {
      values.push_back(x);
    }
  }
  for (int i = 0; i < kCount; ++i) {
    const double part = std::fmod(i * 0.61803398874989485, 1.0);
    values.push_back(static_cast<T>((part - 0.5) * (i % 3 == 0 ? 3 : i % 3 == 1 ? 20 : 200)));
  }
  for (int k = 1; k < 20000; ++k) {
    const auto x = static_cast<T>(k * 1.57079632679489661923L);
    values.push_back(x);
    values.push_back(std::nextafter(x, T(0)));
  }
  return values;
}

template <typename T>
Exact ulp(T x) {
  const T magnitude = std::abs(x);
  return std::max<Exact>(
      Exact(std::nextafter(magnitude, std::numeric_limits<T>::infinity())) - magnitude,
      std::numeric_limits<T>::denorm_min());
}

/// `got` is the exact value but for `relative` ulps and its rounding.
template <typename T>
testing::AssertionResult is_near(T got, Exact exact, double relative, double absolute) {
  const auto want = static_cast<T>(exact);
  const auto wrong = [&] {
    return testing::AssertionFailure()
           << got << ", exactly " << exact << ", "
           << static_cast<double>(std::abs(got - exact) / ulp(want)) << " ulp";
  };
  if (std::isnan(want) || std::isnan(got)) {
    return std::isnan(want) == std::isnan(got) ? testing::AssertionSuccess() : wrong();
  }
  if (std::isinf(want) || std::isinf(got)) {
    // One of the largest numbers may round either way.
    const bool near = std::abs(exact) > 0.999999L * std::numeric_limits<T>::max() &&
                      std::signbit(got) == std::signbit(want) &&
                      std::abs(got) > T(0.99) * std::numeric_limits<T>::max();
    return got == want || (near && relative > 0) ? testing::AssertionSuccess() : wrong();
  }
  if (want == 0 && got == 0) {
    return std::signbit(want) == std::signbit(got) || absolute > 0 ? testing::AssertionSuccess()
                                                                   : wrong();
  }
  const Exact error = std::abs(got - exact);
  // Results below the normal range may be flushed or lose bits.
  constexpr Exact kLeast = 2 * std::numeric_limits<T>::min();
  const bool tiny = relative > 0 && std::abs(exact) < kLeast && error < kLeast;
  return tiny || error <= absolute * std::numeric_limits<T>::epsilon() ||
                 error <= (relative + 0.5) * ulp(want)
             ? testing::AssertionSuccess()
             : wrong();
}

template <typename T>
constexpr DType kType = sizeof(T) == 4 ? DType::kFloat32 : DType::kFloat64;

template <typename T>
void check_functions() {
  const std::vector<T> x = all_over<T>();
  Network network;
  const TensorId input = network.add_input("x", {kType<T>, {static_cast<int64_t>(x.size())}});
  for (const Function& f : functions()) {
    network.mark_output(network.add_unary(input, f.op));
  }
  auto engine = engine_of(network, cpu_backend(), false, 0);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  ExecutionContext context(*engine);
  ASSERT_TRUE(context.set_input(0, x.data()).ok());
  ASSERT_TRUE(context.run().ok());
  for (size_t k = 0; k < functions().size(); ++k) {
    const Function& f = functions()[k];
    const auto* y = static_cast<const T*>(context.output(static_cast<int>(k)).data);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_TRUE(is_near(y[i], f.exact(x[i]), sizeof(T) == 4 ? f.single : f.wide, f.absolute))
          << name_of(f.op) << "(" << x[i] << ")";
    }
  }
}

TEST(VectorMath, Float32AgreesWithTheCLibrary) { check_functions<float>(); }
TEST(VectorMath, Float64AgreesWithTheCLibrary) { check_functions<double>(); }

template <typename T>
T remainder_of(T a, T b) {
  const T rest = std::fmod(a, b);
  return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
}

/// PyTorch's rule.
template <typename T>
T floor_quotient(T a, T b) {
  if (b == 0) return a / b;
  const T rest = std::fmod(a, b);
  T quotient = (a - rest) / b;
  if (rest != 0 && (b < 0) != (rest < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(T(0), a / b);
  const T floored = std::floor(quotient);
  return quotient - floored > T(0.5) ? floored + 1 : floored;
}

template <typename T>
struct Operation {
  ElementwiseOp op;
  std::function<Exact(T, T)> exact;
  double relative;
};

template <typename T>
const std::vector<Operation<T>>& operations() {
  static const std::vector<Operation<T>> list = {
      {ElementwiseOp::kFmod, [](T a, T b) { return std::fmod(a, b); }, 0},
      {ElementwiseOp::kMod, [](T a, T b) { return remainder_of(a, b); }, 0},
      {ElementwiseOp::kFloorDiv, [](T a, T b) { return floor_quotient(a, b); }, 0},
      {ElementwiseOp::kTruncDiv, [](T a, T b) { return std::trunc(a / b); }, 0},
      {ElementwiseOp::kAtan2, [](T a, T b) { return std::atan2(Exact(a), Exact(b)); }, 1.2},
      {ElementwiseOp::kPow, [](T a, T b) { return std::pow(Exact(a), Exact(b)); }, 0.5},
  };
  return list;
}

/// Pairs of all kinds of numbers, of numbers of one size, of multiples and their neighbours, and of
/// bases near 1 with large exponents.
template <typename T>
void add_pairs(std::vector<T>& a, std::vector<T>& b) {
  const std::vector<T> some = all_over<T>(), special = special_values<T>();
  const auto pair = [&](T x, T y) {
    a.push_back(x);
    b.push_back(y);
  };
  for (const T x : special) {
    for (const T y : special) pair(x, y);
  }
  for (size_t i = 0; i < 100000; ++i) {
    pair(some[i * 7919 % some.size()], some[i * 104729 % some.size()]);
    const T divisor = some[(i * 31) % some.size()];
    pair(divisor * static_cast<T>(std::ldexp(1.0 + 1e-4 * static_cast<double>(i), int(i % 40) - 8)),
         divisor);
    const auto small = static_cast<T>(std::fmod(static_cast<double>(i) * 0.618, 8.0) - 4);
    const T multiple = small * static_cast<T>(i % 5000);
    pair(multiple, small);
    pair(std::nextafter(multiple, T(i % 2 == 0 ? 1e30 : -1e30)), small);
    pair(static_cast<T>(1 +
                        std::ldexp(std::fmod(static_cast<double>(i) * 0.7, 2.0) - 1, -int(i % 45))),
         static_cast<T>(std::ldexp(static_cast<double>(i) / 1e5, int(i % 50))));
  }
}

template <typename T>
void check_operations() {
  std::vector<T> a, b;
  add_pairs(a, b);
  Network network;
  const TensorType type{kType<T>, {static_cast<int64_t>(a.size())}};
  const TensorId left = network.add_input("a", type), right = network.add_input("b", type);
  for (const Operation<T>& operation : operations<T>()) {
    network.mark_output(network.add_elementwise(left, right, operation.op));
  }
  auto engine = engine_of(network, cpu_backend(), false, 0);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  ExecutionContext context(*engine);
  ASSERT_TRUE(context.set_input(0, a.data()).ok());
  ASSERT_TRUE(context.set_input(1, b.data()).ok());
  ASSERT_TRUE(context.run().ok());
  for (size_t k = 0; k < operations<T>().size(); ++k) {
    const Operation<T>& o = operations<T>()[k];
    const auto* y = static_cast<const T*>(context.output(static_cast<int>(k)).data);
    for (size_t i = 0; i < a.size(); ++i) {
      ASSERT_TRUE(is_near(y[i], o.exact(a[i], b[i]), o.relative, 0))
          << name_of(o.op) << "(" << a[i] << ", " << b[i] << ")";
    }
  }
}

TEST(VectorMath, OperationsOfFloat32AgreeWithTheCLibrary) { check_operations<float>(); }
TEST(VectorMath, OperationsOfFloat64AgreeWithTheCLibrary) { check_operations<double>(); }

}  // namespace
}  // namespace stator::cpu::test
