// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/tile_search.h"

#include <algorithm>

#include "backends/cpu/codegen/attention_kernel.h"
#include "backends/cpu/codegen/conv_shape.h"
#include "backends/cpu/codegen/conv_tactic.h"
#include "backends/cpu/codegen/depthwise_kernel.h"
#include "backends/cpu/codegen/gemm_tactic.h"
#include "base/keep_within.h"

namespace stator::cpu {
namespace {

constexpr size_t kVaried = 2;           // of the tactics that are tried anyway, the first
constexpr int64_t kUnknownDepth = 256;  // for estimates

/// Blocks twice, half (three times, where they are of one row) and four times as large.
template <typename KernelTactic>
std::vector<KernelTactic> with_rows(const KernelTactic& base, int level) {
  std::vector<KernelTactic> made;
  const auto add = [&](int64_t rows) {
    made.push_back(base);
    made.back().row_block = rows;
  };
  add(2 * base.row_block);
  if (level >= 2) add(base.row_block > 1 ? base.row_block / 2 : 3);
  if (level >= 3) add(4 * base.row_block);
  return made;
}

template <typename KernelTactic>
void vary_columns(const KernelTactic& base, int level, std::vector<KernelTactic>* made) {
  if (level >= 2) {
    made->push_back(base);
    made->back().column_block *= 2;
  }
  const int64_t half = base.column_block / 2;
  if (level >= 3 && half > 0 && half % base.tile.columns() == 0) {
    made->push_back(base);
    made->back().column_block = half;
  }
}

std::vector<GemmTactic> variations(const GemmTactic& base, int level) {
  std::vector<GemmTactic> made = with_rows(base, level);
  vary_columns(base, level, &made);
  if (level >= 3) {
    made.push_back(base);
    made.back().k_block = base.k_block == 256 ? 0 : 256;
  }
  return made;
}

std::vector<ConvTactic> variations(const ConvTactic& base, int level) {
  std::vector<ConvTactic> made = with_rows(base, level);
  vary_columns(base, level, &made);
  return made;
}

std::vector<DepthwiseTactic> variations(const DepthwiseTactic& base, int level) {
  return with_rows(base, level);
}

std::vector<AttentionTactic> variations(const AttentionTactic& base, int level) {
  std::vector<AttentionTactic> made;
  for (const int64_t block : {256, 64, 512}) {
    if (static_cast<int>(made.size()) == level) break;
    made.push_back(base);
    made.back().kv_block = block;
  }
  return made;
}

int64_t size_of(const Expr& e) { return e.is_constant() ? e.constant() : kUnknownDepth; }

/// Bytes of the operands that a task goes over again and again.
int64_t footprint(const Region& region, const std::string& name) {
  if (const auto gemm = GemmTactic::parse(name)) {
    int64_t depth = kUnknownDepth;
    if (const auto* m = std::get_if<MatmulContraction>(&region.body)) depth = size_of(m->k);
    if (const auto* c = std::get_if<ConvolutionContraction>(&region.body)) {
      depth = size_of(c->w_shape[1]);
    }
    if (gemm->k_block > 0) depth = std::min(depth, gemm->k_block);
    return 4 * depth * (gemm->column_block + gemm->tile.rows);
  }
  const auto* conv = std::get_if<ConvolutionContraction>(&region.body);
  if (const auto tactic = ConvTactic::parse(name); tactic && conv != nullptr) {
    return 4 * ConvShape(*conv).depth() * tactic->column_block;
  }
  if (const auto tactic = AttentionTactic::parse(name)) {
    const auto* a = std::get_if<AttentionRegion>(&region.body);
    const int64_t width = a == nullptr ? kUnknownDepth : size_of(a->qk_dim) + size_of(a->v_dim);
    return 4 * tactic->kv_block * (width + tactic->scores.columns());
  }
  return 0;
}

template <typename KernelTactic>
bool add_variations(const std::string& name, int level, std::vector<Tactic>* tactics) {
  const std::optional<KernelTactic> base = KernelTactic::parse(name);
  if (!base.has_value()) return false;
  for (const KernelTactic& made : variations(*base, level)) {
    const Tactic tactic{made.name()};
    const auto same = [&](const Tactic& known) { return known.name == tactic.name; };
    if (std::none_of(tactics->begin(), tactics->end(), same)) tactics->push_back(tactic);
  }
  return true;
}

}  // namespace

void search_tiles(const Region& region, int level, int64_t l2_limit, std::vector<Tactic>* tactics) {
  const std::vector<Tactic> before = *tactics;
  for (size_t i = 0; level > 0 && i < std::min(kVaried, before.size()); ++i) {
    const std::string& name = before[i].name;
    (void)(add_variations<GemmTactic>(name, level, tactics) ||
           add_variations<ConvTactic>(name, level, tactics) ||
           add_variations<DepthwiseTactic>(name, level, tactics) ||
           add_variations<AttentionTactic>(name, level, tactics));
  }
  if (l2_limit < 0) return;
  keep_within(
      l2_limit, [&](const Tactic& t) { return footprint(region, t.name); }, tactics);
}

}  // namespace stator::cpu
