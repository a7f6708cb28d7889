// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>
#include <map>

#include "base/align.h"
#include "plan/engine_file.h"
#include "runtime/check_sizes.h"
#include "runtime/engine_impl.h"

namespace stator {
namespace {

/// Kernels read constants with aligned loads: what a caller handed over elsewhere is copied once.
void align_weights(Plan* plan) {
  for (PlanWeight& weight : plan->weights) {
    if (reinterpret_cast<uintptr_t>(weight.data.data) % kAlignment == 0) continue;
    void* writable = nullptr;
    TensorData copy = TensorData::allocate(weight.data.size_bytes, &writable);
    std::memcpy(writable, weight.data.data, static_cast<size_t>(weight.data.size_bytes));
    weight.data = std::move(copy);
  }
}

TensorInfo describe(const Plan& plan, BufferId id, const std::vector<Expr>& slots,
                    const Bounds& bounds) {
  const PlanBuffer& buffer = plan.buffers[static_cast<size_t>(id)];
  TensorInfo info;
  info.name = buffer.name;
  info.dtype = buffer.dtype;
  info.order.assign(buffer.order.begin(), buffer.order.end());
  const size_t rank = buffer.shape.size();
  info.shape.resize(rank);
  info.symbolic_shape.resize(rank);
  info.least.resize(rank);
  info.greatest.resize(rank);
  for (size_t k = 0; k < rank; ++k) {
    const Expr& size = slots[static_cast<size_t>(buffer.shape[k])];
    const auto axis = static_cast<size_t>(callers_axis(buffer, static_cast<int32_t>(k)));
    info.shape[axis] = size.is_constant() ? size.constant() : -1;
    info.symbolic_shape[axis] = size.str();
    info.least[axis] = bounds.least(size).value_or(0);
    info.greatest[axis] = bounds.greatest(size).value_or(INT64_MAX);
  }
  return info;
}

Error unknown_executor(const std::string& name) {
  std::string known;
  for (const ExecutorBackend* backend : executor_backends()) {
    known += (known.empty() ? "" : ", ") + backend->name();
  }
  return Error{ErrorCode::kIncompatible,
               "this engine needs the backend \"" + name +
                   "\", which this build of Stator lacks (it has: " + known + ")"};
}

}  // namespace

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<std::shared_ptr<const Engine>> Engine::from_plan(Plan plan, int device_index) {
  STATOR_RETURN_IF_ERROR(validate_plan(plan));
  return from_valid_plan(std::move(plan), device_index);
}

Result<std::shared_ptr<const Engine>> Engine::from_valid_plan(Plan plan, int device_index) {
  if (plan.symbols.empty()) STATOR_RETURN_IF_ERROR(check_fixed_sizes(plan));
  auto impl = std::make_unique<Impl>();
  impl->memory = find_executor_backend(plan.device);
  if (impl->memory == nullptr) return unknown_executor(plan.device);
  impl->device_index =
      device_index == kCurrentDevice ? impl->memory->current_device() : device_index;
  STATOR_TRY(const std::shared_ptr<void> entered, impl->memory->enter_device(impl->device_index));
  align_weights(&plan);
  impl->plan = std::move(plan);
  STATOR_RETURN_IF_ERROR(load_code(*impl));
  describe_interface(*impl);
  STATOR_TRY(const std::vector<const void*> weights, place_weights(*impl));
  impl->layout = make_step_layout(impl->plan, weights);
  return std::shared_ptr<const Engine>(new Engine(std::move(impl)));
}

/// The address of every weight where the kernels read it.
Result<std::vector<const void*>> Engine::place_weights(Impl& impl) {
  std::vector<const void*> places;
  for (const PlanWeight& weight : impl.plan.weights) {
    if (impl.memory->host_memory()) {
      places.push_back(weight.data.data);
      continue;
    }
    void* writable = nullptr;
    const int64_t bytes = weight.data.size_bytes;
    STATOR_TRY(TensorData copy, impl.memory->allocate(std::max<int64_t>(bytes, 1), &writable));
    STATOR_RETURN_IF_ERROR(impl.memory->copy_to_device(writable, weight.data.data, bytes));
    places.push_back(writable);
    impl.device_weights.push_back(std::move(copy));
  }
  return places;
}

/// One LoadedCode for each executor that the kernels name; the steps are cut into spans of one.
Status Engine::load_code(Impl& impl) {
  const Plan& plan = impl.plan;
  std::map<std::string, std::pair<const ExecutorBackend*, const LoadedCode*>> loaded;
  for (const PlanKernel& kernel : plan.kernels) {
    if (loaded.count(kernel.executor) != 0) continue;
    const ExecutorBackend* executor = find_executor_backend(kernel.executor);
    if (executor == nullptr) return unknown_executor(kernel.executor);
    STATOR_TRY(std::unique_ptr<LoadedCode> code, executor->load(plan.kernels, plan.code));
    loaded[kernel.executor] = {executor, code.get()};
    impl.loaded.push_back(std::move(code));
  }
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanKernel& kernel = plan.kernels[static_cast<size_t>(plan.steps[i].kernel)];
    const auto [executor, code] = loaded[kernel.executor];
    const auto step = static_cast<int32_t>(i);
    const Status fits = code->check_step(plan, plan.steps[i]);
    if (!fits.ok()) return fits.error().in("step " + std::to_string(i));
    if (impl.spans.empty() || impl.spans.back().code != code) {
      impl.spans.push_back({executor, code, step, step});
    }
    impl.spans.back().end = step + 1;
  }
  return {};
}

void Engine::describe_interface(Impl& impl) {
  const Plan& plan = impl.plan;
  const std::vector<Expr> slots = slot_expressions(plan.sizes);
  Bounds bounds;
  for (const SymbolBinding& symbol : plan.symbols) {
    bounds.set(symbol.symbol, symbol.least, symbol.greatest);
  }
  for (BufferId id : plan.inputs) {
    impl.inputs.push_back(describe(plan, id, slots, bounds));
    impl.input_size_count += static_cast<int32_t>(impl.inputs.back().shape.size());
  }
  for (BufferId id : plan.outputs) impl.outputs.push_back(describe(plan, id, slots, bounds));
}

Result<std::shared_ptr<const Engine>> Engine::load(const std::string& path,
                                                   const LoadOptions& options) {
  STATOR_TRY(Plan plan, read_engine_file(path, options.verify_digests));
  Result<std::shared_ptr<const Engine>> engine =
      from_valid_plan(std::move(plan), options.device_index);
  if (!engine.ok()) return engine.error().in(path);
  return engine;
}

Result<std::shared_ptr<const Engine>> Engine::from_bytes(TensorData bytes, const std::string& name,
                                                         const LoadOptions& options) {
  STATOR_TRY(Plan plan, read_engine_bytes(std::move(bytes), name, options.verify_digests));
  Result<std::shared_ptr<const Engine>> engine =
      from_valid_plan(std::move(plan), options.device_index);
  if (!engine.ok()) return engine.error().in(name);
  return engine;
}

const std::vector<TensorInfo>& Engine::inputs() const { return impl_->inputs; }
const std::vector<TensorInfo>& Engine::outputs() const { return impl_->outputs; }
const std::string& Engine::device() const { return impl_->plan.device; }
int Engine::device_index() const { return impl_->device_index; }
bool Engine::host_memory() const { return impl_->memory->host_memory(); }
Result<TensorData> Engine::allocate(int64_t size_bytes, void** writable) const {
  STATOR_TRY(const std::shared_ptr<void> entered, impl_->memory->enter_device(impl_->device_index));
  return impl_->memory->allocate(size_bytes, writable);
}
Status Engine::copy_to_device(void* device, const void* host, int64_t size_bytes) const {
  return impl_->memory->copy_to_device(device, host, size_bytes);
}
Status Engine::copy_to_host(void* host, const void* device, int64_t size_bytes) const {
  return impl_->memory->copy_to_host(host, device, size_bytes);
}
int Engine::scalar_input_count() const { return impl_->plan.scalar_input_count; }
const std::string& Engine::metadata() const { return impl_->plan.metadata; }
const Plan& Engine::plan() const { return impl_->plan; }
const std::string& Engine::key() const { return impl_->plan.key; }
Status Engine::save(const std::string& path, const std::string& key) const {
  return write_engine_file(impl_->plan, path, key);
}
Result<std::string> Engine::bytes(const std::string& key) const {
  return engine_bytes(impl_->plan, key);
}

int64_t Engine::weight_bytes() const {
  int64_t total = 0;
  for (const PlanWeight& weight : impl_->plan.weights) total += weight.data.size_bytes;
  return total;
}

}  // namespace stator
