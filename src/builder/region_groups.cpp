// SPDX-License-Identifier: Apache-2.0
#include "builder/region_groups.h"

#include <cctype>
#include <map>

namespace stator {

std::string kernel_name(const std::string& region_name, size_t group) {
  std::string name = "k" + std::to_string(group) + "_";
  for (const char c : region_name.substr(0, 40)) {
    name += std::isalnum(static_cast<unsigned char>(c)) != 0 ? c : '_';
  }
  return name;
}

std::vector<RegionGroup> group_regions(const RegionGraph& graph) {
  std::vector<RegionGroup> groups;
  std::map<std::string, size_t> by_signature;
  for (size_t i = 0; i < graph.regions.size(); ++i) {
    std::string signature = region_signature(graph, graph.regions[i], nullptr);
    const auto [found, fresh] = by_signature.emplace(signature, groups.size());
    if (fresh) {
      groups.push_back({std::move(signature), {}});
    }
    groups[found->second].regions.push_back(static_cast<int>(i));
  }
  return groups;
}

}  // namespace stator
