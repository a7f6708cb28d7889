// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "plan/plan.h"

namespace stator {

/// What a plan's validation leaves open until the sizes of a call are known: no size is negative,
/// every shape fits its bytes, no buffer is larger than memory can be, and every step fits what its
/// kernel relies on. `table`: the plan's slots.
Status check_sizes(const Plan& plan, const int64_t* table);

/// The same of a plan without symbols, when it is loaded: kInvalidFile.
Status check_fixed_sizes(const Plan& plan);

}  // namespace stator
