// SPDX-License-Identifier: Apache-2.0
#include "builder/concurrency.h"

#include <gtest/gtest.h>

namespace stator {
namespace {

/// Regions by what they read and write; tensor 0 is the input.
RegionGraph graph_of(const std::vector<std::pair<std::vector<int32_t>, int32_t>>& regions) {
  RegionGraph graph;
  int32_t tensors = 1;
  for (const auto& [inputs, output] : regions) tensors = std::max(tensors, output + 1);
  graph.tensors.resize(static_cast<size_t>(tensors));
  graph.tensors[0].role = RegionTensorRole::kInput;
  for (const auto& [inputs, output] : regions) {
    Region region;
    region.inputs = inputs;
    region.outputs = {output};
    graph.regions.push_back(region);
  }
  return graph;
}

/// "0.1" for lane 1 of group 0, "-" for a region that is alone.
std::string places_of(const RegionGraph& graph, const std::vector<double>& us,
                      const ConcurrencyOptions& options) {
  std::string text;
  for (const LanePlace& place : find_concurrency(graph, us, options)) {
    text += text.empty() ? "" : " ";
    text += place.group < 0 ? "-" : std::to_string(place.group) + "." + std::to_string(place.lane);
  }
  return text;
}

ConcurrencyOptions lanes(int count) {
  ConcurrencyOptions options;
  options.max_lanes = count;
  return options;
}

/// A fork, branches of two and one, a join, one more.
RegionGraph diamond() {
  return graph_of({{{0}, 1}, {{1}, 2}, {{2}, 3}, {{1}, 4}, {{3, 4}, 5}, {{5}, 6}});
}

TEST(Concurrency, BranchesBetweenAForkAndAJoin) {
  EXPECT_EQ(places_of(diamond(), {1, 1, 1, 1, 1, 1}, lanes(1)), "- 0.0 0.0 0.1 - -");
}

TEST(Concurrency, TheLongestBranchIsOnTheMainLane) {
  EXPECT_EQ(places_of(diamond(), {1, 1, 1, 5, 1, 1}, lanes(3)), "- 0.1 0.1 0.0 - -");
}

TEST(Concurrency, NoMoreLanesThanAllowed) {
  const RegionGraph graph = graph_of({{{0}, 1}, {{0}, 2}, {{0}, 3}, {{0}, 4}, {{1, 2, 3, 4}, 5}});
  EXPECT_EQ(places_of(graph, {4, 3, 2, 1, 1}, lanes(0)), "- - - - -");
  EXPECT_EQ(places_of(graph, {4, 3, 2, 1, 1}, lanes(1)), "0.0 0.1 0.1 0.0 -");
  EXPECT_EQ(places_of(graph, {4, 3, 2, 1, 1}, lanes(9)), "0.0 0.1 0.2 0.3 -");
}

TEST(Concurrency, AChainHasNoBranches) {
  const RegionGraph chain = graph_of({{{0}, 1}, {{1}, 2}, {{1, 2}, 3}});
  EXPECT_EQ(places_of(chain, {1, 1, 1}, lanes(3)), "- - -");
}

TEST(Concurrency, TowersThatNeverMeet) {
  const RegionGraph towers = graph_of({{{0}, 1}, {{1}, 2}, {{0}, 3}, {{3}, 4}});
  EXPECT_EQ(places_of(towers, {1, 1, 1, 1}, lanes(1)), "0.0 0.0 0.1 0.1");
}

TEST(Concurrency, LeftToItselfShortStepsAndARealGain) {
  ConcurrencyOptions options = lanes(3);
  options.short_us = 10;
  options.least_gain_us = 5;
  EXPECT_EQ(places_of(diamond(), {1, 4, 4, 6, 1, 1}, options), "- 0.0 0.0 0.1 - -");
  EXPECT_EQ(places_of(diamond(), {1, 4, 4, 4, 1, 1}, options), "- - - - - -");
  EXPECT_EQ(places_of(diamond(), {1, 40, 6, 7, 1, 1}, options), "- - 0.1 0.0 - -")
      << "what fills the device stays outside";
}

TEST(Concurrency, SharedStorageIsADependency) {
  RegionGraph graph = graph_of({{{0}, 1}, {{0}, 2}, {{0}, 3}});
  graph.tensors[3].alias_of = 1;  // written twice
  EXPECT_EQ(places_of(graph, {1, 1, 1}, lanes(3)), "0.0 0.1 0.0");
}

}  // namespace
}  // namespace stator
