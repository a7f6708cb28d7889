// SPDX-License-Identifier: Apache-2.0
//
// Elementary functions of f32, as IR over scalars or vectors of any width, without calls.
// Infinities and NaN as the C library has them. Largest errors by emulation of the formulas: exp
// 1.3 ulp, sigmoid 3.1 ulp above -20, expm1 4.4 ulp, sin and cos 3.6 ulp.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include "stator/layer.h"

namespace stator::cpu {

/// Whether emit_unary knows the function for this element type.
bool has_unary(UnaryOp op, DType dtype);
/// `x`: float, double or a vector of one; integers and bool where has_unary says so.
llvm::Value* emit_unary(llvm::IRBuilder<>& builder, UnaryOp op, DType dtype, llvm::Value* x);
/// x to the power of y, of float or vectors of it; as C's pow, rounded from 1e-11.
llvm::Value* emit_power(llvm::IRBuilder<>& builder, llvm::Value* x, llvm::Value* y);

}  // namespace stator::cpu
