// SPDX-License-Identifier: Apache-2.0
//
// Layers that are no loop: each is a region of its own, for which backends have kernels.
#include <algorithm>

#include "optimizer/fusion/regions.h"

namespace stator {
namespace {

/// A tensor as [outer, length, inner] around an axis.
struct Rows {
  Expr outer, length, inner;
  Rows(const std::vector<Expr>& shape, int64_t axis)
      : outer(product({shape.begin(), shape.begin() + axis})),
        length(shape[static_cast<size_t>(axis)]),
        inner(product({shape.begin() + axis + 1, shape.end()})) {}
};

void add_whole(FusionContext& c, const NetworkLayer& layer, RegionBody body) {
  std::vector<int32_t> outputs;
  for (const TensorId id : layer.outputs) {
    outputs.push_back(c.regions.tensor(id));
  }
  c.regions.add_region(std::move(body), {c.regions.tensor(layer.inputs[0])}, std::move(outputs),
                       {layer.provenance}, region_name({layer.provenance}, "rows"));
}

/// The loop that puts x where y lies.
void add_fill(FusionContext& c, const NetworkLayer& layer, TensorId y) {
  const TensorId x = layer.inputs[0];
  LoopBuilder loop(c.network, c.plan);
  Index index;
  for (const Expr& size : c.network.type(x).shape) {
    index.push_back(size.is_constant(1) ? Expr(0) : loop.add_dim(size, false));
  }
  const OpId value = loop.get(x, index);
  loop.store(0, flat_index(c.network.type(x).shape, index, loop.bounds()), value);
  std::vector<Provenance> provenance = provenance_of(c, x);
  provenance.push_back(layer.provenance);
  add_loop(c, loop, {y}, provenance);
}

/// Dims that all views of a scatter pass through as one become one; the axis stays alone.
void merge_neighbours(ScatterRegion& region) {
  const auto views = {&region.indices, &region.updates, &region.y};
  for (size_t d = region.extents.size() - 1; d > 0; --d) {
    const auto axis = static_cast<size_t>(region.axis);
    const auto goes_on = [&](const StridedView* view) {
      return view->strides[d - 1] == view->strides[d] * region.extents[d];
    };
    if (d == axis || d - 1 == axis || !std::all_of(views.begin(), views.end(), goes_on)) {
      continue;
    }
    region.extents[d] = region.extents[d - 1] * region.extents[d];
    region.extents.erase(region.extents.begin() + static_cast<int64_t>(d) - 1);
    for (StridedView* view : views) {
      view->strides.erase(view->strides.begin() + static_cast<int64_t>(d) - 1);
    }
    region.axis -= d <= axis ? 1 : 0;
  }
}

/// An operand of a scatter at the indices' dims. Its buffer comes after those that `inputs` holds.
StridedView scatter_operand(FusionContext& c, TensorId id, const std::vector<Expr>& extents,
                            int64_t axis, std::vector<TensorId>* inputs) {
  LoopBuilder space(c.network, c.plan);
  std::vector<Expr> dims;
  Index index;
  for (size_t d = 0; d < extents.size(); ++d) {
    const bool alone = extents[d].is_constant(1) && d != static_cast<size_t>(axis);
    index.push_back(alone ? Expr(0) : space.add_dim(extents[d], false));
    if (!alone) {
      dims.push_back(index.back());
    }
  }
  StridedView view = strided_operand(c, space, id, index, dims);
  view.buffer = static_cast<int32_t>(inputs->size()) + 1;  // y's old contents are the first
  inputs->push_back(space.inputs().front());
  return view;
}

/// The tensor in whose memory a scatter gives `y`: what only a further scatter reads, which writes
/// into it, is given where that one's result lies.
TensorId written_tensor(const FusionContext& c, TensorId y) {
  while (c.plan.uses(y) == 1 && c.plan.readers(y).size() == 1) {
    const size_t reader = c.plan.readers(y)[0];
    const NetworkLayer& next = c.network.layers[reader];
    const bool goes_on = c.plan.role(reader) == LayerRole::kWhole &&
                         std::holds_alternative<ScatterElements>(next.attributes) &&
                         next.inputs[0] == y && next.inputs[1] != y && next.inputs[2] != y;
    if (!goes_on) break;
    y = next.outputs[0];
  }
  return y;
}

/// Whether a scatter writes into what another one has just written.
bool follows_scatter(const FusionContext& c, const NetworkLayer& layer) {
  const TensorId x = layer.inputs[0];
  const int producer = c.network.tensor(x).producer;
  return producer >= 0 && c.plan.role(static_cast<size_t>(producer)) == LayerRole::kWhole &&
         std::holds_alternative<ScatterElements>(
             c.network.layers[static_cast<size_t>(producer)].attributes) &&
         written_tensor(c, x) != x;
}

void add_scatter(FusionContext& c, const NetworkLayer& layer, const ScatterElements& attributes) {
  const std::vector<Expr>& shape = c.network.type(layer.inputs[0]).shape;
  const std::vector<Expr>& extents = c.network.type(layer.inputs[1]).shape;
  const std::vector<Expr> strides = contiguous_strides(shape);
  const auto axis = static_cast<size_t>(attributes.axis);
  ScatterRegion region;
  region.dtype = c.network.type(layer.inputs[0]).dtype;
  region.op = attributes.op;
  region.error = attributes.error;
  region.dim = attributes.axis;
  region.limit = shape[axis];
  region.y.buffer = 3;
  for (size_t d = 0; d < extents.size(); ++d) {
    if (d == axis) {
      region.axis = static_cast<int64_t>(region.extents.size());
    } else if (extents[d].is_constant(1)) {
      continue;
    }
    region.extents.push_back(extents[d]);
    region.y.strides.push_back(strides[d]);
  }
  std::vector<TensorId> inputs;
  region.indices = scatter_operand(c, layer.inputs[1], extents, attributes.axis, &inputs);
  region.updates = scatter_operand(c, layer.inputs[2], extents, attributes.axis, &inputs);
  merge_neighbours(region);
  const TensorId written = written_tensor(c, layer.outputs[0]);
  if (!follows_scatter(c, layer)) add_fill(c, layer, written);
  const int32_t y = c.regions.tensor(written);
  c.regions.add_region(std::move(region),
                       {y, c.regions.tensor(inputs[0]), c.regions.tensor(inputs[1])},
                       {c.regions.add_written(y, c.network.tensor(layer.outputs[0]).name)},
                       {layer.provenance}, region_name({layer.provenance}, "scatter"));
}

}  // namespace

void add_whole_layer(FusionContext& c, const NetworkLayer& layer) {
  const TensorType& x = c.network.type(layer.inputs[0]);
  if (const auto* scatter = std::get_if<ScatterElements>(&layer.attributes)) {
    add_scatter(c, layer, *scatter);
  } else if (const auto* scan = std::get_if<Scan>(&layer.attributes)) {
    const Rows rows(x.shape, scan->axis);
    add_whole(c, layer, ScanRegion{scan->op, x.dtype, rows.outer, rows.length, rows.inner});
  } else if (const auto* sort = std::get_if<Sort>(&layer.attributes)) {
    const Rows rows(x.shape, sort->axis);
    add_whole(c, layer,
              OrderRegion{x.dtype, rows.outer, rows.length, rows.inner, rows.length,
                          sort->descending, sort->stable, false, true});
  } else {
    const auto& top = std::get<TopK>(layer.attributes);
    const Rows rows(x.shape, top.axis);
    add_whole(c, layer,
              OrderRegion{x.dtype, rows.outer, rows.length, rows.inner, top.k, top.largest,
                          top.stable, true, top.sorted});
  }
}

}  // namespace stator
