// SPDX-License-Identifier: Apache-2.0
//
// The run half of a backend: loads code, launches steps, owns memory. Part of libstator_runtime:
// knows no region, needs no compiler.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "plan/plan.h"
#include "stator/result.h"

namespace stator {

/// The first thing that a run found wrong with its data; one for an execution context. Who sets
/// `claimed` from 0 to 1 fills in the rest, `code` last. A GPU's kernels write it in host memory.
struct FaultRecord {
  int64_t code;   // 0: none; else the FaultSite's code, and from bit 32 on the step
  int64_t value;  // what was out of range, after a negative one was counted from the end
  int64_t limit;  // the range's end
  int64_t claimed;
};
inline constexpr int kFaultStepShift = 32;

/// What a generated kernel gets. `buffers` in the kernel's order (64-byte aligned arena and
/// constants; a caller's inputs and outputs need only their element's alignment); `sizes` likewise.
/// A kernel that meets an index out of range claims the fault record and goes on with index 0, so
/// that it never reads or writes where it must not; `step` is the number of the step.
struct KernelArgs {
  void* const* buffers;
  const int64_t* sizes;
  FaultRecord* fault;
  int64_t step;
};

/// What kernels written in C++ do when they meet wrong data.
inline void report_fault(const KernelArgs& args, int64_t code, int64_t value, int64_t limit) {
  FaultRecord& record = *args.fault;
  int64_t unclaimed = 0;
  if (!std::atomic_ref(record.claimed).compare_exchange_strong(unclaimed, 1)) return;
  record.value = value;
  record.limit = limit;
  std::atomic_ref(record.code)
      .store(code | args.step << kFaultStepShift, std::memory_order_release);
}

/// Entry of generated CPU code: tasks task_begin … task_end-1 of task_count; scratch is this
/// thread's own, 64-byte aligned.
using CpuKernel = void (*)(const KernelArgs* args, int64_t task_begin, int64_t task_end,
                           void* scratch);

/// Concrete dtype and sizes of a buffer.
struct TensorShape {
  DType dtype = DType::kFloat32;
  int32_t rank = 0;
  const int64_t* sizes = nullptr;
};

/// One step, ready to run: addresses and sizes filled in by the execution context.
struct BoundStep {
  int32_t kernel = -1;  // index into Plan::kernels
  const KernelArgs* args = nullptr;
  int64_t task_count = 0;
  int64_t scratch_bytes = 0;  // for each thread
  const TensorShape* shapes =
      nullptr;                   // of each buffer in turn; for kernels that are not generated
  int32_t group = -1, lane = 0;  // as in PlanStep
};

/// The end of the group that begins at `begin`: the steps up to it may run side by side by lanes.
inline int64_t group_end(const BoundStep* steps, int64_t begin, int64_t count) {
  int64_t end = begin + 1;
  while (steps[begin].group >= 0 && end < count && steps[end].group == steps[begin].group) ++end;
  return end;
}

/// What a backend keeps for one context at one shape: prepared library calls, a captured graph.
class RunState {
 public:
  virtual ~RunState() = default;
  /// Runs that met inputs and outputs at addresses not seen before, where that makes a run slower.
  virtual int64_t new_addresses() const { return 0; }
};

struct RunOptions {
  void* scratch = nullptr;  // scratch_per_thread bytes for each thread of the executor, and lane
  int64_t scratch_per_thread = 0;
  void* stream = nullptr;      // CUDA: the caller's CUstream; null: run, then wait
  int64_t* step_ns = nullptr;  // when given, receives each step's time
  int repeat = 1;  // with step_ns, on a device: launches of a step in a row, for one's mean time
  RunState* state = nullptr;  // of new_state(), for these steps alone; may be null
};

/// A plan's code, loaded for this process and ready on this machine. Immutable and shared by
/// threads.
class LoadedCode {
 public:
  virtual ~LoadedCode() = default;
  /// Whether a step fits what the payload of its kernel says: asked once for each step when an
  /// engine is loaded, beside the kernel's contract (plan/contract.h), which the step fits already.
  virtual Status check_step(const Plan& plan, const PlanStep& step) const {
    (void)plan, (void)step;
    return {};
  }
  /// Null when the executor has nothing to keep.
  virtual std::unique_ptr<RunState> new_state() const { return nullptr; }
  /// Runs the steps in order. Allocates nothing once the state has seen a run.
  virtual Status run(const BoundStep* steps, int64_t count, const RunOptions& options) const = 0;
};

class ExecutorBackend {
 public:
  virtual ~ExecutorBackend() = default;
  virtual std::string name() const = 0;
  /// Picks the best variant that this machine can run; kIncompatible names what is missing
  /// otherwise.
  virtual Result<std::unique_ptr<LoadedCode>> load(const std::vector<PlanKernel>& kernels,
                                                   const std::vector<CodeVariant>& code) const = 0;
  /// Of an executor with several devices: the one that the calling thread uses, where load() and
  /// allocate() put things. Its number as the user counts them.
  virtual int current_device() const { return 0; }
  /// Makes a device the calling thread's for as long as the result lives. kInvalidArgument: there
  /// is none of this number.
  virtual Result<std::shared_ptr<void>> enter_device(int device) const {
    if (device == 0) return std::shared_ptr<void>();
    return Error{ErrorCode::kInvalidArgument,
                 "there is no device " + name() + ":" + std::to_string(device)};
  }
  /// Memory that this executor's kernels can reach, 64-byte aligned.
  virtual Result<TensorData> allocate(int64_t size_bytes, void** writable) const = 0;
  /// True when kernels work on the host's memory. Otherwise what allocate() gives is the device's,
  /// and bytes get there and back by the two copies, which wait until they are done.
  virtual bool host_memory() const { return true; }
  virtual Status copy_to_device(void* device, const void* host, int64_t size_bytes) const {
    std::memcpy(device, host, static_cast<size_t>(size_bytes));
    return {};
  }
  virtual Status copy_to_host(void* host, const void* device, int64_t size_bytes) const {
    std::memcpy(host, device, static_cast<size_t>(size_bytes));
    return {};
  }
  /// From one place of the device to another, in the order of a stream (as in RunOptions, not
  /// null).
  virtual Status copy_on_device(void* to, const void* from, int64_t size_bytes,
                                void* stream) const {
    (void)stream;
    std::memcpy(to, from, static_cast<size_t>(size_bytes));
    return {};
  }
  /// Zeroed memory that both the host and the kernels reach: the fault record.
  virtual Result<TensorData> allocate_shared(int64_t size_bytes, void** writable) const {
    TensorData data = TensorData::allocate(size_bytes, writable);
    std::memset(*writable, 0, static_cast<size_t>(size_bytes));
    return data;
  }
  /// What the addresses of a caller's inputs and outputs must be multiples of.
  virtual int64_t io_alignment() const { return 1; }
  /// Threads that may run one step (scratch is needed for each).
  virtual int thread_count() const = 0;
};

/// The run halves in this build; defined by backends/registry_run.cpp.in.
const std::vector<ExecutorBackend*>& executor_backends();
ExecutorBackend* find_executor_backend(const std::string& name);

}  // namespace stator
