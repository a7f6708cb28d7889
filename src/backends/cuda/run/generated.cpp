// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstring>

#include "backends/cuda/run/step_runner.h"

namespace stator::cuda {
namespace {

constexpr size_t kMostArguments = 512;  // 4096 bytes, what a kernel may take
constexpr size_t kMapWords = sizeof(TensorMap) / sizeof(uint64_t);

/// `sizes`: kMapSizes of them, in elements.
Status encode_map(const TensorMapPayload& payload, char* base, const int64_t* sizes, void* map) {
  const int64_t element = dtype_bytes(payload.dtype);
  unsigned long long extents[4], strides[3];
  unsigned box[4], steps[4];
  for (size_t i = 0; i < 4; ++i) {
    extents[i] = static_cast<unsigned long long>(std::max<int64_t>(1, sizes[1 + i]));
    box[i] = static_cast<unsigned>(payload.box[i]);
    steps[i] = static_cast<unsigned>(payload.steps[i]);
  }
  for (size_t i = 0; i < 3; ++i) {
    // Nothing steps along an extent of one: its stride may be anything that a map takes.
    const int64_t stride = extents[i + 1] > 1 ? sizes[5 + i] * element : int64_t{16};
    strides[i] = static_cast<unsigned long long>(stride);
  }
  const int type = payload.dtype == DType::kFloat16 ? kMapFloat16 : kMapBFloat16;
  return check_cuda((*driver())->cuTensorMapEncodeTiled(
                        static_cast<TensorMap*>(map), type, 4, base + sizes[0] * element, extents,
                        strides, box, steps, 0, kMapSwizzle128, kMapPromote256, 0),
                    "describing a kernel's operand");
}

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
  alignas(TensorMap) uint64_t arguments[kMostArguments];
  size_t count = 0;
  for (size_t i = 0; i < payload.maps.size(); ++i, count += kMapWords) {
    const TensorMapPayload& map = payload.maps[i];
    const int64_t* sizes = step.args->sizes + first_size + payload.sizes + kMapSizes * i;
    STATOR_RETURN_IF_ERROR(encode_map(map, static_cast<char*>(step.args->buffers[map.buffer]),
                                      sizes, arguments + count));
  }
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
  arguments[count++] = static_cast<uint64_t>(step.args->step);
  void* parameters[] = {arguments};
  if (grid > INT32_MAX) {
    return Error{ErrorCode::kInvalidArgument,
                 "kernel " + payload.function + " would need a grid of " + std::to_string(grid)};
  }
  LaunchAttribute overlap{};
  overlap.id = kAttributeOverlap;
  overlap.value.number = 1;
  LaunchConfig config{{static_cast<unsigned>(grid), 1, 1},
                      {static_cast<unsigned>(payload.threads), 1, 1},
                      static_cast<unsigned>(payload.shared_bytes),
                      stream,
                      &overlap,
                      payload.overlaps ? 1U : 0U};
  return check_cuda((*driver())->cuLaunchKernelEx(&config, kernel.function, parameters, nullptr),
                    "launching kernel " + payload.function);
}

Runner make_generated(const LoadedKernel& kernel) {
  return std::unique_ptr<StepRunner>(std::make_unique<Generated>(kernel));
}

}  // namespace stator::cuda
