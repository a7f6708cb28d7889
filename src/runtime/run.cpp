// SPDX-License-Identifier: Apache-2.0
//
// A call. What it costs beside its kernels: comparing the addresses with those of the last call,
// one virtual call for each span of steps, and a look at the fault words.
#include <cstring>

#include "base/thread_pool.h"
#include "runtime/execution_context_impl.h"

namespace stator {
namespace {

/// What an input without elements points to, so that no kernel computes with null.
alignas(64) char empty_input[64];

}  // namespace

Status ExecutionContext::Impl::check_alignment(const char* what, const TensorInfo& info,
                                               const void* data) const {
  const int64_t alignment = engine->memory->io_alignment();
  if (reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(alignment) == 0) return {};
  return Error{ErrorCode::kInvalidArgument,
               std::string(what) + " \"" + info.name + "\" must begin at a multiple of " +
                   std::to_string(alignment) + " bytes on this device; copy it to fresh memory"};
}

/// Writes the caller's addresses into the bound steps, where they changed.
Status ExecutionContext::Impl::bind_call() {
  STATOR_RETURN_IF_ERROR(ready);
  if (state == nullptr) {
    return Error{ErrorCode::kInvalidArgument, "no shapes are set; call set_shapes before run"};
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const void* data = inputs[i];
    if (data == nullptr) {
      if (!state->input_empty[i]) {
        return Error{ErrorCode::kInvalidArgument, "input " + std::to_string(i) + " \"" +
                                                      engine->inputs[i].name +
                                                      "\" has no data; call set_input before run"};
      }
      data = empty_input;
    }
    if (data == state->bound_inputs[i]) continue;
    STATOR_RETURN_IF_ERROR(check_alignment("input", engine->inputs[i], data));
    for (int32_t position : engine->layout.input_patches[i]) {
      state->pointers[static_cast<size_t>(position)] = const_cast<void*>(data);
    }
    state->bound_inputs[i] = data;
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    if (outputs[i] == nullptr && own_outputs.size_bytes() < state->output_bytes) {
      STATOR_RETURN_IF_ERROR(
          own_outputs.grow(*owner, state->output_bytes, "the outputs of an execution context"));
    }
    void* data = output_address(i);
    if (data == state->bound_outputs[i]) continue;
    STATOR_RETURN_IF_ERROR(check_alignment("output", engine->outputs[i], data));
    for (int32_t position : engine->layout.output_patches[i]) {
      state->pointers[static_cast<size_t>(position)] = data;
    }
    state->bound_outputs[i] = data;
  }
  return {};
}

Status ExecutionContext::Impl::check_faults() {
  int64_t any = 0;
  for (size_t i = 0; i < fault_count; ++i) any |= faults[i];
  if (any == 0) return {};
  size_t step = 0;
  while (faults[step] == 0) ++step;
  std::memset(faults, 0, fault_count * sizeof(int64_t));
  const PlanStep& failed = engine->plan.steps[step];
  std::string message = "step " + std::to_string(step) + " \"" + failed.name +
                        "\" met an index out of range or an integer division by zero";
  for (const Provenance& from : failed.provenance) {
    message += "\n  node " + from.node + " (" + from.target + ")";
    const std::string source = from.source.str();
    if (!source.empty()) message += " at " + source;
  }
  return Error{ErrorCode::kInvalidArgument, message};
}

Status ExecutionContext::Impl::run(void* stream, int64_t* step_ns) {
  STATOR_RETURN_IF_ERROR(bind_call());
  RunOptions options{scratch.data(), state->scratch_bytes, stream};
  for (size_t i = 0; i < engine->spans.size(); ++i) {
    const StepSpan& span = engine->spans[i];
    options.step_ns = step_ns == nullptr ? nullptr : step_ns + span.begin;
    options.state = state->run_states[i].get();
    const Status ran =
        span.code->run(state->steps.data() + span.begin, span.end - span.begin, options);
    if (!ran.ok()) {
      std::memset(faults, 0, fault_count * sizeof(int64_t));  // not of the next call
      return ran;
    }
  }
  return check_faults();
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
