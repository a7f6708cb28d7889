// SPDX-License-Identifier: Apache-2.0
//
// The build half of a backend. The builder asks it for candidates for a region, has the chosen ones
// compiled, and packs constants as they say.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/executor.h"
#include "backend/traits.h"
#include "base/support.h"
#include "plan/plan.h"
#include "region/region.h"

namespace stator {

/// One way to run a region. `name` is canonical, says everything the backend needs to make it
/// again, and is what the timing cache remembers: "gemm m14 n32 kb256 mb112".
struct Tactic {
  std::string name;
};

/// A constant input that the kernel wants in another form. The builder makes it once for each
/// weight and recipe.
struct PackedInput {
  int32_t input = -1;  // buffer number in the region
  std::string recipe;  // backend's text; pack() does it
  int64_t size_bytes = 0;
};

/// What a tactic needs to run.
struct KernelLaunch {
  Expr task_count = 1;      // over the region's symbols
  Expr scratch_bytes = 0;   // for each thread
  std::vector<Expr> sizes;  // args->sizes in order
  std::vector<PackedInput> packed;
};

struct KernelRequest {
  const RegionGraph* graph = nullptr;
  const Region* region = nullptr;
  Tactic tactic;
  std::string symbol;  // unique entry name wanted
  std::string name;    // what tools may show for it: letters, digits and underscores; the same for
                       // all candidates of a region
};

/// Code for a set of kernels, in the order of the requests.
struct CompiledCode {
  CodeVariant variant;
  std::vector<PlanKernel> kernels;
};

struct BuildOptions {
  int optimization_level = 3;  // 0: first guess; 5: everything
  bool hardware_compatible = false;
  int threads = 0;   // 0: all
  bool tf32 = true;  // float32 products may round their operands to 10 bits, where the device gains
  bool sparse_weights = false;   // sparse kernels compete where weights are 2:4
  int tiling_level = 0;          // 0 to 3: how many more tile shapes compete
  int64_t tiling_l2_limit = -1;  // bytes that one tile's operands may take; -1: any number
};

class CompilerBackend {
 public:
  virtual ~CompilerBackend() = default;
  /// `options`: what code is allowed to use.
  virtual BackendTraits traits(const BuildOptions& options) const = 0;
  BackendTraits traits() const { return traits(BuildOptions()); }
  /// What a timing depends on: "cpu AMD EPYC 9B45 avx512 2 threads". Part of the timing cache's
  /// key.
  virtual std::string device_key(const BuildOptions& options) const = 0;
  /// Yes, or no with the reason. Asked for every region; a refused region is lowered to calls or
  /// refused whole.
  virtual Support supports(const RegionGraph& graph, const Region& region) const = 0;
  /// Best guess first; at least one for a supported region. More with higher levels.
  virtual std::vector<Tactic> candidates(const RegionGraph& graph, const Region& region,
                                         const BuildOptions& options) const = 0;
  virtual KernelLaunch launch(const RegionGraph& graph, const Region& region,
                              const Tactic& tactic) const = 0;
  /// Whether compile() makes machine code for a tactic; what a library runs needs none.
  virtual bool is_generated(const RegionGraph& graph, const Region& region,
                            const Tactic& tactic) const {
    (void)graph, (void)region, (void)tactic;
    return true;
  }
  /// Compiles all requests (in parallel where it can) into one code image.
  virtual Result<CompiledCode> compile(const std::vector<KernelRequest>& requests,
                                       const BuildOptions& options) const = 0;
  /// The bytes of a packed constant.
  virtual Result<TensorData> pack(const std::string& recipe, const TensorData& source) const = 0;
  /// The run half that launches what compile() made (for timing candidates).
  virtual ExecutorBackend& executor() const = 0;
};

/// The backends of this build, in order of preference; defined by backends/registry.cpp.in.
const std::vector<CompilerBackend*>& compiler_backends();
CompilerBackend* find_compiler_backend(const std::string& name);  // nullptr when not built
/// The slow and evidently right one: folds constants, checks the others.
CompilerBackend& oracle_backend();

}  // namespace stator
