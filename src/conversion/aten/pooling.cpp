// SPDX-License-Identifier: Apache-2.0
//
// Pooling. The result's sizes are those that PyTorch recorded, so ceil_mode needs no rule here.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

/// x with a batch axis: [N, C, spatial…].
TensorId batched(Conversion& c, const Node& node, size_t axes) {
  const DType dtype = compute_dtype(c.meta(node, "self").dtype);
  const TensorId x = c.operand(node, "self", dtype);
  Shape shape = c.network().type(x).shape;
  if (shape.size() == axes + 1) {
    shape.insert(shape.begin(), Expr(1));
  }
  return c.network().add_reshape(x, shape);
}

/// The last `axes` sizes of the result.
Shape spatial_sizes(const Conversion& c, const Node& node, size_t axes) {
  const Shape& shape = c.output_meta(node).shape;
  return {shape.end() - static_cast<int64_t>(axes), shape.end()};
}

std::vector<int64_t> list_or(const Node& node, const char* arg, size_t axes, int64_t otherwise) {
  std::vector<int64_t> values = ints_of(node, arg);
  return values.empty() ? std::vector<int64_t>(axes, otherwise) : spread(values, axes);
}

Pooling window(const Conversion& c, const Node& node, size_t axes, PoolOp op) {
  Pooling pool;
  pool.op = op;
  pool.kernel = spread(ints_of(node, "kernel_size"), axes);
  pool.stride =
      ints_of(node, "stride").empty() ? pool.kernel : spread(ints_of(node, "stride"), axes);
  pool.dilation = list_or(node, "dilation", axes, 1);
  pool.pad_before = pool.pad_after = list_or(node, "padding", axes, 0);
  pool.output_size = spatial_sizes(c, node, axes);
  pool.count_include_pad = node.boolean("count_include_pad", true);
  if (node.find("divisor_override") != nullptr && !node.is_none("divisor_override")) {
    pool.divisor = node.integer("divisor_override");
  }
  return pool;
}

Compute pool(size_t axes, PoolOp op) {
  return [axes, op](Conversion& c, const Node& node) {
    const TensorId y =
        c.network().add_pooling_nd(batched(c, node, axes), window(c, node, axes, op));
    return c.network().add_reshape(y, c.output_meta(node).shape);
  };
}

Compute adaptive_pool(size_t axes, PoolOp op) {
  return [axes, op](Conversion& c, const Node& node) {
    AdaptivePooling attributes{op, spatial_sizes(c, node, axes), false};
    const TensorId y =
        c.network().add_adaptive_pooling(batched(c, node, axes), std::move(attributes));
    return c.network().add_reshape(y, c.output_meta(node).shape);
  };
}

Support constant_window(const SupportContext& c, const Node& node) {
  return all_of({constant_arguments(
                     node, {"kernel_size", "stride", "padding", "dilation", "divisor_override"}),
                 floating_point_argument(c, node, "self")});
}

Support adaptive(const SupportContext& c, const Node& node) {
  return floating_point_argument(c, node, "self");
}

/// The forms that also return each maximum's place, which only PyTorch computes.
template <Support (*kCheck)(const SupportContext&, const Node&)>
Support without_places(const SupportContext& c, const Node& node) {
  return all_of({kCheck(c, node), only_outputs_before(c, node, 1)});
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_pooling(ConverterRegistry& r) {
  using namespace aten;
  for (size_t axes = 1; axes <= 3; ++axes) {
    const std::string d = std::to_string(axes) + "d";
    r.add("aten.max_pool" + d + ".default", single(pool(axes, PoolOp::kMax), constant_window));
    r.add("aten.max_pool" + d + "_with_indices.default",
          single(pool(axes, PoolOp::kMax), without_places<constant_window>));
    r.add("aten.avg_pool" + d + ".default", single(pool(axes, PoolOp::kAverage), constant_window));
    r.add("aten.adaptive_avg_pool" + d + ".default",
          single(adaptive_pool(axes, PoolOp::kAverage), adaptive));
    r.add("aten._adaptive_avg_pool" + d + ".default",
          single(adaptive_pool(axes, PoolOp::kAverage), adaptive));
    r.add("aten.adaptive_max_pool" + d + ".default",
          single(adaptive_pool(axes, PoolOp::kMax), without_places<adaptive>));
  }
}

}  // namespace stator
