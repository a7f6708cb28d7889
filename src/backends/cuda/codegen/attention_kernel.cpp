// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/attention_kernel.h"

#include <algorithm>
#include <cstdio>

#include "backends/cuda/codegen/kernel_frame.h"
#include "backends/cuda/codegen/op_printer.h"
#include "backends/cuda/codegen/source_text.h"
#include "backends/cuda/codegen/wgmma.h"

namespace stator::cuda {
namespace {

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
                 int blocks, int maps = 0) {
  const std::string type = memory_type(a.dtype);
  std::string s = "struct " + name + "_args { ";
  if (maps > 0) s += "TensorMap maps[" + num(maps) + "]; ";
  s += "void* b[" + num(buffers) + "]; i64 s[" +
       num(static_cast<int64_t>(attention_sizes(a).size())) + "]; i64* fault; };\n";
  s += "extern \"C\" __global__ void __launch_bounds__(" + num(threads) + ", " + num(blocks) +
       ") " + name + "(const __grid_constant__ " + name + "_args a) {\n";
  if (maps == 0) s += "  begin_kernel();\n";
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

/// The function mask_at(row, col) of a block whose tile has `rows` queries.
std::string mask_function(const AttentionRegion& a, const std::string& rows) {
  if (!a.has_mask) return "  const auto mask_at = [](int, int) { return 0.0f; };\n";
  const std::string pair = "(blockIdx.x / ((S + " + rows + " - 1) / (" + rows + "))";
  return std::string("  const ") + memory_type(a.mask_dtype) + "* m_row = m_base + " + pair +
         " / heads) * m_b + " + pair + " % heads) * m_h;\n" +
         "  const auto mask_at = [&](int row, int col) { return " +
         masked(a, "0.0f", "row", "col") + "; };\n";
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

/// Dense channels, widths up to `most`, rows at multiples of `vector` elements.
bool lies_in_vectors(const AttentionRegion& a, int64_t vector, int64_t most) {
  if (!a.qk_dim.is_constant() || !a.v_dim.is_constant()) return false;
  for (const Expr& width : {a.qk_dim, a.v_dim}) {
    const int64_t w = width.constant();
    if (w % vector != 0 || w < vector || w > most) return false;
  }
  for (const StridedView* view : {&a.q, &a.k, &a.v, &a.out}) {
    if (!view->strides[3].is_constant(1) || !is_multiple(view->offset, vector)) return false;
    for (size_t i = 0; i < 3; ++i) {
      if (!is_multiple(view->strides[i], vector)) return false;
    }
  }
  return true;
}

GeneratedKernel finish(const AttentionRegion& a, int buffers, const std::string& name,
                       std::string source, int threads, int64_t shared_bytes, const Expr& grid) {
  return finish_kernel(name, static_cast<size_t>(buffers), attention_sizes(a).size(),
                       std::move(source), threads, shared_bytes, grid);
}

}  // namespace

bool tiles_attention(const AttentionRegion& a) {
  return (a.dtype == DType::kFloat16 || a.dtype == DType::kBFloat16) && lies_in_vectors(a, 8, 256);
}

bool floats_attention(const AttentionRegion& a) {
  return a.dtype == DType::kFloat32 && lies_in_vectors(a, 4, 128);
}

bool wgmma_attention(const AttentionRegion& a) {
  if (!tiles_attention(a)) return false;
  // No tensor map repeats what it reads.
  const auto repeats = [](const Expr& extent, const Expr& stride) {
    return stride.is_constant(0) && !extent.is_constant(1);
  };
  const auto fits = [&](const StridedView& view, const Expr& heads, const Expr& length) {
    return !repeats(a.batch, view.strides[0]) && !repeats(heads, view.strides[1]) &&
           !repeats(length, view.strides[2]);
  };
  return fits(a.q, a.heads, a.q_length) && fits(a.k, a.kv_heads, a.kv_length) &&
         fits(a.v, a.kv_heads, a.kv_length);
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
  constexpr int kThreads = 128;
  const int row_tiles = query_tile / 64;  // of 16 rows, for each of four warps
  const int mask = !a.has_mask ? 0 : a.mask.strides[2].is_constant(0) ? 1 : 2;
  std::string s = "namespace " + name + "_space {" + kTileFunctions + "}\n";
  s += head(a, buffers, name, kThreads, row_tiles == 1 ? 3 : 2);
  s += "  using namespace " + name + "_space;\n";
  s += "  constexpr int QK = " + num(qk) + ", E = " + num(channels) + ", BM = " + num(query_tile) +
       ", MT = " + num(row_tiles) + ", THREADS = " + num(kThreads) +
       ", WQ = " + num(a.qk_dim.constant()) + ", WV = " + num(a.v_dim.constant()) +
       ", MASK = " + num(mask) + ";\n";
  s += std::string("  constexpr bool CAUSAL = ") + (a.causal ? "true" : "false") +
       ", BF16 = " + (a.dtype == DType::kBFloat16 ? "true" : "false") + ";\n";
  s += "  const float scale = " + real(a.scale * 1.4426950408889634) + ";\n";
  s += mask_function(a, "BM");
  s += kTiledAttentionBody;
  const int64_t rows = query_tile + 2 * 64;  // of the queries, and of two stages of keys
  return finish(a, buffers, name, s, kThreads, 2 * (rows * (qk + 8) + 2 * 64 * (channels + 8)),
                ceil_div(a.q_length, Expr(query_tile)) * a.batch * a.heads);
}

GeneratedKernel generate_wgmma_attention(const AttentionRegion& a, int buffers, int groups,
                                         int key_tile, const std::string& name) {
  const auto panels = [](const Expr& width) { return (width.constant() + 63) / 64 * 64; };
  const int64_t qk = panels(a.qk_dim), channels = panels(a.v_dim);
  const int mask = !a.has_mask ? 0 : a.mask.strides[2].is_constant(0) ? 1 : 2;
  const bool bf16 = a.dtype == DType::kBFloat16;
  constexpr int kStages = 3;
  // Registers a thread: scores, weights in halves, the results, and what surrounds them.
  const int64_t registers = key_tile / 2 + key_tile / 4 + channels / 2 + 48;
  const int64_t groups_at_once = std::max<int64_t>(1, 65536 / (128 * ((registers + 7) / 8 * 8)));
  std::string s = "namespace " + name + "_space {" + kTileFunctions + kWgmmaFunctions;
  s += wgmma_function("score_wgmma", {key_tile, false, false, a.dtype});
  s += wgmma_function("value_wgmma", {static_cast<int>(channels), true, true, a.dtype}) + "}\n";
  s += head(a, buffers, name, 128 * groups,
            static_cast<int>(std::max<int64_t>(1, groups_at_once / groups)), 3);
  s += "  using namespace " + name + "_space;\n";
  s += "  constexpr int QK = " + num(qk) + ", E = " + num(channels) + ", GROUPS = " + num(groups) +
       ", BN = " + num(key_tile) + ", STAGES = " + num(kStages) +
       ", WQ = " + num(a.qk_dim.constant()) + ", WV = " + num(a.v_dim.constant()) +
       ", MASK = " + num(mask) + ";\n";
  s += std::string("  constexpr bool CAUSAL = ") + (a.causal ? "true" : "false") +
       ", BF16 = " + (bf16 ? "true" : "false") +
       ", RAW = " + (mask == 0 && a.scale > 0 ? "true" : "false") + ";\n";
  s += "  const float scale = " + real(a.scale * 1.4426950408889634) + ";\n";
  s += mask_function(a, "GROUPS * 64") + kWgmmaAttentionBody;
  GeneratedKernel kernel =
      finish(a, buffers, name, s, 128 * groups,
             1024 + 2 * (64 * groups * qk + kStages * key_tile * (qk + channels)),
             ceil_div(a.q_length, Expr(64 * groups)) * a.batch * a.heads);
  const auto map = [&](const StridedView& view, const Expr& heads, const Expr& length,
                       const Expr& width, int rows) {
    kernel.payload.maps.push_back({view.buffer, a.dtype, {64, rows, 1, 1}});
    kernel.map_sizes.insert(kernel.map_sizes.end(),
                            {view.offset, width, length, heads, a.batch, view.strides[2],
                             view.strides[1], view.strides[0]});
  };
  map(a.q, a.heads, a.q_length, a.qk_dim, 64 * groups);
  map(a.k, a.kv_heads, a.kv_length, a.qk_dim, key_tile);
  map(a.v, a.kv_heads, a.kv_length, a.v_dim, key_tile);
  return kernel;
}

GeneratedKernel generate_float_attention(const AttentionRegion& a, int buffers, bool exact,
                                         const std::string& name) {
  constexpr int kThreads = 128;
  const auto padded_8 = [](const Expr& width) { return (width.constant() + 7) / 8 * 8; };
  const int64_t qk = padded_8(a.qk_dim), channels = padded_8(a.v_dim);
  std::string s = "namespace " + name + "_space {" + kFloatAttentionFunctions + "}\n";
  s += head(a, buffers, name, kThreads, 1) + "  using namespace " + name + "_space;\n";
  s += "  constexpr int QK = " + num(qk) + ", E = " + num(channels) +
       ", WQ = " + num(a.qk_dim.constant()) + ", WV = " + num(a.v_dim.constant()) +
       ", TERMS = " + num(exact ? 3 : 1) + ";\n";
  s += std::string("  constexpr bool CAUSAL = ") + (a.causal ? "true" : "false") + ";\n";
  s += "  const float scale = " + real(a.scale * 1.4426950408889634) + ";\n";
  s += mask_function(a, "64") + kFloatAttentionBody;
  return finish(a, buffers, name, s, kThreads, 4 * 2 * 64 * (qk + 4 + channels + 4),
                ceil_div(a.q_length, Expr(64)) * a.batch * a.heads);
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
  return finish(a, buffers, name, s, kThreads, 0,
                ceil_div(a.batch * a.heads * a.q_length, Expr(4)));
}

}  // namespace stator::cuda
