// SPDX-License-Identifier: Apache-2.0
//
// Attention as generated kernels: in tiles on tensor cores for halves (online softmax after
// M. Milakov and N. Gimelshein, arXiv:1805.02867; tiling after T. Dao, "FlashAttention-2",
// arXiv:2307.08691), and one warp a query for everything else.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/codegen/loop_kernel.h"

namespace stator::cuda {

/// Whether the tiled kernel can run it: halves, dense channels, rows at multiples of 16 bytes.
bool tiles_attention(const AttentionRegion& attention);

/// The same for float32: rows at multiples of 16 bytes.
bool floats_attention(const AttentionRegion& attention);

/// All kernels take these sizes: batch, heads, kv_heads, q_length, kv_length; then offset and
/// strides of q, k, v, out (batch, head, position, channel) and of the mask (batch, head, query,
/// key).
std::vector<Expr> attention_sizes(const AttentionRegion& attention);

/// `query_tile`: 64 or 128 queries a block.
GeneratedKernel generate_tiled_attention(const AttentionRegion& attention, int buffers,
                                         int query_tile, const std::string& name);
/// For compute capability 9.0: `groups` warpgroups of 64 queries a block, `key_tile` keys a step.
bool wgmma_attention(const AttentionRegion& attention);
GeneratedKernel generate_wgmma_attention(const AttentionRegion& attention, int buffers, int groups,
                                         int key_tile, const std::string& name);
/// `exact`: with nearly float32's accuracy, else its operands are rounded to TF32.
GeneratedKernel generate_float_attention(const AttentionRegion& attention, int buffers, bool exact,
                                         const std::string& name);
GeneratedKernel generate_plain_attention(const AttentionRegion& attention, int buffers,
                                         const std::string& name);

/// attention_tiles.cpp: the tiled kernel after its constants.
extern const char* const kTiledAttentionBody;
/// attention_float.cpp: the same for float32.
extern const char* const kFloatAttentionFunctions;
extern const char* const kFloatAttentionBody;
/// attention_wgmma.cpp: the same with warpgroup instructions.
extern const char* const kWgmmaAttentionBody;

}  // namespace stator::cuda
