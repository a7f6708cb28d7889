// SPDX-License-Identifier: Apache-2.0
//
// Groups of steps: what a plan may say of them.
#include <gtest/gtest.h>

#include "plan/engine_file.h"
#include "plan/test/contracts.h"

namespace stator {
namespace {

/// x → a → b on lane 0, x → c on lane 1, and y = f(b, c) behind them; lives as the builder gives.
Plan two_lanes() {
  Plan plan;
  const SizeSlot eight = plan.sizes.add(8), bytes = plan.sizes.add(32), one = plan.sizes.add(1);
  const SizeSlot none = plan.sizes.add(0);
  const auto buffer = [&](const char* name, BufferRole role, int32_t last) {
    plan.buffers.push_back({name, role, DType::kFloat32, {eight}, bytes, -1, -1, 0, last, -1});
  };
  buffer("x", BufferRole::kInput, 0);
  buffer("a", BufferRole::kArena, 2);
  buffer("b", BufferRole::kArena, 3);
  buffer("c", BufferRole::kArena, 3);
  buffer("y", BufferRole::kOutput, 0);
  plan.buffers[0].io_index = plan.buffers[4].io_index = 0;
  plan.kernels = {{"reference", "f", "", {}}, {"reference", "g", "", {}}};
  const auto step = [&](std::vector<BufferId> buffers, int32_t group, int32_t lane) {
    const int32_t kernel = buffers.size() == 2 ? 0 : 1;
    plan.steps.push_back({kernel, std::move(buffers), {}, one, none, "step", {}, group, lane, {}});
  };
  step({0, 1}, 0, 0);
  step({0, 3}, 0, 1);
  step({1, 2}, 0, 0);
  step({2, 3, 4}, -1, 0);
  plan.inputs = {0};
  plan.outputs = {4};
  make_contracts(&plan);
  return plan;
}

std::string complaint(const Plan& plan) {
  const Status status = validate_plan(plan);
  return status.ok() ? "" : status.error().message;
}

TEST(Lanes, OfABranch) {
  const Plan plan = two_lanes();
  EXPECT_EQ(complaint(plan), "");
  EXPECT_EQ(lane_count(plan), 2);
  EXPECT_NE(print_plan(plan).find("group 0 lane 1"), std::string::npos) << print_plan(plan);
}

TEST(Lanes, WhatAGroupMakesBelongsToOneLane) {
  Plan plan = two_lanes();
  plan.steps[2].lane = 1;  // reads what lane 0 makes
  EXPECT_NE(complaint(plan).find("is used by two lanes"), std::string::npos) << complaint(plan);
}

TEST(Lanes, BuffersLiveAsLongAsTheGroup) {
  Plan plan = two_lanes();
  plan.buffers[3].first_step = 1;
  EXPECT_NE(complaint(plan).find("does not live as long"), std::string::npos) << complaint(plan);
}

TEST(Lanes, NumbersWithinBounds) {
  Plan plan = two_lanes();
  plan.steps[1].lane = kMostLanes;
  EXPECT_NE(complaint(plan), "");
  plan = two_lanes();
  plan.steps[1].lane = -1;
  EXPECT_NE(complaint(plan), "");
  plan = two_lanes();
  plan.steps[3].lane = 1;  // in no group
  EXPECT_NE(complaint(plan), "");
}

}  // namespace
}  // namespace stator
