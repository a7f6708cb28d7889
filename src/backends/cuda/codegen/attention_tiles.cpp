// SPDX-License-Identifier: Apache-2.0
//
// The body of the tiled attention kernel. Before it stand, as constants: QK, E (widths, padded to
// 16), WQ, WV (true widths), BM (queries a block), MT (16-row tiles a warp), THREADS, CAUSAL, BF16,
// MASK (0: none, 1: the same for every query, 2: any), scale; and mask_at(row, col), which gives
// what is added to a score in units of log 2.
#include "backends/cuda/codegen/attention_kernel.h"

namespace stator::cuda {

const char* const kTiledAttentionBody = R"(
  constexpr int BN = 64, LDQ = QK + 8, LDV = E + 8;
  extern __shared__ __align__(16) unsigned char memory[];
  const unsigned sq = (unsigned)__cvta_generic_to_shared(memory);
  const unsigned sk = sq + BM * LDQ * 2, sv = sk + 2 * BN * LDQ * 2;
  const int tiles = (S + BM - 1) / BM;
  // The longest rows of a causal mask begin first.
  const int tile = tiles - 1 - blockIdx.x % tiles, bh = blockIdx.x / tiles;
  const int h = bh % heads, b = bh / heads, g = h / (heads / kv_heads);
  const unsigned short* qp = q_base + b * q_b + h * q_h;
  const unsigned short* kp = k_base + b * k_b + g * k_h;
  const unsigned short* vp = v_base + b * v_b + g * v_h;
  const int first = tile * BM, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int limit = CAUSAL ? min(T, first + BM) : T;
  const int steps = (limit + BN - 1) / BN;
  copy_tile<BM, WQ, QK, LDQ, THREADS>(sq, qp, q_s, first, S);
  if (steps > 0) {
    copy_tile<BN, WQ, QK, LDQ, THREADS>(sk, kp, k_s, 0, T);
    copy_tile<BN, WV, E, LDV, THREADS>(sv, vp, v_s, 0, T);
  }
  asm volatile("cp.async.commit_group;");
  __shared__ float mask_tile[MASK == 1 ? 2 : 1][BN];
  const auto load_mask = [&](int stage, int start) {
    const int col = start + threadIdx.x;
    if (MASK == 1 && threadIdx.x < BN) mask_tile[stage][threadIdx.x] = col < T ? mask_at(0, col) : 0.0f;
  };
  load_mask(0, 0);
  float out[MT][E / 8][4] = {};
  float top[MT][2], sum[MT][2];
#pragma unroll
  for (int m = 0; m < MT; ++m) {
    top[m][0] = top[m][1] = -INFINITY;
    sum[m][0] = sum[m][1] = 0.0f;
  }
  const int warp_row = first + warp * 16 * MT, row_low = warp_row + lane / 4;
  const unsigned q_at = sq + ((warp * 16 * MT + (lane & 15)) * LDQ + (lane >> 4) * 8) * 2;
  const unsigned k_at = ((lane >> 4) * 8 + (lane & 7)) * LDQ * 2 + ((lane >> 3) & 1) * 16;
  const unsigned v_at = (((lane >> 3) & 1) * 8 + (lane & 7)) * LDV * 2 + (lane >> 4) * 16;
  for (int step = 0; step < steps; ++step) {
    const int stage = step & 1, start = step * BN;
    if (step + 1 < steps) {
      const int next = stage ^ 1;
      load_mask(MASK == 1 ? next : 0, start + BN);
      copy_tile<BN, WQ, QK, LDQ, THREADS>(sk + next * BN * LDQ * 2, kp, k_s, start + BN, T);
      copy_tile<BN, WV, E, LDV, THREADS>(sv + next * BN * LDV * 2, vp, v_s, start + BN, T);
    }
    asm volatile("cp.async.commit_group;");
    asm volatile("cp.async.wait_group 1;");
    __syncthreads();
    const unsigned kt = sk + stage * BN * LDQ * 2 + k_at, vt = sv + stage * BN * LDV * 2 + v_at;
    float score[MT][BN / 8][4] = {};
#pragma unroll
    for (int k = 0; k < QK / 16; ++k) {
      unsigned qf[MT][4];
#pragma unroll
      for (int m = 0; m < MT; ++m) load_4(qf[m], q_at + (m * 16 * LDQ + k * 16) * 2);
#pragma unroll
      for (int n = 0; n < BN / 16; ++n) {
        unsigned f[4];
        load_4(f, kt + (n * 16 * LDQ + k * 16) * 2);
#pragma unroll
        for (int m = 0; m < MT; ++m) {
          multiply<BF16>(score[m][2 * n], qf[m], f[0], f[1]);
          multiply<BF16>(score[m][2 * n + 1], qf[m], f[2], f[3]);
        }
      }
    }
    const bool edge = start + BN > T || (CAUSAL && start + BN > warp_row);
#pragma unroll
    for (int m = 0; m < MT; ++m) {
      const int row_first = row_low + m * 16;
#pragma unroll
      for (int n = 0; n < BN / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float x = score[m][n][i] * scale;
          if (MASK == 1) x += mask_tile[MASK == 1 ? stage : 0][n * 8 + (lane & 3) * 2 + (i & 1)];
          if (MASK == 2) {
            const int row = row_first + (i >> 1) * 8, col = start + n * 8 + (lane & 3) * 2 + (i & 1);
            if (col < T && row < S) x += mask_at(row, col);
          }
          score[m][n][i] = x;
        }
      }
      if (edge) {
#pragma unroll
        for (int n = 0; n < BN / 8; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int row = row_first + (i >> 1) * 8, col = start + n * 8 + (lane & 3) * 2 + (i & 1);
            if (col >= T || (CAUSAL && col > row)) score[m][n][i] = -INFINITY;
          }
        }
      }
      float best[2] = {top[m][0], top[m][1]};
#pragma unroll
      for (int n = 0; n < BN / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) best[i >> 1] = fmaxf(best[i >> 1], score[m][n][i]);
      }
      float shrink[2], base[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 1));
        best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 2));
        base[r] = best[r] == -INFINITY ? 0.0f : best[r];
        shrink[r] = fast_exp2(top[m][r] - base[r]);
        top[m][r] = best[r];
        sum[m][r] *= shrink[r];
      }
#pragma unroll
      for (int e = 0; e < E / 8; ++e) {
        out[m][e][0] *= shrink[0]; out[m][e][1] *= shrink[0];
        out[m][e][2] *= shrink[1]; out[m][e][3] *= shrink[1];
      }
#pragma unroll
      for (int n = 0; n < BN / 8; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          score[m][n][i] = fast_exp2(score[m][n][i] - base[i >> 1]);
          sum[m][i >> 1] += score[m][n][i];
        }
      }
    }
#pragma unroll
    for (int n = 0; n < BN / 16; ++n) {
      unsigned p[MT][4];
#pragma unroll
      for (int m = 0; m < MT; ++m) {
#pragma unroll
        for (int i = 0; i < 4; ++i)
          p[m][i] = pack<BF16>(score[m][2 * n + (i >> 1)][2 * (i & 1)],
                               score[m][2 * n + (i >> 1)][2 * (i & 1) + 1]);
      }
#pragma unroll
      for (int e = 0; e < E / 16; ++e) {
        unsigned f[4];
        load_4_transposed(f, vt + (n * 16 * LDV + e * 16) * 2);
#pragma unroll
        for (int m = 0; m < MT; ++m) {
          multiply<BF16>(out[m][2 * e], p[m], f[0], f[1]);
          multiply<BF16>(out[m][2 * e + 1], p[m], f[2], f[3]);
        }
      }
    }
    __syncthreads();
  }
  unsigned short* op = o_base + b * o_b + h * o_h;
#pragma unroll
  for (int m = 0; m < MT; ++m) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float total = sum[m][r];
      total += __shfl_xor_sync(0xffffffffu, total, 1);
      total += __shfl_xor_sync(0xffffffffu, total, 2);
      const float inverse = total > 0.0f ? 1.0f / total : 0.0f;
      const int row = row_low + m * 16 + r * 8;
#pragma unroll
      for (int e = 0; e < E / 8; ++e) {
        const int col = e * 8 + (lane & 3) * 2;
        if (col < WV && row < S)
          *(unsigned*)(op + row * o_s + col) =
              pack<BF16>(out[m][e][2 * r] * inverse, out[m][e][2 * r + 1] * inverse);
      }
    }
  }
}
)";

}  // namespace stator::cuda
