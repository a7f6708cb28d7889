// SPDX-License-Identifier: Apache-2.0
//
// Reading by index: embedding, index_select, gather, advanced indexing.
#include "conversion/aten/index.h"

#include <algorithm>

namespace stator::aten {

Indexed indexed_axes(Conversion& c, const Node& node) {
  Network& n = c.network();
  Indexed result;
  const std::vector<ValueId> indices = node.tensors("indices");
  std::vector<int64_t> rest;
  const TensorId x = c.tensor(node, "self");
  const int64_t rank = n.type(x).rank();
  std::vector<int64_t> axes;
  for (int64_t axis = 0; axis < rank; ++axis) {
    const auto k = static_cast<size_t>(axis);
    if (k < indices.size() && indices[k] != kNoValue) {
      axes.push_back(axis);
      result.indices.push_back(c.cast(c.tensor(indices[k]), DType::kInt64));
    } else {
      rest.push_back(axis);
    }
  }
  const bool adjacent = axes.back() - axes.front() + 1 == static_cast<int64_t>(axes.size());
  result.first_axis = adjacent ? axes.front() : 0;
  // Apart from each other, PyTorch puts the axes of the indices in front.
  result.order = axes;
  result.order.insert(result.order.end(), rest.begin(), rest.end());
  if (adjacent) {
    std::sort(result.order.begin(), result.order.end());
  }
  result.x = n.add_transpose(x, result.order);
  return result;
}

Support integer_indices(const SupportContext& c, const Node& node) {
  bool some = false;
  for (const ValueId id : node.tensors("indices")) {
    if (id == kNoValue) {
      continue;
    }
    some = true;
    const DType dtype = c.meta(id).dtype;
    if (dtype == DType::kBool || dtype == DType::kUInt8) {
      return Support::no("the index is a boolean mask, so the result's size depends on data");
    }
  }
  return some ? Support::yes() : Support::no("it has no index tensor");
}

TensorId at_least_one_axis(Conversion& c, TensorId x) {
  return c.network().type(x).rank() > 0 ? x : c.network().add_reshape(x, {Expr(1)});
}

TensorId wrapped(Conversion& c, TensorId index, const Expr& size) {
  Network& n = c.network();
  const TensorId negative =
      n.add_elementwise(index, whole(c, 0, DType::kInt64), ElementwiseOp::kLess);
  const TensorId extent =
      size.is_constant() ? whole(c, size.constant(), DType::kInt64) : n.add_size_value(size);
  return n.add_select(negative, n.add_elementwise(index, extent, ElementwiseOp::kAdd), index);
}

namespace {

TensorId embedding(Conversion& c, const Node& node) {
  return c.network().add_gather(c.tensor(node, "weight"), c.tensor(node, "indices"), 0);
}

TensorId index_select(Conversion& c, const Node& node) {
  const TensorId x = at_least_one_axis(c, c.tensor(node, "self"));
  const int64_t axis = normalize_dim(node.integer("dim"), c.network().type(x).rank());
  const TensorId index = at_least_one_axis(c, c.tensor(node, "index"));
  const TensorId y = c.network().add_gather(x, index, axis);
  return c.network().add_reshape(y, c.output_meta(node).shape);
}

TensorId gather(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = at_least_one_axis(c, c.tensor(node, "self"));
  const TensorId index = at_least_one_axis(c, c.tensor(node, "index"));
  if (n.type(index).rank() != n.type(x).rank()) {  // allowed where the index has no elements
    return n.add_expand(whole(c, 0, n.type(x).dtype), c.output_meta(node).shape);
  }
  const int64_t axis = normalize_dim(node.integer("dim"), n.type(x).rank());
  const TensorId y = n.add_layer(GatherElements{axis}, {x, index})[0];
  return n.add_reshape(y, c.output_meta(node).shape);
}

/// Both operands broadcast over the other axes first.
TensorId take_along_dim(Conversion& c, const Node& node) {
  Network& n = c.network();
  TensorId x = c.tensor(node, "self"), index = c.tensor(node, "indices");
  if (node.is_none("dim")) {
    x = n.add_reshape(x, {product(n.type(x).shape)});
    index = n.add_reshape(index, {product(n.type(index).shape)});
    index = wrapped(c, c.cast(index, DType::kInt64), n.type(x).shape[0]);
    return n.add_layer(GatherElements{0}, {x, index})[0];
  }
  const int64_t axis = normalize_dim(node.integer("dim"), n.type(x).rank());
  const Shape& result = c.output_meta(node).shape;
  const Expr size = n.type(x).shape[static_cast<size_t>(axis)];
  Shape source = result;
  source[static_cast<size_t>(axis)] = size;
  const TensorId places = wrapped(c, c.cast(n.add_expand(index, result), DType::kInt64), size);
  return n.add_layer(GatherElements{axis}, {n.add_expand(x, source), places})[0];
}

/// Elements of the flattened tensor; negative places count from its end.
TensorId take(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.tensor(node, "self");
  return n.add_gather(n.add_reshape(x, {product(n.type(x).shape)}), c.tensor(node, "index"), 0,
                      true);
}

/// One index along one axis is a plain gather, whose negative places count from the end.
TensorId index(Conversion& c, const Node& node) {
  const Indexed indexed = indexed_axes(c, node);
  if (indexed.indices.size() == 1) {
    return c.network().add_gather(indexed.x, indexed.indices[0], indexed.first_axis, true);
  }
  std::vector<TensorId> inputs = {indexed.x};
  inputs.insert(inputs.end(), indexed.indices.begin(), indexed.indices.end());
  return c.network().add_layer(IndexTensors{indexed.first_axis}, inputs)[0];
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_index(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.embedding.default", single(embedding));
  r.add("aten.index_select.default", single(index_select));
  r.add("aten.gather.default", single(gather));
  r.add("aten.take_along_dim.default", single(take_along_dim));
  r.add("aten.take.default", single(take));
  r.add("aten.index.Tensor", single(aten::index, integer_indices));
  r.add("aten._unsafe_index.Tensor", single(aten::index, integer_indices));
}

}  // namespace stator
