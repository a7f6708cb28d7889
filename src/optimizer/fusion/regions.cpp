// SPDX-License-Identifier: Apache-2.0
#include "optimizer/fusion/regions.h"

#include <algorithm>
#include <set>

#include "base/check.h"

namespace stator {

std::vector<Provenance> provenance_of(const FusionContext& c, TensorId id) {
  std::vector<Provenance> list;
  std::vector<TensorId> todo = {id};
  std::set<TensorId> seen;  // a value that is read several times is followed once
  while (!todo.empty()) {
    const TensorId at = todo.back();
    todo.pop_back();
    if (!seen.insert(at).second) {
      continue;
    }
    const int32_t producer = c.network.tensor(at).producer;
    if (producer < 0) {
      continue;
    }
    const NetworkLayer& layer = c.network.layers[static_cast<size_t>(producer)];
    const bool known = std::any_of(list.begin(), list.end(), [&layer](const Provenance& p) {
      return p.node == layer.provenance.node;
    });
    if (!known && !layer.provenance.node.empty()) {
      list.insert(list.begin(), layer.provenance);
    }
    for (const TensorId input : layer.inputs) {
      if (!c.plan.in_memory(input)) {
        todo.push_back(input);
      }
    }
  }
  return list;
}

std::string region_name(const std::vector<Provenance>& provenance, const std::string& otherwise) {
  std::string name;
  for (size_t i = 0; i < std::min<size_t>(provenance.size(), 3); ++i) {
    name += (i > 0 ? "+" : "") + provenance[i].node;
  }
  return name.empty() ? otherwise : name + (provenance.size() > 3 ? "+…" : "");
}

void add_loop(FusionContext& c, LoopBuilder& loop, const std::vector<TensorId>& outputs,
              const std::vector<Provenance>& provenance) {
  loop.finish(true);
  std::vector<int32_t> inputs, results;
  for (const TensorId id : loop.inputs()) {
    inputs.push_back(c.regions.tensor(id));
  }
  for (const TensorId id : outputs) {
    results.push_back(c.regions.tensor(id));
  }
  c.regions.add_region(std::move(loop.program()), std::move(inputs), std::move(results), provenance,
                       region_name(provenance, "loop"));
}

void add_pointwise_region(FusionContext& c, TensorId id) {
  LoopBuilder loop(c.network, c.plan);
  const std::vector<Expr>& shape = c.network.type(id).shape;
  Index index;
  for (const Expr& size : shape) {
    index.push_back(size.is_constant(1) ? Expr(0) : loop.add_dim(size, false));
  }
  const OpId value = loop.compute(id, index);
  loop.store(0, flat_index(shape, index, loop.bounds()), value);
  add_loop(c, loop, {id}, provenance_of(c, id));
}

namespace {

/// Offset and strides when the flat index is linear in the dims; nullopt otherwise.
std::optional<StridedView> linear_view(const Expr& flat, const std::vector<Expr>& dims,
                                       int32_t buffer) {
  std::vector<std::string> symbols;
  for (const Expr& dim : dims) {
    if (dim.is_symbol()) {
      symbols.push_back(dim.symbol_name());
    }
  }
  const std::optional<LinearForm> form = linear_form(flat, symbols);
  if (!form.has_value()) {
    return std::nullopt;
  }
  StridedView view;
  view.buffer = buffer;
  view.offset = form->constant_term;
  for (const Expr& dim : dims) {
    view.strides.push_back(dim.is_symbol() ? form->coefficients.at(dim.symbol_name()) : Expr(0));
  }
  return view;
}

}  // namespace

StridedView strided_operand(FusionContext& c, LoopBuilder& loop, TensorId id, const Index& index,
                            const std::vector<Expr>& dims) {
  TensorId at = id;
  Index where = index;
  while (!c.plan.in_memory(at)) {
    const int32_t producer = c.network.tensor(at).producer;
    STATOR_CHECK(producer >= 0, "an operand is nowhere");
    const NetworkLayer& layer = c.network.layers[static_cast<size_t>(producer)];
    if (!is_view(layer.attributes)) {
      break;
    }
    where = view_index(c.network, layer, where, loop.bounds());
    at = layer.inputs[0];
  }
  if (c.plan.in_memory(at)) {
    const Expr flat = flat_index(c.network.type(at).shape, where, loop.bounds());
    if (const auto view = linear_view(flat, dims, -1)) {
      StridedView result = *view;
      result.buffer = loop.input(at);
      return result;
    }
  }
  // A copy in the operand's own order.
  const std::vector<Expr>& shape = c.network.type(id).shape;
  LoopBuilder copy(c.network, c.plan);
  Index position;
  for (const Expr& size : shape) {
    position.push_back(size.is_constant(1) ? Expr(0) : copy.add_dim(size, false));
  }
  const OpId value = copy.get(id, position);
  copy.store(0, flat_index(shape, position, copy.bounds()), value);
  copy.finish(true);
  std::vector<int32_t> inputs;
  for (const TensorId input : copy.inputs()) {
    inputs.push_back(c.regions.tensor(input));
  }
  const int32_t target = c.regions.copy_of(id);
  const std::vector<Provenance> provenance = provenance_of(c, id);
  c.regions.add_region(std::move(copy.program()), std::move(inputs), {target}, provenance,
                       region_name(provenance, "copy"));
  const auto view = linear_view(flat_index(shape, index, loop.bounds()), dims, -1);
  STATOR_CHECK(view.has_value(),
               "a dense operand is not linear: " + flat_index(shape, index, loop.bounds()).str());
  StridedView result = *view;
  result.buffer = loop.input(id);
  return result;
}

}  // namespace stator
