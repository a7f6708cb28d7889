// SPDX-License-Identifier: Apache-2.0
//
// Engines whose build would take too much memory, in several.
#pragma once

#include <vector>

#include "partition/partitions.h"

namespace stator {

/// Cuts engine segments, in their order, into parts that each can be built within `budget` bytes
/// (their constants as they are, packed and written),
/// and numbers all segments anew. kUnsupported when a single node cannot.
Status split_by_memory(const Graph& graph, int64_t budget, std::vector<Segment>& segments);

}  // namespace stator
