// SPDX-License-Identifier: Apache-2.0
//
// Elementary functions of float32 and float64, as IR over scalars or vectors of any width, without
// calls. Infinities, NaN and signs of zero as the C library has them. Largest errors, rounding
// included, that test/vector_math_test.cpp looks for, in ulp (PyTorch's, by SLEEF, are 1.0):
// float32: exp, exp2 1.3, expm1 4.4, log 0.9, log2 1.7, log10 2.0, log1p, sin, cos 1.5, tanh 1.4,
// erf 1.0, sigmoid 3.1 above -20; by float64 (double_math.h) 0.51: tan, the inverse trigonometric
// and the other hyperbolic functions, atan2, pow. float64: exp, exp2 1.0, expm1 2.0, log, log2,
// log10, log1p, sin, cos, pow 0.8, tan 1.6, asin, acos, asinh 1.2, atan, tanh, atanh 1.4, sinh,
// cosh, erf, acosh, atan2 1.7.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include "stator/layer.h"

namespace stator::cpu {

/// Whether emit_unary knows the function for this element type.
bool has_unary(UnaryOp op, DType dtype);
/// `x`: float, double or a vector of one; integers and bool where has_unary says so.
llvm::Value* emit_unary(llvm::IRBuilder<>& builder, UnaryOp op, DType dtype, llvm::Value* x);
// Of float, double or vectors of one:
/// x to the power of y, as C's pow; of float32 rounded from 1e-9.
llvm::Value* emit_power(llvm::IRBuilder<>& builder, llvm::Value* x, llvm::Value* y);
llvm::Value* emit_atan2(llvm::IRBuilder<>& builder, llvm::Value* y, llvm::Value* x);
/// Exact remainders: with the sign of x, and with that of y, as torch.remainder.
llvm::Value* emit_fmod(llvm::IRBuilder<>& builder, llvm::Value* x, llvm::Value* y);
llvm::Value* emit_remainder(llvm::IRBuilder<>& builder, llvm::Value* x, llvm::Value* y);
/// As torch.floor_divide.
llvm::Value* emit_floor_division(llvm::IRBuilder<>& builder, llvm::Value* x, llvm::Value* y);

// Of integers or vectors of them:
/// Towards zero; divisors are neither 0 nor -1.
llvm::Value* emit_quotient(llvm::IRBuilder<>& builder, llvm::Value* x, llvm::Value* y,
                           bool is_unsigned);
/// Wraps around; negative exponents give 0 but for 1 and -1.
llvm::Value* emit_integer_power(llvm::IRBuilder<>& builder, llvm::Value* x, llvm::Value* y,
                                bool is_unsigned);

}  // namespace stator::cpu
