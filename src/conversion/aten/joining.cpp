// SPDX-License-Identifier: Apache-2.0
//
// Joining and repeating: cat, stack, repeat, tile, repeat_interleave, meshgrid.
#include "conversion/aten/common.h"

namespace stator::aten {
namespace {

/// Without the empty one-axis tensors of another rank that cat skips, a leftover of old versions.
std::vector<ValueId> tensors_of(const Graph& graph, const Node& node) {
  std::vector<ValueId> kept;
  const int rank = graph.value(node.outputs[0]).tensor.rank();
  for (const ValueId id : node.tensors("tensors")) {
    const TensorMeta& meta = graph.value(id).tensor;
    if (!(meta.rank() == 1 && rank != 1 && meta.shape[0].is_constant(0))) {
      kept.push_back(id);
    }
  }
  return kept;
}

TensorId joined(Conversion& c, const Node& node, const std::vector<ValueId>& tensors, int64_t axis,
                const std::function<TensorId(TensorId)>& prepare) {
  const DType dtype = c.output_meta(node).dtype;
  std::vector<TensorId> parts;
  for (const ValueId id : tensors) {
    parts.push_back(prepare(c.cast(c.tensor(id), dtype)));
  }
  return parts.size() == 1 ? parts.front() : c.network().add_concatenation(parts, axis);
}

TensorId cat(Conversion& c, const Node& node) {
  const int64_t rank = c.output_meta(node).rank();
  return joined(c, node, tensors_of(c.graph(), node), normalize_dim(node.integer("dim", 0), rank),
                [](TensorId x) { return x; });
}

TensorId stack(Conversion& c, const Node& node) {
  const int64_t rank = c.output_meta(node).rank();
  const int64_t axis = normalize_dim(node.integer("dim", 0), rank);
  return joined(c, node, node.tensors("tensors"), axis, [&](TensorId x) {
    Shape shape = c.network().type(x).shape;
    shape.insert(shape.begin() + axis, Expr(1));
    return c.network().add_reshape(x, shape);
  });
}

/// hstack, vstack, dstack: operands get at least so many axes, then join along one.
Compute stack_along(int64_t axis, size_t least_rank) {
  return [axis, least_rank](Conversion& c, const Node& node) {
    const int64_t used = c.output_meta(node).rank() == 1 ? 0 : axis;
    return joined(c, node, node.tensors("tensors"), used, [&](TensorId x) {
      Shape shape = c.network().type(x).shape;
      if (shape.empty()) shape = {Expr(1)};
      if (least_rank >= 2 && shape.size() < 2) shape.insert(shape.begin(), Expr(1));
      if (least_rank >= 3 && shape.size() < 3) shape.push_back(Expr(1));
      return c.network().add_reshape(x, shape);
    });
  };
}

TensorId column_stack(Conversion& c, const Node& node) {
  return joined(c, node, node.tensors("tensors"), 1, [&](TensorId x) {
    Shape shape = c.network().type(x).shape;
    while (shape.size() < 2) shape.push_back(Expr(1));
    return c.network().add_reshape(x, shape);
  });
}

/// Every axis d of x becomes [times, d], repeated, and is joined again.
TensorId repeated(Conversion& c, TensorId x, Shape times, const Shape& result) {
  Network& n = c.network();
  Shape shape = n.type(x).shape;
  times.insert(times.begin(), shape.size() > times.size() ? shape.size() - times.size() : 0,
               Expr(1));
  shape.insert(shape.begin(), times.size() - shape.size(), Expr(1));
  Shape split, wide;
  for (size_t k = 0; k < shape.size(); ++k) {
    if (!times[k].is_constant(1)) {
      split.push_back(Expr(1));
      wide.push_back(times[k]);
    }
    split.push_back(shape[k]);
    wide.push_back(shape[k]);
  }
  return n.add_reshape(n.add_expand(n.add_reshape(x, split), wide), result);
}

Compute repeat(const char* times) {
  return [times](Conversion& c, const Node& node) {
    return repeated(c, c.tensor(node, "self"), node.sym_ints(times), c.output_meta(node).shape);
  };
}

/// Every element of the axis `repeats` times in a row.
TensorId repeat_interleave(Conversion& c, const Node& node) {
  Network& n = c.network();
  TensorId x = c.tensor(node, "self");
  if (node.is_none("dim")) {
    x = n.add_reshape(x, {product(n.type(x).shape)});
  }
  Shape shape = n.type(x).shape;
  const int64_t axis = normalize_dim(node.integer("dim", 0), static_cast<int64_t>(shape.size()));
  shape.insert(shape.begin() + axis + 1, Expr(1));
  const TensorId split = n.add_reshape(x, shape);
  shape[static_cast<size_t>(axis) + 1] = node.sym_int("repeats");
  return n.add_reshape(n.add_expand(split, shape), c.output_meta(node).shape);
}

/// Vector i along axis i of the grid; "xy" swaps the first two.
std::vector<TensorId> meshgrid(Conversion& c, const Node& node) {
  Network& n = c.network();
  const std::vector<ValueId> tensors = node.tensors("tensors");
  const bool swapped = node.string("indexing", "ij") == "xy" && tensors.size() >= 2;
  std::vector<TensorId> results;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const size_t axis = swapped && i < 2 ? 1 - i : i;
    const TensorMeta& result = c.output_meta(node, static_cast<int>(i));
    Shape shape(result.shape.size(), Expr(1));
    shape[axis] = result.shape[axis];
    results.push_back(n.add_expand(n.add_reshape(c.tensor(tensors[i]), shape), result.shape));
  }
  return results;
}

Support some_tensor(const SupportContext& c, const Node& node) {
  return tensors_of(c.graph, node).empty() ? Support::no("all its tensors are empty")
                                           : Support::yes();
}

}  // namespace
}  // namespace stator::aten

namespace stator {

void register_joining(ConverterRegistry& r) {
  using namespace aten;
  for (const char* name : {"cat", "concat", "concatenate"}) {
    r.add(std::string("aten.") + name + ".default", single(cat, some_tensor));
  }
  r.add("aten.stack.default", single(stack));
  r.add("aten.hstack.default", single(stack_along(1, 1)));
  r.add("aten.vstack.default", single(stack_along(0, 2)));
  r.add("aten.dstack.default", single(stack_along(2, 3)));
  r.add("aten.column_stack.default", single(column_stack));
  r.add("aten.repeat.default", single(repeat("repeats")));
  r.add("aten.tile.default", single(repeat("dims")));
  r.add("aten.repeat_interleave.self_int", single(repeat_interleave));
  r.add("aten.meshgrid.default", several(meshgrid));
  r.add("aten.meshgrid.indexing", several(meshgrid));
}

}  // namespace stator
