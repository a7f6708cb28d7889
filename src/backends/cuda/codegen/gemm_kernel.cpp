// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/gemm_kernel.h"

#include <algorithm>

#include "backends/cuda/codegen/kernel_frame.h"
#include "backends/cuda/codegen/wgmma.h"
#include "base/check.h"

namespace stator::cuda {
namespace {

constexpr int kSharedBytes = 224 * 1024;  // of a multiprocessor, less what the system takes
constexpr int kDepth = 64;                // of k in a stage: a row of 128 bytes

std::string num(int v) { return std::to_string(v); }

/// How much of a multiprocessor a block takes, and how many stages that leaves it.
struct Occupancy {
  int threads, blocks, stages, stage_bytes;
};

Occupancy occupancy(int groups, int columns) {
  Occupancy o{};
  o.threads = 128 * groups + 32;
  const int registers = (columns / 2 + 46 + 7) / 8 * 8;
  o.stage_bytes = (64 * groups + columns) * kDepth * 2;
  o.blocks = std::clamp(65536 / (o.threads * registers), 1, 4);
  while (o.blocks > 1 && kSharedBytes / o.blocks / o.stage_bytes < 3) --o.blocks;
  o.stages = std::clamp((kSharedBytes / o.blocks - 2048) / o.stage_bytes, 2, 8);
  return o;
}

// Before it stand GROUPS, BN, STAGES, K_TILES, B_ROWS_ALONG_K, M, N. Ends before the epilogue.
const char* const kMainLoop = R"(
  constexpr int BM = GROUPS * 64, A_BYTES = BM * 128, STAGE = A_BYTES + BN * 128;
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ __align__(8) u64 barriers[2 * STAGES];
  const unsigned tiles_at = ((unsigned)__cvta_generic_to_shared(memory) + 1023u) & ~1023u;
  const unsigned full = (unsigned)__cvta_generic_to_shared(barriers), empty = full + 8 * STAGES;
  const int across = (N + BN - 1) / BN;
  const int first_row = blockIdx.x / across * BM, first_column = blockIdx.x % across * BN;
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
#pragma unroll
    for (int i = 0; i < STAGES; ++i) {
      barrier_init(full + 8 * i, 1);
      barrier_init(empty + 8 * i, GROUPS * 4);
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
  }
  __syncthreads();
  begin_kernel();
  if (warp == GROUPS * 4) {  // asks for the tiles
    if (lane == 0) {
      for (int t = 0; t < K_TILES; ++t) {
        const int stage = t % STAGES, round = t / STAGES;
        if (round > 0) barrier_wait(empty + 8 * stage, (round - 1) & 1);
        const unsigned at = tiles_at + stage * STAGE, ready = full + 8 * stage;
        barrier_expect(ready, STAGE);
        copy_box(at, a.maps[0], ready, t * 64, first_row, 0, 0);
        if (B_ROWS_ALONG_K) {
#pragma unroll
          for (int p = 0; p < BN / 64; ++p)
            copy_box(at + A_BYTES + p * 8192, a.maps[1], ready, first_column + p * 64, t * 64, 0, 0);
        } else {
          copy_box(at + A_BYTES, a.maps[1], ready, t * 64, first_column, 0, 0);
        }
      }
    }
    return;
  }
  float acc[BN / 2];
#pragma unroll
  for (int i = 0; i < BN / 2; ++i) acc[i] = 0.0f;
  const int group = warp / 4;
#pragma unroll 1
  for (int t = 0; t < K_TILES; ++t) {
    const int stage = t % STAGES;
    barrier_wait(full + 8 * stage, t / STAGES & 1);
    const unsigned at = tiles_at + stage * STAGE + group * 8192;
    const unsigned b_at = tiles_at + stage * STAGE + A_BYTES;
    wgmma_fence();
#pragma unroll
    for (int k = 0; k < 4; ++k)
      multiply(acc, panel(at + k * 32, 0),
               B_ROWS_ALONG_K ? panel(b_at + k * 2048, 8192) : panel(b_at + k * 32, 0), 1);
    wgmma_commit();
    wgmma_wait<1>();
    // The tile before this one has been read.
    if (lane == 0 && t > 0) barrier_arrive(empty + 8 * ((t - 1) % STAGES));
  }
  wgmma_wait<0>();
  const int low_row = first_row + group * 64 + warp % 4 * 16 + lane / 4;
)";

// Four lanes hold two neighbouring columns each of four groups of eight: each gets one group whole.
const char* const kTranspose = R"(
__device__ __forceinline__ void take_group(float (&v)[8]) {
  const bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int low = i / 2 * 4 + i % 2;
    const float got = __shfl_xor_sync(0xffffffffu, odd ? v[low] : v[low + 2], 1);
    if (odd) v[low] = got; else v[low + 2] = got;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float got = __shfl_xor_sync(0xffffffffu, high ? v[i] : v[i + 4], 2);
    if (high) v[i] = got; else v[i + 4] = got;
  }
}
)";

/// Declares the epilogue's indices from `row` and `column`.
PrintPoint point_of(const LoopRequest& request, const KernelScope& scope, SourceWriter& out) {
  const std::vector<LoopDim>& dims = request.program->dims;
  PrintPoint point;
  point.index.assign(dims.size(), "");
  point.index.back() = "column";
  point.lane_dim = static_cast<int>(dims.size()) - 1;
  point.lanes = 8;
  std::string rest = "row";
  for (size_t k = dims.size() - 1; k-- > 0;) {
    if (dims[k].extent.is_constant(1)) {
      point.index[k] = "0";
      continue;
    }
    bool first = true;
    for (size_t j = 0; j < k; ++j) first = first && dims[j].extent.is_constant(1);
    const std::string extent = OpPrinter(scope, out, "").index(dims[k].extent, PrintPoint{}, "");
    const std::string name = "i" + std::to_string(k);
    out.line("const " + scope.index_type + " " + name + " = " +
             (first ? rest : rest + " % " + extent) + ";");
    point.index[k] = name;
    if (!first) {
      out.line("const " + scope.index_type + " rest" + name + " = " + rest + " / " + extent + ";");
      rest = "rest" + name;
    }
  }
  return point;
}

std::string print_epilogue(const LoopRequest& request, const KernelScope& scope) {
  SourceWriter out;
  out.line("#pragma unroll");
  out.line("for (int part = 0; part < BN / 32; ++part) {");
  out.line("#pragma unroll");
  out.line("for (int r = 0; r < 2; ++r) {");
  out.line("float sums[8];");
  out.line("#pragma unroll");
  out.line("for (int i = 0; i < 8; ++i) sums[i] = acc[part * 16 + i / 2 * 4 + 2 * r + i % 2];");
  out.line("take_group(sums);");
  out.line("const " + scope.index_type + " row = low_row + 8 * r;");
  out.line("const " + scope.index_type + " column = first_column + part * 32 + (lane & 3) * 8;");
  out.line("if (row < M && column < N) {");
  const PrintPoint point = point_of(request, scope, out);
  OpPrinter ops(scope, out, "v");
  for (size_t id = 0; id < request.program->ops.size(); ++id) {
    if (request.program->ops[id].kind == LoopOpKind::kAccumulator) {
      ops.set(static_cast<OpId>(id), {"sums", true});
    }
  }
  for (const LoopStore& store : request.program->stores) ops.store(store, point);
  out.line("}");
  out.line("}");
  out.line("}");
  return out.text();
}

}  // namespace

bool is_tileable(const TiledProduct& p) {
  if (p.dtype != DType::kFloat16 && p.dtype != DType::kBFloat16) return false;
  const bool sizes = p.n.is_constant() && p.k.is_constant() && p.n.constant() % 8 == 0 &&
                     p.n.constant() > 0 && p.k.constant() > 0;
  return sizes && is_multiple(p.a_offset, 8) && is_multiple(p.lda, 8) &&
         is_multiple(p.b_offset, 8) && is_multiple(p.ldb, 8);
}

GeneratedKernel generate_product(const TiledProduct& p, const LoopRequest& request, int groups,
                                 int columns) {
  STATOR_CHECK(is_tileable(p) && columns % 32 == 0 && columns <= 256 &&
                   (p.b_transposed || columns % 64 == 0),
               request.name + " is no product for tiles");
  const KernelScope scope = make_scope(request);
  const Occupancy o = occupancy(groups, columns);
  SourceWriter unused;
  const std::string rows = OpPrinter(scope, unused, "").index(p.m, PrintPoint{}, "");
  std::string s = "namespace " + request.name + "_space {" + kWgmmaFunctions + kTranspose;
  s += wgmma_function("multiply", {columns, false, !p.b_transposed, p.dtype == DType::kBFloat16}) +
       "}\n";
  s += kernel_head(request, scope, num(o.threads) + ", " + num(o.blocks), 2);
  s += "  using namespace " + request.name + "_space;\n";
  s += "  constexpr int GROUPS = " + num(groups) + ", BN = " + num(columns) +
       ", STAGES = " + num(o.stages) +
       ", K_TILES = " + std::to_string((p.k.constant() + kDepth - 1) / kDepth) +
       ", N = " + std::to_string(p.n.constant()) + ";\n";
  s += std::string("  constexpr bool B_ROWS_ALONG_K = ") + (p.b_transposed ? "false" : "true") +
       ";\n  const int M = (int)(" + rows + ");\n";
  s += kMainLoop + print_epilogue(request, scope) + "}\n";
  GeneratedKernel kernel;
  kernel.source = s;
  kernel.payload.function = request.name;
  kernel.payload.threads = o.threads;
  kernel.payload.shared_bytes = 1024 + o.stages * o.stage_bytes;
  kernel.payload.buffers = static_cast<int>(request.buffer_types.size());
  kernel.payload.sizes = static_cast<int>(request.symbols.size());
  kernel.grid = ceil_div(p.m, Expr(64 * groups)) * ceil_div(p.n, Expr(columns));
  kernel.payload.maps = {{p.a, p.dtype, {kDepth, 64 * groups, 1, 1}},
                         {p.b, p.dtype, {kDepth, p.b_transposed ? columns : kDepth, 1, 1}}};
  kernel.map_sizes = {p.a_offset, p.k, p.m, 1, 1, p.lda, 0, 0};
  const Expr fast = p.b_transposed ? p.k : p.n, slow = p.b_transposed ? p.n : p.k;
  kernel.map_sizes.insert(kernel.map_sizes.end(), {p.b_offset, fast, slow, 1, 1, p.ldb, 0, 0});
  return kernel;
}

}  // namespace stator::cuda
