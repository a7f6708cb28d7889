// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/conv_tactic.h"

#include <algorithm>
#include <cstdio>

#include "backends/cpu/codegen/gemm_tactic.h"
#include "base/align.h"

namespace stator::cpu {
namespace {

int64_t planning_size(const Expr& e, const Bounds& bounds, int64_t otherwise) {
  if (e.is_constant()) return e.constant();
  int64_t greatest = bounds.greatest(e).value_or(Bounds::kUnbounded);
  int64_t least = bounds.least(e).value_or(0);
  return std::clamp(otherwise, least, std::max(least, greatest));
}

struct Sizes {
  int64_t batch, height, width;  // of the output; height counts depth as well
};

ConvTactic with_blocks(const TileShape& tile, const ConvShape& shape, const Sizes& sizes,
                       int threads) {
  constexpr int64_t kCacheFloats = 128 * 1024;  // of B for one task: half a MiB
  ConvTactic tactic;
  tactic.tile = tile;
  int64_t columns = tile.columns();
  int64_t panels = ceil_quotient(shape.group_out, columns);
  int64_t in_cache =
      std::max<int64_t>(1, kCacheFloats / std::max<int64_t>(1, shape.depth() * columns));
  int64_t panels_each = std::min(panels, in_cache);
  int64_t column_blocks = ceil_quotient(panels, panels_each);
  int64_t wanted =
      ceil_quotient(4 * threads, std::max<int64_t>(1, sizes.batch * shape.groups * column_blocks));
  // At least a few rows a task where the kernel is higher than one: tasks share their edge rows.
  int64_t least_rows = shape.kernel[1] > 1 ? 4 : 1;
  tactic.row_block = std::max<int64_t>(least_rows, sizes.height / std::max<int64_t>(1, wanted));
  tactic.row_block = std::clamp<int64_t>(tactic.row_block, 1, 28);
  tactic.column_block = panels_each * columns;
  // A panel that is long is visited step by step, so that the part in use and the part that is
  // fetched ahead stay in the second-level cache together.
  constexpr int64_t kLongPanelFloats = 96 * 1024;
  if (shape.depth() * columns > kLongPanelFloats) tactic.step_block = 1;
  return tactic;
}

}  // namespace

std::string ConvTactic::name() const {
  char text[128];
  std::snprintf(text, sizeof text, "conv m%d n%d l%d rb%lld nb%lld sb%lld%s", tile.rows,
                tile.columns(), tile.lanes, static_cast<long long>(row_block),
                static_cast<long long>(column_block), static_cast<long long>(step_block),
                tile.bytes ? kByteTile : "");
  return text;
}

std::optional<ConvTactic> ConvTactic::parse(std::string_view text) {
  ConvTactic tactic;
  int columns = 0;
  long long rows = 0, column_block = 0, steps = 0;
  std::string copy(text);
  if (std::sscanf(copy.c_str(), "conv m%d n%d l%d rb%lld nb%lld sb%lld", &tactic.tile.rows,
                  &columns, &tactic.tile.lanes, &rows, &column_block, &steps) != 6)
    return std::nullopt;
  if (tactic.tile.lanes <= 0 || columns <= 0 || columns % tactic.tile.lanes != 0)
    return std::nullopt;
  tactic.tile.vectors = columns / tactic.tile.lanes;
  tactic.row_block = rows;
  tactic.column_block = column_block;
  tactic.step_block = steps;
  tactic.tile.bytes = copy.ends_with(kByteTile);
  bool sound = tactic.tile.rows > 0 && tactic.tile.rows <= 32 && rows > 0 && column_block > 0 &&
               column_block % columns == 0 && steps >= 0;
  if (!sound || tactic.name() != copy) return std::nullopt;
  return tactic;
}

std::vector<ConvTactic> conv_tactics(const ConvShape& shape, const Bounds& bounds, int lanes,
                                     int registers, int threads, int level) {
  Sizes sizes{planning_size(shape.batch, bounds, 1),
              planning_size(shape.out[0] * shape.out[1], bounds, 28),
              planning_size(shape.out[2], bounds, 28)};
  std::vector<TileShape> tiles = register_tiles(lanes, registers);
  if (shape.group_out <= lanes) tiles = {{std::min(12, registers - 4), 1, lanes}};
  auto share = [&](const TileShape& tile) {
    return tile_efficiency(tile, sizes.width, shape.group_out);
  };
  std::stable_sort(tiles.begin(), tiles.end(), [&](const TileShape& x, const TileShape& y) {
    return static_cast<int>(share(x) * 40) > static_cast<int>(share(y) * 40);
  });
  std::vector<ConvTactic> tactics;
  auto add = [&](const ConvTactic& tactic) {
    for (const ConvTactic& known : tactics)
      if (known.name() == tactic.name()) return;
    tactics.push_back(tactic);
  };
  for (TileShape& tile : tiles) {
    tile.bytes = shape.bytes;
    ConvTactic base = with_blocks(tile, shape, sizes, threads);
    add(base);
    if (level <= 0) break;
    if (level >= 3 && shape.depth() >= 1024 && shape.kernel[1] > 1) {
      ConvTactic other = base;
      other.step_block = base.step_block == 0 ? 1 : 0;
      add(other);
    }
    if (level >= 4) {
      ConvTactic other = base;
      other.row_block = std::max<int64_t>(1, base.row_block / 2);
      add(other);
      other = base;
      other.column_block *= 2;
      if (other.column_block < 2 * shape.group_out) add(other);
    }
    if (level <= 2) break;
  }
  return tactics;
}

}  // namespace stator::cpu
