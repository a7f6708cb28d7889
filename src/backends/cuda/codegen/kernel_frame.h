// SPDX-License-Identifier: Apache-2.0
//
// What every kernel generated from a LoopProgram has in common: its scope and its first lines.
#pragma once

#include "backends/cuda/codegen/loop_kernel.h"
#include "backends/cuda/codegen/op_printer.h"

namespace stator::cuda {

/// The scope of a request's ops: sizes are z0 …, indices fit `index_type`.
KernelScope make_scope(const LoopRequest& request);
/// The arguments' struct, the function's head with `bounds` for __launch_bounds__, every buffer as
/// b0 …, every size as z0 …, the fault record and the step. `maps`: tensor maps before the buffers;
/// a kernel with such calls begin_kernel() itself. `cluster`: blocks that share memory.
std::string kernel_head(const LoopRequest& request, const KernelScope& scope,
                        const std::string& bounds, int maps = 0, int cluster = 1);
/// A kernel whose source is complete, with what its launch needs.
GeneratedKernel finish_kernel(const LoopRequest& request, std::string source, int threads,
                              int64_t shared_bytes, const Expr& grid);
GeneratedKernel finish_kernel(const std::string& function, size_t buffers, size_t sizes,
                              std::string source, int threads, int64_t shared_bytes,
                              const Expr& grid);

}  // namespace stator::cuda
