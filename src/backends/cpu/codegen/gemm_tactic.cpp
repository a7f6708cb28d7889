// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/gemm_tactic.h"

#include <algorithm>
#include <cstdio>

#include "base/align.h"

namespace stator::cpu {
namespace {

/// A size to plan with where the true one is open.
int64_t planning_size(const Expr& e, const Bounds& bounds, int64_t otherwise) {
  if (e.is_constant()) return e.constant();
  int64_t greatest = bounds.greatest(e).value_or(Bounds::kUnbounded);
  int64_t least = bounds.least(e).value_or(0);
  return std::clamp(otherwise, least, std::max(least, greatest));
}

struct Sizes {
  int64_t batch, m, n, k;
};

/// Blocks such that a thread gets several tasks and a task's panel of B stays in the second-level
/// cache (half a MiB of it).
GemmTactic with_blocks(const TileShape& tile, const Sizes& sizes, const MatmulContraction& matmul,
                       int threads) {
  constexpr int64_t kCacheFloats = 96 * 1024;
  constexpr int64_t kSerialOperations = 200'000;  // below, another thread comes too late to help
  GemmTactic tactic;
  tactic.tile = tile;
  int64_t columns = tile.columns();
  if (sizes.k > (matmul.b_constant ? 768 : 4096))
    tactic.k_block = round_up(ceil_quotient(sizes.k, ceil_quotient(sizes.k, 512)), 8);
  int64_t k_at_once = tactic.k_block > 0 ? tactic.k_block : sizes.k;
  int64_t panels = std::max<int64_t>(1, ceil_quotient(sizes.n, columns));
  bool serial = sizes.batch * sizes.m * sizes.n * sizes.k <= kSerialOperations;
  tactic.row_block = int64_t{tile.rows} * (matmul.b_constant ? 8 : 32);
  int64_t row_blocks = std::max<int64_t>(1, ceil_quotient(sizes.m, tactic.row_block));
  int64_t wanted =
      serial ? 1 : std::max<int64_t>(1, ceil_quotient(8 * threads, row_blocks * sizes.batch));
  int64_t in_cache = std::max<int64_t>(1, kCacheFloats / std::max<int64_t>(1, k_at_once * columns));
  int64_t panels_each = std::clamp<int64_t>(panels / wanted, 1, std::max<int64_t>(1, in_cache));
  if (serial) panels_each = panels;
  tactic.column_block = panels_each * columns;
  return tactic;
}

}  // namespace

std::string GemmTactic::name() const {
  char text[128];
  std::snprintf(text, sizeof text, "gemm m%d n%d l%d kb%lld mb%lld nb%lld a%d%s", tile.rows,
                tile.columns(), tile.lanes, static_cast<long long>(k_block),
                static_cast<long long>(row_block), static_cast<long long>(column_block),
                pack_a ? 1 : 0, tile.bytes ? kByteTile : "");
  return text;
}

std::optional<GemmTactic> GemmTactic::parse(std::string_view text) {
  GemmTactic tactic;
  int columns = 0, pack = 0;
  long long k = 0, rows = 0, column_block = 0;
  std::string copy(text);
  if (std::sscanf(copy.c_str(), "gemm m%d n%d l%d kb%lld mb%lld nb%lld a%d", &tactic.tile.rows,
                  &columns, &tactic.tile.lanes, &k, &rows, &column_block, &pack) != 7)
    return std::nullopt;
  if (tactic.tile.lanes <= 0 || columns <= 0 || columns % tactic.tile.lanes != 0)
    return std::nullopt;
  tactic.tile.vectors = columns / tactic.tile.lanes;
  tactic.k_block = k;
  tactic.row_block = rows;
  tactic.column_block = column_block;
  tactic.pack_a = pack != 0;
  tactic.tile.bytes = copy.ends_with(kByteTile);
  bool sound = tactic.tile.rows > 0 && tactic.tile.rows <= 32 && k >= 0 && rows > 0 &&
               column_block > 0 && column_block % columns == 0;
  if (!sound || tactic.name() != copy) return std::nullopt;
  return tactic;
}

std::vector<TileShape> register_tiles(int lanes, int registers) {
  if (registers >= 32) return {{6, 4, lanes}, {9, 3, lanes}, {14, 2, lanes}};
  if (lanes >= 8) return {{6, 2, lanes}, {4, 3, lanes}};
  return {{4, 2, lanes}};
}

double tile_efficiency(const TileShape& tile, int64_t rows, int64_t columns) {
  if (rows <= 0 || columns <= 0) return 1;
  int64_t tiles = ceil_quotient(rows, tile.rows);
  double height = static_cast<double>(rows) / static_cast<double>(tiles);
  double accumulators = height * tile.vectors;
  // Measured: 4 accumulators → 0.6, 8 → 0.75, 14 → 0.85 to 0.9, from 20 on level; and a low tile
  // asks more of B than the second-level cache gives.
  double busy =
      std::min(1.0, accumulators / (accumulators + 4) * 1.18) * std::min(1.0, 0.5 + height / 11);
  int64_t panels = ceil_quotient(columns, tile.columns());
  return busy * static_cast<double>(columns) / static_cast<double>(panels * tile.columns());
}

std::vector<GemmTactic> gemm_tactics(const MatmulContraction& matmul, const Bounds& bounds,
                                     int lanes, int registers, int threads, int level) {
  Sizes sizes{1, planning_size(matmul.m, bounds, 128), planning_size(matmul.n, bounds, 256),
              planning_size(matmul.k, bounds, 256)};
  for (const Expr& extent : matmul.batch) sizes.batch *= planning_size(extent, bounds, 8);
  std::vector<TileShape> tiles = register_tiles(lanes, registers);
  if (matmul.n.is_constant() && matmul.n.constant() <= lanes)
    tiles = {{std::min(12, registers - 4), 1, lanes}};
  for (TileShape& tile : tiles) tile.bytes = matmul.dtype == DType::kUInt8;
  auto share = [&](const TileShape& tile) { return tile_efficiency(tile, sizes.m, sizes.n); };
  std::stable_sort(tiles.begin(), tiles.end(), [&](const TileShape& x, const TileShape& y) {
    return static_cast<int>(share(x) * 40) > static_cast<int>(share(y) * 40);
  });
  std::vector<GemmTactic> tactics;
  auto add = [&](GemmTactic tactic) {
    for (const GemmTactic& known : tactics)
      if (known.name() == tactic.name()) return;
    tactics.push_back(std::move(tactic));
  };
  for (const TileShape& tile : tiles) {
    GemmTactic base = with_blocks(tile, sizes, matmul, threads);
    add(base);
    if (level <= 0) break;
    if (level >= 3 && sizes.k > 512) {
      GemmTactic other = base;
      other.k_block =
          base.k_block == 0 ? round_up(ceil_quotient(sizes.k, ceil_quotient(sizes.k, 384)), 8) : 0;
      add(other);
    }
    // All rows at once: weights that lie in memory are read once.
    if (level >= 3 && matmul.b_constant && sizes.m > base.row_block && sizes.m <= 512 &&
        &tile - tiles.data() < 2) {
      GemmTactic other = base;
      other.row_block = round_up(sizes.m, tile.rows);
      add(other);
      if (sizes.k > 512) {
        other.k_block = round_up(ceil_quotient(sizes.k, ceil_quotient(sizes.k, 512)), 8);
        add(other);
      }
    }
    if (level >= 4 && sizes.m > 2 * tile.rows) {
      GemmTactic other = base;
      other.row_block *= 4;
      add(other);
      other = base;
      other.column_block *= 2;
      add(other);
    }
    if (level >= 5 && sizes.m > tile.rows) {
      GemmTactic other = base;
      other.pack_a = !base.pack_a;
      add(other);
    }
    if (level <= 2) break;
  }
  return tactics;
}

}  // namespace stator::cpu
