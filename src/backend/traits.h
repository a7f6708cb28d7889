// SPDX-License-Identifier: Apache-2.0
//
// What a backend likes: the only thing the optimizer knows of it.
#pragma once

#include <string>

namespace stator {

struct BackendTraits {
  std::string name;             // "cpu", "reference"
  bool fuses_loops = true;      // false: one layer a region, everything a call (the reference)
  bool channels_last = true;    // convolutions and pooling run in channels-last layout
  bool fuses_epilogues = true;  // contraction regions take pointwise epilogues
  bool attention = true;        // attention is one region (else: matmul, softmax, matmul)
  int64_t max_reduction_row =
      1 << 20;  // elements of a row that one loop region may reduce with several passes
};

}  // namespace stator
