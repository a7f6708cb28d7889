// SPDX-License-Identifier: Apache-2.0
//
// What crosses the border of each segment.
#pragma once

#include <vector>

#include "partition/partitions.h"

namespace stator {

/// Fills inputs, symbol_inputs, outputs and operator_count of segments whose nodes are known.
void describe_segments(const Graph& graph, std::vector<Segment>& segments);

}  // namespace stator
