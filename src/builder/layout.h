// SPDX-License-Identifier: Apache-2.0
//
// Lays a plan out: buffers with their lives, the size program, weights as copies or packed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "backend/compiler.h"
#include "builder/build.h"
#include "builder/concurrency.h"

namespace stator {

class PlanLayout {
 public:
  PlanLayout(const RegionGraph& graph, const CompilerBackend& backend);

  /// Inputs, outputs and symbols. kUnsupported when a symbol cannot be read off an input.
  Status interface(const BuilderOptions& options = {});
  /// One step for `region`, run by kernel `kernel` as `launch` says.
  Status add_step(const Region& region, int32_t kernel, const KernelLaunch& launch,
                  LanePlace place = {});
  /// Lives of buffers; the plan.
  Result<Plan> finish();

  const Plan& plan() const { return plan_; }  // what there is of it so far
  double pack_seconds() const { return pack_seconds_; }

 private:
  void set_order(BufferId id, const std::vector<std::vector<int64_t>>& orders, size_t index);
  std::string unbound_symbol(const Expr& e) const;
  Result<SizeSlot> slot(const Expr& given);
  Result<BufferId> buffer(int32_t tensor);
  Result<BufferId> packed_buffer(int32_t tensor, const PackedInput& packed);
  Result<BufferId> add_buffer(const RegionTensor& tensor, BufferRole role, const Expr& bytes);
  int32_t add_weight(const RegionTensor& tensor, WeightRecipe recipe, TensorData data);
  void touch(BufferId id);
  void keep_through_groups();

  const RegionGraph& graph_;
  const CompilerBackend& backend_;
  Plan plan_;
  std::vector<BufferId> buffers_;  // by region tensor; -1: none yet
  std::map<std::pair<const void*, std::string>, int32_t> weights_;  // (bytes, recipe) → weight
  std::map<std::string, int> weight_names_;
  double pack_seconds_ = 0;
};

}  // namespace stator
