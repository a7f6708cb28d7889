// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "backends/cuda/run/step_runner.h"

namespace stator::cuda {
namespace {

constexpr size_t kMostArguments = 512;  // 4096 bytes, what a kernel may take

class Generated : public StepRunner {
 public:
  explicit Generated(const LoadedKernel& kernel) : kernel_(kernel) {}
  Status launch(const BoundStep& step, char*, CUstream stream) override {
    return launch_kernel(kernel_, step, kernel_.payload.buffers, nullptr, 0, step.task_count,
                         stream);
  }

 private:
  const LoadedKernel& kernel_;
};

}  // namespace

Status launch_kernel(const LoadedKernel& kernel, const BoundStep& step, int step_buffers,
                     void* extra, int first_size, int64_t grid, CUstream stream) {
  if (grid == 0) {
    return {};
  }
  const KernelPayload& payload = kernel.payload;
  uint64_t arguments[kMostArguments];
  size_t count = 0;
  for (int i = 0; i < step_buffers; ++i) {
    arguments[count++] = reinterpret_cast<uintptr_t>(step.args->buffers[i]);
  }
  if (extra != nullptr) {
    arguments[count++] = reinterpret_cast<uintptr_t>(extra);
  }
  for (int i = 0; i < payload.sizes; ++i) {
    arguments[count++] = static_cast<uint64_t>(step.args->sizes[first_size + i]);
  }
  arguments[count++] = reinterpret_cast<uintptr_t>(step.args->fault);
  void* parameters[] = {arguments};
  if (grid > INT32_MAX) {
    return Error{ErrorCode::kInvalidArgument,
                 "kernel " + payload.function + " would need a grid of " + std::to_string(grid)};
  }
  return check_cuda((*driver())->cuLaunchKernel(kernel.function, static_cast<unsigned>(grid), 1, 1,
                                                static_cast<unsigned>(payload.threads), 1, 1,
                                                static_cast<unsigned>(payload.shared_bytes), stream,
                                                parameters, nullptr),
                    "launching kernel " + payload.function);
}

Runner make_generated(const LoadedKernel& kernel) {
  return std::unique_ptr<StepRunner>(std::make_unique<Generated>(kernel));
}

}  // namespace stator::cuda
