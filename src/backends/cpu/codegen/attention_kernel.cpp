// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/attention_kernel.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "backends/cpu/codegen/attention_softmax.h"
#include "backends/cpu/codegen/packing_copy.h"
#include "base/align.h"
#include "base/check.h"

namespace stator::cpu {
namespace {

enum class MaskForm { kNone, kPerColumn, kFull };  // kPerColumn: the same for all q rows

/// Scratch, in order: step offset (64 bytes), Q turned, scores, output tiles, statistics, mask
/// turned, mask rows, packed V, packed K.
struct AttentionLayout {
  int64_t q_rows;  // of a task
  int64_t qk, channels, panels;
  MaskForm mask = MaskForm::kNone;
  bool packs_k, packs_v;
  int64_t q, scores, output, maxima, sums, factors, mask_turned, mask_rows, v, k, end;

  AttentionLayout(const AttentionRegion& region, const AttentionTactic& tactic) {
    q_rows = tactic.scores.columns();
    qk = region.qk_dim.constant();
    channels = region.v_dim.constant();
    panels = (channels + tactic.values.columns() - 1) / tactic.values.columns();
    if (region.has_mask)
      mask = region.mask.strides[2].is_constant(0) ? MaskForm::kPerColumn : MaskForm::kFull;
    packs_k = !region.k.strides[3].is_constant(1);
    // Whole vectors of V only may be read where it lies.
    packs_v = !region.v.strides[3].is_constant(1) || channels % tactic.values.columns() != 0;
    int64_t at = 64;
    auto take = [&](int64_t floats) {
      int64_t offset = at;
      at += round_up(floats * 4, 64);
      return offset;
    };
    q = take(round_up(qk, tactic.scores.lanes) * q_rows);
    scores = take(tactic.kv_block * q_rows);
    output = take(panels * q_rows * tactic.values.columns());
    maxima = take(q_rows);
    sums = take(q_rows);
    factors = take(q_rows);
    int64_t mask_row = round_up(tactic.kv_block, tactic.scores.lanes);
    mask_turned = take(mask == MaskForm::kFull ? mask_row * q_rows : 0);
    mask_rows = take(mask == MaskForm::kFull        ? mask_row * q_rows
                     : mask == MaskForm::kPerColumn ? mask_row
                                                    : 0);
    v = take(packs_v ? tactic.kv_block * panels * tactic.values.columns() : 0);
    k = take(packs_k ? tactic.kv_block * round_up(qk, tactic.scores.lanes) : 0);
    end = at + 64;
  }
};

/// Row counts of even tiles of at most `most` rows over each of `lengths`.
std::vector<int> tile_counts(const std::set<int64_t>& lengths, int most) {
  std::set<int> counts;
  for (int64_t length : lengths) {
    if (length <= 0) continue;
    int64_t tiles = (length + most - 1) / most;
    counts.insert(static_cast<int>(length / tiles));
    counts.insert(static_cast<int>((length + tiles - 1) / tiles));
  }
  if (counts.empty()) counts.insert(1);
  return {counts.begin(), counts.end()};
}

/// The row counts of both products that can occur; empty when a length is open.
struct RowCounts {
  std::vector<int> scores, values;

  RowCounts(const AttentionRegion& region, const AttentionTactic& tactic) {
    if (region.q_length.is_constant()) {
      int64_t length = region.q_length.constant(), block = tactic.scores.columns();
      std::set<int64_t> q_blocks = {std::min(block, length), length % block};
      values = tile_counts(q_blocks, tactic.values.rows);
    }
    if (!region.kv_length.is_constant() || !region.q_length.is_constant()) return;
    std::set<int64_t> kv_blocks;
    for (int64_t begin = 0; begin < region.q_length.constant(); begin += tactic.scores.columns()) {
      int64_t end = region.kv_length.constant();
      if (region.causal)
        end = std::min({end, begin + tactic.scores.columns(), region.q_length.constant()});
      kv_blocks.insert(std::min(end, tactic.kv_block));
      kv_blocks.insert(end % tactic.kv_block);
    }
    scores = tile_counts(kv_blocks, tactic.scores.rows);
  }
};

class AttentionEmitter : Emit {
 public:
  AttentionEmitter(KernelHost& host, const AttentionRegion& region, const AttentionTactic& tactic)
      : Emit(host.builder),
        host_(host),
        region_(region),
        tactic_(tactic),
        layout_(region, tactic),
        lanes_(tactic.scores.lanes) {}

  void emit() {
    TileShape values = tactic_.values;
    values.a_by_columns = true;
    values.b_strided = !layout_.packs_v;
    RowCounts counts(region_, tactic_);
    score_tiles_ = tile_switch(host_.module, tactic_.scores, counts.scores);
    value_tiles_ = tile_switch(host_.module, values, counts.values);
    heads_ = host_.size(region_.heads);
    kv_heads_ = host_.size(region_.kv_heads);
    q_length_ = host_.size(region_.q_length);
    kv_length_ = host_.size(region_.kv_length);
    q_blocks_ = host_.size(stator::ceil_div(region_.q_length, layout_.q_rows));
    q_ = view(region_.q, 4);
    k_ = view(region_.k, 4);
    v_ = view(region_.v, 4);
    out_ = view(region_.out, 4);
    if (region_.has_mask) mask_ = view(region_.mask, dtype_bytes(region_.mask_dtype));
    builder.CreateStore(num(0), host_.scratch);
    loop(host_.task_begin, host_.task_end, 1, [&](Value* task) { emit_task(task); });
  }

 private:
  struct View {
    Value* base;
    std::vector<Value*> strides;  // bytes
  };
  View view(const StridedView& v, int64_t bytes) {
    View result{address(host_.buffer(v.buffer), host_.size(v.offset * bytes)), {}};
    for (const Expr& stride : v.strides) result.strides.push_back(host_.size(stride * bytes));
    return result;
  }
  Value* scratch(int64_t offset) { return address(host_.scratch, offset); }
  Value* at(const View& v, Value* batch, Value* head, Value* position) {
    Value* offset = add(mul(batch, v.strides[0]), mul(head, v.strides[1]));
    return address(v.base, add(offset, mul(position, v.strides[2])));
  }

  void emit_task(Value* task) {
    Value* q_begin = mul(rem(task, q_blocks_), layout_.q_rows);
    Value* rest = div(task, q_blocks_);
    Value* head = rem(rest, heads_);
    Value* batch = div(rest, heads_);
    Value* kv_head = div(mul(head, kv_heads_), heads_);
    Value* q_rows = min(num(layout_.q_rows), sub(q_length_, q_begin));
    // Q turned: [channel][q row], the missing rows zero.
    emit_block_copy(host_.module, builder, lanes_,
                    {scratch(layout_.q), num(4 * layout_.q_rows), at(q_, batch, head, q_begin),
                     q_.strides[3], q_.strides[2], num(layout_.qk), q_rows, num(layout_.q_rows)});
    start_statistics(builder, lanes_, tactic_.scores.vectors, scratch(layout_.maxima),
                     scratch(layout_.sums));
    Value* end = kv_length_;
    if (region_.causal) end = min(end, add(q_begin, q_rows));
    Value* k = at(k_, batch, kv_head, num(0));
    Value* v = at(v_, batch, kv_head, num(0));
    Value* mask = region_.has_mask ? at(mask_, batch, head, q_begin) : nullptr;
    loop(num(0), end, tactic_.kv_block, [&](Value* kv_begin) {
      Value* count = min(num(tactic_.kv_block), sub(end, kv_begin));
      if (mask != nullptr) emit_mask(mask, kv_begin, count, q_rows);
      emit_scores(address(k, mul(kv_begin, k_.strides[2])), count);
      emit_softmax(kv_begin, count, q_begin);
      Value* later = builder.CreateICmpSGT(kv_begin, num(0));
      when(later, [&] { rescale(q_rows); });
      emit_values(address(v, mul(kv_begin, v_.strides[2])), count, q_rows, later);
    });
    store_output(at(out_, batch, head, q_begin), q_rows);
  }

  /// Tiles of `rows` rows, none longer than `most`, as even as can be: body(first row, rows).
  void even_tiles(Value* rows, int64_t most, const std::function<void(Value*, Value*)>& body) {
    Value* tiles = ceil_div(rows, most);
    Value* each = div(rows, tiles);
    Value* longer = rem(rows, tiles);
    loop(num(0), tiles, 1, [&](Value* tile) {
      Value* first = add(mul(tile, each), min(tile, longer));
      body(first, add(each, builder.CreateZExt(less(tile, longer), builder.getInt64Ty())));
    });
  }

  void emit_scores(Value* k, Value* count) {
    Value* stride = k_.strides[2];
    if (layout_.packs_k) {
      int64_t padded = round_up(layout_.qk, lanes_);
      stride = num(4 * padded);
      emit_block_copy(host_.module, builder, lanes_,
                      {scratch(layout_.k), stride, k, k_.strides[2], k_.strides[3], count,
                       num(layout_.qk), num(padded)});
      k = scratch(layout_.k);
    }
    even_tiles(count, tactic_.scores.rows, [&](Value* first, Value* rows) {
      Value* a = address(k, mul(first, stride));
      Value* c = address(scratch(layout_.scores), mul(first, 4 * layout_.q_rows));
      builder.CreateCall(score_tiles_, {rows, a, stride, host_.scratch, num(1), num(layout_.qk),
                                        scratch(layout_.q), c, builder.getFalse(), a, num(0)});
    });
  }

  void emit_softmax(Value* kv_begin, Value* count, Value* q_begin) {
    SoftmaxBlock block;
    block.lanes = lanes_;
    block.vectors = tactic_.scores.vectors;
    block.scores = scratch(layout_.scores);
    block.rows = count;
    block.scale = region_.scale;
    block.maxima = scratch(layout_.maxima);
    block.sums = scratch(layout_.sums);
    block.factors = scratch(layout_.factors);
    if (layout_.mask == MaskForm::kFull) block.added = scratch(layout_.mask_turned);
    if (layout_.mask == MaskForm::kPerColumn) block.added_per_row = scratch(layout_.mask_rows);
    if (region_.causal) {
      block.first_row = kv_begin;
      block.first_column = q_begin;
    }
    emit_softmax_block(builder, block);
  }

  /// What the outputs hold so far is brought to the new maximum.
  void rescale(Value* q_rows) {
    for_output_vectors(q_rows, [&](Value* row, Value* place) {
      Value* factor =
          builder.CreateLoad(builder.getFloatTy(), address(scratch(layout_.factors), mul(row, 4)));
      Value* old = builder.CreateAlignedLoad(floats(lanes_), place, llvm::Align(lanes_ * 4));
      Value* wide = builder.CreateVectorSplat(static_cast<unsigned>(lanes_), factor);
      builder.CreateAlignedStore(builder.CreateFMul(old, wide), place, llvm::Align(lanes_ * 4));
    });
  }
  void for_output_vectors(Value* q_rows, const std::function<void(Value*, Value*)>& body) {
    int64_t row_bytes = 4 * tactic_.values.columns();
    loop(num(0), num(layout_.panels), 1, [&](Value* panel) {
      Value* tiles = address(scratch(layout_.output), mul(panel, row_bytes * layout_.q_rows));
      loop(num(0), q_rows, 1, [&](Value* row) {
        for (int v = 0; v < tactic_.values.vectors; ++v)
          body(row, address(tiles, add(mul(row, row_bytes), num(4 * v * lanes_))));
      });
    });
  }

  void emit_values(Value* v, Value* count, Value* q_rows, Value* accumulate) {
    int64_t columns = tactic_.values.columns();
    int64_t packed_panel = tactic_.kv_block * columns * 4;
    if (layout_.packs_v) {
      loop(num(0), num(layout_.panels), 1, [&](Value* panel) {
        Value* first = mul(panel, columns);
        emit_block_copy(host_.module, builder, lanes_,
                        {address(scratch(layout_.v), mul(panel, packed_panel)), num(4 * columns),
                         address(v, mul(first, v_.strides[3])), v_.strides[2], v_.strides[3], count,
                         min(num(columns), sub(num(layout_.channels), first)), num(columns)});
      });
    }
    loop(num(0), num(layout_.panels), 1, [&](Value* panel) {
      Value* b = layout_.packs_v ? address(scratch(layout_.v), mul(panel, packed_panel))
                                 : address(v, mul(panel, 4 * columns));
      Value* tiles = address(scratch(layout_.output), mul(panel, 4 * columns * layout_.q_rows));
      even_tiles(q_rows, tactic_.values.rows, [&](Value* first, Value* rows) {
        Value* a = address(scratch(layout_.scores), mul(first, 4));
        builder.CreateCall(value_tiles_,
                           {rows, a, num(4 * layout_.q_rows), host_.scratch, num(1), count, b,
                            address(tiles, mul(first, 4 * columns)), accumulate, b, v_.strides[2]});
      });
    });
  }

  /// The mask of this block as numbers to add, in the form that the softmax wants.
  void emit_mask(Value* mask, Value* kv_begin, Value* count, Value* q_rows) {
    Value* from = address(mask, mul(kv_begin, mask_.strides[3]));
    int64_t row_bytes = 4 * round_up(tactic_.kv_block, lanes_);
    Value* rows = layout_.mask == MaskForm::kFull ? q_rows : num(1);
    bool boolean = region_.mask_dtype == DType::kBool;
    MaskRows block{from,  mask_.strides[2],           mask_.strides[3], boolean, rows,
                   count, scratch(layout_.mask_rows), row_bytes};
    emit_mask_rows(builder, lanes_, block);
    if (layout_.mask == MaskForm::kFull)
      emit_block_copy(
          host_.module, builder, lanes_,
          {scratch(layout_.mask_turned), num(4 * layout_.q_rows), scratch(layout_.mask_rows),
           num(4), num(row_bytes), count, q_rows, num(layout_.q_rows)});
  }

  /// out = tiles / sums; rows that saw nothing are 0.
  void store_output(Value* out, Value* q_rows) {
    int64_t columns = tactic_.values.columns();
    auto* zero = llvm::ConstantFP::get(builder.getFloatTy(), 0);
    auto* one = llvm::ConstantFP::get(builder.getFloatTy(), 1);
    loop(num(0), q_rows, 1, [&](Value* row) {
      Value* sum =
          builder.CreateLoad(builder.getFloatTy(), address(scratch(layout_.sums), mul(row, 4)));
      Value* nothing = builder.CreateFCmpOEQ(sum, zero);
      Value* quotient =
          builder.CreateVectorSplat(static_cast<unsigned>(lanes_), builder.CreateFDiv(one, sum));
      Value* to = address(out, mul(row, out_.strides[2]));
      Value* tile_row = address(scratch(layout_.output), mul(row, 4 * columns));
      loop(num(0), num(layout_.channels), lanes_, [&](Value* c) {
        Value* panel = div(c, num(columns));
        Value* place = address(
            tile_row, add(mul(panel, 4 * columns * layout_.q_rows), mul(rem(c, num(columns)), 4)));
        Value* value = builder.CreateAlignedLoad(floats(lanes_), place, llvm::Align(4));
        value = builder.CreateSelect(nothing, llvm::Constant::getNullValue(floats(lanes_)),
                                     builder.CreateFMul(value, quotient));
        store_channels(value, to, c);
      });
    });
  }
  void store_channels(Value* value, Value* to, Value* c) {
    Value* there = sub(num(layout_.channels), c);
    if (region_.out.strides[3].is_constant(1)) {
      Value* place = address(to, mul(c, 4));
      if (layout_.channels % lanes_ == 0) {
        builder.CreateAlignedStore(value, place, llvm::Align(4));
      } else {
        builder.CreateMaskedStore(value, place, llvm::Align(4), lane_mask(lanes_, there));
      }
      return;
    }
    loop(num(0), min(num(lanes_), there), 1, [&](Value* lane) {
      builder.CreateStore(builder.CreateExtractElement(value, lane),
                          address(to, mul(add(c, lane), out_.strides[3])));
    });
  }

  KernelHost& host_;
  const AttentionRegion& region_;
  const AttentionTactic& tactic_;
  AttentionLayout layout_;
  int lanes_;
  llvm::Function *score_tiles_ = nullptr, *value_tiles_ = nullptr;
  Value *heads_ = nullptr, *kv_heads_ = nullptr, *q_length_ = nullptr, *kv_length_ = nullptr;
  Value* q_blocks_ = nullptr;
  View q_, k_, v_, out_, mask_;
};

}  // namespace

KernelLaunch attention_launch(const AttentionRegion& region, const AttentionTactic& tactic) {
  AttentionLayout layout(region, tactic);
  KernelLaunch launch;
  launch.task_count = region.batch * region.heads * ceil_div(region.q_length, layout.q_rows);
  launch.scratch_bytes = layout.end;
  return launch;
}

void emit_attention(KernelHost& host, const AttentionRegion& region,
                    const AttentionTactic& tactic) {
  STATOR_CHECK(attention_supports(region).ok(), "an attention region that was refused");
  AttentionEmitter(host, region, tactic).emit();
}

}  // namespace stator::cpu
