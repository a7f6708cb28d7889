// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/conv_kernel.h"

#include <algorithm>
#include <set>

#include "backends/cpu/codegen/gemm_kernel.h"
#include "backends/cpu/codegen/packing_copy.h"
#include "base/align.h"
#include "base/check.h"

namespace stator::cpu {
namespace {

constexpr int64_t kHeaderBytes = 64;
constexpr int64_t kSlackBytes = 128;  // copies round the end of a row up to whole vectors

/// Scratch: which copy is there, the steps' offsets, the C tiles, the padded copy of the input.
struct ConvLayout {
  bool copies;         // a padded copy is made
  bool joined;         // a step is a whole row of the kernel: its pixels are neighbours
  int64_t steps, run;  // of the microkernel: steps, and elements of k in each
  bool split;          // C tiles live across blocks of steps
  Expr copied_width, copied_rows, row_blocks;
  int64_t column_blocks, panels;
  Expr tiles_in_row;
  int64_t tile_bytes;
  int64_t offset_bytes;
  Expr c_bytes, copy_bytes;

  ConvLayout(const ConvShape& s, const ConvTactic& tactic) {
    copies = s.pads;
    joined = s.dilation[2] == 1 && (copies || s.groups == 1);
    run = s.group_in * (joined ? s.kernel[2] : 1);
    steps = s.kernel[0] * s.kernel[1] * (joined ? 1 : s.kernel[2]);
    split = tactic.step_block > 0 && tactic.step_block < steps;
    copied_width = (s.out[2] - 1) * s.stride[2] + ((s.kernel[2] - 1) * s.dilation[2] + 1);
    copied_rows = (tactic.row_block - 1) * s.stride[1] + ((s.kernel[1] - 1) * s.dilation[1] + 1);
    row_blocks = ceil_div(s.out[1], tactic.row_block);
    column_blocks = ceil_quotient(s.group_out, tactic.column_block);
    panels = tactic.column_block / tactic.tile.columns();
    tiles_in_row = ceil_div(s.out[2], tactic.tile.rows);
    tile_bytes = int64_t{4} * tactic.tile.rows * tactic.tile.columns();
    offset_bytes = round_up(steps * 8, 64);
    c_bytes = split ? tiles_in_row * (tactic.row_block * tile_bytes) : Expr(tile_bytes);
    copy_bytes = copies ? copied_width * copied_rows * (s.kernel[0] * s.group_in * 4) : Expr(0);
  }
};

std::vector<int> tile_row_counts(const Expr& width, int rows) {
  if (!width.is_constant()) return {};
  int64_t w = std::max<int64_t>(1, width.constant());
  int64_t tiles = ceil_quotient(w, rows);
  std::set<int> counts = {static_cast<int>(w / tiles), static_cast<int>(ceil_quotient(w, tiles))};
  return {counts.begin(), counts.end()};
}

class ConvEmitter : Emit {
 public:
  ConvEmitter(KernelHost& host, const ConvolutionContraction& conv, const ConvTactic& tactic)
      : Emit(host.builder),
        host_(host),
        conv_(conv),
        shape_(conv),
        tactic_(tactic),
        layout_(shape_, tactic) {}

  void emit() {
    tiles_ =
        tile_switch(host_.module, tactic_.tile, tile_row_counts(shape_.out[2], tactic_.tile.rows));
    for (size_t d = 0; d < 3; ++d) {
      in_[d] = host_.size(shape_.in[d]);
      out_[d] = host_.size(shape_.out[d]);
    }
    x_ = host_.buffer(conv_.x);
    w_ = host_.buffer(conv_.w);
    row_blocks_ = host_.size(layout_.row_blocks);
    offsets_ = address(host_.scratch, kHeaderBytes);
    c_tiles_ = address(offsets_, layout_.offset_bytes);
    copy_ = address(c_tiles_, host_.size(layout_.c_bytes));
    set_pitches();
    store_offsets();
    builder.CreateStore(num(-1), host_.scratch);
    loop(host_.task_begin, host_.task_end, 1, [&](Value* task) { emit_task(task); });
  }

 private:
  /// Bytes between pixels, rows and planes of what the microkernel reads.
  void set_pitches() {
    int64_t channels = layout_.copies ? shape_.group_in : shape_.channels_in();
    pixel_ = 4 * channels;
    x_pixel_ = 4 * shape_.channels_in();
    row_pitch_ =
        layout_.copies ? mul(host_.size(layout_.copied_width), pixel_) : mul(in_[2], pixel_);
    plane_pitch_ =
        layout_.copies ? mul(row_pitch_, host_.size(layout_.copied_rows)) : mul(row_pitch_, in_[1]);
  }

  void store_offsets() {
    int64_t step = 0;
    int64_t across = layout_.joined ? 1 : shape_.kernel[2];
    for (int64_t d = 0; d < shape_.kernel[0]; ++d)
      for (int64_t h = 0; h < shape_.kernel[1]; ++h)
        for (int64_t w = 0; w < across; ++w, ++step) {
          // The copy holds the planes that the kernel meets, one after another.
          Value* plane = mul(plane_pitch_, layout_.copies ? d : d * shape_.dilation[0]);
          Value* offset = add(add(plane, mul(row_pitch_, h * shape_.dilation[1])),
                              num(w * shape_.dilation[2] * pixel_));
          builder.CreateStore(offset, address(offsets_, step * 8));
        }
  }

  /// Tasks: n, group, block of columns, plane, block of rows (the fastest: they share weights).
  void emit_task(Value* task) {
    Value* rest = task;
    auto take = [&](Value* extent) {
      Value* index = rem(rest, extent);
      rest = div(rest, extent);
      return index;
    };
    Value* row_block = take(row_blocks_);
    plane_ = take(out_[0]);
    column_begin_ = mul(take(num(layout_.column_blocks)), tactic_.column_block);
    group_ = take(num(shape_.groups));
    n_ = rest;
    row_begin_ = div(mul(row_block, out_[1]), row_blocks_);
    row_end_ = div(mul(add(row_block, num(1)), out_[1]), row_blocks_);
    Value* image = mul(n_, mul(in_[0], mul(in_[1], mul(in_[2], x_pixel_))));
    x_group_ = address(x_, add(image, mul(group_, 4 * shape_.group_in)));
    if (layout_.copies) {
      // Tasks that differ in their columns alone see the same input.
      Value* image_group = add(mul(n_, shape_.groups), group_);
      Value* wanted = add(mul(add(mul(image_group, out_[0]), plane_), row_blocks_), row_block);
      Value* there = builder.CreateLoad(builder.getInt64Ty(), host_.scratch);
      when(builder.CreateICmpNE(there, wanted), [&] { emit_copy(); });
      builder.CreateStore(wanted, host_.scratch);
    }
    tile_count_ = ceil_div(out_[2], tactic_.tile.rows);
    rows_each_ = div(out_[2], tile_count_);
    longer_tiles_ = rem(out_[2], tile_count_);
    Value* columns = min(num(tactic_.column_block), sub(num(shape_.group_out), column_begin_));
    int64_t panel_bytes = 4 * shape_.depth() * tactic_.tile.columns();
    int64_t group_panels = ceil_quotient(shape_.group_out, tactic_.tile.columns());
    Value* first_panel =
        add(mul(group_, group_panels), div(column_begin_, num(tactic_.tile.columns())));
    loop(num(0), ceil_div(columns, tactic_.tile.columns()), 1, [&](Value* panel) {
      emit_panel(panel, address(w_, mul(add(first_panel, panel), panel_bytes)));
    });
  }

  void emit_panel(Value* panel, Value* b) {
    int64_t block = layout_.split ? tactic_.step_block : layout_.steps;
    int64_t step_bytes = 4 * layout_.run * tactic_.tile.columns();
    loop(num(0), num(layout_.steps), block, [&](Value* step) {
      Value* steps = min(num(block), sub(num(layout_.steps), step));
      Value* last = builder.CreateICmpEQ(add(step, steps), num(layout_.steps));
      Value* accumulate = builder.CreateICmpSGT(step, num(0));
      Step s{step, steps, address(b, mul(step, step_bytes)), accumulate, last, panel};
      loop(row_begin_, row_end_, 1, [&](Value* row) {
        loop(num(0), tile_count_, 1, [&](Value* tile) { emit_tile(s, row, tile); });
      });
    });
  }

  struct Step {
    Value *first, *count, *b, *accumulate, *last, *panel;
  };

  void emit_tile(const Step& s, Value* row, Value* tile) {
    Value* column = add(mul(tile, rows_each_), min(tile, longer_tiles_));
    Value* rows =
        add(rows_each_, builder.CreateZExt(less(tile, longer_tiles_), builder.getInt64Ty()));
    Value* c = c_tiles_;
    if (layout_.split) {
      Value* position = add(mul(sub(row, row_begin_), tile_count_), tile);
      c = address(c_tiles_, mul(position, layout_.tile_bytes));
    }
    Value* stride = num(shape_.stride[2] * pixel_);
    Value* a = address(input_row(row), mul(column, stride));
    builder.CreateCall(
        tiles_, {rows, a, stride, address(offsets_, mul(s.first, 8)), s.count, num(layout_.run),
                 s.b, c, s.accumulate, fetched_ahead(s, row, tile), num(0)});
    auto finish = [&] { emit_epilogue(s, c, rows, row, column); };
    if (layout_.split) {
      when(s.last, finish);
    } else {
      finish();
    }
  }

  /// Each tile brings its share of the next weights nearer.
  Value* fetched_ahead(const Step& s, Value* row, Value* tile) {
    Value* bytes = mul(s.count, 4 * layout_.run * tactic_.tile.columns());
    Value* tiles = mul(sub(row_end_, row_begin_), tile_count_);
    Value* position = add(mul(sub(row, row_begin_), tile_count_), tile);
    return address(s.b, add(bytes, mul(position, div(bytes, tiles))));
  }

  /// Where the window of the first output of `row` starts.
  Value* input_row(Value* row) {
    if (layout_.copies)
      return address(copy_, mul(mul(sub(row, row_begin_), shape_.stride[1]), row_pitch_));
    Value* plane = mul(mul(plane_, shape_.stride[0]), plane_pitch_);
    return address(x_group_, add(plane, mul(mul(row, shape_.stride[1]), row_pitch_)));
  }

  void emit_epilogue(const Step& s, Value* c, Value* rows, Value* row, Value* column) {
    Value* group_begin = mul(group_, shape_.group_out);
    TileSite site;
    site.index.push_back(n_);
    if (shape_.spatial_rank == 3) site.index.push_back(plane_);
    if (shape_.spatial_rank >= 2) site.index.push_back(row);
    site.index.insert(site.index.end(), 2, nullptr);
    site.row = column;
    site.column = add(group_begin, add(column_begin_, mul(s.panel, tactic_.tile.columns())));
    site.columns = add(group_begin, num(shape_.group_out));
    site.column_extent = shape_.group_out;
    emit_tile_epilogue(host_, c, tactic_.tile, rows, site);
  }

  /// Copies what this task's windows see, with zeros for what lies outside the input.
  void emit_copy() {
    Value* width = host_.size(layout_.copied_width);
    Value* left = min(num(shape_.pad[2]), width);
    Value* there = max(num(0), min(in_[2], sub(width, num(shape_.pad[2]))));
    Value* right = sub(sub(width, left), there);
    Value* rows = add(mul(sub(sub(row_end_, row_begin_), num(1)), shape_.stride[1]),
                      num((shape_.kernel[1] - 1) * shape_.dilation[1] + 1));
    loop(num(0), num(shape_.kernel[0]), 1, [&](Value* d) {
      Value* plane =
          sub(add(mul(plane_, shape_.stride[0]), mul(d, shape_.dilation[0])), num(shape_.pad[0]));
      loop(num(0), rows, 1, [&](Value* r) {
        Value* row = sub(add(mul(row_begin_, shape_.stride[1]), r), num(shape_.pad[1]));
        Value* inside = builder.CreateAnd(builder.CreateICmpULT(plane, in_[0]),
                                          builder.CreateICmpULT(row, in_[1]));
        Value* to = address(copy_, add(mul(d, plane_pitch_), mul(r, row_pitch_)));
        Value* pixels = builder.CreateSelect(inside, there, num(0));
        Value* from = address(x_group_, mul(add(mul(plane, in_[1]), row), mul(in_[2], x_pixel_)));
        from = builder.CreateSelect(inside, from, x_);
        fill(to, left);
        to = address(to, mul(left, pixel_));
        copy_pixels(to, from, pixels);
        Value* zeros = builder.CreateSelect(inside, right, sub(width, left));
        fill(address(to, mul(pixels, pixel_)), zeros);
      });
    });
  }

  void fill(Value* to, Value* pixels) {
    Value* floats = mul(pixels, shape_.group_in);
    block_copy(to, to, num(0), num(0), num(1), num(0), floats);
  }
  void copy_pixels(Value* to, Value* from, Value* pixels) {
    if (shape_.groups == 1) {
      Value* floats = mul(pixels, shape_.group_in);
      block_copy(to, from, num(0), num(0), num(1), floats, floats);
    } else {
      block_copy(to, from, num(pixel_), num(x_pixel_), pixels, num(shape_.group_in),
                 num(shape_.group_in));
    }
  }
  void block_copy(Value* to, Value* from, Value* to_stride, Value* from_stride, Value* rows,
                  Value* columns, Value* filled) {
    Value* padded = mul(ceil_div(filled, host_.unit.lanes), host_.unit.lanes);
    emit_block_copy(host_.module, builder, host_.unit.lanes,
                    {to, to_stride, from, from_stride, num(4), rows, columns, padded});
  }

  KernelHost& host_;
  const ConvolutionContraction& conv_;
  ConvShape shape_;
  const ConvTactic& tactic_;
  ConvLayout layout_;
  llvm::Function* tiles_ = nullptr;
  std::array<Value*, 3> in_{}, out_{};
  Value *x_ = nullptr, *w_ = nullptr, *row_blocks_ = nullptr;
  Value *offsets_ = nullptr, *c_tiles_ = nullptr, *copy_ = nullptr;
  int64_t pixel_ = 0, x_pixel_ = 0;
  Value *row_pitch_ = nullptr, *plane_pitch_ = nullptr;
  // Of the current task.
  Value *n_ = nullptr, *group_ = nullptr, *plane_ = nullptr, *column_begin_ = nullptr;
  Value *row_begin_ = nullptr, *row_end_ = nullptr, *x_group_ = nullptr;
  Value *tile_count_ = nullptr, *rows_each_ = nullptr, *longer_tiles_ = nullptr;
};

}  // namespace

KernelLaunch conv_launch(const ConvolutionContraction& conv, const ConvTactic& tactic) {
  ConvShape shape(conv);
  ConvLayout layout(shape, tactic);
  PanelRecipe recipe = conv_recipe(shape, tactic.tile.columns());
  KernelLaunch launch;
  // No tasks where the output has no columns of pixels.
  launch.task_count = shape.batch * shape.out[0] * layout.row_blocks * min(shape.out[2], 1) *
                      (layout.column_blocks * shape.groups);
  launch.scratch_bytes =
      layout.c_bytes + layout.copy_bytes + (kHeaderBytes + layout.offset_bytes + kSlackBytes);
  launch.packed.push_back({conv.w, recipe.str(), recipe.size_bytes()});
  return launch;
}

void emit_conv(KernelHost& host, const ConvolutionContraction& conv, const ConvTactic& tactic) {
  STATOR_CHECK(conv.dtype == (tactic.tile.bytes ? DType::kUInt8 : DType::kFloat32) &&
                   conv.w_constant && !conv.attributes.transposed,
               "this convolution kernel takes f32 or bytes, and constant weights");
  ConvEmitter(host, conv, tactic).emit();
}

}  // namespace stator::cpu
