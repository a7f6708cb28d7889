// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/gemm_kernel.h"

#include <algorithm>
#include <set>

#include "backends/cpu/codegen/packing_copy.h"
#include "base/check.h"

namespace stator::cpu {
namespace {

constexpr int64_t kHeaderBytes = 64;  // of scratch: the microkernel's step offset, the packed block

Expr round_up(const Expr& e, int64_t unit) { return ceil_div(e, unit) * unit; }

/// How the pieces of scratch follow one another, and what of a tactic depends on the region.
struct GemmLayout {
  bool split_k;  // C tiles live across blocks of k
  bool packs_a, packs_b;
  Expr k_block;  // most elements of k at once
  Expr row_blocks, column_blocks;
  int64_t tiles_in_rows, panels;
  int64_t tile_bytes;
  Expr a_bytes, b_bytes;
  int64_t c_bytes;

  GemmLayout(const MatmulContraction& matmul, const GemmTactic& tactic) {
    const Expr& k = matmul.k;
    split_k = tactic.k_block > 0 && !(k.is_constant() && k.constant() <= tactic.k_block);
    k_block = split_k ? min(k, tactic.k_block) : k;
    packs_a = tactic.pack_a || !matmul.a.strides.back().is_constant(1);
    packs_b = !(matmul.b_constant && gemm_recipe(matmul, tactic.tile.columns()));
    row_blocks = ceil_div(matmul.m, tactic.row_block);
    column_blocks = ceil_div(matmul.n, tactic.column_block);
    tiles_in_rows = (tactic.row_block + tactic.tile.rows - 1) / tactic.tile.rows;
    panels = tactic.column_block / tactic.tile.columns();
    tile_bytes = int64_t{4} * tactic.tile.rows * tactic.tile.columns();
    c_bytes = tile_bytes * (split_k ? tiles_in_rows * panels : 1);
    // A row of packed A is an odd number of cache lines, so that rows spread over the sets.
    a_bytes = packs_a ? (ceil_div(k_block, 16) + 1) * 64 * tactic.row_block : Expr(0);
    b_bytes = packs_b ? k_block * 4 * tactic.column_block : Expr(0);
  }
};

/// The row counts that tiles can have; empty when m is open.
std::vector<int> tile_row_counts(const MatmulContraction& matmul, const GemmTactic& tactic) {
  if (!matmul.m.is_constant()) return {};
  int64_t m = matmul.m.constant();
  int64_t blocks = (m + tactic.row_block - 1) / tactic.row_block;
  std::set<int> counts;
  for (int64_t i = 0; i < blocks; ++i) {
    int64_t length = (i + 1) * m / blocks - i * m / blocks;
    int64_t tiles = (length + tactic.tile.rows - 1) / tactic.tile.rows;
    counts.insert(static_cast<int>(length / tiles));
    counts.insert(static_cast<int>((length + tiles - 1) / tiles));
  }
  if (counts.empty()) counts.insert(1);
  return {counts.begin(), counts.end()};
}

class GemmEmitter : Emit {
 public:
  GemmEmitter(KernelHost& host, const MatmulContraction& matmul, const GemmTactic& tactic)
      : Emit(host.builder),
        host_(host),
        matmul_(matmul),
        tactic_(tactic),
        layout_(matmul, tactic) {}

  void emit() {
    tiles_ = tile_switch(host_.module, tactic_.tile, tile_row_counts(matmul_, tactic_));
    m_ = host_.size(matmul_.m);
    n_ = host_.size(matmul_.n);
    k_ = host_.size(matmul_.k);
    for (const Expr& extent : matmul_.batch) extents_.push_back(host_.size(extent));
    a_ = view(matmul_.a);
    b_ = layout_.packs_b ? view(matmul_.b) : packed_view();
    row_blocks_ = host_.size(layout_.row_blocks);
    column_blocks_ = host_.size(layout_.column_blocks);
    k_blocks_ = num(1);
    if (layout_.split_k) k_blocks_ = max(num(1), ceil_div(k_, tactic_.k_block));
    c_tiles_ = address(host_.scratch, kHeaderBytes);
    a_pack_ = address(c_tiles_, layout_.c_bytes);
    b_pack_ = address(a_pack_, host_.size(layout_.a_bytes));
    builder.CreateStore(num(0), host_.scratch);
    if (layout_.packs_b) builder.CreateStore(num(-1), packed_block());
    loop(host_.task_begin, host_.task_end, 1, [&](Value* task) { emit_task(task); });
  }

 private:
  /// A view at run time: base address and strides in bytes (the constant ones stay constants).
  struct View {
    Value* base;
    std::vector<Value*> strides;
  };
  View view(const StridedView& v) {
    View result{address(host_.buffer(v.buffer), host_.size(v.offset * 4)), {}};
    for (const Expr& stride : v.strides) result.strides.push_back(host_.size(stride * 4));
    return result;
  }
  /// B's panels as they were packed: strides of the batch dims alone.
  View packed_view() {
    View result{host_.buffer(matmul_.b.buffer), {}};
    int64_t columns = tactic_.tile.columns();
    int64_t stride =
        4 * matmul_.k.constant() * ((matmul_.n.constant() + columns - 1) / columns) * columns;
    result.strides.resize(matmul_.batch.size());
    for (size_t d = matmul_.batch.size(); d-- > 0;) {
      bool shared = matmul_.b.strides[d].is_constant(0);
      result.strides[d] = num(shared ? 0 : stride);
      if (!shared) stride *= matmul_.batch[d].constant();
    }
    return result;
  }
  Value* packed_block() { return address(host_.scratch, 8); }
  Value* a_row_stride() { return a_.strides[a_.strides.size() - 2]; }
  Value* a_k_stride() { return a_.strides.back(); }

  void emit_task(Value* task) {
    Value* i = rem(task, row_blocks_);
    Value* outer = div(task, row_blocks_);
    Value* j = rem(outer, column_blocks_);
    Value* batch = div(outer, column_blocks_);
    Value* a = a_.base;
    Value* b = b_.base;
    index_.assign(extents_.size() + 2, nullptr);
    for (size_t d = extents_.size(); d-- > 0;) {
      index_[d] = d == 0 ? batch : rem(batch, extents_[d]);
      if (d > 0) batch = div(batch, extents_[d]);
      a = address(a, mul(index_[d], a_.strides[d]));
      b = address(b, mul(index_[d], b_.strides[d]));
    }
    row_begin_ = div(mul(i, m_), row_blocks_);
    Value* rows = sub(div(mul(add(i, num(1)), m_), row_blocks_), row_begin_);
    column_begin_ = mul(j, tactic_.column_block);
    Value* columns = min(num(tactic_.column_block), sub(n_, column_begin_));
    panels_ = ceil_div(columns, tactic_.tile.columns());
    tile_count_ = ceil_div(rows, tactic_.tile.rows);
    rows_each_ = div(rows, tile_count_);
    longer_tiles_ = rem(rows, tile_count_);
    a = address(a, mul(row_begin_, a_row_stride()));
    loop(num(0), k_blocks_, 1, [&](Value* q) { emit_k_block(q, outer, a, b, rows); });
  }

  void emit_k_block(Value* q, Value* outer, Value* a, Value* b, Value* rows) {
    Value* k_begin = layout_.split_k ? mul(q, tactic_.k_block) : num(0);
    Value* k_length = layout_.split_k ? min(num(tactic_.k_block), sub(k_, k_begin)) : k_;
    a = address(a, mul(k_begin, a_k_stride()));
    Value* a_stride = a_row_stride();
    if (layout_.packs_a) {
      a_stride = mul(builder.CreateOr(ceil_div(k_length, 16), num(1)), 64);
      Value* padded = mul(ceil_div(k_length, host_.unit.lanes), host_.unit.lanes);
      emit_block_copy(host_.module, builder, host_.unit.lanes,
                      {a_pack_, a_stride, a, a_row_stride(), a_k_stride(), rows, k_length, padded});
      a = a_pack_;
    }
    Value* panel_bytes = mul(layout_.packs_b ? k_length : k_, 4 * tactic_.tile.columns());
    if (layout_.packs_b) {
      emit_pack_b(outer, b, k_begin, k_length, panel_bytes);
      b = b_pack_;
    } else {
      b = address(b, mul(div(column_begin_, num(tactic_.tile.columns())), panel_bytes));
      b = address(b, mul(k_begin, 4 * tactic_.tile.columns()));
    }
    Value* accumulate = builder.CreateICmpSGT(q, num(0));
    Value* last = builder.CreateICmpEQ(add(q, num(1)), k_blocks_);
    loop(num(0), panels_, 1, [&](Value* panel) {
      Value* b_panel = address(b, mul(panel, panel_bytes));
      loop(num(0), tile_count_, 1, [&](Value* tile) {
        emit_tile(panel, tile, a, a_stride, k_length, b_panel, panel_bytes, accumulate, last);
      });
    });
  }

  /// Panels of this task's columns; kept when the thread's next task needs the same ones.
  void emit_pack_b(Value* outer, Value* b, Value* k_begin, Value* k_length, Value* panel_bytes) {
    Value* k_stride = b_.strides[b_.strides.size() - 2];
    Value* n_stride = b_.strides.back();
    Value* from = address(b, add(mul(k_begin, k_stride), mul(column_begin_, n_stride)));
    Value* have = builder.CreateLoad(builder.getInt64Ty(), packed_block());
    Value* stale = layout_.split_k ? static_cast<Value*>(builder.getTrue())
                                   : builder.CreateICmpNE(have, outer);
    when(stale, [&] {
      loop(num(0), panels_, 1, [&](Value* panel) {
        Value* first = mul(panel, tactic_.tile.columns());
        Value* there = min(num(tactic_.tile.columns()), sub(sub(n_, column_begin_), first));
        emit_block_copy(host_.module, builder, host_.unit.lanes,
                        {address(b_pack_, mul(panel, panel_bytes)), num(4 * tactic_.tile.columns()),
                         address(from, mul(first, n_stride)), k_stride, n_stride, k_length, there,
                         num(tactic_.tile.columns())});
      });
      builder.CreateStore(outer, packed_block());
    });
  }

  void emit_tile(Value* panel, Value* tile, Value* a, Value* a_stride, Value* k_length,
                 Value* b_panel, Value* panel_bytes, Value* accumulate, Value* last) {
    Value* row = add(mul(tile, rows_each_), min(tile, longer_tiles_));
    Value* rows =
        add(rows_each_, builder.CreateZExt(less(tile, longer_tiles_), builder.getInt64Ty()));
    Value* c = c_tiles_;
    if (layout_.split_k) {
      Value* position = add(mul(panel, layout_.tiles_in_rows), tile);
      c = address(c_tiles_, mul(position, layout_.tile_bytes));
    }
    builder.CreateCall(
        tiles_, {rows, address(a, mul(row, a_stride)), a_stride, host_.scratch, num(1), k_length,
                 b_panel, c, accumulate, fetched_ahead(tile, b_panel, panel_bytes), num(0)});
    auto finish = [&] {
      emit_tile_epilogue(host_, c, tactic_.tile, rows,
                         {index_, add(row_begin_, row),
                          add(column_begin_, mul(panel, tactic_.tile.columns())), n_, matmul_.n});
    };
    if (layout_.split_k) {
      when(last, finish);
    } else {
      finish();
    }
  }

  /// Each tile brings its share of the next panel nearer.
  Value* fetched_ahead(Value* tile, Value* b_panel, Value* panel_bytes) {
    Value* share = div(panel_bytes, tile_count_);
    return address(b_panel, add(panel_bytes, mul(tile, share)));
  }

  KernelHost& host_;
  const MatmulContraction& matmul_;
  const GemmTactic& tactic_;
  GemmLayout layout_;
  llvm::Function* tiles_ = nullptr;
  Value *m_ = nullptr, *n_ = nullptr, *k_ = nullptr;
  std::vector<Value*> extents_;
  View a_, b_;
  Value *row_blocks_ = nullptr, *column_blocks_ = nullptr, *k_blocks_ = nullptr;
  Value *c_tiles_ = nullptr, *a_pack_ = nullptr, *b_pack_ = nullptr;
  // Of the current task.
  std::vector<Value*> index_;
  Value *row_begin_ = nullptr, *column_begin_ = nullptr, *panels_ = nullptr;
  Value *tile_count_ = nullptr, *rows_each_ = nullptr, *longer_tiles_ = nullptr;
};

}  // namespace

void emit_tile_epilogue(KernelHost& host, llvm::Value* c, const TileShape& shape, llvm::Value* rows,
                        const TileSite& site) {
  Emit e(host.builder);
  int lanes = shape.lanes;
  bool whole_panels = mod(site.column_extent, shape.columns()).is_constant(0);
  bool whole_vectors = mod(site.column_extent, lanes).is_constant(0);
  llvm::Value* left = e.sub(site.columns, site.column);
  e.loop(e.num(0), rows, 1, [&](llvm::Value* r) {
    EpiloguePoint point;
    point.index = site.index;
    point.index[point.index.size() - 2] = e.add(site.row, r);
    point.lanes = lanes;
    llvm::Value* c_row = e.address(c, e.mul(r, 4 * shape.columns()));
    auto emit_vector = [&](llvm::Value* j) {
      point.index.back() = e.add(site.column, j);
      point.accumulator =
          host.builder.CreateAlignedLoad(shape.bytes ? e.words(lanes) : e.floats(lanes),
                                         e.address(c_row, e.mul(j, 4)), llvm::Align(lanes * 4));
      point.mask = whole_vectors ? nullptr : e.lane_mask(lanes, e.sub(left, j));
      host.epilogue(point);
    };
    if (whole_panels) {
      for (int v = 0; v < shape.vectors; ++v) emit_vector(e.num(v * lanes));
    } else {
      e.loop(e.num(0), e.min(e.num(shape.columns()), left), lanes, emit_vector);
    }
  });
}

std::optional<PanelRecipe> gemm_recipe(const MatmulContraction& matmul, int columns) {
  const StridedView& b = matmul.b;
  if (!matmul.n.is_constant() || !matmul.k.is_constant() || !b.offset.is_constant())
    return std::nullopt;
  for (const Expr& stride : b.strides)
    if (!stride.is_constant()) return std::nullopt;
  PanelRecipe recipe;
  recipe.columns = columns;
  recipe.offset = b.offset.constant();
  recipe.n = {matmul.n.constant(), b.strides.back().constant()};
  const int64_t k_stride = b.strides[b.strides.size() - 2].constant();
  recipe.k = {{matmul.k.constant(), k_stride}};
  if (matmul.dtype == DType::kUInt8) recipe.group_bytes(k_stride);
  for (size_t d = 0; d < matmul.batch.size(); ++d) {
    if (b.strides[d].is_constant(0)) continue;
    if (!matmul.batch[d].is_constant()) return std::nullopt;
    recipe.batch.push_back({matmul.batch[d].constant(), b.strides[d].constant()});
  }
  return recipe;
}

KernelLaunch gemm_launch(const MatmulContraction& matmul, const GemmTactic& tactic) {
  GemmLayout layout(matmul, tactic);
  KernelLaunch launch;
  launch.task_count = product(matmul.batch) * layout.row_blocks * layout.column_blocks;
  launch.scratch_bytes =
      round_up(layout.a_bytes + layout.b_bytes, 64) + kHeaderBytes + layout.c_bytes;
  if (!layout.packs_b) {
    PanelRecipe recipe = *gemm_recipe(matmul, tactic.tile.columns());
    launch.packed.push_back({matmul.b.buffer, recipe.str(), recipe.size_bytes()});
  }
  return launch;
}

void emit_gemm(KernelHost& host, const MatmulContraction& matmul, const GemmTactic& tactic) {
  STATOR_CHECK(matmul.dtype == (tactic.tile.bytes ? DType::kUInt8 : DType::kFloat32),
               "the GEMM kernel is for f32 and for bytes");
  GemmEmitter(host, matmul, tactic).emit();
}

}  // namespace stator::cpu
