// SPDX-License-Identifier: Apache-2.0
#include "builder/layout.h"

#include <algorithm>
#include <set>

#include "base/check.h"
#include "builder/seconds_since.h"

namespace stator {

PlanLayout::PlanLayout(const RegionGraph& graph, const CompilerBackend& backend)
    : graph_(graph), backend_(backend), buffers_(graph.tensors.size(), -1) {
  plan_.name = graph.name;
  plan_.device = backend.traits().name;
}

Status PlanLayout::interface(const BuilderOptions& options) {
  std::set<std::string> bound;
  const auto bind = [&](const Expr& size, int32_t input, int32_t dim, int32_t scalar) {
    if (!size.is_symbol() || !bound.insert(size.symbol_name()).second) {
      return;
    }
    SymbolBinding binding{size.symbol_name(), input, dim, scalar, INT64_MIN, INT64_MAX};
    binding.least = input >= 0 ? 0 : INT64_MIN;
    const auto range = graph_.bounds.ranges().find(size.symbol_name());
    if (range != graph_.bounds.ranges().end()) {
      binding.least = range->second.first;
      binding.greatest = range->second.second;
    }
    plan_.symbols.push_back(binding);
    plan_.sizes.symbols.push_back(size.symbol_name());
  };
  for (size_t i = 0; i < graph_.inputs.size(); ++i) {
    const TensorType& type = graph_.tensors[static_cast<size_t>(graph_.inputs[i])].type;
    for (size_t k = 0; k < type.shape.size(); ++k) {
      bind(type.shape[k], static_cast<int32_t>(i), static_cast<int32_t>(k), -1);
    }
  }
  for (size_t i = 0; i < graph_.scalar_inputs.size(); ++i) {
    bind(graph_.scalar_inputs[i], -1, -1, static_cast<int32_t>(i));
  }
  for (const Guard& guard : graph_.guards) {
    STATOR_TRY(const SizeSlot condition, slot(guard.condition));
    plan_.guards.push_back({condition, guard.text, guard.source});
  }
  plan_.scalar_input_count = static_cast<int32_t>(graph_.scalar_inputs.size());
  for (size_t i = 0; i < graph_.inputs.size(); ++i) {
    STATOR_TRY(const BufferId id, buffer(graph_.inputs[i]));
    plan_.buffers[static_cast<size_t>(id)].io_index = static_cast<int32_t>(i);
    set_order(id, options.input_orders, i);
    plan_.inputs.push_back(id);
  }
  for (size_t i = 0; i < graph_.outputs.size(); ++i) {
    STATOR_TRY(const BufferId id, buffer(graph_.outputs[i]));
    plan_.buffers[static_cast<size_t>(id)].io_index = static_cast<int32_t>(i);
    set_order(id, options.output_orders, i);
    plan_.outputs.push_back(id);
  }
  return {};
}

void PlanLayout::set_order(BufferId id, const std::vector<std::vector<int64_t>>& orders,
                           size_t index) {
  if (index >= orders.size()) return;
  plan_.buffers[static_cast<size_t>(id)].order = {orders[index].begin(), orders[index].end()};
}

/// Some symbol of `e` that no input binds; "" when all are bound.
std::string PlanLayout::unbound_symbol(const Expr& e) const {
  std::set<std::string> symbols;
  e.collect_symbols(symbols);
  for (const std::string& symbol : symbols) {
    if (std::find(plan_.sizes.symbols.begin(), plan_.sizes.symbols.end(), symbol) ==
        plan_.sizes.symbols.end()) {
      return symbol;
    }
  }
  return "";
}

Result<SizeSlot> PlanLayout::slot(const Expr& given) {
  // A symbol that stands for a function's value is computed, unless an input has that size.
  const Expr e = unbound_symbol(given).empty() ? given : graph_.bounds.expand(given);
  if (const std::string symbol = unbound_symbol(e); !symbol.empty()) {
    return Error{ErrorCode::kUnsupported,
                 "size " + e.str() + " depends on " + symbol +
                     ", which is no dimension of an input and no integer input"};
  }
  return plan_.sizes.add(e);
}

Result<BufferId> PlanLayout::add_buffer(const RegionTensor& tensor, BufferRole role,
                                        const Expr& bytes) {
  PlanBuffer b;
  b.name = tensor.name;
  b.role = role;
  b.dtype = tensor.type.dtype;
  for (const Expr& size : tensor.type.shape) {
    STATOR_TRY(const SizeSlot s, slot(size));
    b.shape.push_back(s);
  }
  STATOR_TRY(b.size_bytes, slot(bytes));
  b.first_step = INT32_MAX;
  b.last_step = -1;
  plan_.buffers.push_back(std::move(b));
  return static_cast<BufferId>(plan_.buffers.size() - 1);
}

Result<BufferId> PlanLayout::buffer(int32_t tensor) {
  BufferId& known = buffers_[static_cast<size_t>(tensor)];
  if (known != -1) {
    return known;
  }
  const RegionTensor& t = graph_.tensors[static_cast<size_t>(tensor)];
  static constexpr BufferRole kRoles[] = {BufferRole::kArena, BufferRole::kInput,
                                          BufferRole::kOutput, BufferRole::kConstant};
  const BufferRole role = kRoles[static_cast<size_t>(t.role)];
  const Expr bytes = product(t.type.shape) * Expr(dtype_bytes(t.type.dtype));
  BufferId root = -1;
  if (t.alias_of >= 0 && role != BufferRole::kConstant) {
    STATOR_TRY(root, buffer(t.alias_of));
  }
  STATOR_TRY(known, add_buffer(t, role, bytes));
  PlanBuffer& b = plan_.buffers[static_cast<size_t>(known)];
  if (role == BufferRole::kConstant) {
    b.weight = add_weight(t, {"copy", ""}, t.data);
  }
  if (root >= 0) {
    const PlanBuffer& owner = plan_.buffers[static_cast<size_t>(root)];
    b.alias_of = root;
    b.size_bytes = owner.size_bytes;
    b.io_index = owner.io_index;
  }
  return known;
}

int32_t PlanLayout::add_weight(const RegionTensor& tensor, WeightRecipe recipe, TensorData data) {
  const auto key = std::pair{tensor.data.data, recipe.kind + " " + recipe.text};
  const auto found = weights_.find(key);
  if (found != weights_.end() &&
      plan_.weights[static_cast<size_t>(found->second)].data.size_bytes == data.size_bytes) {
    return found->second;
  }
  PlanWeight weight;
  weight.name = tensor.name;
  const int count = weight_names_[tensor.name]++;
  if (count > 0) {
    weight.name += "#" + std::to_string(count);
  }
  weight.origin = tensor.origin;
  weight.dtype = tensor.type.dtype;
  for (const Expr& size : tensor.type.shape) {
    weight.shape.push_back(size.constant());
  }
  weight.recipe = std::move(recipe);
  weight.data = std::move(data);
  plan_.weights.push_back(std::move(weight));
  const auto index = static_cast<int32_t>(plan_.weights.size() - 1);
  weights_[key] = index;
  return index;
}

Result<BufferId> PlanLayout::packed_buffer(int32_t tensor, const PackedInput& packed) {
  const RegionTensor& t = graph_.tensors[static_cast<size_t>(tensor)];
  STATOR_CHECK(t.role == RegionTensorRole::kConstant, t.name + " is packed but no constant");
  const auto found = weights_.find({t.data.data, "pack " + packed.recipe});
  if (found != weights_.end()) {
    // The same bytes may stand for tensors of several shapes: each has its own buffer.
    const PlanWeight& weight = plan_.weights[static_cast<size_t>(found->second)];
    STATOR_TRY(const BufferId id,
               add_buffer(t, BufferRole::kConstant, Expr(weight.data.size_bytes)));
    PlanBuffer mine = std::move(plan_.buffers[static_cast<size_t>(id)]);
    plan_.buffers.pop_back();
    mine.weight = found->second;
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      const PlanBuffer& other = plan_.buffers[i];
      if (other.role == BufferRole::kConstant && other.weight == mine.weight &&
          other.dtype == mine.dtype && other.shape == mine.shape) {
        return static_cast<BufferId>(i);
      }
    }
    plan_.buffers.push_back(std::move(mine));
    return id;
  }
  const Clock::time_point begin = Clock::now();
  STATOR_TRY(TensorData data, backend_.pack(packed.recipe, t.data));
  pack_seconds_ += seconds_since(begin);
  STATOR_TRY(const BufferId id, add_buffer(t, BufferRole::kConstant, Expr(data.size_bytes)));
  plan_.buffers[static_cast<size_t>(id)].weight =
      add_weight(t, {"pack", packed.recipe}, std::move(data));
  return id;
}

void PlanLayout::touch(BufferId id) {
  const auto step = static_cast<int32_t>(plan_.steps.size());
  PlanBuffer& b = plan_.buffers[static_cast<size_t>(id)];
  PlanBuffer& owner = b.alias_of >= 0 ? plan_.buffers[static_cast<size_t>(b.alias_of)] : b;
  owner.first_step = std::min(owner.first_step, step);
  owner.last_step = std::max(owner.last_step, step);
}

Status PlanLayout::add_step(const Region& region, int32_t kernel, const KernelLaunch& launch,
                            LanePlace place) {
  PlanStep step;
  step.group = place.group;
  step.lane = place.lane;
  step.kernel = kernel;
  step.name = region.name;
  step.provenance = region.provenance;
  for (size_t i = 0; i < region.inputs.size(); ++i) {
    const auto packed =
        std::find_if(launch.packed.begin(), launch.packed.end(),
                     [i](const PackedInput& p) { return p.input == static_cast<int32_t>(i); });
    STATOR_TRY(const BufferId id, packed == launch.packed.end()
                                      ? buffer(region.inputs[i])
                                      : packed_buffer(region.inputs[i], *packed));
    step.buffers.push_back(id);
  }
  for (const int32_t output : region.outputs) {
    STATOR_TRY(const BufferId id, buffer(output));
    step.buffers.push_back(id);
  }
  for (const BufferId id : step.buffers) {
    touch(id);
  }
  for (const Expr& e : launch.sizes) {
    STATOR_TRY(const SizeSlot s, slot(e));
    step.sizes.push_back(s);
  }
  std::vector<std::string> symbols;
  (void)region_signature(graph_, region, &symbols);
  for (const std::string& symbol : symbols) {
    STATOR_TRY(const SizeSlot s, slot(Expr::symbol(symbol)));
    step.symbols.push_back(s);
  }
  STATOR_TRY(step.task_count, slot(launch.task_count));
  STATOR_TRY(step.scratch_bytes, slot(launch.scratch_bytes));
  plan_.steps.push_back(std::move(step));
  return {};
}

/// What steps of a group touch must not give way to another of its steps: the lanes' order is open.
void PlanLayout::keep_through_groups() {
  std::vector<std::pair<int32_t, int32_t>> reach;  // of the group around each step
  for (size_t i = 0; i < plan_.steps.size(); ++i) {
    const auto here = static_cast<int32_t>(i);
    const int32_t group = plan_.steps[i].group;
    const bool goes_on = i > 0 && group >= 0 && plan_.steps[i - 1].group == group;
    const int32_t begin = goes_on ? reach.back().first : here;
    reach.emplace_back(begin, here);
    for (int32_t k = begin; k < here; ++k) reach[static_cast<size_t>(k)].second = here;
  }
  for (PlanBuffer& b : plan_.buffers) {
    if (b.role != BufferRole::kArena || b.alias_of >= 0 || b.last_step < 0) continue;
    b.first_step = reach[static_cast<size_t>(b.first_step)].first;
    b.last_step = reach[static_cast<size_t>(b.last_step)].second;
  }
}

Result<Plan> PlanLayout::finish() {
  keep_through_groups();
  for (PlanBuffer& b : plan_.buffers) {
    if (b.role != BufferRole::kArena || (b.alias_of < 0 && b.last_step < 0)) {
      b.first_step = 0;
      b.last_step = 0;
    }
  }
  for (PlanBuffer& b : plan_.buffers) {
    if (b.alias_of >= 0) {
      const PlanBuffer& owner = plan_.buffers[static_cast<size_t>(b.alias_of)];
      b.first_step = owner.first_step;
      b.last_step = owner.last_step;
      b.io_index = owner.io_index;
    }
  }
  return std::move(plan_);
}

}  // namespace stator
