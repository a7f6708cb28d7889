// SPDX-License-Identifier: Apache-2.0
//
// One step of a plan, prepared for one set of sizes: descriptors made, algorithms chosen. Launching
// it reads the addresses anew.
#pragma once

#include <memory>

#include "backend/executor.h"
#include "backends/cuda/shared/driver.h"
#include "backends/cuda/shared/payload.h"

namespace stator::cuda {

class StepRunner {
 public:
  virtual ~StepRunner() = default;
  /// Puts the step's work on the stream. `scratch` is the device's.
  virtual Status launch(const BoundStep& step, char* scratch, CUstream stream) = 0;
  /// False when the work waits for the host: it cannot be part of a graph.
  virtual bool capturable() const { return true; }
};

using Runner = Result<std::unique_ptr<StepRunner>>;

/// A function of the engine's module.
struct LoadedKernel {
  CUfunction function = nullptr;
  KernelPayload payload;
};

/// Launches with the step's buffers, `extra` after them (unless null), sizes from `first_size` on.
Status launch_kernel(const LoadedKernel& kernel, const BoundStep& step, int step_buffers,
                     void* extra, int first_size, int64_t grid, CUstream stream);

Runner make_generated(const LoadedKernel& kernel);
/// `epilogue`: null when the product needs none.
Runner make_gemm(const GemmPayload& payload, const LoadedKernel* epilogue, const BoundStep& step);
/// The same with weights of which two in four are zero.
Runner make_sparse_gemm(const GemmPayload& payload, const LoadedKernel* epilogue,
                        const BoundStep& step);
Runner make_convolution(const ConvolutionPayload& payload, const LoadedKernel* epilogue,
                        const BoundStep& step);
Runner make_attention(const AttentionPayload& payload, const BoundStep& step);
/// `code`: the reference executor's, with this kernel at index `kernel`.
Runner make_host_call(const LoadedCode& code, int32_t kernel, int64_t buffers, int64_t inputs);

}  // namespace stator::cuda
