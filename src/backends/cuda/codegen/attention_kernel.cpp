// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/attention_kernel.h"

#include <cstdio>

#include "backends/cuda/codegen/op_printer.h"

namespace stator::cuda {
namespace {

constexpr int kKeyTile = 64;

std::string num(int64_t v) { return std::to_string(v); }
int64_t padded(const Expr& width) { return (width.constant() + 15) / 16 * 16; }

std::string real(double v) {
  char text[64];
  std::snprintf(text, sizeof text, "%.9gf", v);
  return std::string(text).find_first_of(".en") == std::string::npos
             ? std::string(text).insert(std::string(text).size() - 1, ".0")
             : text;
}

/// The arguments' struct, the function's head, and every argument under its name.
std::string head(const AttentionRegion& a, int buffers, const std::string& name, int threads,
                 int blocks) {
  const std::string type = memory_type(a.dtype);
  std::string s = "struct " + name + "_args { void* b[" + num(buffers) + "]; i64 s[" +
                  num(static_cast<int64_t>(attention_sizes(a).size())) + "]; i64* fault; };\n";
  s += "extern \"C\" __global__ void __launch_bounds__(" + num(threads) + ", " + num(blocks) +
       ") " + name + "(const " + name + "_args a) {\n";
  s += "  const int heads = (int)a.s[1], kv_heads = (int)a.s[2];\n";
  s += "  const int S = (int)a.s[3], T = (int)a.s[4];\n";
  const auto pointer = [&](const char* id, const StridedView& view, int first, bool out,
                           const std::string& t) {
    const std::string p = (out ? "" : "const ") + t + "*";
    s += "  " + p + " " + id + "_base = (" + p + ")a.b[" + num(view.buffer) + "] + a.s[" +
         num(first) + "];\n";
    s += "  const i64 " + std::string(id) + "_b = a.s[" + num(first + 1) + "], " + id +
         "_h = a.s[" + num(first + 2) + "], " + id + "_s = a.s[" + num(first + 3) + "], " + id +
         "_d = a.s[" + num(first + 4) + "];\n";
  };
  pointer("q", a.q, 5, false, type);
  pointer("k", a.k, 10, false, type);
  pointer("v", a.v, 15, false, type);
  pointer("o", a.out, 20, true, type);
  if (a.has_mask) {
    pointer("m", a.mask, 25, false, memory_type(a.mask_dtype));
  }
  return s;
}

/// A score after scaling (in units of log 2) → with the mask at (row, col).
std::string masked(const AttentionRegion& a, const std::string& score, const std::string& row,
                   const std::string& col) {
  std::string value = score;
  if (a.has_mask) {
    const std::string at = "m_row[" + row + " * m_s + " + col + " * m_d]";
    value = a.mask_dtype == DType::kBool
                ? "(" + at + " ? " + value + " : -INFINITY)"
                : "(" + value + " + " + from_memory(a.mask_dtype, at) + " * 1.44269504f)";
  }
  return value;
}

const char* const kTileFunctions = R"(
__device__ __forceinline__ void load_4(unsigned (&r)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}
__device__ __forceinline__ void load_4_transposed(unsigned (&r)[4], unsigned address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(address));
}
template <bool BF16> __device__ __forceinline__ void multiply(float (&c)[4], const unsigned (&a)[4],
                                                              unsigned b0, unsigned b1) {
  if (BF16)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
template <bool BF16> __device__ __forceinline__ unsigned pack(float low, float high) {
  unsigned r;
  if (BF16) asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  else asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
}
// Rows [first, first + ROWS) of a matrix of `length` rows and WIDTH (of PADDED) columns into shared
// memory with LD elements a row; what lies beyond is 0.
template <int ROWS, int WIDTH, int PADDED, int LD, int THREADS>
__device__ __forceinline__ void copy_tile(unsigned to, const unsigned short* from, i64 stride,
                                          int first, int length) {
#pragma unroll
  for (int c = threadIdx.x; c < ROWS * (PADDED / 8); c += THREADS) {
    int row = c / (PADDED / 8), chunk = c % (PADDED / 8);
    bool inside = first + row < length && chunk * 8 < WIDTH;
    const unsigned short* source = inside ? from + (first + row) * stride + chunk * 8 : from;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::
                 "r"(to + (row * LD + chunk * 8) * 2), "l"(source), "r"(inside ? 16 : 0));
  }
}
)";

}  // namespace

bool tiles_attention(const AttentionRegion& a) {
  if (a.dtype != DType::kFloat16 && a.dtype != DType::kBFloat16) return false;
  if (!a.qk_dim.is_constant() || !a.v_dim.is_constant()) return false;
  for (const Expr& width : {a.qk_dim, a.v_dim}) {
    if (width.constant() % 8 != 0 || width.constant() < 8 || width.constant() > 256) return false;
  }
  for (const StridedView* view : {&a.q, &a.k, &a.v, &a.out}) {
    if (!view->strides[3].is_constant(1) || !is_multiple(view->offset, 8)) return false;
    for (int i = 0; i < 3; ++i) {
      if (!is_multiple(view->strides[static_cast<size_t>(i)], 8)) return false;
    }
  }
  return true;
}

std::vector<Expr> attention_sizes(const AttentionRegion& a) {
  std::vector<Expr> sizes = {a.batch, a.heads, a.kv_heads, a.q_length, a.kv_length};
  const auto add = [&sizes](const StridedView& view) {
    sizes.push_back(view.offset);
    sizes.insert(sizes.end(), view.strides.begin(), view.strides.end());
  };
  add(a.q);
  add(a.k);
  add(a.v);
  add(a.out);
  if (a.has_mask) add(a.mask);
  return sizes;
}

GeneratedKernel generate_tiled_attention(const AttentionRegion& a, int buffers, int query_tile,
                                         const std::string& name) {
  const int64_t qk = padded(a.qk_dim), channels = padded(a.v_dim);
  const int64_t q_ld = qk + 8, v_ld = channels + 8;
  const int threads = query_tile / 16 * 32;
  // The same mask for every query: each thread reads those of its columns once a tile.
  const bool rows_share_mask = a.has_mask && a.mask.strides[2].is_constant(0);
  const std::string bf16 = a.dtype == DType::kBFloat16 ? "true" : "false";
  std::string s = "namespace " + name + "_space {" + kTileFunctions + "}\n";
  s += head(a, buffers, name, threads, query_tile == 128 ? 2 : 3);
  s += "  using namespace " + name + "_space;\n";
  s += "  constexpr int QK = " + num(qk) + ", E = " + num(channels) + ", LDQ = " + num(q_ld) +
       ", LDV = " + num(v_ld) + ", BM = " + num(query_tile) + ", BN = " + num(kKeyTile) +
       ", THREADS = " + num(threads) + ", WQ = " + num(a.qk_dim.constant()) +
       ", WV = " + num(a.v_dim.constant()) + ";\n";
  s += "  constexpr bool CAUSAL = " + std::string(a.causal ? "true" : "false") + ";\n";
  s += "  const float scale = " + real(a.scale * 1.4426950408889634) + ";\n";
  s += R"(  extern __shared__ __align__(16) unsigned char memory[];
  const unsigned sq = (unsigned)__cvta_generic_to_shared(memory);
  const unsigned sk = sq + BM * LDQ * 2, sv = sk + 2 * BN * LDQ * 2;
  const int tiles = (S + BM - 1) / BM;
  // The longest rows of a causal mask begin first.
  const int tile = tiles - 1 - blockIdx.x % tiles, bh = blockIdx.x / tiles;
  const int h = bh % heads, b = bh / heads, g = h / (heads / kv_heads);
  const unsigned short* qp = q_base + b * q_b + h * q_h;
  const unsigned short* kp = k_base + b * k_b + g * k_h;
  const unsigned short* vp = v_base + b * v_b + g * v_h;
)";
  if (a.has_mask) {
    s += std::string("  const ") + memory_type(a.mask_dtype) +
         "* m_row = m_base + b * m_b + h * m_h;\n";
  }
  s += R"(  const int first = tile * BM, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int limit = CAUSAL ? min(T, first + BM) : T;
  const int steps = (limit + BN - 1) / BN;
  copy_tile<BM, WQ, QK, LDQ, THREADS>(sq, qp, q_s, first, S);
  if (steps > 0) {
    copy_tile<BN, WQ, QK, LDQ, THREADS>(sk, kp, k_s, 0, T);
    copy_tile<BN, WV, E, LDV, THREADS>(sv, vp, v_s, 0, T);
  }
  asm volatile("cp.async.commit_group;");
  float out[E / 8][4] = {};
  float top[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f};
  unsigned qf[QK / 16][4];
  const int row_low = first + warp * 16 + lane / 4;
  for (int step = 0; step < steps; ++step) {
    const int stage = step & 1, start = step * BN;
    if (step + 1 < steps) {
      const int next = stage ^ 1;
      copy_tile<BN, WQ, QK, LDQ, THREADS>(sk + next * BN * LDQ * 2, kp, k_s, start + BN, T);
      copy_tile<BN, WV, E, LDV, THREADS>(sv + next * BN * LDV * 2, vp, v_s, start + BN, T);
    }
    asm volatile("cp.async.commit_group;");
    asm volatile("cp.async.wait_group 1;");
    __syncthreads();
    if (step == 0) {
#pragma unroll
      for (int k = 0; k < QK / 16; ++k)
        load_4(qf[k], sq + ((warp * 16 + (lane & 15)) * LDQ + k * 16 + (lane >> 4) * 8) * 2);
    }
    const unsigned kt = sk + stage * BN * LDQ * 2, vt = sv + stage * BN * LDV * 2;
MASK_TILE    float score[BN / 8][4] = {};
#pragma unroll
    for (int k = 0; k < QK / 16; ++k) {
#pragma unroll
      for (int n = 0; n < BN / 16; ++n) {
        unsigned f[4];
        load_4(f, kt + ((n * 16 + (lane >> 4) * 8 + (lane & 7)) * LDQ + k * 16 +
                        ((lane >> 3) & 1) * 8) * 2);
        multiply<)" +
       bf16 + R"(>(score[2 * n], qf[k], f[0], f[1]);
        multiply<)" +
       bf16 + R"(>(score[2 * n + 1], qf[k], f[2], f[3]);
      }
    }
    const bool edge = start + BN > T || (CAUSAL && start + BN > first + warp * 16);
    float best[2] = {top[0], top[1]};
#pragma unroll
    for (int n = 0; n < BN / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int row = row_low + (i >> 1) * 8, col = start + n * 8 + (lane & 3) * 2 + (i & 1);
        float x = score[n][i] * scale;
        if (edge && (col >= T || (CAUSAL && col > row))) x = -INFINITY;
)";
  if (rows_share_mask) {
    s += "        x += bias[n][i & 1];\n";
  } else if (a.has_mask) {
    s += "        else if (col < T && row < S) x = " + masked(a, "x", "row", "col") + ";\n";
  }
  s += R"(        score[n][i] = x;
        best[i >> 1] = fmaxf(best[i >> 1], x);
      }
    }
    float shrink[2], base[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 1));
      best[r] = fmaxf(best[r], __shfl_xor_sync(0xffffffffu, best[r], 2));
      base[r] = best[r] == -INFINITY ? 0.0f : best[r];
      shrink[r] = fast_exp2(top[r] - base[r]);
      top[r] = best[r];
      sum[r] *= shrink[r];
    }
#pragma unroll
    for (int e = 0; e < E / 8; ++e) {
      out[e][0] *= shrink[0]; out[e][1] *= shrink[0];
      out[e][2] *= shrink[1]; out[e][3] *= shrink[1];
    }
#pragma unroll
    for (int n = 0; n < BN / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        score[n][i] = fast_exp2(score[n][i] - base[i >> 1]);
        sum[i >> 1] += score[n][i];
      }
    }
#pragma unroll
    for (int n = 0; n < BN / 16; ++n) {
      const unsigned p[4] = {pack<)" +
       bf16 + R"(>(score[2 * n][0], score[2 * n][1]),
                             pack<)" +
       bf16 + R"(>(score[2 * n][2], score[2 * n][3]),
                             pack<)" +
       bf16 + R"(>(score[2 * n + 1][0], score[2 * n + 1][1]),
                             pack<)" +
       bf16 + R"(>(score[2 * n + 1][2], score[2 * n + 1][3])};
#pragma unroll
      for (int e = 0; e < E / 16; ++e) {
        unsigned f[4];
        load_4_transposed(f, vt + ((n * 16 + ((lane >> 3) & 1) * 8 + (lane & 7)) * LDV + e * 16 +
                                   (lane >> 4) * 8) * 2);
        multiply<)" +
       bf16 + R"(>(out[2 * e], p, f[0], f[1]);
        multiply<)" +
       bf16 + R"(>(out[2 * e + 1], p, f[2], f[3]);
      }
    }
    __syncthreads();
  }
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 1);
    sum[r] += __shfl_xor_sync(0xffffffffu, sum[r], 2);
    sum[r] = sum[r] > 0.0f ? 1.0f / sum[r] : 0.0f;
  }
  unsigned short* op = o_base + b * o_b + h * o_h;
#pragma unroll
  for (int e = 0; e < E / 8; ++e) {
    const int col = e * 8 + (lane & 3) * 2;
    if (col < WV) {
      if (row_low < S)
        *(unsigned*)(op + row_low * o_s + col) = pack<)" +
       bf16 + R"(>(out[e][0] * sum[0], out[e][1] * sum[0]);
      if (row_low + 8 < S)
        *(unsigned*)(op + (row_low + 8) * o_s + col) = pack<)" +
       bf16 + R"(>(out[e][2] * sum[1], out[e][3] * sum[1]);
    }
  }
}
)";
  const std::string mask_tile = rows_share_mask ? R"(    float bias[BN / 8][2];
#pragma unroll
    for (int n = 0; n < BN / 8; ++n) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int col = start + n * 8 + (lane & 3) * 2 + i;
        bias[n][i] = col < T ? )" + masked(a, "0.0f", "0", "col") +
                                                      R"( : 0.0f;
      }
    }
)"
                                                : "";
  s.replace(s.find("MASK_TILE"), 9, mask_tile);
  GeneratedKernel kernel;
  kernel.source = s;
  kernel.payload.function = name;
  kernel.payload.threads = threads;
  kernel.payload.shared_bytes =
      static_cast<int>(2 * (query_tile * q_ld + 2 * kKeyTile * q_ld + 2 * kKeyTile * v_ld));
  kernel.payload.buffers = buffers;
  kernel.payload.sizes = static_cast<int>(attention_sizes(a).size());
  kernel.grid = ceil_div(a.q_length, Expr(query_tile)) * a.batch * a.heads;
  return kernel;
}

GeneratedKernel generate_plain_attention(const AttentionRegion& a, int buffers,
                                         const std::string& name) {
  constexpr int kThreads = 128;
  std::string s = head(a, buffers, name, kThreads, 1);
  s += "  constexpr int QK = " + num(a.qk_dim.constant()) + ", E = " + num(a.v_dim.constant()) +
       ", PER = (E + 31) / 32;\n";
  s += "  const float scale = " + real(a.scale * 1.4426950408889634) + ";\n";
  s += R"(  const int lane = threadIdx.x % 32;
  const i64 query = (i64)blockIdx.x * 4 + threadIdx.x / 32;
  if (query >= a.s[0] * heads * S) return;
  const int row = (int)(query % S), h = (int)(query / S % heads), b = (int)(query / S / heads);
  const int g = h / (heads / kv_heads);
)";
  if (a.has_mask) {
    s += std::string("  const ") + memory_type(a.mask_dtype) +
         "* m_row = m_base + b * m_b + h * m_h;\n";
  }
  const std::string limit = a.causal ? "min(T, row + 1)" : "T";
  s += "  float out[PER] = {};\n  float top = -INFINITY, sum = 0.0f;\n";
  s += "  for (int start = 0; start < " + limit + "; start += 32) {\n";
  s += "    const int col = start + lane;\n    float x = -INFINITY;\n";
  s += "    if (col < " + limit + ") {\n      float dot = 0.0f;\n";
  s += "      for (int d = 0; d < QK; ++d) dot += " +
       from_memory(a.dtype, "q_base[b * q_b + h * q_h + row * q_s + d * q_d]") + " * " +
       from_memory(a.dtype, "k_base[b * k_b + g * k_h + col * k_s + d * k_d]") + ";\n";
  s += "      x = dot * scale;\n";
  if (a.has_mask) s += "      x = " + masked(a, "x", "row", "col") + ";\n";
  s += R"(    }
    float best = fmaxf(top, fold<Max, 32>(x));
    const float base = best == -INFINITY ? 0.0f : best;
    const float shrink = exp2f(top - base), p = exp2f(x - base);
    top = best;
    sum = sum * shrink + fold<Sum, 32>(p);
    for (int i = 0; i < PER; ++i) out[i] *= shrink;
)";
  s += "    for (int j = 0; j < 32 && start + j < " + limit + "; ++j) {\n";
  s += "      const float w = __shfl_sync(0xffffffffu, p, j);\n";
  s += "      for (int i = 0; i < PER; ++i) {\n        const int e = i * 32 + lane;\n";
  s += "        if (e < E) out[i] += w * " +
       from_memory(a.dtype, "v_base[b * v_b + g * v_h + (start + j) * v_s + e * v_d]") +
       ";\n      }\n    }\n  }\n";
  s += "  const float scaled = sum > 0.0f ? 1.0f / sum : 0.0f;\n";
  s += "  for (int i = 0; i < PER; ++i) {\n    const int e = i * 32 + lane;\n";
  s += "    if (e < E) o_base[b * o_b + h * o_h + row * o_s + e * o_d] = " +
       to_memory(a.dtype, "out[i] * scaled") + ";\n  }\n}\n";
  GeneratedKernel kernel;
  kernel.source = s;
  kernel.payload.function = name;
  kernel.payload.threads = kThreads;
  kernel.payload.buffers = buffers;
  kernel.payload.sizes = static_cast<int>(attention_sizes(a).size());
  kernel.grid = ceil_div(a.batch * a.heads * a.q_length, Expr(4));
  return kernel;
}

}  // namespace stator::cuda
