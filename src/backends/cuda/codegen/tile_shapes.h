// SPDX-License-Identifier: Apache-2.0
//
// Which tile shapes of gemm_kernel.h are worth timing, and their tactics' names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/codegen/gemm_kernel.h"

namespace stator::cuda {

std::string tile_tactic(const TileShape& shape);
/// nullopt when it is another tactic.
std::optional<TileShape> parse_tile_tactic(const std::string& tactic);

/// The shapes that an estimate of their time puts first, at most `count`.
std::vector<TileShape> tile_shapes(const TiledProduct& product, size_t count);
std::vector<TileShape> tile_shapes(const ConvolutionContraction& convolution, size_t count);
/// How many are timed.
size_t tile_proposals(int optimization_level);

}  // namespace stator::cuda
