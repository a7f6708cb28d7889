// SPDX-License-Identifier: Apache-2.0
//
// Engines whose build would take too much memory, in several.
#pragma once

#include <vector>

#include "partition/partitions.h"

namespace stator {

/// About how much memory building an engine of these nodes takes: their constants as they are,
/// packed and written.
int64_t build_memory(const Graph& graph, const std::vector<NodeId>& nodes);

/// Cuts engine segments, in their order, into parts that each can be built within `budget` bytes,
/// and numbers all segments anew. kUnsupported when a single node cannot.
Status split_by_memory(const Graph& graph, int64_t budget, std::vector<Segment>& segments);

}  // namespace stator
