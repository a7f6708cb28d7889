// SPDX-License-Identifier: Apache-2.0
//
// Reading by index: embedding, index_select, gather, advanced indexing.
#include "conversion/aten/index.h"

#include <algorithm>

#include "conversion/aten/checks.h"

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

/// One index along one axis is a plain gather, whose negative places count from the end.
TensorId read_at(Conversion& c, const Indexed& indexed) {
  if (indexed.indices.size() == 1) {
    return c.network().add_gather(indexed.x, indexed.indices[0], indexed.first_axis, true);
  }
  std::vector<TensorId> inputs = {indexed.x};
  inputs.insert(inputs.end(), indexed.indices.begin(), indexed.indices.end());
  return c.network().add_layer(IndexTensors{indexed.first_axis}, inputs)[0];
}

namespace {

Support index_places(const SupportContext& c, const Node& node) {
  const std::vector<ValueId> indices = node.tensors("indices");
  const Shape& shape = c.meta(node, "self").shape;
  for (size_t k = 0; k < indices.size(); ++k) {
    if (indices[k] != kNoValue) {
      if (Support support = constant_places(c, indices[k], shape[k], true); !support) {
        return support;
      }
    }
  }
  return Support::yes();
}

}  // namespace

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
  return some ? index_places(c, node) : Support::no("it has no index tensor");
}

TensorId at_least_one_axis(Conversion& c, TensorId x) {
  return c.network().type(x).rank() > 0 ? x : c.network().add_reshape(x, {Expr(1)});
}

TensorId size_tensor(Conversion& c, const Expr& size) {
  return size.is_constant() ? whole(c, size.constant(), DType::kInt64)
                            : c.network().add_size_value(size);
}

Support places_along_dim(const SupportContext& c, const Node& node) {
  const Shape& shape = c.meta(node, "self").shape;
  const auto rank = static_cast<int64_t>(shape.size());
  const int64_t axis = normalize_dim(node.integer("dim"), rank);
  const bool wraps = node.target.starts_with("aten.index_fill");
  return constant_places(c, node.tensor("index"),
                         rank == 0 ? Expr(1) : shape[static_cast<size_t>(axis)], wraps);
}

namespace {

TensorId embedding(Conversion& c, const Node& node) {
  return c.network().add_gather(c.tensor(node, "weight"), c.tensor(node, "indices"), 0, false,
                                DataError::kRow);
}

Support embedding_support(const SupportContext& c, const Node& node) {
  return constant_places(c, node.tensor("indices"), c.meta(node, "weight").shape[0], false);
}

TensorId index_select(Conversion& c, const Node& node) {
  const TensorId x = at_least_one_axis(c, c.tensor(node, "self"));
  const int64_t axis = normalize_dim(node.integer("dim"), c.network().type(x).rank());
  const TensorId index = at_least_one_axis(c, c.tensor(node, "index"));
  // PyTorch's CPU kernel for the second axis is another one, and so is its error.
  const DataError error = axis == 1 ? DataError::kElement : DataError::kRow;
  const TensorId y = c.network().add_gather(x, index, axis, false, error);
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

/// Both operands broadcast over the other axes first. Places along a dim are taken modulo its size,
/// whichever they are; those of the flattened tensor are not.
TensorId take_along_dim(Conversion& c, const Node& node) {
  Network& n = c.network();
  TensorId x = c.tensor(node, "self"), index = c.tensor(node, "indices");
  if (node.is_none("dim")) {
    x = n.add_reshape(x, {product(n.type(x).shape)});
    index = n.add_reshape(index, {product(n.type(index).shape)});
    return n.add_layer(GatherElements{0}, {x, index})[0];
  }
  const int64_t axis = normalize_dim(node.integer("dim"), n.type(x).rank());
  const Shape& result = c.output_meta(node).shape;
  const Expr size = n.type(x).shape[static_cast<size_t>(axis)];
  Shape source = result;
  source[static_cast<size_t>(axis)] = size;
  index = n.add_expand(c.cast(index, DType::kInt64), result);
  const TensorId places = n.add_elementwise(index, size_tensor(c, size), ElementwiseOp::kMod);
  return n.add_layer(GatherElements{axis}, {n.add_expand(x, source), places})[0];
}

/// Elements of the flattened tensor; negative places count from its end.
TensorId take(Conversion& c, const Node& node) {
  Network& n = c.network();
  const TensorId x = c.tensor(node, "self");
  return n.add_gather(n.add_reshape(x, {product(n.type(x).shape)}), c.tensor(node, "index"), 0,
                      true, DataError::kPlace);
}

Support take_support(const SupportContext& c, const Node& node) {
  return constant_places(c, node.tensor("index"), product(c.meta(node, "self").shape), true);
}

TensorId index(Conversion& c, const Node& node) { return read_at(c, indexed_axes(c, node)); }

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_index(ConverterRegistry& r) {
  using namespace aten;
  r.add("aten.embedding.default", single(embedding, embedding_support));
  r.add("aten.index_select.default", single(index_select, places_along_dim));
  r.add("aten.gather.default", single(gather, places_along_dim));
  r.add("aten.take_along_dim.default", single(take_along_dim));
  r.add("aten.take.default", single(take, take_support));
  r.add("aten.index.Tensor", single(aten::index, integer_indices));
  r.add("aten._unsafe_index.Tensor", single(aten::index, integer_indices));
}

}  // namespace stator
