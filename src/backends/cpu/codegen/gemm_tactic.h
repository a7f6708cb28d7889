// SPDX-License-Identifier: Apache-2.0
//
// How a matrix product is cut: register tile, blocks of k, rows and columns of a task.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backends/cpu/codegen/gemm_microkernel.h"
#include "region/region.h"

namespace stator::cpu {

struct GemmTactic {
  TileShape tile;
  int64_t k_block = 0;       // elements of k between visits to the C tile; 0: all of k at once
  int64_t row_block = 0;     // most rows of a task
  int64_t column_block = 0;  // columns of a task, a multiple of the tile's
  bool pack_a = false;       // copy A's block to scratch

  /// "gemm m14 n32 l16 kb384 mb112 nb256 a1"
  std::string name() const;
  static std::optional<GemmTactic> parse(std::string_view text);
};

/// Register tiles for a unit of `registers` vectors of `lanes` floats, best first.
std::vector<TileShape> register_tiles(int lanes, int registers);

/// The share of a core's peak that a tile can be expected to reach on rows that are cut evenly into
/// tiles and columns that fill whole panels: few accumulators wait for one another.
double tile_efficiency(const TileShape& tile, int64_t rows, int64_t columns);

/// Best guess first; `level` 0 gives one.
std::vector<GemmTactic> gemm_tactics(const MatmulContraction& matmul, const Bounds& bounds,
                                     int lanes, int registers, int threads, int level);

}  // namespace stator::cpu
