// SPDX-License-Identifier: Apache-2.0
//
// Phases: the plan of a cut. Segments run one after another, PyTorch and engine in turns; a node's
// phase is the segment it runs in. Even phases are PyTorch, odd ones engines (the first and last
// may stay empty). A cut is right when no node's phase is before that of a node it depends on:
// then no segment both feeds and depends on another.
#pragma once

#include <vector>

#include "partition/dependencies.h"

namespace stator {

/// `convertible`: for each position in the order, may it run in an engine. Returns the phases.
///
/// Fast: every node as early as possible, in one walk over the graph. The number of engines is the
/// least that any cut has: each change of phase is forced by a chain of dependencies.
std::vector<int> phases_fast(const Dependencies& dependencies,
                             const std::vector<bool>& convertible);
/// Global: as few engines, and every node that may run in several of them goes to the one that can
/// become the largest, so that small engines shrink (and are left to PyTorch) and large ones grow.
std::vector<int> phases_global(const Dependencies& dependencies,
                               const std::vector<bool>& convertible);

}  // namespace stator
