// SPDX-License-Identifier: Apache-2.0
//
// Which tile shapes of gemm_kernel.h are worth timing, and their tactics' names.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/codegen/gemm_kernel.h"
#include "backends/cuda/codegen/tactics.h"

namespace stator::cuda {

std::string tile_tactic(const TileShape& shape, DType dtype);
/// nullopt when it is another tactic.
std::optional<TileShape> parse_tile_tactic(const std::string& tactic);

/// The shapes worth timing for a target, those first that an estimate of their time puts first.
std::vector<TileShape> tile_shapes(const TiledProduct& product, const Target& target);
std::vector<TileShape> tile_shapes(const ConvolutionContraction& convolution, const Target& target);

}  // namespace stator::cuda
