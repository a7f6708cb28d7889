// SPDX-License-Identifier: Apache-2.0
#include "runtime/shape_state.h"

#include <algorithm>

#include "base/align.h"
#include "base/check.h"
#include "runtime/check_sizes.h"

namespace stator {
namespace {

std::string input_name(const Plan& plan, int32_t input) {
  const BufferId id = plan.inputs[static_cast<size_t>(input)];
  return "input " + std::to_string(input) + " \"" + plan.buffers[static_cast<size_t>(id)].name +
         "\"";
}

std::string range_text(int64_t least, int64_t greatest) {
  if (greatest == INT64_MAX) return std::to_string(least) + " or more";
  if (least == INT64_MIN) return std::to_string(greatest) + " or less";
  if (least == greatest) return std::to_string(least);
  return std::to_string(least) + ".." + std::to_string(greatest);
}

/// Derives one ShapeState; each step reads what those before it filled.
class Shaper {
 public:
  Shaper(const Plan& plan, const StepLayout& layout, ShapeState* state)
      : plan_(plan), layout_(layout), state_(*state) {}

  Status run(FaultRecord* fault) {
    STATOR_RETURN_IF_ERROR(bind_symbols());
    STATOR_RETURN_IF_ERROR(check_input_sizes());
    STATOR_RETURN_IF_ERROR(check_guards());
    STATOR_RETURN_IF_ERROR(check_sizes(plan_, state_.table.data()));
    place_buffers();
    describe_outputs();
    bind_steps(fault);
    return {};
  }

 private:
  const PlanBuffer& buffer(BufferId id) const { return plan_.buffers[static_cast<size_t>(id)]; }
  int64_t value(SizeSlot slot) const { return state_.table[static_cast<size_t>(slot)]; }

  /// Where the sizes of `input` begin in the key.
  size_t key_begin(int32_t input) const {
    size_t begin = 0;
    for (int32_t i = 0; i < input; ++i) {
      begin += buffer(plan_.inputs[static_cast<size_t>(i)]).shape.size();
    }
    return begin;
  }

  /// The caller's dimension that gives a symbol.
  int32_t dim_of(const SymbolBinding& symbol) const {
    return callers_axis(buffer(plan_.inputs[static_cast<size_t>(symbol.input)]), symbol.dim);
  }

  std::string symbol_place(const SymbolBinding& symbol) const {
    if (symbol.input < 0) return "scalar input " + std::to_string(symbol.scalar);
    return "dimension " + std::to_string(dim_of(symbol)) + " of " + input_name(plan_, symbol.input);
  }

  Status bind_symbols() {
    std::vector<int64_t> values;
    const size_t scalars = key_begin(static_cast<int32_t>(plan_.inputs.size()));
    for (const SymbolBinding& symbol : plan_.symbols) {
      const size_t position = symbol.input >= 0
                                  ? key_begin(symbol.input) + static_cast<size_t>(dim_of(symbol))
                                  : scalars + static_cast<size_t>(symbol.scalar);
      const int64_t given = state_.key[position];
      if (given < symbol.least || given > symbol.greatest) {
        return invalid_argument(symbol_place(symbol) + " (" + symbol.symbol + ") is " +
                                std::to_string(given) +
                                ", allowed: " + range_text(symbol.least, symbol.greatest));
      }
      values.push_back(given);
    }
    state_.table.resize(plan_.sizes.instructions.size());
    if (plan_.sizes.run(values.data(), state_.table.data())) return {};
    return invalid_argument("these input sizes lead to sizes that do not fit 64 bits");
  }

  /// Every size that is no free symbol: constants, repeated symbols, expressions.
  Status check_input_sizes() const {
    size_t begin = 0;
    for (size_t i = 0; i < plan_.inputs.size(); begin += buffer(plan_.inputs[i++]).shape.size()) {
      const PlanBuffer& input = buffer(plan_.inputs[i]);
      for (size_t k = 0; k < input.shape.size(); ++k) {
        const int32_t dim = callers_axis(input, static_cast<int32_t>(k));
        const size_t position = begin + static_cast<size_t>(dim);
        const int64_t expected = value(input.shape[k]);
        if (state_.key[position] != expected) {
          return invalid_argument("dimension " + std::to_string(dim) + " of " +
                                  input_name(plan_, static_cast<int32_t>(i)) + " is " +
                                  std::to_string(state_.key[position]) + ", expected " +
                                  std::to_string(expected) + why(input.shape[k]));
        }
      }
    }
    return {};
  }

  /// What tracing assumed of the sizes.
  Status check_guards() const {
    for (const PlanGuard& guard : plan_.guards) {
      if (value(guard.condition) != 0) continue;
      const Expr condition = slot_expressions(plan_.sizes)[static_cast<size_t>(guard.condition)];
      std::string sizes;
      for (const SymbolBinding& symbol : plan_.symbols) {
        if (!condition.uses_symbol(symbol.symbol)) continue;
        const size_t scalars = key_begin(static_cast<int32_t>(plan_.inputs.size()));
        const size_t position = symbol.input >= 0
                                    ? key_begin(symbol.input) + static_cast<size_t>(dim_of(symbol))
                                    : scalars + static_cast<size_t>(symbol.scalar);
        sizes += (sizes.empty() ? "" : ", ") + symbol_place(symbol) + " is " +
                 std::to_string(state_.key[position]);
      }
      return invalid_argument("the model was compiled for sizes where " + guard.text +
                              (guard.source.empty() ? "" : " (" + guard.source + ")") +
                              ", which does not hold here: " + sizes +
                              ". Compile it again with an example of these sizes");
    }
    return {};
  }

  /// Where an expected size comes from: " (s0: dimension 0 of input 0 "x")", " (2*s0)" or nothing.
  std::string why(SizeSlot slot) const {
    const Expr size = slot_expressions(plan_.sizes)[static_cast<size_t>(slot)];
    if (size.is_constant()) return "";
    for (const SymbolBinding& symbol : plan_.symbols) {
      if (size.is_symbol() && size.symbol_name() == symbol.symbol) {
        return " (" + symbol.symbol + ": " + symbol_place(symbol) + ")";
      }
    }
    return " (" + size.str() + ")";
  }

  void place_buffers() {
    std::vector<ArenaRequest> requests;
    std::vector<size_t> owners;
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      const PlanBuffer& b = plan_.buffers[i];
      if (b.role != BufferRole::kArena || b.alias_of >= 0) continue;
      requests.push_back({value(b.size_bytes), b.first_step, b.last_step});
      owners.push_back(i);
    }
    std::vector<int64_t> offsets;
    state_.arena_bytes = plan_memory(requests, &offsets);
#ifndef NDEBUG
    const Status proved = check_memory(requests, offsets, state_.arena_bytes);
    STATOR_CHECK(proved.ok(), proved.error().message);
#endif
    state_.arena_offsets.assign(plan_.buffers.size(), 0);
    for (size_t i = 0; i < owners.size(); ++i) state_.arena_offsets[owners[i]] = offsets[i];
    for (size_t i = 0; i < plan_.buffers.size(); ++i) {
      const PlanBuffer& b = plan_.buffers[i];
      if (b.role == BufferRole::kArena && b.alias_of >= 0) {
        state_.arena_offsets[i] = state_.arena_offsets[static_cast<size_t>(b.alias_of)];
      }
    }
    for (const PlanStep& step : plan_.steps) {
      state_.scratch_bytes = std::max(state_.scratch_bytes, align_up(value(step.scratch_bytes)));
    }
  }

  int64_t tensor_bytes(BufferId id) const {
    int64_t bytes = dtype_bytes(buffer(id).dtype);
    for (SizeSlot slot : buffer(id).shape) bytes *= value(slot);
    return bytes;
  }

  void describe_outputs() {
    for (BufferId id : plan_.outputs) {
      std::vector<int64_t>& shape = state_.output_shapes.emplace_back();
      shape.resize(buffer(id).shape.size());
      for (size_t k = 0; k < shape.size(); ++k) {
        const int32_t axis = callers_axis(buffer(id), static_cast<int32_t>(k));
        shape[static_cast<size_t>(axis)] = value(buffer(id).shape[k]);
      }
      state_.output_offsets.push_back(state_.output_bytes);
      state_.output_sizes.push_back(tensor_bytes(id));
      state_.output_bytes += align_up(std::max<int64_t>(1, value(buffer(id).size_bytes)));
    }
    for (BufferId id : plan_.inputs) {
      state_.input_bytes.push_back(tensor_bytes(id));
      state_.all_input_bytes += align_up(state_.input_bytes.back());
    }
  }

  void bind_steps(FaultRecord* fault) {
    // Reserved to its full size first: `shapes` points into it.
    size_t dim_count = 0;
    for (int32_t id : layout_.buffers) dim_count += buffer(id).shape.size();
    state_.dims.reserve(dim_count);
    for (int32_t id : layout_.buffers) {
      const PlanBuffer& b = buffer(id);
      const int64_t* sizes = state_.dims.data() + state_.dims.size();
      for (SizeSlot slot : b.shape) state_.dims.push_back(value(slot));
      state_.shapes.push_back({b.dtype, static_cast<int32_t>(b.shape.size()), sizes});
      state_.pointers.push_back(const_cast<void*>(layout_.constants[static_cast<size_t>(id)]));
    }
    for (const PlanStep& step : plan_.steps) {
      for (SizeSlot slot : step.sizes) state_.sizes.push_back(value(slot));
    }
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      state_.args.push_back({state_.pointers.data() + layout_.buffer_begin[i],
                             state_.sizes.data() + layout_.size_begin[i], fault,
                             static_cast<int64_t>(i)});
    }
    for (size_t i = 0; i < plan_.steps.size(); ++i) {
      const PlanStep& step = plan_.steps[i];
      state_.steps.push_back(
          {step.kernel, &state_.args[i], value(step.task_count), value(step.scratch_bytes),
           state_.shapes.data() + layout_.buffer_begin[i], step.group, step.lane});
    }
    state_.bound_inputs.assign(plan_.inputs.size(), nullptr);
    state_.bound_outputs.assign(plan_.outputs.size(), nullptr);
  }

  const Plan& plan_;
  const StepLayout& layout_;
  ShapeState& state_;
};

}  // namespace

Result<std::unique_ptr<ShapeState>> make_shape_state(const Plan& plan, const StepLayout& layout,
                                                     std::vector<int64_t> key, FaultRecord* fault) {
  auto state = std::make_unique<ShapeState>();
  state->key = std::move(key);
  STATOR_RETURN_IF_ERROR(Shaper(plan, layout, state.get()).run(fault));
  return state;
}

}  // namespace stator
