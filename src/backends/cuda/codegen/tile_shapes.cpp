// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/tile_shapes.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "base/float_element.h"
#include "base/keep_within.h"

namespace stator::cuda {
namespace {

// Of an H100 or H200, measured.
constexpr double kMultiprocessors = 132;
constexpr double kFlopsPerUs = 5.0e6;            // of a multiprocessor
constexpr double kBytesPerUs = 6.4e4;            // into one of them …
constexpr double kCacheBytesPerUs = 5.5e6;       // … and into all together
constexpr double kStartUs = 2.0;                 // of a kernel
constexpr double kClusterUs = 2.0;               // besides, of a round of clusters
constexpr double kClusterMultiprocessors = 128;  // a block each, and not all find room
constexpr double kSumsPerUs = 6.0e3;  // through an epilogue, or to a cluster's other blocks
constexpr int64_t kLeastSteps = 2;    // for a block
constexpr double kUnknownTiles = 1000;
constexpr double kShortUs = 3.0;

/// Microseconds of a product in `tiles` tiles of `steps` steps.
double estimate(const TileShape& shape, double tiles, int64_t steps) {
  const double rows = 64 * shape.groups, columns = shape.columns, blocks = tiles * shape.split;
  const auto share = static_cast<double>((steps + shape.split - 1) / shape.split);
  const double rate = std::min(kBytesPerUs, kCacheBytesPerUs / std::min(blocks, kMultiprocessors));
  const double load = (rows + columns) * 128 * share / rate;
  const double multiply = rows * columns * 128 * share / kFlopsPerUs;
  const double sums = rows * columns / kSumsPerUs;
  if (shape.split > 1) {
    const double rounds = std::ceil(blocks / kClusterMultiprocessors);
    return kStartUs + rounds * (kClusterUs + std::max(load, multiply) + sums + sums / shape.split);
  }
  // Small blocks share a multiprocessor: one ends while another multiplies.
  const double rounds = std::max(1.0, blocks / kMultiprocessors);
  return kStartUs + rounds * (std::max(load, multiply) + sums);
}

/// How many shapes are timed.
size_t proposals(const Target& target) {
  const size_t more = target.tiling_level == 0 ? 0 : size_t{1} << target.tiling_level;
  if (target.optimization_level < 3) return (target.optimization_level < 1 ? 1 : 2) + more;
  return (target.optimization_level == 3 ? 3 : 12) + more;
}

template <typename Contraction>
std::vector<TileShape> best(const Contraction& contraction, int64_t columns, bool rows_along_k,
                            const Target& target) {
  const int64_t steps = tile_steps(contraction);
  std::vector<std::pair<double, TileShape>> all;
  for (const int wide : {32, 64, 96, 128, 192, 256}) {
    if ((rows_along_k && wide % 64 != 0) || (wide > 32 && wide - 32 >= columns)) continue;
    for (const int groups : {1, 2}) {
      for (int split = 1; split <= 8; split *= 2) {
        const TileShape shape{groups, wide, split};
        const Expr tiles = tile_count(contraction, shape);
        const bool whole = !tiles.is_constant() || columns % 8 != 0 || steps / split < kLeastSteps;
        if (split > 1 && whole) break;
        const double number =
            tiles.is_constant() ? static_cast<double>(tiles.constant()) : kUnknownTiles;
        all.emplace_back(estimate(shape, number, steps), shape);
      }
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  const auto operand_bytes = [&](const std::pair<double, TileShape>& shape) {
    return (64 * shape.second.groups + shape.second.columns) * 128 * steps / shape.second.split;
  };
  if (target.tiling_l2_limit >= 0) keep_within(target.tiling_l2_limit, operand_bytes, &all);
  std::vector<TileShape> shapes;
  size_t count = proposals(target);
  // Where a kernel takes little more than its start, shapes differ by less than compiling costs.
  if (target.optimization_level == 3 && !all.empty() && all.front().first < kShortUs) --count;
  for (size_t i = 0; i < all.size() && i < count; ++i) shapes.push_back(all[i].second);
  return shapes;
}

}  // namespace

std::string tile_tactic(const TileShape& shape, DType dtype) {
  return "wgmma " + std::to_string(shape.groups) + " " + std::to_string(shape.columns) + " " +
         std::to_string(shape.split) + (is_half(dtype) ? "" : std::string(" ") + dtype_name(dtype));
}

std::optional<TileShape> parse_tile_tactic(const std::string& tactic) {
  TileShape shape;
  if (std::sscanf(tactic.c_str(), "wgmma %d %d %d", &shape.groups, &shape.columns, &shape.split) !=
      3) {
    return std::nullopt;
  }
  return shape;
}

std::vector<TileShape> tile_shapes(const TiledProduct& product, const Target& target) {
  return best(product, product.n.constant(), !product.b_transposed, target);
}

std::vector<TileShape> tile_shapes(const ConvolutionContraction& convolution,
                                   const Target& target) {
  return best(convolution, convolution.w_shape[0].constant(), false, target);
}

}  // namespace stator::cuda
