// SPDX-License-Identifier: Apache-2.0
//
// as_strided: a tensor's memory seen with other sizes and strides. An engine knows the memory of
// what was computed: the tensor's own elements, in the order that PyTorch noted for it.
#include <algorithm>

#include "conversion/aten/index.h"
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

/// The elements of src where as_strided would read; each has one place.
TensorId as_strided_scatter(Conversion& c, const Node& node) {
  Network& n = c.network();
  const AxisOrder order = *order_read(c.graph(), node);
  const TensorId turned = n.add_transpose(c.tensor(node, "self"), order);
  const Shape shape = n.type(turned).shape;
  const TensorId memory = n.add_reshape(turned, {simplify(product(shape), n.bounds)});
  const Shape sizes = node.sym_ints("size");
  const Expr count = product(sizes);
  const TensorId index = sizes.empty() ? size_tensor(c, offset_of(node)) : places(c, node, sizes);
  const TensorId source = c.operand(node, "src", n.type(turned).dtype);
  const TensorId written = n.add_layer(ScatterElements{0, ScatterOp::kPut},
                                       {memory, n.add_reshape(n.add_expand(index, sizes), {count}),
                                        n.add_reshape(n.add_expand(source, sizes), {count})})[0];
  AxisOrder back(order.size());
  for (size_t k = 0; k < order.size(); ++k)
    back[static_cast<size_t>(order[k])] = static_cast<int64_t>(k);
  return n.add_transpose(n.add_reshape(written, shape), back);
}

/// From the fastest to the slowest axis each steps over all that those before it reach.
bool places_differ(const Node& node, const Bounds& bounds) {
  const Shape sizes = node.sym_ints("size"), strides = node.sym_ints("stride");
  std::vector<size_t> axes;
  for (size_t k = 0; k < sizes.size(); ++k) {
    if (!sizes[k].is_constant(1)) axes.push_back(k);
  }
  if (!std::all_of(axes.begin(), axes.end(), [&](size_t k) { return strides[k].is_constant(); })) {
    return strides == contiguous_strides(sizes);
  }
  std::sort(axes.begin(), axes.end(),
            [&](size_t a, size_t b) { return strides[a].constant() < strides[b].constant(); });
  Expr reached = 0;
  for (const size_t k : axes) {
    if (!bounds.proves_less(reached, strides[k])) return false;
    reached = simplify(reached + (sizes[k] - 1) * strides[k], bounds);
  }
  return true;
}

Support as_strided_scatter_support(const SupportContext& c, const Node& node) {
  if (!places_differ(node, c.graph.bounds)) {
    return Support::no("elements of its source may go to one place");
  }
  return as_strided_support(c, node);
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_as_strided(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.as_strided.default", single(as_strided, as_strided_support));
  r.add("aten.as_strided_copy.default", single(as_strided, as_strided_support));
  r.add("aten.as_strided_scatter.default", single(as_strided_scatter, as_strided_scatter_support));
}

}  // namespace stator
