// SPDX-License-Identifier: Apache-2.0
//
// The body of attention in float32 on tensor cores: operands rounded to TF32, or (TERMS 3) split in
// two such parts, whose three products that matter give nearly float32's accuracy (after the
// CUTLASS documentation's 3xTF32).
//
// Before it stand, as constants: QK, E (widths, padded to 8), WQ, WV (true widths), TERMS, CAUSAL,
// scale; and mask_at(row, col), which gives what is added to a score in units of log 2.
#include "backends/cuda/codegen/attention_kernel.h"

namespace stator::cuda {

const char* const kFloatAttentionFunctions = R"(
__device__ __forceinline__ unsigned to_tf32(float x) {
  unsigned r;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(r) : "f"(x));
  return r;
}
__device__ __forceinline__ void multiply_tf32(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                              unsigned b1) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, "
               "{%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <int TERMS> struct Operand {
  unsigned high[4], low[TERMS > 1 ? 4 : 1];
  __device__ __forceinline__ Operand(float a0, float a1, float a2, float a3) {
    const float a[4] = {a0, a1, a2, a3};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      high[i] = to_tf32(a[i]);
      if (TERMS > 1) low[TERMS > 1 ? i : 0] = to_tf32(a[i] - __uint_as_float(high[i]));
    }
  }
  __device__ __forceinline__ void multiply(float (&c)[4], float b0, float b1) const {
    const unsigned h0 = to_tf32(b0), h1 = to_tf32(b1);
    if constexpr (TERMS > 1) {
      multiply_tf32(c, high, to_tf32(b0 - __uint_as_float(h0)), to_tf32(b1 - __uint_as_float(h1)));
      multiply_tf32(c, low, h0, h1);
    }
    multiply_tf32(c, high, h0, h1);
  }
};
// Rows [first, first + ROWS) of a matrix of `length` rows and WIDTH (of PADDED) columns into shared
// memory with LD elements a row; what lies beyond is 0.
template <int ROWS, int WIDTH, int PADDED, int LD, int THREADS>
__device__ __forceinline__ void copy_rows(unsigned to, const float* from, i64 stride, int first,
                                          int length) {
#pragma unroll
  for (int c = threadIdx.x; c < ROWS * (PADDED / 4); c += THREADS) {
    const int row = c / (PADDED / 4), piece = c % (PADDED / 4);
    const bool inside = first + row < length && piece * 4 < WIDTH;
    const float* source = inside ? from + (first + row) * stride + piece * 4 : from;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::
                 "r"(to + (row * LD + piece * 4) * 4), "l"(source), "r"(inside ? 16 : 0));
  }
}
)";

const char* const kFloatAttentionBody = R"(
  constexpr int BM = 64, BN = 64, THREADS = 128, LDK = QK + 4, LDV = E + 4;
  extern __shared__ __align__(16) float memory[];
  float* const keys_at = memory;
  float* const values_at = memory + 2 * BN * LDK;
  const unsigned sk = (unsigned)__cvta_generic_to_shared(keys_at), sv = sk + 2 * BN * LDK * 4;
  const int tiles = (S + BM - 1) / BM;
  const int tile = tiles - 1 - blockIdx.x % tiles, bh = blockIdx.x / tiles;
  const int h = bh % heads, b = bh / heads, g = h / (heads / kv_heads);
  const float* qp = q_base + b * q_b + h * q_h;
  const float* kp = k_base + b * k_b + g * k_h;
  const float* vp = v_base + b * v_b + g * v_h;
  const int first = tile * BM, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int limit = CAUSAL ? min(T, first + BM) : T;
  const int steps = (limit + BN - 1) / BN;
  const auto load_tile = [&](int step) {
    if (step < steps) {
      copy_rows<BN, WQ, QK, LDK, THREADS>(sk + (step & 1) * BN * LDK * 4, kp, k_s, step * BN, T);
      copy_rows<BN, WV, E, LDV, THREADS>(sv + (step & 1) * BN * LDV * 4, vp, v_s, step * BN, T);
    }
    asm volatile("cp.async.commit_group;");
  };
  load_tile(0);
  const int row_low = first + warp * 16 + lane / 4, column = lane & 3;
  float query[QK / 8][4];
#pragma unroll
  for (int k = 0; k < QK / 8; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = row_low + (i & 1) * 8, d = k * 8 + column + (i >> 1) * 4;
      query[k][i] = row < S && d < WQ ? qp[row * q_s + d] : 0.0f;
    }
  }
  float out[E / 8][4] = {}, top[2] = {-INFINITY, -INFINITY}, sum[2] = {};
  for (int step = 0; step < steps; ++step) {
    const int start = step * BN;
    load_tile(step + 1);
    asm volatile("cp.async.wait_group 1;");
    __syncthreads();
    const float* keys = keys_at + (step & 1) * BN * LDK + (lane / 4) * LDK + column;
    const float* values = values_at + (step & 1) * BN * LDV + 2 * column * LDV + lane / 4;
    float score[BN / 8][4] = {};
#pragma unroll
    for (int k = 0; k < QK / 8; ++k) {
      const Operand<TERMS> q(query[k][0], query[k][1], query[k][2], query[k][3]);
#pragma unroll
      for (int n = 0; n < BN / 8; ++n)
        q.multiply(score[n], keys[n * 8 * LDK + k * 8], keys[n * 8 * LDK + k * 8 + 4]);
    }
    const bool edge = start + BN > T || (CAUSAL && start + BN > first + warp * 16);
#pragma unroll
    for (int n = 0; n < BN / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = row_low + (i >> 1) * 8, col = start + n * 8 + column * 2 + (i & 1);
        float x = score[n][i] * scale;
        if (col < T && row < S) x += mask_at(row, col);
        score[n][i] = edge && (col >= T || (CAUSAL && col > row)) ? -INFINITY : x;
      }
    }
    float best[2] = {top[0], top[1]}, shrink[2], base[2];
#pragma unroll
    for (int n = 0; n < BN / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) best[i >> 1] = fmaxf(best[i >> 1], score[n][i]);
    }
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 1));
      best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 2));
      base[r] = best[r] == -INFINITY ? 0.0f : best[r];
      shrink[r] = exp2f(top[r] - base[r]);
      top[r] = best[r];
      sum[r] *= shrink[r];
    }
#pragma unroll
    for (int e = 0; e < E / 8; ++e) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out[e][i] *= shrink[i >> 1];
    }
#pragma unroll
    for (int n = 0; n < BN / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        score[n][i] = exp2f(score[n][i] - base[i >> 1]);
        sum[i >> 1] += score[n][i];
      }
      // A thread's two columns are k and k + 4 of the operand: the keys are taken in that order.
      const Operand<TERMS> p(score[n][0], score[n][2], score[n][1], score[n][3]);
#pragma unroll
      for (int e = 0; e < E / 8; ++e)
        p.multiply(out[e], values[n * 8 * LDV + e * 8], values[(n * 8 + 1) * LDV + e * 8]);
    }
    __syncthreads();
  }
  float* op = o_base + b * o_b + h * o_h;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float total = sum[r];
    total += __shfl_xor_sync(0xffffffffu, total, 1);
    total += __shfl_xor_sync(0xffffffffu, total, 2);
    const float inverse = total > 0.0f ? 1.0f / total : 0.0f;
    const int row = row_low + r * 8;
#pragma unroll
    for (int e = 0; e < E / 8; ++e) {
      const int col = e * 8 + column * 2;
      if (col < WV && row < S)
        *(Vec<float, 2>*)(op + row * o_s + col) =
            {out[e][2 * r] * inverse, out[e][2 * r + 1] * inverse};
    }
  }
}
)";

}  // namespace stator::cuda
