// SPDX-License-Identifier: Apache-2.0
//
// Builder: regions → plan. Chooses a tactic for each distinct region signature (timing candidates
// on the device), compiles the kernels, packs constants, lays out the shape program.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "backend/compiler.h"
#include "builder/timing_cache.h"
#include "plan/plan.h"
#include "region/region.h"

namespace stator {

struct BuilderOptions {
  BuildOptions build;
  double time_budget_s = 0;     // 0: none; after it the first guesses are taken
  int64_t workspace_bytes = 0;  // limit on a tactic's scratch; 0: none
  int timing_iterations = 1;
  int max_aux_streams = -1;             // lanes besides the main one; -1: where branches are short
  TimingCache* timing_cache = nullptr;  // may be null
  /// Sizes at which dynamic regions are timed: the opt shape's symbol values; missing ones are
  /// guessed.
  std::map<std::string, int64_t> opt_symbols;
  std::function<void(int done, int total, const std::string& what)> progress;
  /// Of each input and output of the call the axes in memory, as PlanBuffer::order; missing:
  /// row-major.
  std::vector<std::vector<int64_t>> input_orders, output_orders;
  std::string settings_json;
  std::string metadata_json;
};

struct BuildStats {
  int regions = 0, kernels = 0, tactics_timed = 0, timing_cache_hits = 0;
  double tactics_s = 0, compile_s = 0, pack_s = 0, total_s = 0;
};

Result<Plan> build(const RegionGraph& graph, CompilerBackend& backend,
                   const BuilderOptions& options, BuildStats* stats);

}  // namespace stator
