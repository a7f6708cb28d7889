// SPDX-License-Identifier: Apache-2.0
//
// What a backend likes: the only thing the optimizer knows of it.
#pragma once

#include <string>

#include "stator/layer.h"

namespace stator {

struct BackendTraits {
  std::string name;             // "cpu", "reference"
  bool fuses_loops = true;      // false: one layer a region, everything a call (the reference)
  bool channels_last = true;    // convolutions and pooling run in channels-last layout
  bool fuses_epilogues = true;  // contraction regions take pointwise epilogues
  bool attention = true;        // attention is one region (else: matmul, softmax, matmul)
  /// Which functions loops and epilogues may hold; a layer of another becomes a call. Null: all.
  bool (*loop_unary)(UnaryOp, DType) = nullptr;
  bool (*loop_elementwise)(ElementwiseOp, DType) = nullptr;
};

}  // namespace stator
