// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>

#include "backends/cuda/codegen/attention_kernel.h"
#include "backends/cuda/codegen/prepare.h"

namespace stator::cuda {
namespace {

bool has_library_attention(const AttentionRegion& a) {
  return tiles_attention(a) && !a.has_mask && !a.causal;
}

}  // namespace

std::vector<Tactic> attention_tactics(const AttentionRegion& a, const Target& target) {
  if (floats_attention(a)) return {{"tiles 64"}};
  if (!tiles_attention(a)) return {{"plain"}};
  std::vector<Tactic> tactics;
  const int level = target.optimization_level;
  const int64_t width = std::max(a.qk_dim.constant(), a.v_dim.constant());
  if (target.capability == 90 && wgmma_attention(a)) {
    tactics.push_back({"wgmma 2 64"});
    if (level > 0 && width <= 128) tactics.push_back({"wgmma 3 64"});
    if (level > 0 && width <= 128) tactics.push_back({"wgmma 2 128"});
    if (level > 0) tactics.push_back({"wgmma 1 64"});
  } else {
    tactics.push_back({"tiles 64"});
    if (level > 0 && width <= 64) tactics.push_back({"tiles 128"});  // registers
  }
  if (has_library_attention(a) && level > 0) tactics.push_back({"cudnn"});
  return tactics;
}

PreparedRegion prepare_attention(const Region& region, const AttentionRegion& a,
                                 const std::string& tactic, const std::string& name, bool tf32) {
  if (tactic == "cudnn") {
    PreparedRegion prepared;
    AttentionPayload p;
    p.dtype = a.dtype;
    p.q = a.q.buffer;
    p.k = a.k.buffer;
    p.v = a.v.buffer;
    p.out = a.out.buffer;
    p.scale = a.scale;
    p.buffers = buffer_count(region);
    prepared.payload = p;
    prepared.launch.scratch_bytes = kLibraryWorkspace;
    prepared.launch.sizes = {a.batch,     a.heads,  a.kv_heads, a.q_length,
                             a.kv_length, a.qk_dim, a.v_dim};
    for (const StridedView* view : {&a.q, &a.k, &a.v, &a.out}) {
      prepared.launch.sizes.push_back(view->offset);
      prepared.launch.sizes.insert(prepared.launch.sizes.end(), view->strides.begin(),
                                   view->strides.begin() + 3);
    }
    return prepared;
  }
  const int buffers = buffer_count(region);
  int groups = 0, key_tile = 0;
  GeneratedKernel kernel;
  if (std::sscanf(tactic.c_str(), "wgmma %d %d", &groups, &key_tile) == 2) {
    kernel = generate_wgmma_attention(a, buffers, groups, key_tile, name);
  } else if (a.dtype == DType::kFloat32 && tactic != "plain") {
    kernel = generate_float_attention(a, buffers, !tf32, name);
  } else if (tactic != "plain") {
    kernel = generate_tiled_attention(a, buffers, trailing_number(tactic), name);
  } else {
    kernel = generate_plain_attention(a, buffers, name);
  }
  return prepare_kernel(std::move(kernel), attention_sizes(a));
}

}  // namespace stator::cuda
