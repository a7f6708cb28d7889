// SPDX-License-Identifier: Apache-2.0
//
// The settings tiling_optimization_level and l2_limit_for_tiling: more ways to cut a contraction
// into tasks, variations of those that are tried anyway, and a bound on what a task reads.
#pragma once

#include <vector>

#include "backend/compiler.h"

namespace stator::cpu {

/// Adds tactics for `level` 1 to 3, and drops those whose operands take more than `l2_limit` bytes
/// (-1: no limit); the leanest stays if all do.
void search_tiles(const Region& region, int level, int64_t l2_limit, std::vector<Tactic>* tactics);

}  // namespace stator::cpu
