// SPDX-License-Identifier: Apache-2.0
//
// Rough cost of operators, for reports: arithmetic and traffic as the shapes tell them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "stator/graph.h"

namespace stator {

struct Cost {
  double flops = 0;  // a multiplication and an addition are two
  double bytes = 0;  // read and written, each tensor once
};

/// Arithmetic of one operator. `sizes`: of symbols; one that is not there counts as 1.
double operator_flops(const Graph& graph, const Node& node,
                      const std::map<std::string, int64_t>& sizes);
/// Several as one engine: what lies between them is not read or written.
Cost segment_cost(const Graph& graph, const std::vector<NodeId>& nodes,
                  const std::map<std::string, int64_t>& sizes);

}  // namespace stator
