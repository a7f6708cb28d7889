// SPDX-License-Identifier: Apache-2.0
//
// Resizing: the elements that a position lies between, read by their places along each spatial axis
// and blended, the last axis first, as PyTorch does. Places and weights are constants where the
// sizes are, else computed from the position in the arithmetic of layer/resize_taps.
#include <cstring>

#include "layer/resize_taps.h"
#include "optimizer/passes/expand/expand.h"

namespace stator::expand {
namespace {

/// Of one axis: by tap, where it reads and how much that weighs.
struct Taps {
  std::vector<TensorId> places, weights;
};

class Resizing {
 public:
  explicit Resizing(const Expansion& e)
      : e_(e), to_(e.to()), resize_(std::get<Resize>(e.layer.attributes)) {
    x_ = e.input(0);
    real_ = e.type(0).dtype == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
    first_ = resize_.channels_last ? 1 : 2;
  }

  TensorId run() {
    if (resize_.mode == ResizeMode::kNearest || resize_.mode == ResizeMode::kNearestExact) {
      if (const TensorId repeated = repeat(); repeated >= 0) {
        return repeated;
      }
    }
    for (size_t k = 0; k < resize_.size.size(); ++k) {
      taps_.push_back(in(k).is_constant() && out(k).is_constant() ? known_taps(k) : taps(k));
    }
    return blend(0, {x_});
  }

 private:
  const Expr& in(size_t k) const { return e_.type(0).shape[first_ + k]; }
  const Expr& out(size_t k) const { return resize_.size[k]; }

  // -------------------------------------------------------------- whole factors

  /// How often each element comes along axis k, or 0.
  int64_t times(size_t k) const {
    const double given = given_step(resize_, k);
    if (!in(k).is_constant() || !out(k).is_constant()) {
      for (const int64_t n : {1, 2, 4, 8}) {  // exact in floating point
        const bool fits = given == 0 || given == 1.0 / static_cast<double>(n);
        if (fits && e_.rewriter.source().bounds.proves_equal(out(k), in(k)*Expr(n))) return n;
      }
      return 0;
    }
    const int64_t from = in(k).constant(), to = out(k).constant();
    if (from == 0 || to % from != 0) return 0;
    const ResizeTaps taps = resize_taps(resize_, k, from, to, real_ == DType::kFloat64);
    for (int64_t i = 0; i < to; ++i) {
      if (taps.places[static_cast<size_t>(i)] != i / (to / from)) return 0;
    }
    return to / from;
  }

  /// Where every element comes a whole number of times, that is a view; -1 elsewhere.
  TensorId repeat() {
    std::vector<Expr> apart, wide;
    const std::vector<Expr>& shape = e_.type(0).shape;
    for (size_t axis = 0; axis < shape.size(); ++axis) {
      apart.push_back(shape[axis]);
      wide.push_back(shape[axis]);
      if (axis < first_ || axis >= first_ + resize_.size.size()) continue;
      const int64_t n = times(axis - first_);
      if (n == 0) return -1;
      if (n > 1) {
        apart.emplace_back(1);
        wide.emplace_back(n);
      }
    }
    const TensorId parts = to_.add_expand(to_.add_reshape(x_, apart), wide);
    return to_.add_reshape(parts, e_.result().shape);
  }

  // -------------------------------------------------------------- places and weights

  /// The shape of a table along axis k: beside the other spatial axes, and for weights beside the
  /// channels.
  std::vector<Expr> along(size_t k, bool weight) const {
    std::vector<Expr> shape(resize_.size.size(), Expr(1));
    shape[k] = out(k);
    if (weight && resize_.channels_last) shape.emplace_back(1);
    return shape;
  }

  template <typename T, typename From>
  TensorId table(const From* values, DType dtype, std::vector<Expr> shape, int64_t count) {
    void* writable = nullptr;
    const TensorData data = TensorData::allocate(count * dtype_bytes(dtype), &writable);
    for (int64_t i = 0; i < count; ++i) {
      static_cast<T*>(writable)[i] = static_cast<T>(values[i]);
    }
    return to_.add_constant("taps_" + std::to_string(to_.tensors.size()), {dtype, std::move(shape)},
                            data);
  }

  Taps known_taps(size_t k) {
    const int64_t size = out(k).constant();
    const bool wide = real_ == DType::kFloat64;
    const ResizeTaps known = resize_taps(resize_, k, in(k).constant(), size, wide);
    Taps taps;
    for (int t = 0; t < known.count; ++t) {
      const int64_t begin = t * size;
      taps.places.push_back(
          table<int32_t>(known.places.data() + begin, DType::kInt32, along(k, false), size));
      const double* weights = known.weights.data() + begin;
      taps.weights.push_back(wide ? table<double>(weights, real_, along(k, true), size)
                                  : table<float>(weights, real_, along(k, true), size));
    }
    return taps;
  }

  TensorId number(double value) {
    return to_.add_scalar(Scalar{value, static_cast<int64_t>(value), false}, real_);
  }
  TensorId size_of(const Expr& size) { return to_.add_cast(to_.add_size_value(size), real_); }
  TensorId add(TensorId a, TensorId b) { return to_.add_elementwise(a, b, ElementwiseOp::kAdd); }
  TensorId sub(TensorId a, TensorId b) { return to_.add_elementwise(a, b, ElementwiseOp::kSub); }
  TensorId mul(TensorId a, TensorId b) { return to_.add_elementwise(a, b, ElementwiseOp::kMul); }
  TensorId div(TensorId a, TensorId b) { return to_.add_elementwise(a, b, ElementwiseOp::kDiv); }
  TensorId least(TensorId a, TensorId b) { return to_.add_elementwise(a, b, ElementwiseOp::kMin); }
  TensorId most(TensorId a, TensorId b) { return to_.add_elementwise(a, b, ElementwiseOp::kMax); }

  TensorId step(size_t k) {
    const bool smooth = resize_tap_count(resize_.mode) > 1;
    if (resize_.align_corners && smooth) {
      return div(size_of(in(k)-1), size_of(max(out(k) - 1, 1)));  // one position is at 0
    }
    const double given = given_step(resize_, k);
    if (given == 0) {
      return div(size_of(in(k)), size_of(out(k)));
    }
    if (resize_.mode == ResizeMode::kCubic || resize_.mode == ResizeMode::kNearestExact) {
      return number(given);
    }
    // Images that keep their size, and small ones that double it, do so whatever the factor was.
    const auto grows = [&](int64_t n) {
      return to_.add_elementwise(to_.add_size_value(in(k)*Expr(n)), to_.add_size_value(out(k)),
                                 ElementwiseOp::kEqual);
    };
    if (resize_.mode == ResizeMode::kLinear) {
      return to_.add_select(grows(1), number(1), number(given));
    }
    return resize_.size.size() == 1
               ? number(given)
               : to_.add_select(grows(1), number(1),
                                to_.add_select(grows(2), number(0.5), number(given)));
  }

  /// A whole number in the type of coordinates as a place within the axis.
  TensorId place(size_t k, TensorId whole) {
    const TensorId last = size_of(in(k)-1);
    const TensorId inside = least(most(whole, number(0)), last);
    return to_.add_reshape(to_.add_cast(inside, DType::kInt32), along(k, false));
  }

  /// step * position - 1/2, rounded once.
  TensorId centered(TensorId step, TensorId position) {
    const auto wide = [&](TensorId x) { return to_.add_cast(x, DType::kFloat64); };
    const TensorId half = to_.add_scalar(Scalar::of(0.5), DType::kFloat64);
    return to_.add_cast(sub(mul(wide(step), wide(position)), half), real_);
  }

  /// As resize_taps() computes them.
  Taps taps(size_t k) {
    const auto axis = static_cast<int64_t>(k);
    const auto rank = static_cast<int64_t>(resize_.size.size());
    const TensorId position = coordinate(to_, out(k), axis, rank, real_);
    const bool by_corners = resize_.align_corners || resize_.mode == ResizeMode::kNearest;
    TensorId at =
        by_corners ? mul(step(k), position) : centered(step(k), add(position, number(0.5)));
    if (resize_.mode != ResizeMode::kCubic) {
      at = most(at, number(0));
    }
    if (resize_.mode == ResizeMode::kNearestExact) {
      at = add(at, number(0.5));
    }
    if (resize_tap_count(resize_.mode) == 1) {
      at = to_.add_cast(to_.add_cast(at, DType::kFloat32), real_);
    }
    const TensorId low = least(to_.add_unary(at, UnaryOp::kFloor), size_of(in(k)-1));
    const int count = resize_tap_count(resize_.mode);
    Taps taps;
    for (int t = 0; t < count; ++t) {
      const int shift = count == 4 ? t - 1 : t;
      taps.places.push_back(place(k, shift == 0 ? low : add(low, number(shift))));
    }
    if (count == 1) {
      return taps;
    }
    const TensorId part = least(most(sub(at, low), number(0)), number(1));
    const TensorId rest = sub(number(1), part);
    taps.weights = count == 2 ? std::vector{rest, part}
                              : std::vector{far(add(part, number(1))), near(part), near(rest),
                                            far(add(rest, number(1)))};
    for (TensorId& weight : taps.weights) {
      weight = to_.add_reshape(weight, along(k, true));
    }
    return taps;
  }

  // Keys' kernel with a = -3/4, between its first two elements and beyond them.
  static constexpr double kA = -0.75;
  TensorId near(TensorId x) {
    const TensorId line = sub(mul(number(kA + 2), x), number(kA + 3));
    return add(mul(mul(line, x), x), number(1));
  }
  TensorId far(TensorId x) {
    const TensorId line = sub(mul(number(kA), x), number(5 * kA));
    return sub(mul(add(mul(line, x), number(8 * kA)), x), number(4 * kA));
  }

  // -------------------------------------------------------------- values

  /// What lies at the places chosen for the axes before k, blended over the others.
  TensorId blend(size_t k, std::vector<TensorId> inputs) {
    if (k == taps_.size()) {
      const auto first = static_cast<int64_t>(first_);
      return to_.add_layer(IndexTensors{first}, std::move(inputs))[0];
    }
    const Taps& taps = taps_[k];
    TensorId sum = -1;
    for (size_t t = 0; t < taps.places.size(); ++t) {
      std::vector<TensorId> at = inputs;
      at.push_back(taps.places[t]);
      TensorId part = blend(k + 1, std::move(at));
      if (taps.places.size() > 1) part = mul(part, taps.weights[t]);
      sum = sum < 0 ? part : add(sum, part);
    }
    return sum;
  }

  const Expansion& e_;
  Network& to_;
  const Resize& resize_;
  TensorId x_;
  DType real_;
  size_t first_;
  std::vector<Taps> taps_;
};

}  // namespace

Results resize(const Expansion& e) {
  const auto& resize = std::get<Resize>(e.layer.attributes);
  const DType dtype = e.type(0).dtype;
  const bool smooth = resize_tap_count(resize.mode) > 1;
  if (!in_loops(e.traits, dtype) ||
      (smooth && dtype != DType::kFloat32 && dtype != DType::kFloat64)) {
    return std::nullopt;
  }
  for (size_t k = 0; k < resize.size.size(); ++k) {
    const Expr& in = e.type(0).shape[(resize.channels_last ? 1 : 2) + k];
    if (in.is_constant(0)) return std::nullopt;  // there is nothing to read
  }
  return std::vector{Resizing(e).run()};
}

}  // namespace stator::expand
