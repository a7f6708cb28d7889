// SPDX-License-Identifier: Apache-2.0
//
// Which steps may run side by side: branches between a fork and a join, on lanes of their own.
#pragma once

#include <vector>

#include "region/region.h"

namespace stator {

/// Where a region runs. Regions of one group follow one another in the graph's order; those of
/// different lanes in a group do not depend on each other. Lane 0 is the main one.
struct LanePlace {
  int32_t group = -1;  // -1: alone
  int32_t lane = 0;
};

struct ConcurrencyOptions {
  int max_lanes = 1;  // besides the main one
  /// Regions that take longer fill the device alone and stay outside groups; 0: none does.
  double short_us = 0;
  double least_gain_us = 0;  // a group must save that much
};

/// One place a region. `us`: of each region. The longest branch of a group is on lane 0, the others
/// are dealt to the lane that is free first.
std::vector<LanePlace> find_concurrency(const RegionGraph& graph, const std::vector<double>& us,
                                        const ConcurrencyOptions& options);

}  // namespace stator
