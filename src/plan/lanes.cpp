// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "plan/plan.h"

namespace stator {

int32_t lane_count(const Plan& plan) {
  int32_t count = 1;
  for (const PlanStep& step : plan.steps) count = std::max(count, step.lane + 1);
  return count;
}

}  // namespace stator
