// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "backends/reference/run/kernels.h"
#include "base/check.h"

namespace stator::reference {
namespace {

double real_result(ElementwiseOp op, double a, double b) {
  switch (op) {
    case ElementwiseOp::kAdd:
      return a + b;
    case ElementwiseOp::kSub:
      return a - b;
    case ElementwiseOp::kMul:
      return a * b;
    case ElementwiseOp::kDiv:
      return a / b;
    case ElementwiseOp::kFloorDiv: {
      // PyTorch's rule: exact quotients stay, signs of zero follow a / b.
      if (b == 0) {
        return a / b;
      }
      const double rest = std::fmod(a, b);
      double quotient = (a - rest) / b;
      if (rest != 0 && (b < 0) != (rest < 0)) {
        quotient -= 1;
      }
      if (quotient == 0) {
        return std::copysign(0.0, a / b);
      }
      const double floored = std::floor(quotient);
      return quotient - floored > 0.5 ? floored + 1 : floored;
    }
    case ElementwiseOp::kTruncDiv:
      return std::trunc(a / b);
    case ElementwiseOp::kMod: {
      const double rest = std::fmod(a, b);
      return rest != 0 && (b < 0) != (rest < 0) ? rest + b : rest;
    }
    case ElementwiseOp::kFmod:
      return std::fmod(a, b);
    case ElementwiseOp::kPow:
      return std::pow(a, b);
    case ElementwiseOp::kMin:
      return std::isnan(a) || std::isnan(b) ? NAN : std::fmin(a, b);
    case ElementwiseOp::kMax:
      return std::isnan(a) || std::isnan(b) ? NAN : std::fmax(a, b);
    case ElementwiseOp::kAtan2:
      return std::atan2(a, b);
    default:
      STATOR_CHECK(false, std::string(name_of(op)) + " has no floating-point form");
  }
}

int64_t floor_quotient(int64_t a, int64_t b) {
  const int64_t q = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? q - 1 : q;
}

int64_t integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    return base == 1 ? 1 : base == -1 ? (exponent % 2 == 0 ? 1 : -1) : 0;
  }
  uint64_t result = 1;
  auto factor = static_cast<uint64_t>(base);
  for (; exponent > 0; exponent >>= 1) {
    result *= (exponent & 1) != 0 ? factor : 1;
    factor *= factor;
  }
  return static_cast<int64_t>(result);
}

/// Wraps around as two's complement does. Division by zero gives 0: PyTorch raises, and what it
/// would raise never reaches an engine's result unnoticed, because the fault is raised too.
int64_t integer_result(ElementwiseOp op, int64_t a, int64_t b) {
  const auto ua = static_cast<uint64_t>(a);
  const auto ub = static_cast<uint64_t>(b);
  const bool divides = op == ElementwiseOp::kDiv || op == ElementwiseOp::kFloorDiv ||
                       op == ElementwiseOp::kTruncDiv || op == ElementwiseOp::kMod ||
                       op == ElementwiseOp::kFmod;
  if (divides && b == 0) {
    throw Fault{kDivisionSite, 0, 0};
  }
  if (divides && b == -1) {
    const bool rest = op == ElementwiseOp::kMod || op == ElementwiseOp::kFmod;
    return rest ? 0 : static_cast<int64_t>(0 - ua);
  }
  switch (op) {
    case ElementwiseOp::kAdd:
      return static_cast<int64_t>(ua + ub);
    case ElementwiseOp::kSub:
      return static_cast<int64_t>(ua - ub);
    case ElementwiseOp::kMul:
      return static_cast<int64_t>(ua * ub);
    case ElementwiseOp::kFloorDiv:
      return floor_quotient(a, b);
    case ElementwiseOp::kDiv:
    case ElementwiseOp::kTruncDiv:
      return a / b;
    case ElementwiseOp::kMod:
      return a - floor_quotient(a, b) * b;
    case ElementwiseOp::kFmod:
      return a % b;
    case ElementwiseOp::kPow:
      return integer_power(a, b);
    case ElementwiseOp::kMin:
      return std::min(a, b);
    case ElementwiseOp::kMax:
      return std::max(a, b);
    case ElementwiseOp::kAnd:
      return a & b;
    case ElementwiseOp::kOr:
      return a | b;
    case ElementwiseOp::kXor:
      return a ^ b;
    case ElementwiseOp::kShiftLeft:
      return b < 0 || b > 63 ? 0 : static_cast<int64_t>(ua << b);
    case ElementwiseOp::kShiftRight:
      return a >> (b < 0 || b > 63 ? 63 : b);
    default:
      STATOR_CHECK(false, std::string(name_of(op)) + " has no integer form");
  }
}

template <typename T>
bool comparison(ElementwiseOp op, T a, T b) {
  switch (op) {
    case ElementwiseOp::kEqual:
      return a == b;
    case ElementwiseOp::kNotEqual:
      return a != b;
    case ElementwiseOp::kLess:
      return a < b;
    case ElementwiseOp::kLessEqual:
      return a <= b;
    case ElementwiseOp::kGreater:
      return a > b;
    default:
      return a >= b;
  }
}

bool is_comparison(ElementwiseOp op) {
  return op >= ElementwiseOp::kEqual && op <= ElementwiseOp::kGreaterEqual;
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return x > 20 ? x : std::log1p(std::exp(x)); }

double real_unary(UnaryOp op, double x) {
  switch (op) {
    case UnaryOp::kNeg:
      return -x;
    case UnaryOp::kAbs:
      return std::fabs(x);
    case UnaryOp::kSign:
      return x > 0 ? 1 : x < 0 ? -1 : 0;  // 0 of NaN, as in PyTorch
    case UnaryOp::kExp:
      return std::exp(x);
    case UnaryOp::kExp2:
      return std::exp2(x);
    case UnaryOp::kExpm1:
      return std::expm1(x);
    case UnaryOp::kLog:
      return std::log(x);
    case UnaryOp::kLog2:
      return std::log2(x);
    case UnaryOp::kLog10:
      return std::log10(x);
    case UnaryOp::kLog1p:
      return std::log1p(x);
    case UnaryOp::kSqrt:
      return std::sqrt(x);
    case UnaryOp::kRsqrt:
      return 1 / std::sqrt(x);
    case UnaryOp::kReciprocal:
      return 1 / x;
    case UnaryOp::kSin:
      return std::sin(x);
    case UnaryOp::kCos:
      return std::cos(x);
    case UnaryOp::kTan:
      return std::tan(x);
    case UnaryOp::kAsin:
      return std::asin(x);
    case UnaryOp::kAcos:
      return std::acos(x);
    case UnaryOp::kAtan:
      return std::atan(x);
    case UnaryOp::kSinh:
      return std::sinh(x);
    case UnaryOp::kCosh:
      return std::cosh(x);
    case UnaryOp::kTanh:
      return std::tanh(x);
    case UnaryOp::kAsinh:
      return std::asinh(x);
    case UnaryOp::kAcosh:
      return std::acosh(x);
    case UnaryOp::kAtanh:
      return std::atanh(x);
    case UnaryOp::kErf:
      return std::erf(x);
    case UnaryOp::kFloor:
      return std::floor(x);
    case UnaryOp::kCeil:
      return std::ceil(x);
    case UnaryOp::kRound:
      return std::nearbyint(x);
    case UnaryOp::kTrunc:
      return std::trunc(x);
    case UnaryOp::kNot:
      return x == 0 ? 1 : 0;
    case UnaryOp::kRelu:
      return std::isnan(x) ? x : x > 0 ? x : 0;
    case UnaryOp::kSigmoid:
      return sigmoid(x);
    case UnaryOp::kGelu:
      return 0.5 * x * (1 + std::erf(x * 0.70710678118654752440));
    case UnaryOp::kGeluTanh:
      return 0.5 * x * (1 + std::tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case UnaryOp::kSilu:
      return x * sigmoid(x);
    case UnaryOp::kMish:
      return x * std::tanh(softplus(x));
    case UnaryOp::kSoftplus:
      return softplus(x);
    case UnaryOp::kHardSigmoid:
      return std::isnan(x) ? x : std::min(std::max(x + 3, 0.0), 6.0) / 6;
    case UnaryOp::kHardSwish:
      return std::isnan(x) ? x : x * std::min(std::max(x + 3, 0.0), 6.0) / 6;
    case UnaryOp::kLogSigmoid:
      return std::min(x, 0.0) - std::log1p(std::exp(-std::fabs(x)));
    case UnaryOp::kIsNan:
      return std::isnan(x) ? 1 : 0;
    case UnaryOp::kIsInf:
      return std::isinf(x) ? 1 : 0;
    case UnaryOp::kSignBit:
      return std::signbit(x) ? 1 : 0;
  }
  return 0;
}

int64_t integer_unary(UnaryOp op, DType dtype, int64_t x) {
  switch (op) {
    case UnaryOp::kNeg:
      return static_cast<int64_t>(0 - static_cast<uint64_t>(x));
    case UnaryOp::kAbs:
      return x < 0 ? static_cast<int64_t>(0 - static_cast<uint64_t>(x)) : x;
    case UnaryOp::kSign:
      return x > 0 ? 1 : x < 0 ? -1 : 0;
    case UnaryOp::kNot:
      return dtype == DType::kBool ? (x == 0 ? 1 : 0) : ~x;
    case UnaryOp::kRelu:
      return x > 0 ? x : 0;
    case UnaryOp::kFloor:
    case UnaryOp::kCeil:
    case UnaryOp::kRound:
    case UnaryOp::kTrunc:
      return x;
    case UnaryOp::kIsNan:
    case UnaryOp::kIsInf:
      return 0;
    case UnaryOp::kSignBit:
      return x < 0 ? 1 : 0;
    default:
      STATOR_CHECK(false, std::string(name_of(op)) + " has no integer form");
  }
}

}  // namespace

void run(const Elementwise& layer, const Tensors& in, Tensors& out) {
  const Tensor &a = in[0], &b = in[1];
  Tensor& y = out[0];
  int64_t i = 0;
  for_each_index(y.shape, [&](const std::vector<int64_t>& index) {
    const int64_t at_a = broadcast_offset(index, a);
    const int64_t at_b = broadcast_offset(index, b);
    if (is_comparison(layer.op)) {
      y.put_integer(i, a.is_real() ? comparison(layer.op, a.real(at_a), b.real(at_b))
                                   : comparison(layer.op, a.integer(at_a), b.integer(at_b)));
    } else if (a.is_real()) {
      y.put_real(i, real_result(layer.op, a.real(at_a), b.real(at_b)));
    } else {
      y.put_integer(i, integer_result(layer.op, a.integer(at_a), b.integer(at_b)));
    }
    ++i;
  });
}

void run(const Unary& layer, const Tensors& in, Tensors& out) {
  const int64_t count = in[0].count();
  for (int64_t i = 0; i < count; ++i) {
    if (in[0].is_real()) {
      out[0].put_real(i, real_unary(layer.op, in[0].real(i)));
    } else {
      out[0].put_integer(i, integer_unary(layer.op, in[0].dtype, in[0].integer(i)));
    }
  }
}

void run(const Cast&, const Tensors& in, Tensors& out) {
  const int64_t count = in[0].count();
  for (int64_t i = 0; i < count; ++i) {
    if (in[0].is_real()) {
      out[0].put_real(i, in[0].real(i));
    } else {
      out[0].put_integer(i, in[0].integer(i));
    }
  }
}

void run(const Select&, const Tensors& in, Tensors& out) {
  int64_t i = 0;
  for_each_index(out[0].shape, [&](const std::vector<int64_t>& index) {
    const Tensor& chosen = in[0].integer(broadcast_offset(index, in[0])) != 0 ? in[1] : in[2];
    out[0].copy(i++, chosen, broadcast_offset(index, chosen));
  });
}

void run(const Fill& layer, const Tensors&, Tensors& out) {
  const int64_t count = out[0].count();
  for (int64_t i = 0; i < count; ++i) {
    if (layer.value.is_integer) {
      out[0].put_integer(i, layer.value.integer);
    } else {
      out[0].put_real(i, layer.value.real);
    }
  }
}

void run(const Iota& layer, const Tensors&, Tensors& out) {
  for (int64_t i = 0; i < layer.length.constant(); ++i) {
    out[0].put_integer(i, layer.start.constant() + layer.step.constant() * i);
  }
}

void run(const SizeValue& layer, const Tensors&, Tensors& out) {
  out[0].put_integer(0, layer.value.constant());
}

}  // namespace stator::reference
