// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>

#include "backends/cpu/codegen/attention_kernel.h"
#include "backends/cpu/codegen/gemm_tactic.h"
#include "base/align.h"

namespace stator::cpu {
namespace {

/// Register tiles that differ in width, one vector included.
std::vector<TileShape> tiles_by_width(int lanes, int registers) {
  std::vector<TileShape> tiles = register_tiles(lanes, registers);
  tiles.push_back({std::min(12, registers - 4), 1, lanes});
  return tiles;
}

/// The tile that wastes least on `columns` columns, with `rows` rows.
TileShape best_tile(const std::vector<TileShape>& tiles, int64_t rows, int64_t columns) {
  return *std::max_element(tiles.begin(), tiles.end(), [&](const TileShape& x, const TileShape& y) {
    return static_cast<int>(tile_efficiency(x, rows, columns) * 40) <
           static_cast<int>(tile_efficiency(y, rows, columns) * 40);
  });
}

}  // namespace

std::string AttentionTactic::name() const {
  return "attention s" + std::to_string(scores.rows) + "x" + std::to_string(scores.columns()) +
         " v" + std::to_string(values.rows) + "x" + std::to_string(values.columns()) + " l" +
         std::to_string(scores.lanes) + " kb" + std::to_string(kv_block);
}

std::optional<AttentionTactic> AttentionTactic::parse(std::string_view text) {
  AttentionTactic tactic;
  int score_columns = 0, value_columns = 0, lanes = 0;
  long long block = 0;
  std::string copy(text);
  if (std::sscanf(copy.c_str(), "attention s%dx%d v%dx%d l%d kb%lld", &tactic.scores.rows,
                  &score_columns, &tactic.values.rows, &value_columns, &lanes, &block) != 6)
    return std::nullopt;
  if (lanes <= 0) return std::nullopt;
  tactic.scores.lanes = tactic.values.lanes = lanes;
  tactic.scores.vectors = score_columns / lanes;
  tactic.values.vectors = value_columns / lanes;
  tactic.kv_block = block;
  auto sound = [](const TileShape& t) {
    return t.rows > 0 && t.rows <= 32 && t.vectors > 0 && t.vectors <= 8;
  };
  if (!sound(tactic.scores) || !sound(tactic.values) || block <= 0 || tactic.name() != copy)
    return std::nullopt;
  return tactic;
}

Support attention_supports(const AttentionRegion& region) {
  if (region.dtype != DType::kFloat32) return Support::no("attention is for f32 on the CPU");
  if (!region.qk_dim.is_constant() || !region.v_dim.is_constant())
    return Support::no("the sizes of attention heads must be known when the engine is built");
  if (region.has_mask && region.mask_dtype != DType::kFloat32 && region.mask_dtype != DType::kBool)
    return Support::no("attention masks are bool or f32 on the CPU");
  return Support::yes();
}

std::vector<AttentionTactic> attention_tactics(const AttentionRegion& region, const Bounds& bounds,
                                               int lanes, int registers, int level) {
  std::vector<TileShape> tiles = tiles_by_width(lanes, registers);
  int64_t channels = std::max<int64_t>(1, region.v_dim.constant());
  int64_t greatest = bounds.greatest(region.q_length).value_or(Bounds::kUnbounded);
  AttentionTactic tactic;
  int64_t q_rows = region.q_length.is_constant() ? region.q_length.constant()
                                                 : std::min<int64_t>(greatest, 2 * lanes);
  tactic.scores = best_tile(tiles, 128, std::max<int64_t>(1, q_rows));
  tactic.values = best_tile(tiles, tactic.scores.columns(), channels);
  std::vector<AttentionTactic> tactics = {tactic};
  if (level >= 3 && tactic.scores.vectors > 1) {
    for (const TileShape& other : tiles) {
      if (other.vectors == tactic.scores.vectors) continue;
      bool wastes = ceil_quotient(q_rows, other.columns()) * other.columns() > q_rows * 5 / 4;
      if (wastes && region.q_length.is_constant()) continue;
      tactics.push_back(tactic);
      tactics.back().scores = other;
      break;
    }
  }
  if (level >= 4) {
    tactic.kv_block = 256;
    tactics.push_back(tactic);
  }
  return tactics;
}

}  // namespace stator::cpu
