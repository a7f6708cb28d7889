// SPDX-License-Identifier: Apache-2.0
//
// Pooling: windows of images, of any rank and in either order. What lies outside a window is read
// under a guard. A window's positions are reduction dims, or a few of them one after the other.
#include <algorithm>
#include <functional>
#include <limits>

#include "optimizer/fusion/regions.h"

namespace stator {
namespace {

constexpr int64_t kMostTaps = 40;  // of a window whose elements are read one after the other

/// The windows along one spatial axis: `at` of the result sees first + step * tap for each tap,
/// where that is neither below `low` nor from `high` on. All of it moved by `shift`, so that no
/// index is negative.
struct WindowAxis {
  Expr taps, first, low, high;
  int64_t step = 1, shift = 0;
  Expr counted_low, counted_high;  // what an average counts

  /// How many taps lie in low … high.
  Expr count() const {
    const auto below = [this](const Expr& limit) {
      return min(ceil_div(max(limit - first, 0), Expr(step)), taps);
    };
    return below(counted_high) - below(counted_low);
  }
};

WindowAxis window_axis(const Pooling& pooling, size_t k, const Expr& in, const Expr& at) {
  const Expr before = pooling.pad_before[k];
  WindowAxis axis;
  axis.taps = pooling.kernel[k];
  axis.first = at * Expr(pooling.stride[k]);
  axis.low = before;
  axis.high = before + in;
  axis.step = pooling.dilation[k];
  axis.shift = pooling.pad_before[k];
  axis.counted_low = pooling.count_include_pad ? Expr(0) : axis.low;
  axis.counted_high =
      pooling.count_include_pad ? axis.high + Expr(pooling.pad_after[k]) : axis.high;
  return axis;
}

/// floor(at in / out) … ceil((at + 1) in / out).
WindowAxis window_axis(const AdaptivePooling& pooling, size_t k, const Expr& in, const Expr& at) {
  const Expr& out = pooling.output_size[k];
  const bool known = in.is_constant() && out.is_constant();
  const bool even = known && in.constant() % out.constant() == 0;
  WindowAxis axis;
  axis.taps = even ? floor_div(in, out) : ceil_div(in, out) + Expr(1);
  axis.first = even ? at * axis.taps : floor_div(at * in, out);
  axis.low = axis.first;
  axis.high = even ? axis.first + axis.taps : ceil_div((at + Expr(1)) * in, out);
  axis.counted_low = axis.low;
  axis.counted_high = axis.high;
  return axis;
}

/// One pooling layer's loop while it is written.
class PoolingLoop {
 public:
  PoolingLoop(FusionContext& c, const NetworkLayer& layer)
      : c_(c), layer_(layer), loop_(c.network, c.plan) {
    dtype_ = c.network.type(layer.inputs[0]).dtype;
  }

  template <typename Attributes>
  void add(const Attributes& attributes) {
    const std::vector<Expr>& in = c_.network.type(layer_.inputs[0]).shape;
    for (const Expr& size : c_.network.type(layer_.outputs[0]).shape) {
      at_.push_back(loop_.add_dim(size, false));
    }
    first_axis_ = attributes.channels_last ? 1 : 2;
    Expr taps = 1;
    for (size_t k = 0; k + 2 < in.size(); ++k) {
      const size_t axis = first_axis_ + k;
      axes_.push_back(window_axis(attributes, k, in[axis], at_[axis]));
      taps = taps * axes_.back().taps;
    }
    greatest_ = attributes.op == PoolOp::kMax;
    const bool unrolled = !attributes.channels_last && reads_taps_apart(taps);
    OpId result = unrolled ? fold_taps() : fold_dims();
    if (!greatest_) {
      result = loop_.elementwise(ElementwiseOp::kMul, result, inverse_count(attributes));
    }
    finish_reduction(c_, loop_, layer_, at_, result);
  }

 private:
  /// Lanes run along the result's last axis where a point reads the taps one after the other, and
  /// along the window's where they are dims: along the longer of the two.
  bool reads_taps_apart(const Expr& taps) const {
    if (!taps.is_constant() || taps.constant() > kMostTaps) {
      return false;
    }
    const Expr& width = c_.network.type(layer_.outputs[0]).shape.back();
    return !width.is_constant() || width.constant() >= axes_.back().taps.constant();
  }

  OpId real(double value) { return loop_.constant(Scalar{value, 0, false}, dtype_); }

  /// The element at one tap of each axis; what folds to nothing outside.
  OpId element(const Index& taps) {
    Index source = at_;
    OpId inside = kNoOp;
    for (size_t k = 0; k < axes_.size(); ++k) {
      const WindowAxis& axis = axes_[k];
      const Expr where = axis.first + taps[k] * Expr(axis.step);
      source[first_axis_ + k] = where - Expr(axis.shift);
      inside = loop_.both(inside, loop_.within(where, axis.low, axis.high));
    }
    const OpId x = loop_.get(layer_.inputs[0], source, inside);
    const double nothing = greatest_ ? -std::numeric_limits<double>::infinity() : 0.0;
    return inside == kNoOp ? x : loop_.select(inside, x, real(nothing));
  }

  OpId fold_dims() {
    Index taps;
    for (const WindowAxis& axis : axes_) {
      taps.push_back(loop_.add_dim(axis.taps, true));
    }
    return loop_.reduce(greatest_ ? ReduceOp::kMax : ReduceOp::kSum, element(taps));
  }

  OpId fold_taps() {
    OpId result = kNoOp;
    Index taps(axes_.size());
    const std::function<void(size_t)> visit = [&](size_t k) {
      if (k == axes_.size()) {
        const OpId x = element(taps);
        const auto op = greatest_ ? ElementwiseOp::kMax : ElementwiseOp::kAdd;
        result = result == kNoOp ? x : loop_.elementwise(op, result, x);
        return;
      }
      for (int64_t tap = 0; tap < axes_[k].taps.constant(); ++tap) {
        taps[k] = tap;
        visit(k + 1);
      }
    };
    visit(0);
    return result;
  }

  static int64_t divisor(const Pooling& pooling) { return pooling.divisor; }
  static int64_t divisor(const AdaptivePooling&) { return 0; }

  template <typename Attributes>
  OpId inverse_count(const Attributes& attributes) {
    Expr count = divisor(attributes);
    if (count.is_constant(0)) {
      count = 1;
      for (const WindowAxis& axis : axes_) {
        count = count * simplify(axis.count(), loop_.bounds());
      }
    }
    return count.is_constant()
               ? real(1.0 / static_cast<double>(count.constant()))
               : loop_.unary(UnaryOp::kReciprocal, loop_.cast(loop_.index(count), dtype_));
  }

  FusionContext& c_;
  const NetworkLayer& layer_;
  LoopBuilder loop_;
  DType dtype_ = DType::kFloat32;
  Index at_;
  size_t first_axis_ = 2;
  std::vector<WindowAxis> axes_;
  bool greatest_ = false;
};

}  // namespace

void add_pooling(FusionContext& c, const NetworkLayer& layer) {
  PoolingLoop loop(c, layer);
  if (const auto* pooling = std::get_if<Pooling>(&layer.attributes)) {
    loop.add(*pooling);
  } else {
    loop.add(std::get<AdaptivePooling>(layer.attributes));
  }
}

}  // namespace stator
