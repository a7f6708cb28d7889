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

/// Letters, digits and underscores of a region's name, and its group.
std::string kernel_name(const std::string& region_name, size_t group);

/// In order of first occurrence.
std::vector<RegionGroup> group_regions(const RegionGraph& graph);

}  // namespace stator
