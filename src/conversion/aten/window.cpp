// SPDX-License-Identifier: Apache-2.0
//
// Sliding windows: Tensor.unfold and im2col (torch.nn.functional.unfold), as gathers.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

/// [outer, inner]: i * outer_step + j * inner_step.
TensorId places(Conversion& c, const Expr& outer, int64_t outer_step, const Expr& inner,
                int64_t inner_step) {
  Network& n = c.network();
  const TensorId first = n.add_iota(outer, 0, outer_step, DType::kInt64);
  const TensorId second = n.add_iota(inner, 0, inner_step, DType::kInt64);
  return elementwise(c, {n.add_reshape(first, {outer, Expr(1)}), second}, ElementwiseOp::kAdd);
}

/// Windows of `size` along an axis; their elements become the last axis.
TensorId unfold(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.tensor(node, "self");
  const int64_t rank = n.type(x).rank();
  if (rank == 0) {
    return n.add_reshape(x, c.output_meta(node).shape);  // one window of one element
  }
  const int64_t axis = normalize_dim(node.integer("dimension"), rank);
  const Expr windows = c.output_meta(node).shape[static_cast<size_t>(axis)];
  const TensorId index = places(c, windows, node.integer("step"), node.sym_int("size"), 1);
  const TensorId y = n.add_gather(x, index, axis);
  std::vector<int64_t> order;
  for (int64_t k = 0; k <= rank; ++k) {
    if (k != axis + 1) order.push_back(k);
  }
  order.push_back(axis + 1);
  return n.add_transpose(y, order);
}

Support unfold_support(const SupportContext& c, const Node& node) {
  const bool one = c.meta(node, "self").rank() > 0 || node.sym_int("size").is_constant(1);
  return one ? constant_arguments(node, {"step"}) : Support::no("its window has no elements");
}

/// How many windows fit along one axis.
Expr window_count(const Expr& size, int64_t pad, int64_t dilation, int64_t kernel, int64_t stride) {
  return floor_div(size + 2 * pad - dilation * (kernel - 1) - 1, stride) + 1;
}

/// [N, C, H, W] → [N, C kh kw, oh ow].
TensorId im2col(Conversion& c, const Node& node) {
  Network& n = c.network();
  TensorId x = c.tensor(node, "self");
  const std::vector<int64_t> kernel = spread(ints_of(node, "kernel_size"), 2);
  const std::vector<int64_t> dilation = spread(ints_of(node, "dilation"), 2);
  const std::vector<int64_t> padding = spread(ints_of(node, "padding"), 2);
  const std::vector<int64_t> stride = spread(ints_of(node, "stride"), 2);
  Shape shape = n.type(x).shape;
  if (shape.size() == 3) {
    shape.insert(shape.begin(), Expr(1));
    x = n.add_reshape(x, shape);
  }
  Pad pad;
  pad.before = pad.after = {Expr(0), Expr(0), Expr(padding[0]), Expr(padding[1])};
  pad.value = scalar_of(Argument{0.0}, n.type(x).dtype);
  x = n.add_pad(x, pad);
  const auto count = [&](size_t k) {
    return window_count(shape[k + 2], padding[k], dilation[k], kernel[k], stride[k]);
  };
  // [N, C, kh, oh, W], then [N, C, kh, oh, kw, ow].
  x = n.add_gather(x, places(c, kernel[0], dilation[0], count(0), stride[0]), 2);
  x = n.add_gather(x, places(c, kernel[1], dilation[1], count(1), stride[1]), 4);
  x = n.add_transpose(x, {0, 1, 2, 4, 3, 5});
  return n.add_reshape(x, c.output_meta(node).shape);
}

Support im2col_support(const SupportContext& c, const Node& node) {
  return all_of({constant_arguments(node, {"kernel_size", "dilation", "padding", "stride"}),
                 at_least_axes(c, node, "self", 3)});
}

/// [N, C kh kw, oh ow] → [N, C, H, W]: every element is added where its window had it.
TensorId col2im(Conversion& c, const Node& node) {
  Network& n = c.network();
  const DType dtype = compute_dtype(c.meta(node, "self").dtype);
  const std::vector<int64_t> kernel = spread(ints_of(node, "kernel_size"), 2);
  const std::vector<int64_t> dilation = spread(ints_of(node, "dilation"), 2);
  const std::vector<int64_t> padding = spread(ints_of(node, "padding"), 2);
  const std::vector<int64_t> stride = spread(ints_of(node, "stride"), 2);
  const Shape& result = c.output_meta(node).shape;
  const size_t last = result.size() - 1;
  const Expr batch = result.size() == 4 ? result[0] : Expr(1);
  const Expr channels = result[last - 2];
  const Expr height = result[last - 1] + 2 * padding[0], width = result[last] + 2 * padding[1];
  const Expr oh = window_count(result[last - 1], padding[0], dilation[0], kernel[0], stride[0]);
  const Expr ow = window_count(result[last], padding[1], dilation[1], kernel[1], stride[1]);

  // The place in the padded image, flattened: [kh, 1, oh, 1] * width + [kw, 1, ow].
  const TensorId row = places(c, kernel[0], dilation[0], oh, stride[0]);
  const TensorId column = places(c, kernel[1], dilation[1], ow, stride[1]);
  const TensorId scaled = elementwise(
      c, {n.add_reshape(row, {Expr(kernel[0]), Expr(1), oh, Expr(1)}), n.add_size_value(width)},
      ElementwiseOp::kMul);
  const TensorId flat =
      elementwise(c, {scaled, n.add_reshape(column, {Expr(1), Expr(kernel[1]), Expr(1), ow})},
                  ElementwiseOp::kAdd);
  const Expr count = Expr(kernel[0] * kernel[1]) * oh * ow;
  const Shape updates = {batch, channels, count};
  const TensorId index = n.add_expand(n.add_reshape(flat, {Expr(1), Expr(1), count}), updates);
  const TensorId x = n.add_reshape(c.operand(node, "self", dtype), updates);
  const TensorId zeros =
      n.add_fill({batch, channels, height * width}, dtype, scalar_of(Argument{0.0}, dtype));
  TensorId y = n.add_layer(ScatterElements{2, ScatterOp::kAdd}, {zeros, index, x})[0];
  y = n.add_reshape(y, {batch, channels, height, width});
  y = n.add_slice(y, {Expr(0), Expr(0), Expr(padding[0]), Expr(padding[1])},
                  {batch, channels, result[last - 1], result[last]}, {1, 1, 1, 1});
  return n.add_reshape(y, result);
}

Support col2im_support(const SupportContext& c, const Node& node) {
  return all_of({constant_arguments(node, {"kernel_size", "dilation", "padding", "stride"}),
                 floating_point_argument(c, node, "self")});
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_window(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.unfold.default", single(unfold, unfold_support));
  r.add("aten.unfold_copy.default", single(unfold, unfold_support));
  r.add("aten.col2im.default", single(col2im, col2im_support));
  r.add("aten.im2col.default", single(im2col, im2col_support));
}

}  // namespace stator
