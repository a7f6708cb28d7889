// SPDX-License-Identifier: Apache-2.0
//
// Attention with warpgroup matrix instructions (compute capability 9.0). A warpgroup holds 64
// queries; the scores of the next tile of keys are under way while those of this one are weighed
// (after J. Shah et al., "FlashAttention-3", arXiv:2407.08608, section 3.2). Tiles come by tensor
// maps 0 (queries), 1 (keys), 2 (values) through a ring of STAGES; the first thread asks for them.
//
// Before the body stand, as constants: QK, E (widths, padded to 64), WQ, WV (true widths), GROUPS
// (warpgroups a block), BN (keys a tile), STAGES, CAUSAL, BF16, MASK (0: none, 1: the same for
// every query, 2: any), RAW (scores are scaled as they are exponentiated), scale; and mask_at(row,
// col).
#include "backends/cuda/codegen/attention_kernel.h"

namespace stator::cuda {

const char* const kWgmmaAttentionBody = R"(
  constexpr int BM = GROUPS * 64, QP = QK / 64, EP = E / 64;
  constexpr unsigned Q_BYTES = BM * QK * 2, K_BYTES = BN * QK * 2, V_BYTES = BN * E * 2;
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ __align__(8) u64 barriers[1 + 4 * STAGES];
  __shared__ float mask_ring[GROUPS][2][MASK == 1 ? BN : 1];
  const unsigned sq = ((unsigned)__cvta_generic_to_shared(memory) + 1023u) & ~1023u;
  const unsigned sk = sq + Q_BYTES, sv = sk + STAGES * K_BYTES;
  const unsigned q_full = (unsigned)__cvta_generic_to_shared(barriers), k_full = q_full + 8;
  const unsigned v_full = k_full + 8 * STAGES, k_empty = v_full + 8 * STAGES;
  const unsigned v_empty = k_empty + 8 * STAGES;
  const int tiles = (S + BM - 1) / BM;
  // The longest rows of a causal mask begin first.
  const int tile = tiles - 1 - blockIdx.x % tiles, bh = blockIdx.x / tiles;
  const int h = bh % heads, b = bh / heads, g = h / (heads / kv_heads);
  const int first = tile * BM, group = threadIdx.x / 128, lane = threadIdx.x % 32;
  const int limit = CAUSAL ? min(T, first + BM) : T;
  const int steps = (limit + BN - 1) / BN;
  const auto load_keys = [&](int step) {
    const unsigned stage = step % STAGES, full = k_full + 8 * stage;
    barrier_expect(full, K_BYTES);
#pragma unroll
    for (int p = 0; p < QP; ++p)
      copy_box(sk + stage * K_BYTES + p * BN * 128, a.maps[1], full, p * 64, step * BN, g, b);
  };
  const auto load_values = [&](int step) {
    const unsigned stage = step % STAGES, full = v_full + 8 * stage;
    barrier_expect(full, V_BYTES);
#pragma unroll
    for (int p = 0; p < EP; ++p)
      copy_box(sv + stage * V_BYTES + p * BN * 128, a.maps[2], full, p * 64, step * BN, g, b);
  };
  const auto mask_of = [&](int step) {  // this thread's column of the tile
    const int in_tile = threadIdx.x % 128, col = step * BN + in_tile;
    return MASK == 1 && in_tile < BN && col < T ? mask_at(0, col) : 0.0f;
  };
  const auto keep_mask = [&](int step, float value) {
    const int in_tile = threadIdx.x % 128;
    if (MASK == 1 && in_tile < BN) mask_ring[group][step & 1][MASK == 1 ? in_tile : 0] = value;
  };
  if (threadIdx.x == 0) {
    barrier_init(q_full, 1);
#pragma unroll
    for (int i = 0; i < STAGES; ++i) {
      barrier_init(k_full + 8 * i, 1);
      barrier_init(v_full + 8 * i, 1);
      barrier_init(k_empty + 8 * i, GROUPS * 4);
      barrier_init(v_empty + 8 * i, GROUPS * 4);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    begin_kernel();
    barrier_expect(q_full, Q_BYTES);
#pragma unroll
    for (int p = 0; p < QP; ++p) copy_box(sq + p * BM * 128, a.maps[0], q_full, p * 64, first, h, b);
    for (int i = 0; i < STAGES - 1 && i < steps; ++i) {
      load_keys(i);
      load_values(i);
    }
  }
  begin_kernel();
  keep_mask(0, mask_of(0));
  keep_mask(1, mask_of(1));
  __syncthreads();

  float out[E / 2], score[BN / 2], top[2] = {-INFINITY, -INFINITY}, sum[2] = {}, shrink[2];
  unsigned weight[BN / 16][4];
#pragma unroll
  for (int i = 0; i < E / 2; ++i) out[i] = 0.0f;
  const int group_row = first + group * 64;
  const int row_low = group_row + (threadIdx.x / 32 % 4) * 16 + lane / 4;
  const auto multiply_keys = [&](int step) {
    const unsigned keys = sk + (step % STAGES) * K_BYTES, queries = sq + group * 64 * 128;
#pragma unroll
    for (int k = 0; k < QK / 16; ++k)
      score_wgmma(score, panel(queries + (k / 4) * BM * 128 + (k % 4) * 32, 0),
                  panel(keys + (k / 4) * BN * 128 + (k % 4) * 32, 0), k != 0);
  };
  const auto multiply_values = [&](int step) {
    const unsigned values = sv + (step % STAGES) * V_BYTES;
#pragma unroll
    for (int k = 0; k < BN / 16; ++k)
      value_wgmma(out, weight[k], panel(values + k * 2048, BN * 128), 1);
  };
  const auto weigh = [&](int step) {
    const int start = step * BN;
    if (!RAW) {
#pragma unroll
      for (int i = 0; i < BN / 2; ++i) {
        const int in_tile = (i / 4) * 8 + (lane & 3) * 2 + (i & 1);
        float x = score[i] * scale;
        if (MASK == 1) x += mask_ring[group][step & 1][MASK == 1 ? in_tile : 0];
        if (MASK == 2) {
          const int row = row_low + (i >> 1 & 1) * 8;
          if (start + in_tile < T && row < S) x += mask_at(row, start + in_tile);
        }
        score[i] = x;
      }
    }
    if (start + BN > T || (CAUSAL && start + BN > group_row)) {
#pragma unroll
      for (int i = 0; i < BN / 2; ++i) {
        const int row = row_low + (i >> 1 & 1) * 8, col = start + (i / 4) * 8 + (lane & 3) * 2 + (i & 1);
        if (col >= T || (CAUSAL && col > row)) score[i] = -INFINITY;
      }
    }
    float best[2] = {top[0], top[1]}, base[2];
#pragma unroll
    for (int i = 0; i < BN / 2; ++i) best[i >> 1 & 1] = fmaxf(best[i >> 1 & 1], score[i]);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 1));
      best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 2));
      base[r] = best[r] == -INFINITY ? 0.0f : RAW ? best[r] * scale : best[r];
      shrink[r] = fast_exp2(RAW ? fmaf(top[r], scale, -base[r]) : top[r] - base[r]);
      top[r] = best[r];
      sum[r] *= shrink[r];
    }
#pragma unroll
    for (int i = 0; i < BN / 2; ++i) {
      const float x = RAW ? fmaf(score[i], scale, -base[i >> 1 & 1]) : score[i] - base[i >> 1 & 1];
      score[i] = fast_exp2(x);
      sum[i >> 1 & 1] += score[i];
    }
  };
  const auto pack_weights = [&] {
#pragma unroll
    for (int k = 0; k < BN / 16; ++k) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
        weight[k][i] = pack<BF16>(score[8 * k + 2 * i], score[8 * k + 2 * i + 1]);
    }
  };
  const auto store = [&] {
    unsigned short* op = o_base + b * o_b + h * o_h;
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float total = sum[r];
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      const float inverse = total > 0.0f ? 1.0f / total : 0.0f;
      const int row = row_low + r * 8;
#pragma unroll
      for (int e = 0; e < E / 8; ++e) {
        const int col = e * 8 + (lane & 3) * 2;
        if (col < WV && row < S)
          *(unsigned*)(op + row * o_s + col) =
              pack<BF16>(out[4 * e + 2 * r] * inverse, out[4 * e + 2 * r + 1] * inverse);
      }
    }
  };
  barrier_wait(q_full, 0);
  if (steps <= 0) {
    store();
    return;
  }
  barrier_wait(k_full, 0);
  wgmma_fence();
  multiply_keys(0);
  wgmma_commit();
  wgmma_wait<0>();
  if (lane == 0) barrier_arrive(k_empty);
  weigh(0);
  pack_weights();
  // The compiler keeps matrix instructions under way only where no branch may stand before them.
#pragma unroll 1
  for (int step = 0; step < steps - 1; ++step) {
    // The stage of the tile before this one takes the tile STAGES - 1 ahead.
    const int ahead = step + STAGES - 1;
    if (threadIdx.x == 0 && ahead < steps) {
      const int stage = ahead % STAGES, round = ahead / STAGES;
      if (round > 0) {
        barrier_wait(k_empty + 8 * stage, (round - 1) & 1);
        barrier_wait(v_empty + 8 * stage, (round - 1) & 1);
      }
      load_keys(ahead);
      load_values(ahead);
    }
    __syncwarp();
    const float next_mask = mask_of(step + 2);
    const int k_stage = (step + 1) % STAGES, v_stage = step % STAGES;
    barrier_wait(k_full + 8 * k_stage, (step + 1) / STAGES & 1);
    barrier_wait(v_full + 8 * v_stage, step / STAGES & 1);
    wgmma_fence();
    multiply_keys(step + 1);
    wgmma_commit();
    multiply_values(step);
    wgmma_commit();
    wgmma_wait<1>();
    if (lane == 0) barrier_arrive(k_empty + 8 * k_stage);
    weigh(step + 1);
    wgmma_wait<0>();
    if (lane == 0) barrier_arrive(v_empty + 8 * v_stage);
#pragma unroll
    for (int i = 0; i < E / 2; ++i) out[i] *= shrink[i >> 1 & 1];
    pack_weights();
    if (MASK == 1) {
      keep_mask(step + 2, next_mask);
      asm volatile("bar.sync %0, 128;" :: "r"(group + 1) : "memory");
    }
  }
  barrier_wait(v_full + 8 * ((steps - 1) % STAGES), (steps - 1) / STAGES & 1);
  wgmma_fence();
  multiply_values(steps - 1);
  wgmma_commit();
  wgmma_wait<0>();
  store();
}
)";

}  // namespace stator::cuda
