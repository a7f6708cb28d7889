// SPDX-License-Identifier: Apache-2.0
//
// Tactic choice: for each group of regions the candidate that ran fastest on this device, from the
// timing cache or timed now.
#pragma once

#include <vector>

#include "builder/build.h"
#include "builder/region_groups.h"

namespace stator {

inline constexpr double kNoTime = 1e30;

/// One tactic a group. Level 0, or a spent time budget, takes the first guess without timing.
/// `us`: receives the microseconds of each choice; kNoTime where it was not timed. `time_all`:
/// those without an alternative are timed too.
Result<std::vector<Tactic>> choose_tactics(const RegionGraph& graph,
                                           const std::vector<RegionGroup>& groups,
                                           const CompilerBackend& backend,
                                           const BuilderOptions& options, BuildStats* stats,
                                           std::vector<double>* us, bool time_all = false);

/// Microseconds of each region under its fastest tactic.
Result<std::vector<double>> time_regions(const RegionGraph& graph, const CompilerBackend& backend,
                                         const BuilderOptions& options);

/// Sizes at which tactics are timed: the caller's, else a middling value within each range.
std::map<std::string, int64_t> timing_sizes(const Bounds& bounds,
                                            const std::map<std::string, int64_t>& given);

}  // namespace stator
