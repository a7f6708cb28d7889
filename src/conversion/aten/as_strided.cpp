// SPDX-License-Identifier: Apache-2.0
//
// as_strided: a tensor's memory seen with other sizes and strides. An engine knows the memory of
// what was computed: the tensor's own elements, in the order that PyTorch noted for it.
#include "conversion/aten/common.h"
#include "graph/strides.h"

namespace stator::aten {
namespace {

/// The value that owns the memory of `id`.
ValueId owner_of(const Graph& graph, ValueId id) {
  while (graph.value(id).producer >= 0) {
    const ValueId next = aliased_argument(graph, graph.node(graph.value(id).producer));
    if (next == kNoValue) break;
    id = next;
  }
  return id;
}

/// The order in memory of what the node reads: its argument's, or that of the copy it asks for.
std::optional<AxisOrder> order_read(const Graph& graph, const Node& node) {
  const auto use = std::get<ValueUse>(*node.find("self"));
  const TensorMeta& meta = graph.value(use.id).tensor;
  switch (use.format) {
    case MemoryFormat::kContiguous:
      return dense_order({meta.dtype, meta.shape, {}, meta.device}, graph.bounds)->axes;
    case MemoryFormat::kChannelsLast:
      return AxisOrder{0, 2, 3, 1};
    case MemoryFormat::kChannelsLast3d:
      return AxisOrder{0, 2, 3, 4, 1};
    case MemoryFormat::kNoted:
      break;
  }
  const std::optional<DenseOrder> order = dense_order(meta, graph.bounds);
  return order ? std::optional<AxisOrder>(order->axes) : std::nullopt;
}

Expr offset_of(const Node& node) {
  return node.is_none("storage_offset") ? Expr(0) : node.sym_int("storage_offset");
}

/// All elements lie within the tensor's own.
bool stays_inside(const Node& node, const Expr& elements, const Bounds& bounds) {
  const Shape sizes = node.sym_ints("size"), strides = node.sym_ints("stride");
  Expr greatest = offset_of(node);
  for (size_t k = 0; k < sizes.size(); ++k) {
    if (!bounds.proves_less_equal(0, strides[k])) return false;
    greatest = greatest + (sizes[k] - 1) * strides[k];
  }
  return bounds.proves_less_equal(0, offset_of(node)) &&
         bounds.proves_less(simplify(greatest, bounds), elements);
}

Support as_strided_support(const SupportContext& c, const Node& node) {
  const auto use = std::get<ValueUse>(*node.find("self"));
  const ValueId self = use.id;
  const bool copied = use.format != MemoryFormat::kNoted;
  const ValueId owner = copied ? self : owner_of(c.graph, self);
  if (c.graph.value(owner).producer < 0 && !copied) {
    return Support::no("it looks into the memory of an input or a weight");
  }
  const Bounds& bounds = c.graph.bounds;
  const Expr elements = product(c.meta(self).shape);
  if (!order_read(c.graph, node) || (!copied && !dense_order(c.meta(owner), bounds)) ||
      !bounds.proves_equal(elements, product(c.meta(owner).shape))) {
    return Support::no("it looks into memory around the elements of its argument");
  }
  return stays_inside(node, elements, bounds)
             ? Support::yes()
             : Support::no("it may reach beyond the elements of its argument");
}

/// For each element of the result where it lies: offset + sum of index times stride.
TensorId places(Conversion& c, const Node& node, const Shape& sizes) {
  Network& n = c.network();
  const Shape strides = node.sym_ints("stride");
  TensorId sum = -1;
  for (size_t k = 0; k < sizes.size(); ++k) {
    const Expr start = k == 0 ? offset_of(node) : Expr(0);
    const TensorId steps = iota_along(c, sizes[k], start, strides[k], k, sizes.size());
    sum = sum == -1 ? steps : n.add_elementwise(sum, steps, ElementwiseOp::kAdd);
  }
  return sum;
}

TensorId as_strided(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorMeta& meta = c.meta(node, "self");
  const AxisOrder order = *order_read(c.graph(), node);
  const TensorId turned = n.add_transpose(c.tensor(node, "self"), order);
  const TensorId memory = n.add_reshape(turned, {simplify(product(meta.shape), n.bounds)});
  const Shape& sizes = c.output_meta(node).shape;
  if (node.sym_ints("stride") == contiguous_strides(sizes)) {
    return n.add_reshape(n.add_slice(memory, {offset_of(node)}, {product(sizes)}, {1}), sizes);
  }
  return n.add_gather(memory, places(c, node, sizes), 0);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_as_strided(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.as_strided.default", single(as_strided, as_strided_support));
  r.add("aten.as_strided_copy.default", single(as_strided, as_strided_support));
}

}  // namespace stator
