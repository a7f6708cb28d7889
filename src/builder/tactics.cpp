// SPDX-License-Identifier: Apache-2.0
#include "builder/tactics.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>

#include "base/align.h"
#include "base/caches.h"
#include "base/log.h"

namespace stator {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

constexpr int64_t kTimingBytesLimit = int64_t{1} << 31;  // a region larger than this is not timed
constexpr int64_t kDefaultSize = 32;

constexpr int64_t kWeightsBeyondCaches = int64_t{48} << 20;
constexpr int64_t kMostToEvict = int64_t{16} << 20;

/// One candidate made ready to run: buffers of the timing sizes filled with small numbers.
class Trial {
 public:
  Trial(const RegionGraph& graph, const Region& region, const CompilerBackend& backend,
        const Tactic& tactic, const std::map<std::string, int64_t>& sizes)
      : graph_(graph), region_(region), backend_(backend), tactic_(tactic), sizes_(sizes) {}

  /// False when it cannot be timed (sizes too large or not known).
  bool prepare() {
    const KernelLaunch launch = backend_.launch(graph_, region_, tactic_);
    std::vector<int32_t> tensors = region_.inputs;
    tensors.insert(tensors.end(), region_.outputs.begin(), region_.outputs.end());
    dims_.resize(tensors.size());
    owners_.reserve(tensors.size() + 1);  // cold_ points into it
    int64_t total = 0;
    for (size_t i = 0; i < tensors.size(); ++i) {
      const RegionTensor& tensor = graph_.tensors[static_cast<size_t>(tensors[i])];
      int64_t bytes = dtype_bytes(tensor.type.dtype);
      for (const Expr& e : tensor.type.shape) {
        const std::optional<int64_t> size = e.evaluate(sizes_);
        if (!size.has_value() || *size < 0 || __builtin_mul_overflow(bytes, *size, &bytes)) {
          return false;
        }
        dims_[i].push_back(*size);
      }
      total += bytes;
      if (total > kTimingBytesLimit ||
          !add_buffer(tensor, launch, static_cast<int32_t>(i), bytes)) {
        return false;
      }
      shapes_.push_back(
          {tensor.type.dtype, static_cast<int32_t>(dims_[i].size()), dims_[i].data()});
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
    void* fault = nullptr;
    Result<TensorData> fault_memory = backend_.executor().allocate_shared(64, &fault);
    if (!fault_memory.ok()) {
      return false;
    }
    owners_.push_back(std::move(fault_memory).value());
    args_ = {pointers_.data(), values_.data(), static_cast<int64_t*>(fault)};
    step_.args = &args_;
    step_.task_count = *tasks;
    step_.scratch_bytes = align_up(*scratch);
    step_.shapes = shapes_.data();
    Result<TensorData> scratch_memory = backend_.executor().allocate(
        std::max<int64_t>(step_.scratch_bytes * backend_.executor().thread_count(), 64),
        &scratch_pointer_);
    if (!scratch_memory.ok()) {
      return false;
    }
    scratch_ = std::move(scratch_memory).value();
    return true;
  }

  /// Microseconds of one run: the least of some, until about two milliseconds are spent.
  double time(const LoadedCode& code, int kernel, int rounds) {
    step_.kernel = kernel;
    const std::unique_ptr<RunState> state = code.new_state();
    int64_t ns = 0;
    const RunOptions options{scratch_pointer_, step_.scratch_bytes, nullptr, &ns, state.get()};
    double best = 1e30;
    double spent = 0;
    const int at_most = 20 * std::max(1, rounds);
    for (int i = 0; i < at_most && (i < 2 + rounds || spent < 2000); ++i) {
      for (const TensorData* weights : cold_) {
        evict_from_caches(weights->data, weights->size_bytes);
      }
      if (!code.run(&step_, 1, options).ok()) {
        return 1e30;
      }
      const double us = static_cast<double>(ns) * 1e-3;
      spent += us;
      if (i > 0) {  // the first touches memory for the first time
        best = std::min(best, us);
      }
    }
    return best;
  }

 private:
  /// In a model whose weights are larger than the caches each call finds them in memory: so do the
  /// runs that are timed, or tactics that read weights several times would look better than they
  /// are.
  void find_cold_weights() {
    int64_t all = 0;
    for (const RegionTensor& tensor : graph_.tensors) {
      if (tensor.role == RegionTensorRole::kConstant) all += tensor.data.size_bytes;
    }
    if (all < kWeightsBeyondCaches || !backend_.executor().host_memory()) return;
    for (size_t i = 0; i < region_.inputs.size(); ++i) {
      const auto id = static_cast<size_t>(region_.inputs[i]);
      const bool constant = graph_.tensors[id].role == RegionTensorRole::kConstant;
      // Larger ones drop out by themselves, and would take long to evict.
      if (constant && owners_[i].size_bytes <= kMostToEvict) cold_.push_back(&owners_[i]);
    }
  }

  bool add_buffer(const RegionTensor& tensor, const KernelLaunch& launch, int32_t index,
                  int64_t bytes) {
    for (const PackedInput& packed : launch.packed) {
      if (packed.input == index) {
        Result<TensorData> data = backend_.pack(packed.recipe, tensor.data);
        if (!data.ok()) {
          return false;
        }
        return add_constant(std::move(data).value());
      }
    }
    if (tensor.role == RegionTensorRole::kConstant) {
      return add_constant(tensor.data);
    }
    void* writable = nullptr;
    TensorData host = TensorData::allocate(std::max<int64_t>(bytes, 64), &writable);
    fill(tensor.type.dtype, writable, bytes);
    return add_constant(std::move(host));
  }

  /// Keeps the bytes where the kernels reach them.
  bool add_constant(TensorData data) {
    const ExecutorBackend& executor = backend_.executor();
    if (!executor.host_memory()) {
      void* device = nullptr;
      Result<TensorData> memory =
          executor.allocate(std::max<int64_t>(data.size_bytes, 64), &device);
      if (!memory.ok() || !executor.copy_to_device(device, data.data, data.size_bytes).ok()) {
        return false;
      }
      data = std::move(memory).value();
    }
    pointers_.push_back(const_cast<void*>(data.data));
    owners_.push_back(std::move(data));
    return true;
  }

  /// Numbers that are no denormals and good indices alike.
  static void fill(DType dtype, void* data, int64_t bytes) {
    if (dtype == DType::kFloat32) {
      auto* values = static_cast<float*>(data);
      for (int64_t i = 0; i < bytes / 4; ++i) {
        values[i] = static_cast<float>((i * 37) % 64) / 64.0f - 0.5f;
      }
    } else if (dtype == DType::kFloat16 || dtype == DType::kBFloat16) {
      auto* values = static_cast<uint16_t*>(data);
      const uint16_t half = dtype == DType::kFloat16 ? 0x3800 : 0x3f00;  // ±0.5 and a little
      for (int64_t i = 0; i < bytes / 2; ++i) {
        values[i] = static_cast<uint16_t>(half + (i * 37) % 64 + (i % 3 == 0 ? 0x8000 : 0));
      }
    } else {
      std::memset(data, 0, static_cast<size_t>(bytes));
    }
  }

  const RegionGraph& graph_;
  const Region& region_;
  const CompilerBackend& backend_;
  const Tactic& tactic_;
  const std::map<std::string, int64_t>& sizes_;
  std::vector<std::vector<int64_t>> dims_;
  std::vector<TensorShape> shapes_;
  std::vector<TensorData> owners_;  // of the tensors in order, then of the rest
  std::vector<const TensorData*> cold_;
  std::vector<void*> pointers_;
  std::vector<int64_t> values_;
  KernelArgs args_{};
  BoundStep step_;
  TensorData scratch_;
  void* scratch_pointer_ = nullptr;
};

constexpr size_t kContestsPerRound = 4;   // under a time budget
constexpr double kShareForTactics = 0.5;  // of the budget; the code and the weights take the rest

/// A group whose candidates must be timed.
struct Contest {
  size_t group;
  std::vector<Tactic> candidates;
};

/// Drops the candidates that need more scratch memory than allowed; if all do, the one that needs
/// least stays, since a region must run somehow.
void keep_within_workspace(const RegionGraph& graph, const Region& region,
                           const CompilerBackend& backend,
                           const std::map<std::string, int64_t>& sizes, int64_t limit,
                           std::vector<Tactic>* candidates) {
  if (limit <= 0) {
    return;
  }
  std::vector<Tactic> fitting;
  std::optional<Tactic> leanest;
  int64_t least = 0;
  for (const Tactic& tactic : *candidates) {
    const KernelLaunch launch = backend.launch(graph, region, tactic);
    const int64_t bytes = launch.scratch_bytes.evaluate(sizes).value_or(0);
    if (bytes <= limit) {
      fitting.push_back(tactic);
    }
    if (!leanest.has_value() || bytes < least) {
      leanest = tactic;
      least = bytes;
    }
  }
  if (fitting.empty()) {
    STATOR_LOG(kWarning, "region " + region.name + " needs " + std::to_string(least) +
                             " bytes of workspace, workspace_size allows " + std::to_string(limit));
    fitting.push_back(*leanest);
  }
  *candidates = std::move(fitting);
}

std::string cache_key(const RegionGraph& graph, const RegionGroup& group,
                      const std::map<std::string, int64_t>& sizes) {
  std::vector<std::string> symbols;
  const Region& region = graph.regions[static_cast<size_t>(group.regions.front())];
  std::string key = region_signature(graph, region, &symbols);
  for (const std::string& symbol : symbols) {
    const auto found = sizes.find(symbol);
    key += "@" + std::to_string(found == sizes.end() ? -1 : found->second);
  }
  return key;
}

/// Times the candidates of contests [first, end) and notes the winners.
Status run_contests(const RegionGraph& graph, const std::vector<RegionGroup>& groups,
                    const CompilerBackend& backend, const BuilderOptions& options,
                    const std::string& device, const std::map<std::string, int64_t>& sizes,
                    const std::vector<Contest>& contests, size_t first, size_t end,
                    std::vector<Tactic>* chosen, BuildStats* stats) {
  std::vector<KernelRequest> requests;
  for (size_t c = first; c < end; ++c) {
    const Contest& contest = contests[c];
    const Region& region =
        graph.regions[static_cast<size_t>(groups[contest.group].regions.front())];
    for (const Tactic& tactic : contest.candidates) {
      requests.push_back({&graph, &region, tactic, "candidate_" + std::to_string(requests.size())});
    }
  }
  STATOR_TRY(CompiledCode compiled, backend.compile(requests, options.build));
  std::vector<CodeVariant> variants;
  variants.push_back(compiled.variant);
  STATOR_TRY(const std::unique_ptr<LoadedCode> code,
             backend.executor().load(compiled.kernels, variants));
  int kernel = 0;
  for (size_t c = first; c < end; ++c) {
    const Contest& contest = contests[c];
    const Region& region =
        graph.regions[static_cast<size_t>(groups[contest.group].regions.front())];
    if (options.progress) {
      options.progress(static_cast<int>(c), static_cast<int>(contests.size()),
                       "timing " + region.name);
    }
    double best = 1e30;
    for (const Tactic& tactic : contest.candidates) {
      const int index = kernel++;
      Trial trial(graph, region, backend, tactic, sizes);
      if (!trial.prepare()) {
        continue;
      }
      const double us = trial.time(*code, index, options.timing_iterations);
      ++stats->tactics_timed;
      STATOR_LOG(kDebug, region.name + ": " + tactic.name + " " + std::to_string(us) + " us");
      if (us < best) {
        best = us;
        (*chosen)[contest.group] = tactic;
      }
    }
    if (best < 1e30 && options.timing_cache != nullptr) {
      options.timing_cache->put(device, cache_key(graph, groups[contest.group], sizes),
                                (*chosen)[contest.group].name, best);
    }
  }
  return {};
}

}  // namespace

std::map<std::string, int64_t> timing_sizes(const RegionGraph& graph,
                                            const std::map<std::string, int64_t>& given) {
  std::map<std::string, int64_t> sizes;
  for (const auto& [symbol, range] : graph.bounds.ranges()) {
    sizes[symbol] = std::clamp(kDefaultSize, range.first, std::max(range.first, range.second));
  }
  for (const auto& [symbol, size] : given) {
    sizes[symbol] = size;
  }
  return sizes;
}

Result<std::vector<Tactic>> choose_tactics(const RegionGraph& graph,
                                           const std::vector<RegionGroup>& groups,
                                           const CompilerBackend& backend,
                                           const BuilderOptions& options, BuildStats* stats) {
  const Clock::time_point begin = Clock::now();
  const std::map<std::string, int64_t> sizes = timing_sizes(graph, options.opt_symbols);
  const std::string device = backend.device_key(options.build);
  std::vector<Tactic> chosen(groups.size());
  std::vector<Contest> contests;
  for (size_t g = 0; g < groups.size(); ++g) {
    const Region& region = graph.regions[static_cast<size_t>(groups[g].regions.front())];
    std::vector<Tactic> candidates = backend.candidates(graph, region, options.build);
    if (candidates.empty()) {
      return Error{ErrorCode::kUnsupported, "region " + region.name + " has no tactic"};
    }
    keep_within_workspace(graph, region, backend, sizes, options.workspace_bytes, &candidates);
    chosen[g] = candidates.front();
    if (candidates.size() == 1 || options.build.optimization_level == 0) {
      continue;
    }
    if (options.timing_cache != nullptr) {
      const auto cached = options.timing_cache->find(device, cache_key(graph, groups[g], sizes));
      const bool known =
          cached.has_value() && std::any_of(candidates.begin(), candidates.end(),
                                            [&](const Tactic& t) { return t.name == *cached; });
      if (known) {
        chosen[g].name = *cached;
        ++stats->timing_cache_hits;
        continue;
      }
    }
    contests.push_back({g, std::move(candidates)});
  }
  if (contests.empty()) {
    return chosen;
  }
  // All candidates of a round are compiled together: of all contests, or under a budget of a few at
  // a time, so that the next round is left out when it would not end in time.
  const bool limited = options.time_budget_s > 0;
  const size_t round = limited ? kContestsPerRound : contests.size();
  double longest = 0;
  for (size_t first = 0; first < contests.size(); first += round) {
    const double before = seconds_since(begin);
    if (limited && before + longest > kShareForTactics * options.time_budget_s) {
      STATOR_LOG(kInfo, "build_time_budget: first guesses for " +
                            std::to_string(contests.size() - first) + " kernels");
      break;
    }
    const size_t end = std::min(contests.size(), first + round);
    STATOR_RETURN_IF_ERROR(run_contests(graph, groups, backend, options, device, sizes, contests,
                                        first, end, &chosen, stats));
    longest = std::max(longest, seconds_since(begin) - before);
  }
  stats->tactics_s = seconds_since(begin);
  return chosen;
}

}  // namespace stator
