// SPDX-License-Identifier: Apache-2.0
//
// A call. What it costs beside its kernels: comparing the addresses with those of the last call,
// one virtual call for each span of steps, and a look at the fault record.
#include <algorithm>
#include <atomic>

#include "base/align.h"
#include "base/thread_pool.h"
#include "runtime/execution_context_impl.h"
#include "runtime/fault.h"

namespace stator {
namespace {

/// What an input without elements points to, so that no kernel computes with null.
alignas(64) char empty_input[64];

// A caller whose addresses are new at every call (one that keeps all results, say) gets copies of
// its inputs and outputs at addresses that stay, where they are small beside what a repeated run
// saves.
constexpr int64_t kUnseenBeforeStaging = 24;
constexpr int64_t kMostStaged = int64_t{32} << 20;
constexpr size_t kStepsForACopy = 4;

}  // namespace

Status ExecutionContext::Impl::check_alignment(const char* what, const TensorInfo& info,
                                               const void* data) const {
  const int64_t alignment = engine->memory->io_alignment();
  if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(alignment) == 0) return {};
  return Error{ErrorCode::kInvalidArgument,
               std::string(what) + " \"" + info.name + "\" must begin at a multiple of " +
                   std::to_string(alignment) + " bytes on this device; copy it to fresh memory"};
}

/// Whether there is a call to make: shapes, data for every input, memory for every output.
Status ExecutionContext::Impl::check_call() {
  STATOR_RETURN_IF_ERROR(ready);
  if (state == nullptr) {
    return Error{ErrorCode::kInvalidArgument, "no shapes are set; call set_shapes before run"};
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i] == nullptr && state->input_bytes[i] != 0) {
      return Error{ErrorCode::kInvalidArgument, "input " + std::to_string(i) + " \"" +
                                                    engine->inputs[i].name +
                                                    "\" has no data; call set_input before run"};
    }
  }
  const bool own = std::find(outputs.begin(), outputs.end(), nullptr) != outputs.end();
  if (own && own_outputs.size_bytes() < state->output_bytes) {
    STATOR_RETURN_IF_ERROR(
        own_outputs.grow(*owner, state->output_bytes, "the outputs of an execution context"));
  }
  return {};
}

Status ExecutionContext::Impl::bind(const char* what, const TensorInfo& info,
                                    const std::vector<int32_t>& positions, const void* data,
                                    const void** bound) {
  if (data == *bound) return {};
  STATOR_RETURN_IF_ERROR(check_alignment(what, info, data));
  for (int32_t position : positions) {
    state->pointers[static_cast<size_t>(position)] = const_cast<void*>(data);
  }
  *bound = data;
  return {};
}

Status ExecutionContext::Impl::bind_input(size_t i, const void* data) {
  return bind("input", engine->inputs[i], engine->layout.input_patches[i], data,
              &state->bound_inputs[i]);
}

Status ExecutionContext::Impl::bind_output(size_t i, void* data) {
  return bind("output", engine->outputs[i], engine->layout.output_patches[i], data,
              &state->bound_outputs[i]);
}

/// Writes the caller's addresses into the bound steps, where they changed.
Status ExecutionContext::Impl::bind_call() {
  for (size_t i = 0; i < inputs.size(); ++i) {
    STATOR_RETURN_IF_ERROR(bind_input(i, inputs[i] == nullptr ? empty_input : inputs[i]));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    STATOR_RETURN_IF_ERROR(bind_output(i, output_address(i)));
  }
  return {};
}

bool ExecutionContext::Impl::wants_staging() const {
  int64_t unseen = 0;
  for (const auto& run_state : state->run_states) {
    if (run_state != nullptr) unseen = std::max(unseen, run_state->new_addresses());
  }
  const int64_t bytes = state->all_input_bytes + state->output_bytes;
  return unseen > kUnseenBeforeStaging && bytes <= kMostStaged &&
         state->steps.size() > kStepsForACopy * (inputs.size() + outputs.size());
}

Status ExecutionContext::Impl::make_staging() {
  void* writable = nullptr;
  const int64_t bytes = std::max<int64_t>(state->all_input_bytes + state->output_bytes, 64);
  STATOR_TRY(state->staging, owner->allocate(bytes, &writable));
  char* at = static_cast<char*>(writable);
  for (const int64_t size : state->input_bytes) {
    state->staged_inputs.push_back(at);
    at += align_up(size);
  }
  for (const int64_t offset : state->output_offsets) state->staged_outputs.push_back(at + offset);
  return {};
}

Status ExecutionContext::Impl::run_staged(void* stream) {
  const ExecutorBackend& device = *engine->memory;
  for (size_t i = 0; i < inputs.size(); ++i) {
    const int64_t bytes = state->input_bytes[i];
    STATOR_RETURN_IF_ERROR(bind_input(i, bytes == 0 ? empty_input : state->staged_inputs[i]));
    if (bytes == 0) continue;
    STATOR_RETURN_IF_ERROR(
        device.copy_on_device(state->staged_inputs[i], inputs[i], bytes, stream));
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    STATOR_RETURN_IF_ERROR(bind_output(i, state->staged_outputs[i]));
  }
  STATOR_RETURN_IF_ERROR(run_steps(stream, nullptr));
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (state->output_sizes[i] == 0) continue;
    STATOR_RETURN_IF_ERROR(device.copy_on_device(output_address(i), state->staged_outputs[i],
                                                 state->output_sizes[i], stream));
  }
  return {};
}

void ExecutionContext::Impl::forget_fault() {
  fault->value = fault->limit = 0;
  std::atomic_ref(fault->code).store(0, std::memory_order_relaxed);
  // Last, so that a GPU's kernel that is still under way writes a whole record or none.
  std::atomic_ref(fault->claimed).store(0, std::memory_order_release);
}

Status ExecutionContext::Impl::check_fault() {
  const int64_t code = std::atomic_ref(fault->code).load(std::memory_order_acquire);
  if (code == 0) return {};
  const FaultRecord found = *fault;
  forget_fault();
  return fault_error(engine->plan, found);
}

Status ExecutionContext::Impl::run(void* stream, int64_t* step_ns) {
  STATOR_RETURN_IF_ERROR(check_call());
  if (stream != nullptr && step_ns == nullptr) {
    if (state->staging.data == nullptr && wants_staging()) STATOR_RETURN_IF_ERROR(make_staging());
    if (state->staging.data != nullptr) return run_staged(stream);
  }
  STATOR_RETURN_IF_ERROR(bind_call());
  return run_steps(stream, step_ns);
}

Status ExecutionContext::Impl::run_steps(void* stream, int64_t* step_ns) {
  RunOptions options{scratch.data(), state->scratch_bytes, stream};
  for (size_t i = 0; i < engine->spans.size(); ++i) {
    const StepSpan& span = engine->spans[i];
    options.step_ns = step_ns == nullptr ? nullptr : step_ns + span.begin;
    options.state = state->run_states[i].get();
    const Status ran =
        span.code->run(state->steps.data() + span.begin, span.end - span.begin, options);
    if (!ran.ok()) {
      forget_fault();  // it is not of the next call
      return ran;
    }
  }
  return check_fault();
}

Status ExecutionContext::run(void* stream) { return impl_->run(stream, nullptr); }

Result<std::vector<StepTime>> ExecutionContext::profile(void* stream) {
  const Plan& plan = impl_->engine->plan;
  std::vector<int64_t> step_ns(plan.steps.size());
  STATOR_RETURN_IF_ERROR(impl_->run(stream, step_ns.data()));
  std::vector<StepTime> times;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const PlanKernel& kernel = plan.kernels[static_cast<size_t>(plan.steps[i].kernel)];
    times.push_back({plan.steps[i].name, kernel.executor + "." + kernel.name, step_ns[i]});
  }
  return times;
}

void set_thread_count(int threads) { ThreadPool::global().set_active_threads(threads); }
int thread_count() { return ThreadPool::global().active_threads(); }

}  // namespace stator
