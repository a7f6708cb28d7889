// SPDX-License-Identifier: Apache-2.0
//
// A layer without a CUDA kernel: its inputs travel to the host, the reference backend computes it,
// its outputs travel back. Right, and slow.
#include <numeric>

#include "backends/cuda/run/step_runner.h"

namespace stator::cuda {
namespace {

class HostCall : public StepRunner {
 public:
  HostCall(const LoadedCode& code, int32_t kernel, int64_t buffers, int64_t inputs)
      : code_(code), kernel_(kernel), buffers_(buffers), inputs_(inputs) {}

  bool capturable() const override { return false; }

  Status launch(const BoundStep& step, char*, CUstream stream) override {
    const Driver& d = **driver();
    std::vector<TensorData> memory;
    std::vector<void*> addresses;
    for (int64_t i = 0; i < buffers_; ++i) {
      void* host = nullptr;
      memory.push_back(TensorData::allocate(std::max<int64_t>(bytes(step, i), 1), &host));
      addresses.push_back(host);
      if (i < inputs_ && bytes(step, i) > 0) {
        STATOR_RETURN_IF_ERROR(check_cuda(
            d.cuMemcpyDtoHAsync_v2(host, reinterpret_cast<CUdeviceptr>(step.args->buffers[i]),
                                   static_cast<size_t>(bytes(step, i)), stream),
            "reading an operand"));
      }
    }
    STATOR_RETURN_IF_ERROR(check_cuda(d.cuStreamSynchronize(stream), "running the steps so far"));
    const KernelArgs args{addresses.data(), step.args->sizes, step.args->fault, step.args->step};
    BoundStep here = step;
    here.kernel = kernel_;
    here.args = &args;
    STATOR_RETURN_IF_ERROR(code_.run(&here, 1, RunOptions{}));
    for (int64_t i = inputs_; i < buffers_; ++i) {
      if (bytes(step, i) > 0) {
        STATOR_RETURN_IF_ERROR(
            check_cuda(d.cuMemcpyHtoDAsync_v2(reinterpret_cast<CUdeviceptr>(step.args->buffers[i]),
                                              addresses[static_cast<size_t>(i)],
                                              static_cast<size_t>(bytes(step, i)), stream),
                       "writing a result"));
      }
    }
    return check_cuda(d.cuStreamSynchronize(stream), "writing a result");  // the memory goes now
  }

 private:
  static int64_t bytes(const BoundStep& step, int64_t i) {
    const TensorShape& shape = step.shapes[i];
    return std::accumulate(shape.sizes, shape.sizes + shape.rank, dtype_bytes(shape.dtype),
                           std::multiplies<>());
  }

  const LoadedCode& code_;
  int32_t kernel_;
  int64_t buffers_, inputs_;
};

}  // namespace

Runner make_host_call(const LoadedCode& code, int32_t kernel, int64_t buffers, int64_t inputs) {
  return std::unique_ptr<StepRunner>(std::make_unique<HostCall>(code, kernel, buffers, inputs));
}

}  // namespace stator::cuda
