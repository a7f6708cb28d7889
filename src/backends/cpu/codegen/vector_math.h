// SPDX-License-Identifier: Apache-2.0
//
// Elementary functions of f32, as IR over scalars or vectors of any width, without calls. Largest
// errors measured over dense ranges by test/vector_math_test.cpp: exp, log 2 ulp; tanh, sigmoid,
// erf 3 ulp; gelu and silu 5e-7 relative to max(|x|, 1). Infinities and NaN as the C library has
// them.
#pragma once

#include <llvm/IR/IRBuilder.h>

#include "stator/layer.h"

namespace stator::cpu {

/// Whether emit_unary knows the function for this element type.
bool has_unary(UnaryOp op, DType dtype);
/// `x`: float, double or a vector of one; integers and bool where has_unary says so.
llvm::Value* emit_unary(llvm::IRBuilder<>& builder, UnaryOp op, DType dtype, llvm::Value* x);

}  // namespace stator::cpu
