// SPDX-License-Identifier: Apache-2.0
//
// How a convolution is cut: register tile, rows of pixels and output channels of a task, steps.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cpu/codegen/conv_shape.h"
#include "backends/cpu/codegen/gemm_microkernel.h"

namespace stator::cpu {

struct ConvTactic {
  TileShape tile;
  int64_t row_block = 1;     // output rows of a task
  int64_t column_block = 0;  // output channels of a task, a multiple of the tile's
  int64_t step_block = 0;    // steps (rows of the kernel) between visits to the C tiles; 0: all

  /// "conv m14 n32 l16 rb4 nb64 sb0"
  std::string name() const;
  static std::optional<ConvTactic> parse(std::string_view text);
};

/// Best guess first; `level` 0 gives one.
std::vector<ConvTactic> conv_tactics(const ConvShape& shape, const Bounds& bounds, int lanes,
                                     int registers, int threads, int level);

}  // namespace stator::cpu
