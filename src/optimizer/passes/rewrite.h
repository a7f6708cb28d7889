// SPDX-License-Identifier: Apache-2.0
//
// Rebuilds a network layer by layer: a pass copies what it keeps and adds what it changes.
#pragma once

#include <vector>

#include "stator/network.h"

namespace stator {

class Rewriter {
 public:
  /// Inputs are taken over; constants at first use.
  explicit Rewriter(const Network& source);
  Network& network() { return result_; }
  const Network& source() const { return source_; }
  /// The new tensor of an old one.
  TensorId map(TensorId old);
  bool mapped(TensorId old) const { return map_[static_cast<size_t>(old)] != -1; }
  void bind(TensorId old, TensorId fresh) { map_[static_cast<size_t>(old)] = fresh; }
  /// Copies a layer with its operands mapped.
  void copy(const NetworkLayer& layer);
  /// The finished network; outputs mapped.
  Network finish();

 private:
  const Network& source_;
  Network result_;
  std::vector<TensorId> map_;
};

/// The layers that read each tensor, in order; one that reads it twice is there twice.
std::vector<std::vector<size_t>> layer_readers(const Network& network);

/// How many layers read each tensor, outputs counted too.
std::vector<int> count_readers(const Network& network);

}  // namespace stator
