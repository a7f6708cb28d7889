// SPDX-License-Identifier: Apache-2.0
//
// The table of functions that sizes are computed with, and their values. Doubles travel as their
// bits in an int64, so that one table of slots holds both.
#include <bit>
#include <cmath>
#include <string_view>

#include "symbolic/polynomial.h"

namespace stator {
namespace {

constexpr SizeFunctionInfo kFunctions[] = {
    {"ToFloat", "if"},
    {"IntTrueDiv", "iif"},
    {"FloatAdd", "fff"},
    {"FloatMul", "fff"},
    {"FloatTrueDiv", "fff"},
    {"FloatPow", "fff"},
    {"FloatMin", "fff"},
    {"FloatMax", "fff"},
    {"RoundDecimal", "fif"},
    {"TruncToFloat", "ff"},
    {"sqrt", "ff"},
    {"exp", "ff"},
    {"log", "ff"},
    {"log2", "ff"},
    {"sin", "ff"},
    {"cos", "ff"},
    {"tan", "ff"},
    {"sinh", "ff"},
    {"cosh", "ff"},
    {"tanh", "ff"},
    {"asin", "ff"},
    {"acos", "ff"},
    {"atan", "ff"},
    {"asinh", "ff"},
    {"TruncToInt", "fi"},
    {"FloorToInt", "fi"},
    {"CeilToInt", "fi"},
    {"RoundToInt", "fi"},
    {"PowByNatural", "iii"},
    {"BitAnd", "iii"},
    {"BitOr", "iii"},
    {"BitXor", "iii"},
    {"Equal", "iic"},
    {"Less", "iic"},
    {"FloatEqual", "ffc"},
    {"FloatLess", "ffc"},
    {"FloatLessEqual", "ffc"},
};
static_assert(std::size(kFunctions) == kSizeFunctionCount);

std::optional<int64_t> power(int64_t base, int64_t exponent) {
  if (exponent < 0) {
    return std::nullopt;
  }
  int64_t result = 1;
  for (int64_t square = base;;) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, square, &result)) {
      return std::nullopt;
    }
    exponent >>= 1;
    if (exponent == 0) {
      return result;
    }
    if (__builtin_mul_overflow(square, square, &square)) {
      return std::nullopt;
    }
  }
}

/// An integer from a whole double, if it fits.
std::optional<int64_t> whole(double value) {
  constexpr double kLimit = 9223372036854775808.0;  // 2^63
  if (!(value >= -kLimit && value < kLimit)) {
    return std::nullopt;
  }
  return static_cast<int64_t>(value);
}

double round_decimal(double value, int64_t digits) {
  if (!std::isfinite(value) || digits > 300) {
    return value;
  }
  // Python rounds the decimal expansion correctly; so does printing with that many digits.
  if (digits >= 0) {
    char text[700];
    std::snprintf(text, sizeof(text), "%.*f", static_cast<int>(digits), value);
    return std::strtod(text, nullptr);
  }
  const double scale = std::pow(10.0, static_cast<double>(std::min<int64_t>(-digits, 308)));
  return std::nearbyint(value / scale) * scale;
}

/// Unary functions of doubles; NaN for others.
double unary(SizeFunction function, double x) {
  switch (function) {
    case SizeFunction::kTruncToFloat:
      return std::trunc(x);
    case SizeFunction::kSqrt:
      return std::sqrt(x);
    case SizeFunction::kExp:
      return std::exp(x);
    case SizeFunction::kLog:
      return std::log(x);
    case SizeFunction::kLog2:
      return std::log2(x);
    case SizeFunction::kSin:
      return std::sin(x);
    case SizeFunction::kCos:
      return std::cos(x);
    case SizeFunction::kTan:
      return std::tan(x);
    case SizeFunction::kSinh:
      return std::sinh(x);
    case SizeFunction::kCosh:
      return std::cosh(x);
    case SizeFunction::kTanh:
      return std::tanh(x);
    case SizeFunction::kAsin:
      return std::asin(x);
    case SizeFunction::kAcos:
      return std::acos(x);
    case SizeFunction::kAtan:
      return std::atan(x);
    case SizeFunction::kAsinh:
      return std::asinh(x);
    default:
      return std::nan("");
  }
}

}  // namespace

const SizeFunctionInfo& size_function(SizeFunction function) {
  return kFunctions[static_cast<size_t>(function)];
}

std::optional<int64_t> apply(SizeFunction function, int64_t a, int64_t b) {
  const auto x = std::bit_cast<double>(a);
  const auto y = std::bit_cast<double>(b);
  const auto bits = [](double value) { return std::bit_cast<int64_t>(value); };
  switch (function) {
    case SizeFunction::kToFloat:
      return bits(static_cast<double>(a));
    case SizeFunction::kIntTrueDiv:
      if (b == 0) return std::nullopt;
      return bits(static_cast<double>(a) / static_cast<double>(b));
    case SizeFunction::kFloatAdd:
      return bits(x + y);
    case SizeFunction::kFloatMul:
      return bits(x * y);
    case SizeFunction::kFloatTrueDiv:
      if (y == 0) return std::nullopt;
      return bits(x / y);
    case SizeFunction::kFloatPow:
      return bits(std::pow(x, y));
    case SizeFunction::kFloatMin:
      return bits(y < x ? y : x);
    case SizeFunction::kFloatMax:
      return bits(y > x ? y : x);
    case SizeFunction::kRoundDecimal:
      return bits(round_decimal(x, b));
    case SizeFunction::kTruncToInt:
      return whole(std::trunc(x));
    case SizeFunction::kFloorToInt:
      return whole(std::floor(x));
    case SizeFunction::kCeilToInt:
      return whole(std::ceil(x));
    case SizeFunction::kRoundToInt:
      return whole(std::nearbyint(x));
    case SizeFunction::kPowByNatural:
      return power(a, b);
    case SizeFunction::kBitAnd:
      return a & b;
    case SizeFunction::kBitOr:
      return a | b;
    case SizeFunction::kBitXor:
      return a ^ b;
    case SizeFunction::kEqual:
      return a == b ? 1 : 0;
    case SizeFunction::kLess:
      return a < b ? 1 : 0;
    case SizeFunction::kFloatEqual:
      return x == y ? 1 : 0;
    case SizeFunction::kFloatLess:
      return x < y ? 1 : 0;
    case SizeFunction::kFloatLessEqual:
      return x <= y ? 1 : 0;
    default:
      return bits(unary(function, x));
  }
}

}  // namespace stator
