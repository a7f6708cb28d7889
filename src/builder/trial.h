// SPDX-License-Identifier: Apache-2.0
//
// One run of a candidate: buffers of the timing sizes filled with small numbers, and the clock.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "backend/compiler.h"
#include "region/region.h"

namespace stator {

/// Memory for one trial at a time, kept from one to the next: filling it, and bringing it to a
/// device, takes longer than most runs.
class TrialMemory {
 public:
  explicit TrialMemory(const CompilerBackend& backend) : backend_(backend) {}

  /// Numbers that are no denormals and good indices alike; a trial writes none of them. `slot`
  /// tells inputs of one trial apart.
  Result<const TensorData*> filled(size_t slot, DType dtype, int64_t bytes);
  /// For what a trial writes.
  Result<const TensorData*> unfilled(size_t slot, int64_t bytes);
  /// A constant's bytes, packed by `recipe` ("": as they are), where kernels reach them.
  Result<const TensorData*> constant(const TensorData& source, const std::string& recipe);
  /// Where kernels report faults; nobody reads it.
  Result<FaultRecord*> fault();
  /// Constants of the regions before are needed no more.
  void forget_constants() { constants_.clear(); }

 private:
  enum class Contents { kFloat, kHalf, kBFloat, kZero, kAnything };

  Result<const TensorData*> take(size_t slot, Contents contents, int64_t bytes);
  Status fill(Contents contents, void* data, int64_t bytes);
  const std::vector<char>& pattern(Contents contents);

  const CompilerBackend& backend_;
  std::map<std::pair<size_t, Contents>, TensorData> buffers_;
  std::map<std::pair<const void*, std::string>, TensorData> constants_;
  std::map<Contents, std::vector<char>> patterns_;
  TensorData fault_;
  void* fault_record_ = nullptr;
};

/// One candidate made ready to run.
class Trial {
 public:
  /// `sizes`: of symbols.
  Trial(const RegionGraph& graph, const Region& region, const CompilerBackend& backend,
        const Tactic& tactic, const std::map<std::string, int64_t>& sizes, TrialMemory& memory)
      : graph_(graph),
        region_(region),
        backend_(backend),
        tactic_(tactic),
        sizes_(sizes),
        memory_(memory) {}

  /// False when it cannot be timed (sizes too large or not known).
  bool prepare();
  /// Microseconds of one run: the least of some, until about two milliseconds are spent; 1e30 when
  /// it fails.
  double time(const LoadedCode& code, int kernel, int rounds);
  /// Runs it without timing; errors are left to time().
  void run_once(const LoadedCode& code, int kernel);

 private:
  bool add_buffer(size_t index, const KernelLaunch& launch, int64_t bytes);
  void find_cold_weights();

  const RegionGraph& graph_;
  const Region& region_;
  const CompilerBackend& backend_;
  const Tactic& tactic_;
  const std::map<std::string, int64_t>& sizes_;
  TrialMemory& memory_;
  std::vector<std::vector<int64_t>> dims_;
  std::vector<TensorShape> shapes_;
  std::vector<const TensorData*> tensors_;  // inputs, then outputs
  std::vector<TensorData> cold_;
  std::vector<void*> pointers_;
  std::vector<int64_t> values_;
  KernelArgs args_{};
  BoundStep step_;
  void* scratch_ = nullptr;
};

}  // namespace stator
