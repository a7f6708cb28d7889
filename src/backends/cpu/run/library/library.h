// SPDX-License-Identifier: Apache-2.0
//
// The kernels that the executor brings along, a family a file. They are launched like generated
// ones; since an engine file names them and their sizes, each launch is proved before it is made.
#pragma once

#include "backend/executor.h"
#include "backends/cpu/shared/library_kernel.h"

namespace stator::cpu {

CpuKernel library_entry(const LibraryKernel& kernel);
/// Whether a step has the buffers and as many sizes as its kernel reads. kInvalidFile.
Status check_library_step(const LibraryKernel& kernel, const Plan& plan, const PlanStep& step);
/// Whether the kernel stays inside of the step's buffers and scratch memory at the sizes that it
/// has now, of which every one may be anything. kInvalidFile.
Status check_library_launch(const LibraryKernel& kernel, const BoundStep& step);

// One function of each a family.

CpuKernel scan_entry(const ScanKernel& kernel);
CpuKernel order_entry(const OrderKernel& kernel);
CpuKernel scatter_entry(const ScatterKernel& kernel);

}  // namespace stator::cpu
