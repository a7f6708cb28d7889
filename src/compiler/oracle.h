// SPDX-License-Identifier: Apache-2.0
//
// Computes networks right away, slowly and surely, on the backend that the registry names as the
// oracle: for folding constants, and for `verify`.
#pragma once

#include <vector>

#include "conversion/conversion.h"
#include "stator/graph.h"
#include "stator/network.h"

namespace stator {

/// The outputs of a network without inputs, all sizes constant.
Result<std::vector<TensorData>> evaluate_network(const Network& network);
/// One layer of `network` whose inputs are all constants.
Result<std::vector<TensorData>> evaluate_layer_of(const NetworkLayer& layer,
                                                  const Network& network);
/// One node whose tensor arguments are all constants; a result that nobody uses has no bytes.
Result<std::vector<TensorData>> evaluate_node(const Graph& graph, const Node& node,
                                              const ConverterRegistry& registry);

}  // namespace stator
