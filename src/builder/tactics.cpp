// SPDX-License-Identifier: Apache-2.0
#include "builder/tactics.h"

#include <algorithm>
#include <future>
#include <optional>

#include "base/keep_within.h"
#include "base/log.h"
#include "builder/seconds_since.h"
#include "builder/trial.h"

namespace stator {
namespace {

constexpr int64_t kDefaultSize = 32;

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
  const auto scratch = [&](const Tactic& tactic) {
    return backend.launch(graph, region, tactic).scratch_bytes.evaluate(sizes).value_or(0);
  };
  if (const std::optional<int64_t> least = keep_within(limit, scratch, candidates)) {
    STATOR_LOG(kWarning, "region " + region.name + " needs " + std::to_string(*least) +
                             " bytes of workspace, workspace_size allows " + std::to_string(limit));
  }
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

/// Runs the candidates that are libraries' once, while the others are compiled: libraries load
/// their kernels when they first run, which takes as long as compiling ours.
void warm_libraries(const std::vector<KernelRequest>& requests, const CompilerBackend& backend,
                    const BuilderOptions& options, const std::map<std::string, int64_t>& sizes,
                    TrialMemory* memory) {
  std::vector<KernelRequest> ready;
  for (const KernelRequest& request : requests) {
    if (!backend.is_generated(*request.graph, *request.region, request.tactic)) {
      ready.push_back(request);
    }
  }
  if (ready.empty()) return;
  Result<CompiledCode> compiled = backend.compile(ready, options.build);
  if (!compiled.ok()) return;  // timing will say so
  Result<std::unique_ptr<LoadedCode>> code =
      backend.executor().load(compiled->kernels, {compiled->variant});
  if (!code.ok()) return;
  const Region* last = nullptr;
  for (size_t i = 0; i < ready.size(); ++i) {
    if (ready[i].region != last) memory->forget_constants();
    last = ready[i].region;
    Trial trial(*ready[i].graph, *ready[i].region, backend, ready[i].tactic, sizes, *memory);
    if (trial.prepare()) trial.run_once(**code, static_cast<int>(i));
  }
}

/// Times the candidates of contests [first, end) and notes the winners.
Status run_contests(const RegionGraph& graph, const std::vector<RegionGroup>& groups,
                    const CompilerBackend& backend, const BuilderOptions& options,
                    const std::string& device, const std::map<std::string, int64_t>& sizes,
                    const std::vector<Contest>& contests, size_t first, size_t end,
                    std::vector<Tactic>* chosen, std::vector<double>* us, BuildStats* stats) {
  const Clock::time_point begin = Clock::now();
  std::vector<KernelRequest> requests;
  for (size_t c = first; c < end; ++c) {
    const Contest& contest = contests[c];
    const Region& region =
        graph.regions[static_cast<size_t>(groups[contest.group].regions.front())];
    for (const Tactic& tactic : contest.candidates) {
      requests.push_back({&graph, &region, tactic, "candidate_" + std::to_string(requests.size()),
                          kernel_name(region.name, contest.group)});
    }
  }
  TrialMemory memory(backend);
  std::future<Result<CompiledCode>> compiling =
      std::async(std::launch::async, [&] { return backend.compile(requests, options.build); });
  warm_libraries(requests, backend, options, sizes, &memory);
  const double warm_s = seconds_since(begin);
  STATOR_TRY(CompiledCode compiled, compiling.get());
  std::vector<CodeVariant> variants;
  variants.push_back(compiled.variant);
  STATOR_TRY(const std::unique_ptr<LoadedCode> code,
             backend.executor().load(compiled.kernels, variants));
  STATOR_LOG(kDebug, std::to_string(requests.size()) + " candidates compiled in " +
                         std::to_string(seconds_since(begin)) + " s, libraries warm in " +
                         std::to_string(warm_s) + " s");
  int kernel = 0;
  for (size_t c = first; c < end; ++c) {
    const Contest& contest = contests[c];
    const Region& region =
        graph.regions[static_cast<size_t>(groups[contest.group].regions.front())];
    if (options.progress) {
      options.progress(static_cast<int>(c), static_cast<int>(contests.size()),
                       "timing " + region.name);
    }
    memory.forget_constants();
    double& best = (*us)[contest.group];
    for (const Tactic& tactic : contest.candidates) {
      const int index = kernel++;
      const Clock::time_point start = Clock::now();
      Trial trial(graph, region, backend, tactic, sizes, memory);
      if (!trial.prepare()) {
        continue;
      }
      const double time = trial.time(*code, index, options.timing_iterations);
      ++stats->tactics_timed;
      STATOR_LOG(kDebug, region.name + ": " + tactic.name + " " + std::to_string(time) +
                             " us, in " + std::to_string(1e3 * seconds_since(start)) + " ms");
      if (time < best) {
        best = time;
        (*chosen)[contest.group] = tactic;
      }
    }
    if (best < kNoTime && options.timing_cache != nullptr) {
      options.timing_cache->put(device, cache_key(graph, groups[contest.group], sizes),
                                (*chosen)[contest.group].name, best);
    }
  }
  return {};
}

}  // namespace

std::map<std::string, int64_t> timing_sizes(const Bounds& bounds,
                                            const std::map<std::string, int64_t>& given) {
  std::map<std::string, int64_t> sizes;
  for (const auto& [symbol, range] : bounds.ranges()) {
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
                                           const BuilderOptions& options, BuildStats* stats,
                                           std::vector<double>* us, bool time_all) {
  const Clock::time_point begin = Clock::now();
  const std::map<std::string, int64_t> sizes = timing_sizes(graph.bounds, options.opt_symbols);
  us->assign(groups.size(), kNoTime);
  std::string device = backend.device_key(options.build);
  if (options.build.tiling_level > 0 || options.build.tiling_l2_limit >= 0) {
    // Another search has other winners.
    device += " tiling " + std::to_string(options.build.tiling_level) + " within " +
              std::to_string(options.build.tiling_l2_limit);
  }
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
    if (!time_all && (candidates.size() == 1 || options.build.optimization_level == 0)) {
      continue;
    }
    if (options.timing_cache != nullptr) {
      const auto cached = options.timing_cache->find(device, cache_key(graph, groups[g], sizes));
      const bool known = cached.has_value() &&
                         std::any_of(candidates.begin(), candidates.end(),
                                     [&](const Tactic& t) { return t.name == cached->tactic; });
      if (known) {
        chosen[g].name = cached->tactic;
        (*us)[g] = cached->us;
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
                                        first, end, &chosen, us, stats));
    longest = std::max(longest, seconds_since(begin) - before);
  }
  stats->tactics_s = seconds_since(begin);
  return chosen;
}

Result<std::vector<double>> time_regions(const RegionGraph& graph, const CompilerBackend& backend,
                                         const BuilderOptions& options) {
  const std::vector<RegionGroup> groups = group_regions(graph);
  BuildStats stats;
  std::vector<double> by_group;
  STATOR_TRY(const std::vector<Tactic> chosen,
             choose_tactics(graph, groups, backend, options, &stats, &by_group, true));
  (void)chosen;
  std::vector<double> us(graph.regions.size(), kNoTime);
  for (size_t g = 0; g < groups.size(); ++g) {
    for (const int r : groups[g].regions) us[static_cast<size_t>(r)] = by_group[g];
  }
  return us;
}

}  // namespace stator
