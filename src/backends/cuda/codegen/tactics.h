// SPDX-License-Identifier: Apache-2.0
//
// What can run a region on the GPU, by the tactic's name:
//   loop          a generated kernel for the whole region
//   cublaslt N    the N-th algorithm that cuBLASLt proposes (and an epilogue kernel, where it is
//                 none that the library has)
//   cudnn N       the N-th plan that cuDNN proposes
//   tiles N       generated attention in tiles of N queries
//   plain         generated attention, one warp a query
//   call          on the host, by the reference backend
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/compiler.h"
#include "backends/cuda/codegen/loop_kernel.h"

namespace stator::cuda {

/// A region under one tactic: its payload, the kernel to generate, and what it is launched with.
struct PreparedRegion {
  Payload payload;                        // without the function's module
  std::optional<GeneratedKernel> kernel;  // the kernel itself, or the epilogue's
  KernelLaunch launch;
};

/// Best guess first.
std::vector<Tactic> region_tactics(const RegionGraph& graph, const Region& region,
                                   const BuildOptions& options);
/// `name`: of the generated function.
PreparedRegion prepare_region(const RegionGraph& graph, const Region& region,
                              const std::string& tactic, const std::string& name, bool tf32);
/// The bytes of a packed constant.
Result<TensorData> pack_constant(const std::string& recipe, const TensorData& source);

}  // namespace stator::cuda
