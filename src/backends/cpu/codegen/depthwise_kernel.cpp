// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/depthwise_kernel.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "base/check.h"

namespace stator::cpu {
namespace {

class DepthwiseEmitter : Emit {
 public:
  DepthwiseEmitter(KernelHost& host, const ConvolutionContraction& conv,
                   const DepthwiseTactic& tactic)
      : Emit(host.builder), host_(host), conv_(conv), shape_(conv), tactic_(tactic) {}

  void emit() {
    for (size_t d = 0; d < 3; ++d) {
      in_[d] = host_.size(shape_.in[d]);
      out_[d] = host_.size(shape_.out[d]);
    }
    x_ = host_.buffer(conv_.x);
    w_ = host_.buffer(conv_.w);
    row_pitch_ = mul(in_[2], 4 * channels());
    blocks_ = host_.size(ceil_div_rows());
    find_inner_pixels();
    loop(host_.task_begin, host_.task_end, 1, [&](Value* task) { emit_task(task); });
  }

 private:
  int64_t channels() const { return shape_.groups; }
  int64_t padded_channels() const {
    return (channels() + tactic_.lanes - 1) / tactic_.lanes * tactic_.lanes;
  }
  Expr ceil_div_rows() const { return stator::ceil_div(shape_.out[1], tactic_.row_block); }

  /// Outputs inner_begin … inner_end - 1 of a row look at no column outside the input.
  void find_inner_pixels() {
    int64_t stride = shape_.stride[2];
    int64_t reach = (shape_.kernel[2] - 1) * shape_.dilation[2];
    inner_begin_ = min(out_[2], num((shape_.pad[2] + stride - 1) / stride));
    // The last such output o has o * stride - pad + reach <= width - 1.
    Value* room = sub(add(in_[2], num(shape_.pad[2] - 1)), num(reach));
    Value* count = builder.CreateSelect(less(room, num(0)), num(0),
                                        add(div(max(room, num(0)), num(stride)), num(1)));
    inner_end_ = max(inner_begin_, min(out_[2], count));
  }

  void emit_task(Value* task) {
    Value* block = rem(task, blocks_);
    Value* rest = div(task, blocks_);
    plane_ = rem(rest, out_[0]);
    n_ = div(rest, out_[0]);
    Value* begin = div(mul(block, out_[1]), blocks_);
    Value* end = div(mul(add(block, num(1)), out_[1]), blocks_);
    x_image_ = address(x_, mul(n_, mul(mul(in_[0], in_[1]), row_pitch_)));
    loop(begin, end, 1, [&](Value* row) { emit_row(row); });
  }

  void emit_row(Value* row) {
    row_ = row;
    planes_ = window(0, plane_);
    rows_ = window(1, row);
    Value* inner = sub(inner_end_, inner_begin_);
    Value* whole = add(inner_begin_, mul(div(inner, num(tactic_.pixels)), tactic_.pixels));
    loop(num(0), inner_begin_, 1, [&](Value* o) { emit_pixels(o, 1, true); });
    loop(inner_begin_, whole, tactic_.pixels,
         [&](Value* o) { emit_pixels(o, tactic_.pixels, false); });
    loop(whole, out_[2], 1, [&](Value* o) { emit_pixels(o, 1, true); });
  }

  /// The kernel's positions along axis d that meet the input, for output `o`: begin, end; and the
  /// input's position of kernel position 0 (it may be negative).
  struct Window {
    Value *begin, *end, *start;
  };
  Window window(size_t d, Value* o) {
    int64_t dilation = shape_.dilation[d];
    Value* start = sub(mul(o, shape_.stride[d]), num(shape_.pad[d]));
    Value* before = max(num(0), sub(num(0), start));
    Value* begin = ceil_div(before, dilation);
    Value* room = max(num(0), sub(in_[d], start));
    Value* end = min(num(shape_.kernel[d]), ceil_div(room, dilation));
    return {begin, end, start};
  }

  void emit_pixels(Value* o, int pixels, bool edge) {
    Window columns = edge ? window(2, o)
                          : Window{num(0), num(shape_.kernel[2]),
                                   sub(mul(o, shape_.stride[2]), num(shape_.pad[2]))};
    loop(num(0), num(channels()), tactic_.lanes, [&](Value* c) {
      Value* mask = channels() % tactic_.lanes == 0
                        ? nullptr
                        : lane_mask(tactic_.lanes, sub(num(channels()), c));
      std::vector<Value*> sums(static_cast<size_t>(pixels),
                               llvm::Constant::getNullValue(floats(tactic_.lanes)));
      sums = sum_over(planes_, sums, [&](Value* d, std::vector<Value*> in_plane) {
        return sum_over(rows_, in_plane, [&](Value* h, std::vector<Value*> in_row) {
          return sum_row(d, h, columns, edge, c, mask, in_row);
        });
      });
      for (int p = 0; p < pixels; ++p)
        finish(add(o, num(p)), c, mask, sums[static_cast<size_t>(p)]);
    });
  }

  using Sums = std::vector<Value*>;

  /// sums = body(i, sums) for each i of the window.
  Sums sum_over(const Window& w, const Sums& first, const std::function<Sums(Value*, Sums)>& body) {
    llvm::Function* function = builder.GetInsertBlock()->getParent();
    auto* before = builder.GetInsertBlock();
    auto* head = llvm::BasicBlock::Create(builder.getContext(), "window", function);
    auto* after = llvm::BasicBlock::Create(builder.getContext(), "window_end");
    builder.CreateCondBr(less(w.begin, w.end), head, after);
    builder.SetInsertPoint(head);
    auto* index = builder.CreatePHI(builder.getInt64Ty(), 2);
    index->addIncoming(w.begin, before);
    std::vector<llvm::PHINode*> phis;
    for (Value* value : first) {
      phis.push_back(builder.CreatePHI(value->getType(), 2));
      phis.back()->addIncoming(value, before);
    }
    Sums next = body(index, Sums(phis.begin(), phis.end()));
    Value* following = add(index, num(1));
    auto* latch = builder.GetInsertBlock();
    index->addIncoming(following, latch);
    for (size_t i = 0; i < phis.size(); ++i) phis[i]->addIncoming(next[i], latch);
    builder.CreateCondBr(less(following, w.end), head, after);
    function->insert(function->end(), after);
    builder.SetInsertPoint(after);
    Sums result;
    for (size_t i = 0; i < first.size(); ++i) {
      auto* phi = builder.CreatePHI(first[i]->getType(), 2);
      phi->addIncoming(first[i], before);
      phi->addIncoming(next[i], latch);
      result.push_back(phi);
    }
    return result;
  }

  Sums sum_row(Value* d, Value* h, const Window& columns, bool edge, Value* c, Value* mask,
               const Sums& first) {
    Value* plane = add(planes_.start, mul(d, shape_.dilation[0]));
    Value* row = add(rows_.start, mul(h, shape_.dilation[1]));
    Value* x = address(x_image_, mul(add(mul(plane, in_[1]), row), row_pitch_));
    x = address(x, add(mul(columns.start, 4 * channels()), mul(c, 4)));
    Value* position = mul(add(mul(d, shape_.kernel[1]), h), shape_.kernel[2]);
    Value* w = address(w_, add(mul(position, 4 * padded_channels()), mul(c, 4)));
    auto add_product = [&](Value* weight, Value* value, Value* sum) -> Value* {
      return builder.CreateIntrinsic(floats(tactic_.lanes), llvm::Intrinsic::fmuladd,
                                     {weight, value, sum});
    };
    if (edge) {
      return sum_over(columns, first, [&](Value* k, const Sums& sums) {
        Value* weight = load_weight(address(w, mul(k, 4 * padded_channels())));
        Value* value = load_x(address(x, mul(k, 4 * channels() * shape_.dilation[2])), mask);
        return Sums{add_product(weight, value, sums[0])};
      });
    }
    Sums sums = first;
    std::map<int64_t, Value*> loaded;  // by pixel: neighbouring outputs share inputs
    for (int64_t k = 0; k < shape_.kernel[2]; ++k) {
      Value* weight = load_weight(address(w, k * 4 * padded_channels()));
      for (size_t p = 0; p < sums.size(); ++p) {
        int64_t pixel = static_cast<int64_t>(p) * shape_.stride[2] + k * shape_.dilation[2];
        Value*& value = loaded[pixel];
        if (value == nullptr) value = load_x(address(x, pixel * 4 * channels()), mask);
        sums[p] = add_product(weight, value, sums[p]);
      }
    }
    return sums;
  }

  Value* load_weight(Value* from) {
    return builder.CreateAlignedLoad(floats(tactic_.lanes), from, llvm::Align(tactic_.lanes * 4));
  }
  Value* load_x(Value* from, Value* mask) {
    auto* type = floats(tactic_.lanes);
    if (mask == nullptr) return builder.CreateAlignedLoad(type, from, llvm::Align(4));
    return builder.CreateMaskedLoad(type, from, llvm::Align(4), mask,
                                    llvm::Constant::getNullValue(type));
  }

  void finish(Value* o, Value* c, Value* mask, Value* sum) {
    EpiloguePoint point;
    point.index.push_back(n_);
    if (shape_.spatial_rank == 3) point.index.push_back(plane_);
    if (shape_.spatial_rank >= 2) point.index.push_back(row_);
    point.index.push_back(o);
    point.index.push_back(c);
    point.accumulator = sum;
    point.mask = mask;
    point.lanes = tactic_.lanes;
    host_.epilogue(point);
  }

  KernelHost& host_;
  const ConvolutionContraction& conv_;
  ConvShape shape_;
  const DepthwiseTactic& tactic_;
  std::array<Value*, 3> in_{}, out_{};
  Value *x_ = nullptr, *w_ = nullptr, *row_pitch_ = nullptr, *blocks_ = nullptr;
  Value *inner_begin_ = nullptr, *inner_end_ = nullptr;
  Value *n_ = nullptr, *plane_ = nullptr, *row_ = nullptr, *x_image_ = nullptr;
  Window planes_{}, rows_{};
};

}  // namespace

std::string DepthwiseTactic::name() const {
  return "depthwise l" + std::to_string(lanes) + " p" + std::to_string(pixels) + " rb" +
         std::to_string(row_block);
}

std::optional<DepthwiseTactic> DepthwiseTactic::parse(std::string_view text) {
  DepthwiseTactic tactic;
  long long rows = 0;
  std::string copy(text);
  if (std::sscanf(copy.c_str(), "depthwise l%d p%d rb%lld", &tactic.lanes, &tactic.pixels, &rows) !=
      3)
    return std::nullopt;
  tactic.row_block = rows;
  bool sound = tactic.lanes > 0 && tactic.pixels > 0 && tactic.pixels <= 16 && rows > 0;
  if (!sound || tactic.name() != copy) return std::nullopt;
  return tactic;
}

std::vector<DepthwiseTactic> depthwise_tactics(const ConvShape& shape, const Bounds& bounds,
                                               int lanes, int registers, int threads, int level) {
  auto planning = [&](const Expr& e, int64_t otherwise) {
    if (e.is_constant()) return e.constant();
    return std::clamp(
        otherwise, bounds.least(e).value_or(0),
        std::max(bounds.least(e).value_or(0), bounds.greatest(e).value_or(INT64_MAX)));
  };
  int64_t rows = planning(shape.out[1], 28);
  int64_t others = std::max<int64_t>(1, planning(shape.batch * shape.out[0], 1));
  DepthwiseTactic tactic;
  tactic.lanes = lanes;
  tactic.pixels = registers >= 32 ? 6 : 4;
  tactic.row_block =
      std::clamp<int64_t>(rows * others / (8 * threads), 1, std::max<int64_t>(1, rows));
  int64_t work =
      rows * others * planning(shape.out[2], 28) * shape.groups * shape.kernel_positions();
  if (work <= 100'000) tactic.row_block = std::max<int64_t>(1, rows);  // too little to share out
  std::vector<DepthwiseTactic> tactics = {tactic};
  if (level >= 3) {
    tactic.pixels = tactic.pixels == 6 ? 4 : 2;
    tactics.push_back(tactic);
  }
  return tactics;
}

KernelLaunch depthwise_launch(const ConvolutionContraction& conv, const DepthwiseTactic& tactic) {
  ConvShape shape(conv);
  PanelRecipe recipe = depthwise_recipe(shape, tactic.lanes);
  KernelLaunch launch;
  launch.task_count = shape.batch * shape.out[0] * ceil_div(shape.out[1], tactic.row_block);
  launch.packed.push_back({conv.w, recipe.str(), recipe.size_bytes()});
  return launch;
}

void emit_depthwise(KernelHost& host, const ConvolutionContraction& conv,
                    const DepthwiseTactic& tactic) {
  STATOR_CHECK(conv.dtype == DType::kFloat32 && conv.w_constant && ConvShape(conv).depthwise(),
               "this kernel takes depthwise f32 convolutions with constant weights");
  DepthwiseEmitter(host, conv, tactic).emit();
}

}  // namespace stator::cpu
