// SPDX-License-Identifier: Apache-2.0
//
// The memory planner against its checker, on many random sets of lives, and the checker against
// layouts that are wrong in one place.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "plan/plan.h"

namespace stator {
namespace {

std::vector<ArenaRequest> random_requests(std::mt19937& random) {
  std::vector<ArenaRequest> requests(random() % 40);
  for (ArenaRequest& request : requests) {
    request.size_bytes = random() % 5 == 0 ? 0 : static_cast<int64_t>(random() % 3000);
    request.first_step = static_cast<int32_t>(random() % 20);
    request.last_step = request.first_step + static_cast<int32_t>(random() % 8);
  }
  return requests;
}

/// Most bytes alive at one step: no layout can do with less.
int64_t least_possible(const std::vector<ArenaRequest>& requests) {
  int64_t most = 0;
  for (int32_t step = 0; step < 40; ++step) {
    int64_t alive = 0;
    for (const ArenaRequest& request : requests) {
      if (request.first_step <= step && step <= request.last_step) {
        alive += request.size_bytes;
      }
    }
    most = std::max(most, alive);
  }
  return most;
}

TEST(PlanMemory, RandomLivesNeverOverlap) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    const std::vector<ArenaRequest> requests = random_requests(random);
    std::vector<int64_t> offsets;
    const int64_t arena = plan_memory(requests, &offsets);
    ASSERT_EQ(offsets.size(), requests.size());
    const Status proof = check_memory(requests, offsets, arena);
    ASSERT_TRUE(proof.ok()) << "round " << round << ": " << proof.error().message;
    ASSERT_GE(arena, least_possible(requests)) << "round " << round;
  }
}

TEST(PlanMemory, SharesWhatIsNotAliveTogether) {
  // A chain of equal buffers, each alive at two steps: two places are enough.
  std::vector<ArenaRequest> chain;
  for (int32_t i = 0; i < 10; ++i) {
    chain.push_back({1024, i, i + 1});
  }
  std::vector<int64_t> offsets;
  EXPECT_EQ(plan_memory(chain, &offsets), 2048);
}

TEST(PlanMemory, NothingNeedsNothing) {
  std::vector<int64_t> offsets;
  EXPECT_EQ(plan_memory({}, &offsets), 0);
  EXPECT_TRUE(check_memory({}, {}, 0).ok());
}

TEST(CheckMemory, FindsWrongLayouts) {
  const std::vector<ArenaRequest> requests = {{128, 0, 2}, {128, 1, 3}, {64, 3, 4}};
  EXPECT_TRUE(check_memory(requests, {0, 128, 0}, 256).ok());
  EXPECT_FALSE(check_memory(requests, {0, 64, 0}, 256).ok()) << "overlap while both live";
  EXPECT_FALSE(check_memory(requests, {0, 128, 128}, 256).ok()) << "overlap in one common step";
  EXPECT_FALSE(check_memory(requests, {0, 128, 0}, 192).ok()) << "past the arena's end";
  EXPECT_FALSE(check_memory(requests, {0, 130, 0}, 320).ok()) << "not aligned";
  EXPECT_FALSE(check_memory(requests, {-64, 128, 0}, 256).ok()) << "before the arena";
  EXPECT_FALSE(check_memory(requests, {0, 128}, 256).ok()) << "an offset is missing";
}

}  // namespace
}  // namespace stator
