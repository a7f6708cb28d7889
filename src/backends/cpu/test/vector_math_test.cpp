// SPDX-License-Identifier: Apache-2.0
//
// Every elementary function as generated, over the whole range of f32, against the C library in
// double precision.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "backends/cpu/codegen/register.h"
#include "engine_fixture.h"

namespace stator::cpu::test {
namespace {

struct Function {
  UnaryOp op;
  std::function<double(double)> exact;
  double relative;  // largest allowed error, in ulps of the result
  double absolute;  // or this much, where a formula cancels
};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return x > 20 ? x : std::log1p(std::exp(x)); }

const std::vector<Function>& functions() {
  static const std::vector<Function> list = {
      {UnaryOp::kExp, [](double x) { return std::exp(x); }, 2, 0},
      {UnaryOp::kExp2, [](double x) { return std::exp2(x); }, 2, 0},
      {UnaryOp::kExpm1, [](double x) { return std::expm1(x); }, 5, 0},
      {UnaryOp::kLog, [](double x) { return std::log(x); }, 3, 0},
      {UnaryOp::kLog2, [](double x) { return std::log2(x); }, 4, 0},
      {UnaryOp::kLog10, [](double x) { return std::log10(x); }, 4, 0},
      {UnaryOp::kLog1p, [](double x) { return std::log1p(x); }, 4, 0},
      {UnaryOp::kSin, [](double x) { return std::sin(x); }, 4, 0},
      {UnaryOp::kCos, [](double x) { return std::cos(x); }, 4, 0},
      {UnaryOp::kTanh, [](double x) { return std::tanh(x); }, 4, 0},
      {UnaryOp::kErf, [](double x) { return std::erf(x); }, 4, 0},
      {UnaryOp::kSigmoid, sigmoid, 4, 1e-37},
      {UnaryOp::kSilu, [](double x) { return x * sigmoid(x); }, 6, 1e-35},
      {UnaryOp::kGelu, [](double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); }, 8, 6e-7},
      {UnaryOp::kSoftplus, softplus, 4, 1e-37},
      {UnaryOp::kLogSigmoid, [](double x) { return -softplus(-x); }, 4, 1e-37},
      {UnaryOp::kMish, [](double x) { return x * std::tanh(softplus(x)); }, 8, 1e-35},
      {UnaryOp::kSqrt, [](double x) { return std::sqrt(x); }, 1, 0},
      {UnaryOp::kRsqrt, [](double x) { return 1 / std::sqrt(x); }, 2, 0},
      {UnaryOp::kReciprocal, [](double x) { return 1 / x; }, 1, 0},
      {UnaryOp::kFloor, [](double x) { return std::floor(x); }, 0, 0},
      {UnaryOp::kRound, [](double x) { return std::nearbyint(x); }, 0, 0},
  };
  return list;
}

/// Every exponent and sign, a prime step through the mantissas, and the special values.
std::vector<float> all_over() {
  std::vector<float> values = {0.0F,
                               -0.0F,
                               std::numeric_limits<float>::infinity(),
                               -std::numeric_limits<float>::infinity(),
                               std::numeric_limits<float>::quiet_NaN(),
                               std::numeric_limits<float>::max()};
  for (uint64_t bits = 1; bits < (uint64_t{1} << 32); bits += 10007) {
    const auto word = static_cast<uint32_t>(bits);
    float x = 0;
    std::memcpy(&x, &word, 4);
    if (std::isfinite(x)) {
      values.push_back(x);
    }
  }
  return values;
}

double ulp(float x) {
  const float magnitude = std::abs(x);
  return std::max<double>(
      std::nextafter(magnitude, std::numeric_limits<float>::infinity()) - magnitude,
      std::numeric_limits<float>::denorm_min());
}

void check(const Function& f, const std::vector<float>& x, const float* y) {
  for (size_t i = 0; i < x.size(); ++i) {
    const double exact = f.exact(x[i]);
    const auto want = static_cast<float>(exact);
    if (std::isnan(want)) {
      ASSERT_TRUE(std::isnan(y[i])) << name_of(f.op) << "(" << x[i] << ") = " << y[i];
    } else if (std::isinf(want) || std::isinf(y[i])) {
      // One of the largest numbers may round either way.
      const bool near = std::abs(exact) > 0.999999 * std::numeric_limits<float>::max() &&
                        std::signbit(y[i]) == std::signbit(want) && std::abs(y[i]) > 3.4e38F;
      ASSERT_TRUE(y[i] == want || near) << name_of(f.op) << "(" << x[i] << ") = " << y[i];
    } else if (std::abs(y[i] - exact) > f.absolute) {
      // Results below the normal range may be flushed or lose bits.
      const bool tiny = std::abs(exact) < 2e-38 && std::abs(y[i] - exact) < 2e-38;
      ASSERT_TRUE(tiny || std::abs(y[i] - exact) <= (f.relative + 0.5) * ulp(want))
          << name_of(f.op) << "(" << x[i] << ") = " << y[i] << ", exactly " << exact << ", "
          << std::abs(y[i] - exact) / ulp(want) << " ulp";
    }
  }
}

TEST(VectorMath, AgreesWithTheCLibrary) {
  const std::vector<float> x = all_over();
  Network network;
  const TensorId input =
      network.add_input("x", {DType::kFloat32, {static_cast<int64_t>(x.size())}});
  for (const Function& f : functions()) {
    network.mark_output(network.add_unary(input, f.op));
  }
  auto engine = engine_of(network, cpu_backend(), false, 0);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  ExecutionContext context(*engine);
  ASSERT_TRUE(context.set_input(0, x.data()).ok());
  ASSERT_TRUE(context.run().ok());
  for (size_t i = 0; i < functions().size(); ++i) {
    check(functions()[i], x, static_cast<const float*>(context.output(static_cast<int>(i)).data));
  }
}

}  // namespace
}  // namespace stator::cpu::test
