// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "optimizer/region_builder.h"

namespace stator {

/// One layer as a call region: what a backend without fusion runs, and every layer that no loop,
/// contraction or attention region covers.
void add_call_region(RegionBuilder& builder, const NetworkLayer& layer);
/// Every layer in order as its own call; reshapes as aliases where they can be.
Result<RegionGraph> call_regions(const Network& network);

}  // namespace stator
