// SPDX-License-Identifier: Apache-2.0
//
// What can run a region on the GPU, by the tactic's name:
//   loop          a generated kernel for the whole region
//   whole         the same for a scan, an order, a scatter
//   cublaslt N    the N-th algorithm that cuBLASLt proposes (and an epilogue kernel, where it is
//                 none that the library has)
//   cusparselt N  weights that are 2:4 along k, by the N-th of cuSPARSELt's kernels (0: its choice)
//   wgmma G C S   a generated product or convolution in tiles of G x 64 rows and C columns, for
//                 each of which S blocks share the depth; " i8" or " u8" behind it: of bytes
//   cudnn N       the N-th plan that cuDNN proposes
//   depthwise V   a generated depthwise convolution, V channels a thread
//   tiles N       generated attention in tiles of N queries
//   wgmma G N     the same with warpgroup instructions: G x 64 queries, N keys a step
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

/// What the choice of tactics depends on.
struct Target {
  int capability = 80;  // of the architecture: 80 for sm_80
  int optimization_level = 3;
  bool tf32 = true;
  int tiling_level = 0;  // as in BuildOptions
  int64_t tiling_l2_limit = -1;
};

/// Best guess first.
std::vector<Tactic> region_tactics(const RegionGraph& graph, const Region& region,
                                   const Target& target);
/// `name`: of the generated function.
PreparedRegion prepare_region(const RegionGraph& graph, const Region& region,
                              const std::string& tactic, const std::string& name, bool tf32);
/// The bytes of a packed constant.
Result<TensorData> pack_constant(const std::string& recipe, const TensorData& source);

}  // namespace stator::cuda
