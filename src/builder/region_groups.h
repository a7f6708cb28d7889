// SPDX-License-Identifier: Apache-2.0
//
// Regions that share a kernel: those of one signature.
#pragma once

#include <string>
#include <vector>

#include "region/region.h"

namespace stator {

struct RegionGroup {
  std::string signature;
  std::vector<int> regions;  // indices into RegionGraph::regions; the first stands for all
};

/// In order of first occurrence.
std::vector<RegionGroup> group_regions(const RegionGraph& graph);

}  // namespace stator
