// SPDX-License-Identifier: Apache-2.0
//
// Kernels for loop programs. A task is a block of rows (points of the outer dims but the last), or,
// where there are few rows, a block of the last outer dim. Without reductions the last outer dim is
// vectorized. With reductions either the last reduction dim is (its loads are contiguous: softmax,
// normalizations), or the last outer dim is (means over space, channels last). A chain of
// reductions makes several passes over a row; inner values are computed again in each.
#pragma once

#include "backend/compiler.h"
#include "backends/cpu/codegen/gemm_host.h"

namespace stator::cpu {

/// Why the program cannot be generated, or yes.
Support loop_supports(const LoopProgram& program);
KernelLaunch loop_launch(const LoopProgram& program);
/// `dtypes`: element types of the region's buffers. `args`: address of the KernelArgs.
void emit_loop(KernelHost& host, const LoopProgram& program, const std::vector<DType>& dtypes,
               llvm::Value* args);

}  // namespace stator::cpu
