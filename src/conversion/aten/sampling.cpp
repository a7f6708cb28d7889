// SPDX-License-Identifier: Apache-2.0
//
// grid_sampler: the input read at fractional places that a grid gives, bilinear or nearest.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

using Op = ElementwiseOp;

constexpr int64_t kBilinear = 0, kNearest = 1;  // interpolation_mode
constexpr int64_t kZeros = 0, kBorder = 1;      // padding_mode

/// Of one axis: its size, and the grid's place on it.
struct Axis {
  TensorId size;   // 0-d, in the grid's dtype
  TensorId place;  // [N, outputs], in elements of the input
};

TensorId number(Conversion& c, const Expr& size, DType dtype) {
  return size.is_constant() ? whole(c, size.constant(), dtype)
                            : c.cast(c.network().add_size_value(size), dtype);
}

/// min(max(x, 0), size - 1), 0 for NaN.
TensorId inside(Conversion& c, const Axis& axis, TensorId x) {
  Network& n = c.network();
  const DType dtype = n.type(x).dtype;
  const TensorId zero = real(c, 0.0, dtype);
  const TensorId number = choose(c, {n.add_unary(x, UnaryOp::kIsNan), zero, x});
  const TensorId last = elementwise(c, {axis.size, real(c, 1.0, dtype)}, Op::kSub);
  return elementwise(c, {n.add_elementwise(number, zero, Op::kMax), last}, Op::kMin);
}

/// The grid's coordinate `component` (-1 to 1) in elements of the input.
Axis axis_of(Conversion& c, const Node& node, TensorId grid, int64_t component, const Expr& size) {
  Network& n = c.network();
  const TensorType type = n.type(grid);
  Shape start(4, Expr(0)), taken = type.shape;
  start[3] = component;
  taken[3] = 1;
  const TensorId raw = n.add_reshape(n.add_slice(grid, start, taken, {1, 1, 1, 1}),
                                     {type.shape[0], type.shape[1] * type.shape[2]});
  Axis axis{number(c, size, type.dtype), -1};
  const TensorId one = real(c, 1.0, type.dtype), half = real(c, 0.5, type.dtype);
  const TensorId moved = n.add_elementwise(raw, one, Op::kAdd);
  if (node.boolean("align_corners")) {
    const TensorId last = n.add_elementwise(axis.size, one, Op::kSub);
    axis.place = n.add_elementwise(moved, n.add_elementwise(last, half, Op::kMul), Op::kMul);
  } else {
    const TensorId scaled = n.add_elementwise(moved, axis.size, Op::kMul);
    axis.place = n.add_elementwise(n.add_elementwise(scaled, one, Op::kSub), half, Op::kMul);
  }
  if (node.integer("padding_mode") == kBorder) {
    const TensorId kept = inside(c, axis, axis.place);
    axis.place =
        n.add_select(n.add_unary(axis.place, UnaryOp::kIsNan), real(c, 0.0, type.dtype), kept);
  }
  return axis;
}

/// 1 where 0 <= x < size, else 0.
TensorId within(Conversion& c, const Axis& axis, TensorId x) {
  Network& n = c.network();
  const DType dtype = n.type(x).dtype;
  const TensorId low = elementwise(c, {x, real(c, 0.0, dtype)}, Op::kGreaterEqual);
  return elementwise(c, {low, n.add_elementwise(x, axis.size, Op::kLess)}, Op::kAnd);
}

/// The rows of the flattened image at whole places (x, y), 0 outside: [N, C, outputs].
TensorId read(Conversion& c, TensorId image, const Axis& ax, const Axis& ay, TensorId x,
              TensorId y) {
  Network& n = c.network();
  const TensorType type = n.type(image);
  const TensorId row = c.cast(inside(c, ay, y), DType::kInt64);
  const TensorId column = c.cast(inside(c, ax, x), DType::kInt64);
  const TensorId width = c.cast(ax.size, DType::kInt64);
  const TensorId flat =
      n.add_elementwise(n.add_elementwise(row, width, Op::kMul), column, Op::kAdd);
  const Shape places = n.type(flat).shape;
  const Shape all = {type.shape[0], type.shape[1], places[1]};
  const Shape one_channel = {places[0], Expr(1), places[1]};
  const TensorId index = n.add_expand(n.add_reshape(flat, one_channel), all);
  const TensorId values = n.add_layer(GatherElements{2}, {image, index})[0];
  const TensorId valid = elementwise(c, {within(c, ax, x), within(c, ay, y)}, Op::kAnd);
  return choose(c, {n.add_reshape(valid, one_channel), values, real(c, 0.0, type.dtype)});
}

TensorId bilinear(Conversion& c, TensorId image, const Axis& ax, const Axis& ay) {
  Network& n = c.network();
  const DType dtype = n.type(image).dtype;
  const TensorId one = real(c, 1.0, dtype);
  const TensorId x0 = n.add_unary(ax.place, UnaryOp::kFloor);
  const TensorId y0 = n.add_unary(ay.place, UnaryOp::kFloor);
  const TensorId x1 = n.add_elementwise(x0, one, Op::kAdd);
  const TensorId y1 = n.add_elementwise(y0, one, Op::kAdd);
  // The nearer corner weighs more: what lies on the other side of the place.
  const TensorId right = n.add_elementwise(ax.place, x0, Op::kSub);
  const TensorId below = n.add_elementwise(ay.place, y0, Op::kSub);
  const TensorId left = n.add_elementwise(x1, ax.place, Op::kSub);
  const TensorId above = n.add_elementwise(y1, ay.place, Op::kSub);
  const auto corner = [&](TensorId x, TensorId y, TensorId wx, TensorId wy) {
    const TensorId weight = n.add_elementwise(wx, wy, Op::kMul);
    const Shape shape = n.type(weight).shape;
    const TensorId value = read(c, image, ax, ay, x, y);
    return elementwise(c, {value, n.add_reshape(weight, {shape[0], Expr(1), shape[1]})}, Op::kMul);
  };
  const TensorId top =
      elementwise(c, {corner(x0, y0, left, above), corner(x1, y0, right, above)}, Op::kAdd);
  const TensorId bottom =
      elementwise(c, {corner(x0, y1, left, below), corner(x1, y1, right, below)}, Op::kAdd);
  return n.add_elementwise(top, bottom, Op::kAdd);
}

TensorId grid_sampler(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = compute_dtype(c.meta(node, "input").dtype);
  const Shape shape = c.meta(node, "input").shape;
  const TensorId image =
      n.add_reshape(c.operand(node, "input", dtype), {shape[0], shape[1], shape[2] * shape[3]});
  const TensorId grid = c.operand(node, "grid", dtype);
  const Axis ax = axis_of(c, node, grid, 0, shape[3]);
  const Axis ay = axis_of(c, node, grid, 1, shape[2]);
  TensorId y = -1;
  if (node.integer("interpolation_mode") == kBilinear) {
    y = bilinear(c, image, ax, ay);
  } else {
    const TensorId column = n.add_unary(ax.place, UnaryOp::kRound);
    y = read(c, image, ax, ay, column, n.add_unary(ay.place, UnaryOp::kRound));
  }
  return n.add_reshape(y, c.output_meta(node).shape);
}

Support support(const SupportContext& c, const Node& node) {
  if (c.meta(node, "input").rank() != 4) {
    return Support::no("only two spatial axes are supported");
  }
  const int64_t mode = node.integer("interpolation_mode");
  if (mode != kBilinear && mode != kNearest) {
    return Support::no("its interpolation is bicubic");
  }
  const int64_t padding = node.integer("padding_mode");
  if (padding != kZeros && padding != kBorder) {
    return Support::no("its padding is by reflection");
  }
  return floating_point_argument(c, node, "input");
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_sampling(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.grid_sampler_2d.default", single(grid_sampler, aten::support));
  r.add("aten.grid_sampler.default", single(grid_sampler, aten::support));
}

}  // namespace stator
