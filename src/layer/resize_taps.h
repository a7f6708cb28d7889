// SPDX-License-Identifier: Apache-2.0
//
// Where resizing reads along one axis, and how much each place weighs: PyTorch's rule, in the
// arithmetic of its CPU kernel (UpSampleKernel.cpp, compute_indices_weights), so that places on the
// edge between two elements fall on the same side.
#pragma once

#include <cstdint>
#include <vector>

#include "stator/layer.h"

namespace stator {

struct ResizeTaps {
  int count = 1;                // of each position: 1 nearest, 2 linear, 4 cubic
  std::vector<int32_t> places;  // of tap t, position i: [t * out + i]
  std::vector<double> weights;  // likewise; 1 of nearest
};

int resize_tap_count(ResizeMode mode);
/// Input elements per output element along spatial axis k, as the caller gave it; 0: from the
/// sizes.
double given_step(const Resize& resize, size_t k);
/// `in` > 0. `wide`: computed in float64, as for tensors of that type, else in float32.
ResizeTaps resize_taps(const Resize& resize, size_t k, int64_t in, int64_t out, bool wide);

}  // namespace stator
