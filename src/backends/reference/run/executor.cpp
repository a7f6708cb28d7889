// SPDX-License-Identifier: Apache-2.0
//
// A kernel's payload is a layer (layer/call_payload.h); a step's sizes are the values of the
// attributes' size fields in order (layer/expr_fields.h), its shapes those of its buffers: inputs,
// then outputs.
#include <chrono>
#include <optional>

#include "backends/reference/run/kernels.h"
#include "backends/reference/run/register.h"
#include "base/allocate.h"
#include "base/check.h"
#include "layer/call_payload.h"
#include "layer/expr_fields.h"

namespace stator {
namespace {

using Kernels = std::vector<std::optional<CallPayload>>;  // by kernel of the plan; ours alone

class ReferenceCode : public LoadedCode {
 public:
  explicit ReferenceCode(Kernels kernels) : kernels_(std::move(kernels)) {}

  Status check_step(const Plan&, const PlanStep& step) const override {
    const auto buffers = static_cast<int64_t>(step.buffers.size());
    const auto sizes = static_cast<int64_t>(step.sizes.size());
    const CallPayload& payload = *kernels_[static_cast<size_t>(step.kernel)];
    const auto wanted = static_cast<int64_t>(expr_fields(payload.attributes).size());
    if (buffers == payload.inputs + payload.outputs && sizes == wanted) {
      return {};
    }
    return Error{ErrorCode::kInvalidFile,
                 "a step of \"" + std::string(layer_kind_name(payload.attributes)) + "\" has " +
                     std::to_string(buffers) + " buffers and " + std::to_string(sizes) +
                     " sizes, expected " + std::to_string(payload.inputs + payload.outputs) +
                     " and " + std::to_string(wanted)};
  }

  Status run(const BoundStep* steps, int64_t count, const RunOptions& options) const override {
    int64_t* step_ns = options.step_ns;
    for (int64_t i = 0; i < count; ++i) {
      const auto begin = std::chrono::steady_clock::now();
      try {
        run_step(steps[i]);
      } catch (const reference::Fault& fault) {
        report_fault(*steps[i].args, fault.site.code(), fault.value, fault.limit);
      } catch (const InternalError& e) {
        return Error{ErrorCode::kInternal, e.what()};
      }
      if (step_ns != nullptr) {
        step_ns[i] = std::chrono::duration_cast<std::chrono::nanoseconds>(
                         std::chrono::steady_clock::now() - begin)
                         .count();
      }
    }
    return {};
  }

 private:
  void run_step(const BoundStep& step) const {
    const CallPayload& kernel = *kernels_[static_cast<size_t>(step.kernel)];
    const LayerAttributes layer = with_sizes(kernel.attributes, step.args->sizes);
    reference::Tensors in, out;
    for (int64_t i = 0; i < kernel.inputs + kernel.outputs; ++i) {
      const TensorShape& shape = step.shapes[i];
      (i < kernel.inputs ? in : out)
          .push_back({shape.dtype, {shape.sizes, shape.sizes + shape.rank}, step.args->buffers[i]});
    }
    std::visit([&](const auto& l) { reference::run(l, in, out); }, layer);
  }

  Kernels kernels_;
};

class ReferenceExecutor : public ExecutorBackend {
 public:
  std::string name() const override { return "reference"; }

  Result<std::unique_ptr<LoadedCode>> load(const std::vector<PlanKernel>& kernels,
                                           const std::vector<CodeVariant>&) const override {
    Kernels parsed(kernels.size());
    for (size_t i = 0; i < kernels.size(); ++i) {
      if (kernels[i].executor == name()) {
        STATOR_TRY(CallPayload payload, parse_call_payload(kernels[i].payload));
        parsed[i] = std::move(payload);
      }
    }
    return std::unique_ptr<LoadedCode>(std::make_unique<ReferenceCode>(std::move(parsed)));
  }

  Result<TensorData> allocate(int64_t size_bytes, void** writable) const override {
    return allocate_if_there_is(size_bytes, writable);
  }
  int thread_count() const override { return 1; }
};

}  // namespace

ExecutorBackend& reference_executor() {
  static auto& executor = *new ReferenceExecutor();
  return executor;
}

}  // namespace stator
