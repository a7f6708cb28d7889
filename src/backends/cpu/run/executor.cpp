// SPDX-License-Identifier: Apache-2.0
//
// The code image is one position-independent block that refers to nothing outside itself. It is
// copied into fresh pages, which then become executable and lose the right to be written. A
// kernel's payload is the number of the byte where it begins, or names one of the library's.
#include <sys/mman.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>

#include "backends/cpu/run/features.h"
#include "backends/cpu/run/library/library.h"
#include "backends/cpu/run/register.h"
#include "base/allocate.h"
#include "base/thread_pool.h"

namespace stator {
namespace {

/// Executable memory; unmapped at the end.
class CodePages {
 public:
  CodePages() = default;
  CodePages(const CodePages&) = delete;
  CodePages& operator=(const CodePages&) = delete;
  ~CodePages() {
    if (address_ != nullptr) {
      munmap(address_, size_);
    }
  }
  Status load(const TensorData& image) {
    size_ = static_cast<size_t>(image.size_bytes);
    void* pages = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) {
      return Error{ErrorCode::kIo,
                   "there is no memory for " + std::to_string(size_) + " bytes of machine code"};
    }
    address_ = pages;
    std::memcpy(pages, image.data, size_);
    if (mprotect(pages, size_, PROT_READ | PROT_EXEC) != 0) {
      return Error{ErrorCode::kIo, "the operating system refuses executable memory"};
    }
    __builtin___clear_cache(static_cast<char*>(pages), static_cast<char*>(pages) + size_);
    return {};
  }
  const char* address() const { return static_cast<const char*>(address_); }

 private:
  void* address_ = nullptr;
  size_t size_ = 0;
};

/// What one parallel_for hands to its tasks.
struct Launch {
  CpuKernel kernel;
  const KernelArgs* args;
  char* scratch;
  int64_t scratch_per_thread;
};

void run_tasks(void* context, int64_t begin, int64_t end, int thread) {
  const auto& launch = *static_cast<const Launch*>(context);
  launch.kernel(launch.args, begin, end, launch.scratch + thread * launch.scratch_per_thread);
}

/// Steps of one group, whose lanes run side by side, each on one thread.
struct Lanes {
  const CpuKernel* entries;
  const BoundStep* steps;
  int64_t count;
  char* scratch;
  int64_t scratch_per_thread;
};

void run_lanes(void* context, int64_t begin, int64_t end, int thread) {
  const auto& lanes = *static_cast<const Lanes*>(context);
  for (int64_t lane = begin; lane < end; ++lane) {
    for (int64_t i = 0; i < lanes.count; ++i) {
      const BoundStep& step = lanes.steps[i];
      if (step.lane != lane || step.task_count == 0) continue;
      lanes.entries[step.kernel](step.args, 0, step.task_count,
                                 lanes.scratch + thread * lanes.scratch_per_thread);
    }
  }
}

class CpuCode : public LoadedCode {
 public:
  Status load(const std::vector<PlanKernel>& kernels, const TensorData& image) {
    if (image.size_bytes > 0) {
      STATOR_RETURN_IF_ERROR(pages_.load(image));
    }
    for (const PlanKernel& kernel : kernels) {
      CpuKernel entry = nullptr;
      library_.emplace_back();
      if (kernel.executor == "cpu" && is_library_payload(kernel.payload)) {
        STATOR_TRY(library_.back(), cpu::parse_library_kernel(kernel.payload));
        entry = cpu::library_entry(*library_.back());
        has_library_ = true;
      } else if (kernel.executor == "cpu") {
        int64_t offset = -1;
        const char* end = kernel.payload.data() + kernel.payload.size();
        if (std::from_chars(kernel.payload.data(), end, offset).ptr != end || offset < 0 ||
            offset >= image.size_bytes) {
          return Error{ErrorCode::kInvalidFile,
                       "kernel " + kernel.name + " begins outside the machine code"};
        }
        entry = reinterpret_cast<CpuKernel>(reinterpret_cast<uintptr_t>(pages_.address() + offset));
      }
      entries_.push_back(entry);
    }
    return {};
  }

  Status check_step(const Plan& plan, const PlanStep& step) const override {
    const std::optional<cpu::LibraryKernel>& kernel = library_[static_cast<size_t>(step.kernel)];
    return kernel.has_value() ? cpu::check_library_step(*kernel, plan, step) : Status();
  }

  Status run(const BoundStep* steps, int64_t count, const RunOptions& options) const override {
    for (int64_t i = 0; has_library_ && i < count; ++i) {
      const std::optional<cpu::LibraryKernel>& kernel =
          library_[static_cast<size_t>(steps[i].kernel)];
      if (kernel.has_value()) {
        STATOR_RETURN_IF_ERROR(cpu::check_library_launch(*kernel, steps[i]));
      }
    }
    void* scratch = options.scratch;
    int64_t* step_ns = options.step_ns;
    ThreadPool& pool = ThreadPool::global();
    const ThreadPool::Caller caller(pool);
    for (int64_t i = 0; i < count; ++i) {
      const BoundStep& step = steps[i];
      if (step.group >= 0 && step_ns == nullptr) {
        i = run_group(steps, i, count, options) - 1;
        continue;
      }
      const auto begin = step_ns != nullptr ? std::chrono::steady_clock::now()
                                            : std::chrono::steady_clock::time_point();
      const CpuKernel kernel = entries_[static_cast<size_t>(step.kernel)];
      if (step.task_count == 1) {
        kernel(step.args, 0, 1, scratch);
      } else if (step.task_count > 1) {
        Launch launch{kernel, step.args, static_cast<char*>(scratch), options.scratch_per_thread};
        pool.parallel_for(step.task_count, run_tasks, &launch);
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
  static bool is_library_payload(const std::string& payload) {
    return payload.find(' ', 1) != std::string::npos;  // several words
  }

  /// Gives the end of the group that begins at `begin`.
  int64_t run_group(const BoundStep* steps, int64_t begin, int64_t count,
                    const RunOptions& options) const {
    const int64_t end = group_end(steps, begin, count);
    int32_t lanes = 1;
    for (int64_t i = begin; i < end; ++i) lanes = std::max(lanes, steps[i].lane + 1);
    Lanes work{entries_.data(), steps + begin, end - begin, static_cast<char*>(options.scratch),
               options.scratch_per_thread};
    ThreadPool::global().parallel_for(lanes, run_lanes, &work);
    return end;
  }

  CodePages pages_;
  std::vector<CpuKernel> entries_;  // by kernel of the plan; null for other executors' ones
  std::vector<std::optional<cpu::LibraryKernel>> library_;  // by kernel of the plan; the library's
  bool has_library_ = false;
};

std::string joined(const std::vector<std::string>& names) {
  std::string s;
  for (const std::string& name : names) {
    s += (s.empty() ? "" : ", ") + name;
  }
  return s;
}

class CpuExecutor : public ExecutorBackend {
 public:
  std::string name() const override { return "cpu"; }

  Result<std::unique_ptr<LoadedCode>> load(const std::vector<PlanKernel>& kernels,
                                           const std::vector<CodeVariant>& code) const override {
    const CodeVariant* best = nullptr;
    std::string refused;
    for (const CodeVariant& variant : code) {
      if (variant.executor != name()) {
        continue;
      }
      const std::vector<std::string> missing = missing_cpu_features(variant.features);
      if (!missing.empty()) {
        refused += (refused.empty() ? "" : "; ") + variant.target + " needs " + joined(missing);
      } else if (best == nullptr || variant.features.size() > best->features.size()) {
        best = &variant;
      }
    }
    if (best == nullptr && !refused.empty()) {
      return Error{ErrorCode::kIncompatible,
                   "the engine was built for instructions that this CPU lacks: " + refused +
                       ". Build it on this machine, or with hardware_compatible"};
    }
    auto loaded = std::make_unique<CpuCode>();
    STATOR_RETURN_IF_ERROR(loaded->load(kernels, best == nullptr ? TensorData() : best->image));
    return std::unique_ptr<LoadedCode>(std::move(loaded));
  }

  Result<TensorData> allocate(int64_t size_bytes, void** writable) const override {
    return allocate_if_there_is(size_bytes, writable);
  }
  int thread_count() const override { return ThreadPool::global().thread_count(); }
};

}  // namespace

ExecutorBackend& cpu_executor() {
  static auto& executor = *new CpuExecutor();
  return executor;
}

}  // namespace stator
