// SPDX-License-Identifier: Apache-2.0
//
// Turns tensors of a Network into tensors of a RegionGraph while fusion makes regions: constants
// carried over, reshapes as aliases, outputs each written by a region.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "region/region.h"
#include "stator/network.h"

namespace stator {

class RegionBuilder {
 public:
  explicit RegionBuilder(const Network& network);

  const Network& network() const { return network_; }
  RegionGraph& graph() { return graph_; }
  /// The region tensor of a network tensor; made at first use. A network output that a region
  /// writes under its own name has role kOutput.
  int32_t tensor(TensorId id);
  /// A fresh intermediate.
  int32_t add_intermediate(const std::string& name, const TensorType& type);
  /// A dense copy of a tensor that is otherwise computed where it is read: from now on `id` is it.
  int32_t copy_of(TensorId id);
  /// Says that `id` is `source` with another shape: no region is needed for it. False when that
  /// cannot be (the tensor is an output and must be written).
  bool add_alias(TensorId id, TensorId source);
  /// The same tensor as a region leaves it that writes into what it holds: `name`.written.
  int32_t add_written(int32_t tensor, const std::string& name);
  /// Appends a region; its name is made unique.
  void add_region(RegionBody body, std::vector<int32_t> inputs, std::vector<int32_t> outputs,
                  std::vector<Provenance> provenance, const std::string& name);
  /// Copies for outputs that no region writes (an input, a constant, an alias, or one given twice);
  /// verifies and returns the graph.
  Result<RegionGraph> finish();

 private:
  void add_copy(int32_t from, int32_t to);

  const Network& network_;
  RegionGraph graph_;
  std::map<TensorId, int32_t> tensors_;
  std::map<std::string, int> names_;
  std::vector<bool> is_output_;  // by network tensor
};

}  // namespace stator
