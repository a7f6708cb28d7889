// SPDX-License-Identifier: Apache-2.0
//
// Shapes and addresses of one caller. The run itself is in run.cpp.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "base/check.h"
#include "runtime/execution_context_impl.h"

namespace stator {
namespace {

constexpr size_t kRememberedShapes = 64;

/// "2 inputs ("ids", "mask")".
std::string input_list(const std::vector<TensorInfo>& inputs) {
  std::string names;
  for (const TensorInfo& info : inputs) names += (names.empty() ? "\"" : ", \"") + info.name + "\"";
  return std::to_string(inputs.size()) + (inputs.size() == 1 ? " input" : " inputs") +
         (names.empty() ? "" : " (" + names + ")");
}

std::string shape_text(const std::vector<std::string>& sizes) {
  std::string text;
  for (const std::string& size : sizes) text += (text.empty() ? "" : ", ") + size;
  return "[" + text + "]";
}

Status check_position(const char* what, int index, size_t count) {
  if (index >= 0 && static_cast<size_t>(index) < count) return {};
  return invalid_argument(std::string(what) + " " + std::to_string(index) +
                          " does not exist; the engine has " + std::to_string(count) + " " + what +
                          (count == 1 ? "" : "s"));
}

/// The strides of a dense tensor whose axes lie in memory in this order.
std::vector<int64_t> strides_in_order(const std::vector<int64_t>& shape,
                                      const std::vector<int64_t>& order) {
  std::vector<int64_t> strides(shape.size());
  int64_t elements = 1;
  for (size_t k = shape.size(); k-- > 0;) {
    const size_t axis = order.empty() ? k : static_cast<size_t>(order[k]);
    strides[axis] = elements;
    elements *= std::max<int64_t>(shape[axis], 1);
  }
  return strides;
}

}  // namespace

Status GrowingBlock::grow(const Engine& engine, int64_t size_bytes, const char* what) {
  if (size_bytes <= size_bytes_) return {};
  owner_ = {};  // first, so that both are never held at once
  data_ = nullptr;
  size_bytes_ = 0;
  void* writable = nullptr;
  Result<TensorData> block = engine.allocate(size_bytes, &writable);
  if (!block.ok()) return block.error().in(what);
  owner_ = std::move(block).value();
  data_ = static_cast<char*>(writable);
  size_bytes_ = size_bytes;
  return {};
}

int64_t TensorView::size_bytes() const {
  return std::accumulate(shape.begin(), shape.end(), dtype_bytes(dtype), std::multiplies<>());
}

std::vector<int64_t> TensorView::strides() const { return strides_in_order(shape, order); }

void copy_in_order(const TensorView& view, const std::vector<int64_t>& to_order, void* to) {
  const std::vector<int64_t> from_strides = strides_in_order(view.shape, view.order);
  const std::vector<int64_t> to_strides = strides_in_order(view.shape, to_order);
  const auto bytes = static_cast<size_t>(dtype_bytes(view.dtype));
  const int64_t count = view.size_bytes() / static_cast<int64_t>(bytes);
  std::vector<int64_t> index(view.shape.size(), 0);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t from =
        std::inner_product(index.begin(), index.end(), from_strides.begin(), int64_t{0});
    const int64_t at =
        std::inner_product(index.begin(), index.end(), to_strides.begin(), int64_t{0});
    std::memcpy(static_cast<char*>(to) + static_cast<size_t>(at) * bytes,
                static_cast<const char*>(view.data) + static_cast<size_t>(from) * bytes, bytes);
    for (size_t k = index.size(); k-- > 0 && ++index[k] == view.shape[k];) index[k] = 0;
  }
}

ExecutionContext::ExecutionContext(std::shared_ptr<const Engine> engine)
    : impl_(std::make_unique<Impl>()) {
  impl_->engine = engine->impl_.get();
  impl_->owner = std::move(engine);
  const Plan& plan = impl_->engine->plan;
  impl_->inputs.resize(plan.inputs.size());
  impl_->outputs.resize(plan.outputs.size());
  void* fault = nullptr;
  const Result<std::shared_ptr<void>> entered =
      impl_->engine->memory->enter_device(impl_->engine->device_index);
  if (auto memory = impl_->engine->memory->allocate_shared(sizeof(FaultRecord), &fault);
      memory.ok()) {
    impl_->fault_memory = std::move(memory).value();
    impl_->fault = static_cast<FaultRecord*>(fault);
  } else {
    impl_->ready = memory.error();
  }
  if (!plan.symbols.empty() || plan.scalar_input_count > 0) return;
  // All sizes are fixed. If there is no memory for them now, set_shapes or run will say so.
  std::vector<int64_t> sizes;
  for (const TensorInfo& info : impl_->engine->inputs) {
    sizes.insert(sizes.end(), info.shape.begin(), info.shape.end());
  }
  (void)impl_->activate(sizes.data(), static_cast<int64_t>(sizes.size()), nullptr, 0);
}

ExecutionContext::~ExecutionContext() = default;
ExecutionContext::ExecutionContext(ExecutionContext&&) noexcept = default;

Status ExecutionContext::set_shapes(const std::vector<std::vector<int64_t>>& shapes,
                                    const std::vector<int64_t>& scalars) {
  const std::vector<TensorInfo>& inputs = impl_->engine->inputs;
  if (shapes.size() != inputs.size()) {
    return invalid_argument("the engine takes " + input_list(inputs) + ", got " +
                            std::to_string(shapes.size()));
  }
  std::vector<int64_t>& flat = impl_->flat_key;
  flat.clear();
  for (size_t i = 0; i < shapes.size(); ++i) {
    if (shapes[i].size() != inputs[i].shape.size()) {
      return invalid_argument("input " + std::to_string(i) + " \"" + inputs[i].name + "\" has " +
                              std::to_string(shapes[i].size()) + " dimensions, expected " +
                              std::to_string(inputs[i].shape.size()) + ": " +
                              shape_text(inputs[i].symbolic_shape));
    }
    flat.insert(flat.end(), shapes[i].begin(), shapes[i].end());
  }
  return impl_->activate(flat.data(), static_cast<int64_t>(flat.size()), scalars.data(),
                         static_cast<int64_t>(scalars.size()));
}

Status ExecutionContext::set_shapes(const int64_t* sizes, int64_t size_count,
                                    const int64_t* scalars, int64_t scalar_count) {
  return impl_->activate(sizes, size_count, scalars, scalar_count);
}

Status ExecutionContext::Impl::activate(const int64_t* sizes, int64_t size_count,
                                        const int64_t* scalars, int64_t scalar_count) {
  if (size_count != engine->input_size_count) {
    return invalid_argument("expected " + std::to_string(engine->input_size_count) +
                            " sizes for the " + input_list(engine->inputs) + ", got " +
                            std::to_string(size_count));
  }
  if (scalar_count != engine->plan.scalar_input_count) {
    return invalid_argument("the engine takes " + std::to_string(engine->plan.scalar_input_count) +
                            " scalar inputs, got " + std::to_string(scalar_count));
  }
  const auto matches = [&](const ShapeState& seen) {
    return std::equal(sizes, sizes + size_count, seen.key.begin()) &&
           std::equal(scalars, scalars + scalar_count, seen.key.begin() + size_count);
  };
  if (state != nullptr && matches(*state)) return {};
  for (const auto& seen : states) {
    if (matches(*seen)) return use(seen.get());
  }
  std::vector<int64_t> key(sizes, sizes + size_count);
  key.insert(key.end(), scalars, scalars + scalar_count);
  STATOR_TRY(std::unique_ptr<ShapeState> made,
             make_shape_state(engine->plan, engine->layout, std::move(key), fault));
  if (states.size() == kRememberedShapes) {
    const auto oldest =
        std::min_element(states.begin(), states.end(),
                         [](const auto& a, const auto& b) { return a->last_use < b->last_use; });
    if (state == oldest->get()) state = nullptr;
    states.erase(oldest);
  }
  for (const StepSpan& span : engine->spans) made->run_states.push_back(span.code->new_state());
  states.push_back(std::move(made));
  return use(states.back().get());
}

/// Makes a state the current one: memory large enough, its steps pointing into it.
Status ExecutionContext::Impl::use(ShapeState* chosen) {
  state = chosen;
  state->last_use = ++use_count;
  const Status prepared = prepare_memory();
  if (!prepared.ok()) state = nullptr;
  return prepared;
}

Status ExecutionContext::Impl::prepare_memory() {
  STATOR_RETURN_IF_ERROR(
      arena.grow(*owner, state->arena_bytes, "the arena of an execution context"));
  int threads = lane_count(engine->plan);
  for (const StepSpan& span : engine->spans) {
    threads = std::max(threads, span.executor->thread_count());
  }
  STATOR_RETURN_IF_ERROR(scratch.grow(*owner, state->scratch_bytes * threads,
                                      "the scratch memory of an execution context"));
  if (state->bound_arena != arena.data()) bind_arena();
  return {};
}

void ExecutionContext::release_memory() {
  for (GrowingBlock* block : {&impl_->arena, &impl_->scratch, &impl_->own_outputs}) {
    block->release();
  }
  impl_->state = nullptr;  // so that the next set_shapes sees to memory again
}

void ExecutionContext::Impl::bind_arena() {
  const std::vector<int32_t>& buffers = engine->layout.buffers;
  for (size_t i = 0; i < buffers.size(); ++i) {
    const auto id = static_cast<size_t>(buffers[i]);
    if (engine->plan.buffers[id].role == BufferRole::kArena) {
      state->pointers[i] = arena.data() + state->arena_offsets[id];
    }
  }
  state->bound_arena = arena.data();
}

const std::vector<int64_t>& ExecutionContext::output_shape(int index) const {
  STATOR_CHECK(impl_->state != nullptr, "output_shape before set_shapes");
  return impl_->state->output_shapes.at(static_cast<size_t>(index));
}

Status ExecutionContext::set_input(int index, const void* data) {
  STATOR_RETURN_IF_ERROR(check_position("input", index, impl_->inputs.size()));
  impl_->inputs[static_cast<size_t>(index)] = data;
  return {};
}

Status ExecutionContext::set_output(int index, void* data) {
  STATOR_RETURN_IF_ERROR(check_position("output", index, impl_->outputs.size()));
  impl_->outputs[static_cast<size_t>(index)] = data;
  return {};
}

void* ExecutionContext::Impl::output_address(size_t index) const {
  if (outputs[index] != nullptr) return outputs[index];
  return own_outputs.data() + state->output_offsets[index];
}

TensorView ExecutionContext::output(int index) const {
  STATOR_CHECK(impl_->state != nullptr, "output before set_shapes");
  const auto position = static_cast<size_t>(index);
  return TensorView{impl_->output_address(position), impl_->engine->outputs.at(position).dtype,
                    impl_->state->output_shapes.at(position),
                    impl_->engine->outputs.at(position).order};
}

int64_t ExecutionContext::arena_bytes() const { return impl_->arena.size_bytes(); }

}  // namespace stator
