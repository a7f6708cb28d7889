// SPDX-License-Identifier: Apache-2.0
#include "builder/build.h"

#include <algorithm>

#include "builder/concurrency.h"
#include "builder/kernel_contract.h"
#include "builder/layout.h"
#include "builder/region_groups.h"
#include "builder/seconds_since.h"
#include "builder/tactics.h"

namespace stator {
namespace {

constexpr int kLanesByItself = 3;
constexpr double kLeastGainUs = 5;  // forking and joining cost about two

Status check_support(const RegionGraph& graph, const CompilerBackend& backend) {
  for (const Region& region : graph.regions) {
    if (const Support support = backend.supports(graph, region); !support.ok()) {
      return Error{ErrorCode::kUnsupported,
                   "region " + region.name + " (" + region_kind_name(region.body) +
                       ") cannot run on " + backend.traits().name + " because " + support.reason()};
    }
  }
  return {};
}

/// A guess for loops, which have one candidate and are not timed; kNoTime for others.
double loop_us(const RegionGraph& graph, const Region& region, const BackendTraits& traits) {
  if (!std::holds_alternative<LoopProgram>(region.body)) return kNoTime;
  double bytes = 0;
  for (const std::vector<int32_t>* list : {&region.inputs, &region.outputs}) {
    for (const int32_t id : *list) {
      const TensorType& type = graph.tensors[static_cast<size_t>(id)].type;
      const Expr count = product(type.shape);
      if (!count.is_constant()) return kNoTime;
      bytes += static_cast<double>(count.constant() * dtype_bytes(type.dtype));
    }
  }
  return 1 + bytes / traits.bytes_per_us;
}

/// Left to itself, only steps that are known to be short run side by side.
ConcurrencyOptions concurrency_options(const BackendTraits& traits, const BuilderOptions& options) {
  ConcurrencyOptions o;
  o.max_lanes = std::min(options.max_aux_streams, kMostLanes - 1);
  if (options.max_aux_streams < 0) {
    o.max_lanes = traits.short_step_us > 0 ? kLanesByItself : 0;
    o.short_us = traits.short_step_us;
    o.least_gain_us = kLeastGainUs;
  }
  return o;
}

}  // namespace

Result<Plan> build(const RegionGraph& graph, CompilerBackend& backend,
                   const BuilderOptions& options, BuildStats* stats) {
  const Clock::time_point begin = Clock::now();
  BuildStats ignored;
  stats = stats != nullptr ? stats : &ignored;
  STATOR_RETURN_IF_ERROR(check_support(graph, backend));
  const std::vector<RegionGroup> groups = group_regions(graph);
  stats->regions = static_cast<int>(graph.regions.size());
  stats->kernels = static_cast<int>(groups.size());
  std::vector<double> group_us;
  STATOR_TRY(const std::vector<Tactic> tactics,
             choose_tactics(graph, groups, backend, options, stats, &group_us));

  const Clock::time_point compile_begin = Clock::now();
  if (options.progress) {
    options.progress(0, 1, "compiling " + std::to_string(groups.size()) + " kernels");
  }
  std::vector<KernelRequest> requests;
  std::vector<int32_t> kernel_of(graph.regions.size(), -1);
  for (size_t g = 0; g < groups.size(); ++g) {
    const Region& region = graph.regions[static_cast<size_t>(groups[g].regions.front())];
    const std::string name = kernel_name(region.name, g);
    requests.push_back({&graph, &region, tactics[g], name, name});
    for (const int r : groups[g].regions) {
      kernel_of[static_cast<size_t>(r)] = static_cast<int32_t>(g);
    }
  }
  STATOR_TRY(CompiledCode compiled, backend.compile(requests, options.build));
  stats->compile_s = seconds_since(compile_begin);

  const BackendTraits traits = backend.traits(options.build);
  std::vector<double> us(graph.regions.size());
  for (size_t r = 0; r < us.size(); ++r) {
    us[r] = group_us[static_cast<size_t>(kernel_of[r])];
    if (us[r] >= kNoTime) us[r] = loop_us(graph, graph.regions[r], traits);
  }
  const std::vector<LanePlace> places =
      find_concurrency(graph, us, concurrency_options(traits, options));

  PlanLayout layout(graph, backend);
  STATOR_RETURN_IF_ERROR(layout.interface(options));
  for (size_t r = 0; r < graph.regions.size(); ++r) {
    const Tactic& tactic = tactics[static_cast<size_t>(kernel_of[r])];
    const Region& region = graph.regions[r];
    const KernelLaunch launch = backend.launch(graph, region, tactic);
    STATOR_RETURN_IF_ERROR(layout.add_step(region, kernel_of[r], launch, places[r]));
    PlanKernel& kernel = compiled.kernels[static_cast<size_t>(kernel_of[r])];
    if (groups[static_cast<size_t>(kernel_of[r])].regions.front() == static_cast<int>(r)) {
      kernel.contract =
          make_contract(graph, region, launch, kernel, layout.plan(), layout.plan().steps.back());
    }
  }
  STATOR_TRY(Plan plan, layout.finish());
  plan.kernels = std::move(compiled.kernels);
  if (compiled.variant.image.size_bytes > 0) {
    plan.code.push_back(std::move(compiled.variant));
  }
  plan.compiler_version = STATOR_VERSION;
  plan.settings = options.settings_json;
  plan.metadata = options.metadata_json;
  stats->pack_s = layout.pack_seconds();
  stats->total_s = seconds_since(begin);
  return plan;
}

}  // namespace stator
