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
/// b0 …, every size as z0 …, and the fault word. `maps`: tensor maps before the buffers;
/// a kernel with such calls begin_kernel() itself. `cluster`: blocks that share memory.
std::string kernel_head(const LoopRequest& request, const KernelScope& scope,
                        const std::string& bounds, int maps = 0, int cluster = 1);

}  // namespace stator::cuda
