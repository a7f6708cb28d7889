// SPDX-License-Identifier: Apache-2.0
//
// What the kernel of a region relies on, written down for the runtime (plan/contract.h).
#pragma once

#include "backend/compiler.h"

namespace stator {

/// `step`: the region's, already in `plan`, whose packed constants say how large they are.
KernelContract make_contract(const RegionGraph& graph, const Region& region,
                             const KernelLaunch& launch, const PlanKernel& kernel, const Plan& plan,
                             const PlanStep& step);

}  // namespace stator
