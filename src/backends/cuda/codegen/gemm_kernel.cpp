// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/gemm_kernel.h"

#include <algorithm>

#include "backends/cuda/codegen/kernel_frame.h"
#include "backends/cuda/codegen/source_text.h"
#include "backends/cuda/codegen/tile_operands.h"
#include "backends/cuda/codegen/wgmma.h"
#include "base/check.h"
#include "base/float_element.h"

namespace stator::cuda {
namespace {

constexpr int kSharedBytes = 224 * 1024;  // of a multiprocessor, less what the system takes
constexpr int64_t kFewBlocks = 132;
constexpr int kPadding = 8;  // floats between rows of sums, so that they lie in other banks

std::string flag(const char* name, bool value) {
  return std::string("  constexpr bool ") + name + " = " + (value ? "true" : "false") + ";\n";
}

/// How much of a multiprocessor a block takes, and how many stages that leaves it.
struct Occupancy {
  int threads, blocks, stages, stage_bytes, shared_bytes;
};

Occupancy occupancy(const TileShape& shape, int64_t steps, const Expr& grid) {
  Occupancy o{};
  o.threads = 128 * shape.groups + 32;
  const int registers = (shape.columns / 2 + 46 + 7) / 8 * 8;
  o.stage_bytes = (64 * shape.groups + shape.columns) * kTileDepth * 2;
  o.blocks = std::clamp(65536 / (o.threads * registers), 1, 4);
  while (o.blocks > 1 && kSharedBytes / o.blocks / o.stage_bytes < 3) --o.blocks;
  o.stages = std::clamp((kSharedBytes / o.blocks - 2048) / o.stage_bytes, 2, 8);
  // With a block or two for each multiprocessor there is room for more that is on its way.
  const bool few = grid.is_constant() && grid.constant() <= kFewBlocks;
  if (few) o.stages = std::clamp((kSharedBytes / 2 - 2048) / o.stage_bytes, o.stages, 16);
  const int64_t share = (steps + shape.split - 1) / shape.split;
  o.stages = static_cast<int>(std::clamp<int64_t>(share, 2, o.stages));
  o.shared_bytes = o.stages * o.stage_bytes;
  const int sums = 64 * shape.groups * (shape.columns + kPadding) * 4;
  if (shape.split > 1) o.shared_bytes = std::max(o.shared_bytes, sums);
  o.shared_bytes += 1024;  // to begin at a multiple of that
  return o;
}

// Before it stand GROUPS, BN, SPLIT, STAGES, STEPS, BOX_ROWS, B_ROWS_ALONG_K, B_CONSTANT,
// DOWN_FIRST, N and the operands' constants. ORIGIN, COPY_A and COPY_B are theirs. Ends before the
// epilogue.
const char* const kMainLoop = R"(
  constexpr int BM = GROUPS * 64, A_BYTES = BM * 128, STAGE = A_BYTES + BN * 128;
  constexpr int ASKED = BOX_ROWS * 128 + BN * 128;
  extern __shared__ __align__(1024) unsigned char memory[];
  __shared__ __align__(8) u64 barriers[2 * STAGES];
  const unsigned tiles_at = ((unsigned)__cvta_generic_to_shared(memory) + 1023u) & ~1023u;
  const unsigned full = (unsigned)__cvta_generic_to_shared(barriers), empty = full + 8 * STAGES;
  const int across = (N + BN - 1) / BN;
  const int rank = blockIdx.x % SPLIT, place = blockIdx.x / SPLIT, down = gridDim.x / SPLIT / across;
  const int tile = DOWN_FIRST ? place % down : place / across;
  const int first_column = (DOWN_FIRST ? place / down : place % across) * BN;
  const int begin = rank * STEPS / SPLIT, steps = (rank + 1) * STEPS / SPLIT - begin;
  @ORIGIN@
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
  let_next_come();
  if (warp == GROUPS * 4) {  // asks for the tiles
    if (lane == 0) {
      const auto ask_b = [&](int i) {
        const int t = begin + i;
        const unsigned at = tiles_at + i % STAGES * STAGE, ready = full + 8 * (i % STAGES);
        barrier_expect(ready, ASKED);
        @COPY_B@
      };
      if (B_CONSTANT) {  // nobody writes them: they need not wait
        for (int i = 0; i < STAGES && i < steps; ++i) ask_b(i);
      }
      wait_for_previous();
      for (int i = 0; i < steps; ++i) {
        const int t = begin + i;
        const unsigned at = tiles_at + i % STAGES * STAGE, ready = full + 8 * (i % STAGES);
        if (i >= STAGES) barrier_wait(empty + 8 * (i % STAGES), (i / STAGES - 1) & 1);
        if (!B_CONSTANT || i >= STAGES) ask_b(i);
        @COPY_A@
      }
    }
    return;
  }
  wait_for_previous();
  Accumulator acc[BN / 2];
#pragma unroll
  for (int i = 0; i < BN / 2; ++i) acc[i] = Accumulator(0);
  const int group = warp / 4;
#pragma unroll 1
  for (int i = 0; i < steps; ++i) {
    const int stage = i % STAGES;
    barrier_wait(full + 8 * stage, i / STAGES & 1);
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
    if (lane == 0 && i > 0) barrier_arrive(empty + 8 * ((i - 1) % STAGES));
  }
  wgmma_wait<0>();
)";

// Four lanes hold two neighbouring columns each of four groups of eight: each gets one group whole.
const char* const kTranspose = R"(
__device__ __forceinline__ void take_group(Accumulator (&v)[8]) {
  const bool odd = threadIdx.x & 1, high = threadIdx.x & 2;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int low = i / 2 * 4 + i % 2;
    const Accumulator got = __shfl_xor_sync(0xffffffffu, odd ? v[low] : v[low + 2], 1);
    if (odd) v[low] = got; else v[low + 2] = got;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const Accumulator got = __shfl_xor_sync(0xffffffffu, high ? v[i] : v[i + 4], 2);
    if (high) v[i] = got; else v[i + 4] = got;
  }
}
)";

// Every thread has eight neighbouring columns of a row in turn.
const char* const kOwnSums = R"(
#pragma unroll
  for (int part = 0; part < BN / 32; ++part) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      Accumulator sums[8];
#pragma unroll
      for (int i = 0; i < 8; ++i) sums[i] = acc[part * 16 + i / 2 * 4 + 2 * r + i % 2];
      take_group(sums);
      const int tile_row = group * 64 + warp % 4 * 16 + lane / 4 + 8 * r;
      const int column = first_column + part * 32 + (lane & 3) * 8;
)";

const char* const kClusterFunctions = R"(
__device__ __forceinline__ void cluster_barrier() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n"
               "barrier.cluster.wait.acquire.aligned;" ::: "memory");
}
__device__ __forceinline__ void add_peer(Accumulator* v, unsigned at, int rank) {
  unsigned there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(at), "r"(rank));
  unsigned x, y, z, w;
  asm volatile("ld.shared::cluster.v4.b32 {%0, %1, %2, %3}, [%4];"
               : "=r"(x), "=r"(y), "=r"(z), "=r"(w) : "r"(there) : "memory");
  v[0] += from_bits(x); v[1] += from_bits(y); v[2] += from_bits(z); v[3] += from_bits(w);
}
)";

// The blocks of a cluster lay down their sums, and each adds up its part of the tile.
const char* const kSharedSums = R"(
  constexpr int PITCH = BN + PADDING, VECTORS = BM * BN / 8, PART = VECTORS / SPLIT;
  asm volatile("bar.sync 1, %0;" :: "n"(GROUPS * 128) : "memory");
  {
    const int row = group * 64 + warp % 4 * 16 + lane / 4;
#pragma unroll
    for (int i = 0; i < BN / 8; ++i) {
#pragma unroll
      for (int r = 0; r < 2; ++r)
        asm volatile("st.shared.v2.b32 [%0], {%1, %2};"
                     :: "r"(tiles_at + ((row + 8 * r) * PITCH + i * 8 + (lane & 3) * 2) * 4),
                        "r"(bits(acc[i * 4 + 2 * r])), "r"(bits(acc[i * 4 + 2 * r + 1]))
                     : "memory");
    }
  }
  cluster_barrier();
  for (int vector = threadIdx.x; vector < PART; vector += GROUPS * 128) {
    {
      Accumulator sums[8] = {};
      const int at = rank * PART + vector, tile_row = at / (BN / 8);
      const int column = first_column + at % (BN / 8) * 8;
#pragma unroll
      for (int peer = 0; peer < SPLIT; ++peer) {
        const unsigned from = tiles_at + (tile_row * PITCH + at % (BN / 8) * 8) * 4;
        add_peer(sums, from, peer);
        add_peer(sums + 4, from + 16, peer);
      }
)";

// Rows of an odd number of columns begin anywhere: eight columns at a time go to shared memory, and
// from there each warp writes whole rows.
const char* const kStaged = R"(
  constexpr int PITCH = BN + PADDING;
  unsigned short* const staged = reinterpret_cast<unsigned short*>(
      memory + (tiles_at - (unsigned)__cvta_generic_to_shared(memory)));
  asm volatile("bar.sync 1, %0;" :: "n"(GROUPS * 128) : "memory");
)";

// Before it stands where row `tile_row` goes: `to`.
const char* const kWriteRow = R"(
      const unsigned short* const from = staged + tile_row * PITCH;
      const int count = min(BN, N - first_column), head = (reinterpret_cast<u64>(to) >> 1) & 1;
      if (lane == 0 && head) to[0] = from[0];
#pragma unroll 4
      for (int c = head + 2 * lane; c + 1 < count; c += 64)
        *reinterpret_cast<unsigned*>(to + c) = from[c] | (unsigned)from[c + 1] << 16;
      if (lane == 0 && ((count - head) & 1)) to[count - 1] = from[count - 1];
)";

// What a product is summed in.
const char* const kFloatSums = R"(
typedef float Accumulator;
__device__ __forceinline__ unsigned bits(Accumulator v) { return __float_as_uint(v); }
__device__ __forceinline__ Accumulator from_bits(unsigned v) { return __uint_as_float(v); }
)";
const char* const kByteSums = R"(
typedef int Accumulator;
__device__ __forceinline__ unsigned bits(Accumulator v) { return unsigned(v); }
__device__ __forceinline__ Accumulator from_bits(unsigned v) { return Accumulator(v); }
)";

void replace(std::string& text, const std::string& mark, const std::string& with) {
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at)) {
    text.replace(at, mark.size(), with);
    at += with.size();
  }
}

std::string main_loop(const TileOperands& operands) {
  std::string text = kMainLoop;
  replace(text, "@ORIGIN@", operands.origin);
  replace(text, "@COPY_A@", operands.copy_a);
  replace(text, "@COPY_B@", operands.copy_b);
  return text;
}

/// Eight columns from `column` of the row that TileOperands::place names.
PrintPoint eight_columns(const TileOperands& operands) {
  PrintPoint point;
  point.index = operands.index;
  point.index.emplace_back("column");
  point.lane_dim = static_cast<int>(point.index.size()) - 1;
  point.lanes = 8;
  return point;
}

/// The epilogue on `sums`, eight columns from `column` of row `tile_row`.
std::string epilogue(const TileOperands& operands, const LoopRequest& request,
                     const KernelScope& scope) {
  SourceWriter out;
  out.line("if (inside && column < N) {");
  PrintPoint point = eight_columns(operands);
  OpPrinter ops(scope, out, "v");
  ops.set_accumulators({"sums", true});
  for (const LoopStore& store : request.program->stores) ops.store(store, point);
  out.line("}");
  return operands.place + out.text();
}

/// The same through shared memory, for an epilogue that reads nothing but the sums.
std::string staged_epilogue(const TileOperands& operands, const LoopRequest& request,
                            const KernelScope& scope) {
  const LoopStore& store = request.program->stores.front();
  SourceWriter out;
  PrintPoint point = eight_columns(operands);
  OpPrinter ops(scope, out, "v");
  ops.set_accumulators({"sums", true});
  const OpPrinter::Value value = ops.get(store.value, point);
  out.line("Vec<unsigned short, 8> t;");
  out.line("#pragma unroll");
  out.line("for (int l = 0; l < 8; ++l) t.e[l] = " +
           to_memory(scope.buffer_types[static_cast<size_t>(store.buffer)], value.at("l")) + ";");
  out.line(
      "*reinterpret_cast<Vec<unsigned short, 8>*>(staged + tile_row * PITCH + column - "
      "first_column) = t;");
  std::string s = kStaged + std::string(kOwnSums) + out.text() + "    }\n  }\n";
  s += "  asm volatile(\"bar.sync 1, %0;\" :: \"n\"(GROUPS * 128) : \"memory\");\n";
  s += "  for (int tile_row = warp; tile_row < BM; tile_row += GROUPS * 4) {\n" + operands.place;
  s += "    if (inside) {\n";
  point.index.back() = "first_column";
  s += "      unsigned short* const to = b" + num(store.buffer) + " + " +
       ops.index(store.index, point, "") + ";\n" + kWriteRow;
  return s;
}

GeneratedKernel generate(const TileOperands& operands, const LoopRequest& request,
                         const KernelScope& scope, const TileShape& shape) {
  STATOR_CHECK(shape.columns % 32 == 0 && shape.columns <= 256 && shape.split <= 8,
               request.name + " is cut into impossible tiles");
  const Expr grid = operands.row_tiles *
                    Expr((operands.columns + shape.columns - 1) / shape.columns * shape.split);
  const Occupancy o = occupancy(shape, operands.steps, grid);
  const bool shared = shape.split > 1, staged = operands.columns % 8 != 0;
  STATOR_CHECK(!(shared && staged), request.name + " is cut along its depth");
  std::string s = "namespace " + request.name + "_space {" + kWgmmaFunctions;
  s += is_half(operands.dtype) ? kFloatSums : kByteSums;
  s += shared ? kClusterFunctions : kTranspose;
  s += wgmma_function("multiply", {shape.columns, false, operands.b_rows_along_k, operands.dtype}) +
       "}\n";
  s += kernel_head(request, scope, num(o.threads) + ", " + num(o.blocks), 2, shape.split);
  s += "  using namespace " + request.name + "_space;\n";
  s += "  constexpr int GROUPS = " + num(shape.groups) + ", BN = " + num(shape.columns) +
       ", SPLIT = " + num(shape.split) + ", STAGES = " + num(o.stages) +
       ", STEPS = " + num(operands.steps) + ", BOX_ROWS = " + num(operands.box_rows) +
       ", PADDING = " + num(kPadding) + ", N = " + num(operands.columns) + ";\n";
  s += flag("B_ROWS_ALONG_K", operands.b_rows_along_k) + flag("B_CONSTANT", operands.b_constant) +
       flag("DOWN_FIRST", operands.down_first);
  s += operands.constants + main_loop(operands);
  if (staged) {
    s += staged_epilogue(operands, request, scope);
  } else {
    s += (shared ? kSharedSums : kOwnSums) + epilogue(operands, request, scope);
  }
  s += "    }\n  }\n";
  if (shared) s += "  cluster_barrier();\n";
  GeneratedKernel kernel = finish_kernel(request, s + "}\n", o.threads, o.shared_bytes, grid);
  kernel.payload.maps = operands.maps;
  kernel.map_sizes = operands.map_sizes;
  return kernel;
}

}  // namespace

GeneratedKernel generate_product(const TiledProduct& product, const LoopRequest& request,
                                 const TileShape& shape) {
  const KernelScope scope = make_scope(request);
  return generate(operands_of(product, request, scope, shape), request, scope, shape);
}

GeneratedKernel generate_convolution(const ConvolutionContraction& convolution,
                                     const LoopRequest& request, const TileShape& shape) {
  const KernelScope scope = make_scope(request);
  return generate(operands_of(convolution, request, scope, shape), request, scope, shape);
}

}  // namespace stator::cuda
