// SPDX-License-Identifier: Apache-2.0
#include "builder/trial.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/align.h"
#include "base/caches.h"

namespace stator {
namespace {

constexpr int64_t kTimingBytesLimit = int64_t{1} << 31;  // a region larger than this is not timed
constexpr int64_t kWeightsBeyondCaches = int64_t{48} << 20;
constexpr double kTimingUs = 2000;  // for a candidate, about
constexpr int64_t kMostToEvict = int64_t{16} << 20;
constexpr size_t kScratchSlot = 1000;             // no region has as many tensors
constexpr int64_t kPatternBytes = 192 * 4 * 512;  // a multiple of every pattern's period

}  // namespace

const std::vector<char>& TrialMemory::pattern(Contents contents) {
  std::vector<char>& bytes = patterns_[contents];
  if (!bytes.empty()) return bytes;
  bytes.assign(kPatternBytes, 0);
  if (contents == Contents::kFloat) {
    for (int64_t i = 0; i < kPatternBytes / 4; ++i) {
      const float value = static_cast<float>((i * 37) % 64) / 64.0f - 0.5f;
      std::memcpy(bytes.data() + 4 * i, &value, 4);
    }
  } else if (contents == Contents::kHalf || contents == Contents::kBFloat) {
    const uint16_t half = contents == Contents::kHalf ? 0x3800 : 0x3f00;  // ±0.5 and a little
    for (int64_t i = 0; i < kPatternBytes / 2; ++i) {
      const auto value = static_cast<uint16_t>(half + (i * 37) % 64 + (i % 3 == 0 ? 0x8000 : 0));
      std::memcpy(bytes.data() + 2 * i, &value, 2);
    }
  }
  return bytes;
}

Status TrialMemory::fill(Contents contents, void* data, int64_t bytes) {
  const std::vector<char>& source = pattern(contents);
  for (int64_t at = 0; at < bytes; at += kPatternBytes) {
    const int64_t count = std::min(kPatternBytes, bytes - at);
    char* to = static_cast<char*>(data) + at;
    if (backend_.executor().host_memory()) {
      std::memcpy(to, source.data(), static_cast<size_t>(count));
    } else {
      STATOR_RETURN_IF_ERROR(backend_.executor().copy_to_device(to, source.data(), count));
    }
  }
  return {};
}

Result<const TensorData*> TrialMemory::take(size_t slot, Contents contents, int64_t bytes) {
  TensorData& buffer = buffers_[{slot, contents}];
  if (buffer.data == nullptr || buffer.size_bytes < bytes) {
    buffer = TensorData();  // before the larger one is there
    void* writable = nullptr;
    STATOR_TRY(TensorData larger,
               backend_.executor().allocate(std::max<int64_t>(align_up(bytes), 64), &writable));
    if (contents != Contents::kAnything) {
      STATOR_RETURN_IF_ERROR(fill(contents, writable, larger.size_bytes));
    }
    buffer = std::move(larger);
  }
  return &buffer;
}

Result<const TensorData*> TrialMemory::filled(size_t slot, DType dtype, int64_t bytes) {
  const Contents contents = dtype == DType::kFloat32    ? Contents::kFloat
                            : dtype == DType::kFloat16  ? Contents::kHalf
                            : dtype == DType::kBFloat16 ? Contents::kBFloat
                                                        : Contents::kZero;
  return take(slot, contents, bytes);
}

Result<const TensorData*> TrialMemory::unfilled(size_t slot, int64_t bytes) {
  return take(slot, Contents::kAnything, bytes);
}

Result<FaultRecord*> TrialMemory::fault() {
  if (fault_.data == nullptr) {
    STATOR_TRY(fault_, backend_.executor().allocate_shared(sizeof(FaultRecord), &fault_record_));
  }
  return static_cast<FaultRecord*>(fault_record_);
}

Result<const TensorData*> TrialMemory::constant(const TensorData& source,
                                                const std::string& recipe) {
  const std::pair<const void*, std::string> key(source.data, recipe);
  const auto found = constants_.find(key);
  if (found != constants_.end()) return &found->second;
  TensorData data = source;
  if (!recipe.empty()) {
    STATOR_TRY(data, backend_.pack(recipe, source));
  }
  const ExecutorBackend& executor = backend_.executor();
  if (!executor.host_memory()) {
    void* device = nullptr;
    STATOR_TRY(TensorData memory,
               executor.allocate(std::max<int64_t>(data.size_bytes, 64), &device));
    STATOR_RETURN_IF_ERROR(executor.copy_to_device(device, data.data, data.size_bytes));
    data = std::move(memory);
  }
  return &(constants_[key] = std::move(data));
}

bool Trial::prepare() {
  const KernelLaunch launch = backend_.launch(graph_, region_, tactic_);
  std::vector<int32_t> tensors = region_.inputs;
  tensors.insert(tensors.end(), region_.outputs.begin(), region_.outputs.end());
  dims_.resize(tensors.size());
  int64_t total = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorType& type = graph_.tensors[static_cast<size_t>(tensors[i])].type;
    int64_t bytes = dtype_bytes(type.dtype);
    for (const Expr& e : type.shape) {
      const std::optional<int64_t> size = e.evaluate(sizes_);
      if (!size.has_value() || *size < 0 || __builtin_mul_overflow(bytes, *size, &bytes)) {
        return false;
      }
      dims_[i].push_back(*size);
    }
    total += bytes;
    if (total > kTimingBytesLimit || !add_buffer(i, launch, bytes)) {
      return false;
    }
    shapes_.push_back({type.dtype, static_cast<int32_t>(dims_[i].size()), dims_[i].data()});
  }
  find_cold_weights();
  for (const Expr& e : launch.sizes) {
    values_.push_back(e.evaluate(sizes_).value_or(0));
  }
  const std::optional<int64_t> tasks = launch.task_count.evaluate(sizes_);
  const std::optional<int64_t> scratch = launch.scratch_bytes.evaluate(sizes_);
  if (!tasks.has_value() || !scratch.has_value()) {
    return false;
  }
  Result<FaultRecord*> fault = memory_.fault();
  if (!fault.ok()) {
    return false;
  }
  args_ = {pointers_.data(), values_.data(), *fault, 0};
  step_.args = &args_;
  step_.task_count = *tasks;
  step_.scratch_bytes = align_up(*scratch);
  step_.shapes = shapes_.data();
  Result<const TensorData*> scratch_memory =
      memory_.unfilled(kScratchSlot, step_.scratch_bytes * backend_.executor().thread_count());
  if (!scratch_memory.ok()) {
    return false;
  }
  scratch_ = const_cast<void*>((*scratch_memory)->data);
  return true;
}

bool Trial::add_buffer(size_t index, const KernelLaunch& launch, int64_t bytes) {
  const bool input = index < region_.inputs.size();
  if (!input) {
    Result<const TensorData*> memory = memory_.unfilled(index, bytes);
    if (!memory.ok()) return false;
    tensors_.push_back(*memory);
  } else {
    const RegionTensor& tensor = graph_.tensors[static_cast<size_t>(region_.inputs[index])];
    std::string recipe;
    for (const PackedInput& packed : launch.packed) {
      if (packed.input == static_cast<int32_t>(index)) recipe = packed.recipe;
    }
    const bool constant = tensor.role == RegionTensorRole::kConstant;
    Result<const TensorData*> memory = constant ? memory_.constant(tensor.data, recipe)
                                                : memory_.filled(index, tensor.type.dtype, bytes);
    if (!memory.ok()) return false;
    tensors_.push_back(*memory);
  }
  pointers_.push_back(const_cast<void*>(tensors_.back()->data));
  return true;
}

/// In a model whose weights are larger than the caches each call finds them in memory: so do the
/// runs that are timed, or tactics that read weights several times would look better than they
/// are.
void Trial::find_cold_weights() {
  int64_t all = 0;
  for (const RegionTensor& tensor : graph_.tensors) {
    if (tensor.role == RegionTensorRole::kConstant) all += tensor.data.size_bytes;
  }
  if (all < kWeightsBeyondCaches || !backend_.executor().host_memory()) return;
  for (size_t i = 0; i < region_.inputs.size(); ++i) {
    const auto id = static_cast<size_t>(region_.inputs[i]);
    const bool constant = graph_.tensors[id].role == RegionTensorRole::kConstant;
    // Larger ones drop out by themselves, and would take long to evict.
    if (constant && tensors_[i]->size_bytes <= kMostToEvict) cold_.push_back(*tensors_[i]);
  }
}

void Trial::run_once(const LoadedCode& code, int kernel) {
  step_.kernel = kernel;
  const std::unique_ptr<RunState> state = code.new_state();
  RunOptions options{scratch_, step_.scratch_bytes, nullptr, nullptr};
  options.state = state.get();
  (void)code.run(&step_, 1, options);
}

double Trial::time(const LoadedCode& code, int kernel, int rounds) {
  step_.kernel = kernel;
  const std::unique_ptr<RunState> state = code.new_state();
  int64_t ns = 0;
  RunOptions options{scratch_, step_.scratch_bytes, nullptr, &ns};
  options.state = state.get();
  double best = 1e30;
  double spent = 0;
  const int at_most = 20 * std::max(1, rounds);
  for (int i = 0; i < at_most && (i < 2 + rounds || spent < kTimingUs); ++i) {
    for (const TensorData& weights : cold_) {
      evict_from_caches(weights.data, weights.size_bytes);
    }
    if (!code.run(&step_, 1, options).ok()) {
      return 1e30;
    }
    const double us = static_cast<double>(ns) * 1e-3;
    spent += us * options.repeat;
    if (i > 0) {  // the first touches memory for the first time
      best = std::min(best, us);
    } else if (!backend_.executor().host_memory()) {
      // Short kernels in a row, as in an engine, where the next begins while one ends.
      options.repeat = static_cast<int>(std::clamp(kTimingUs / 20 / std::max(us, 1.0), 1.0, 16.0));
    }
  }
  return best;
}

}  // namespace stator
