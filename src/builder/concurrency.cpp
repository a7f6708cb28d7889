// SPDX-License-Identifier: Apache-2.0
#include "builder/concurrency.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <set>

namespace stator {
namespace {

/// Regions that each one depends on, or that depend on what it overwrites; all of them before it.
std::vector<std::vector<size_t>> dependencies(const RegionGraph& graph) {
  const auto storage = [&graph](int32_t id) {
    const int32_t alias = graph.tensors[static_cast<size_t>(id)].alias_of;
    return alias >= 0 ? alias : id;
  };
  std::map<int32_t, std::vector<size_t>> writers, readers;
  std::vector<std::vector<size_t>> before(graph.regions.size());
  for (size_t r = 0; r < graph.regions.size(); ++r) {
    std::set<size_t> all;
    for (const int32_t id : graph.regions[r].inputs) {
      all.insert(writers[storage(id)].begin(), writers[storage(id)].end());
    }
    for (const int32_t id : graph.regions[r].outputs) {
      for (auto* users : {&writers[storage(id)], &readers[storage(id)]}) {
        all.insert(users->begin(), users->end());
      }
    }
    all.erase(r);
    before[r].assign(all.begin(), all.end());
    for (const int32_t id : graph.regions[r].inputs) readers[storage(id)].push_back(r);
    for (const int32_t id : graph.regions[r].outputs) writers[storage(id)].push_back(r);
  }
  return before;
}

/// Regions [begin, end) and the branch that each belongs to.
struct Window {
  size_t begin = 0;
  std::vector<size_t> branch;
  size_t branches = 0;
  size_t end() const { return begin + branch.size(); }
};

class Finder {
 public:
  Finder(const RegionGraph& graph, const std::vector<double>& us, const ConcurrencyOptions& options)
      : us_(us), options_(options), before_(dependencies(graph)) {}

  std::vector<LanePlace> run() {
    std::vector<LanePlace> places(before_.size());
    int32_t groups = 0;
    for (size_t begin = 0; begin < before_.size();) {
      const Window window = grow(begin);
      if (window.branches >= 2 && place(window, groups, &places)) {
        ++groups;
        begin = window.end();
      } else {
        ++begin;
      }
    }
    return places;
  }

 private:
  bool is_short(size_t r) const { return options_.short_us <= 0 || us_[r] <= options_.short_us; }

  /// From `begin` to the first region that joins two branches, or that fills the device alone.
  Window grow(size_t begin) const {
    Window window;
    window.begin = begin;
    for (size_t r = begin; r < before_.size() && is_short(r); ++r) {
      std::set<size_t> joined;
      for (const size_t b : before_[r]) {
        if (b >= begin) joined.insert(window.branch[b - begin]);
      }
      if (joined.size() > 1) break;
      window.branch.push_back(joined.empty() ? window.branches++ : *joined.begin());
    }
    return window;
  }

  /// False when too little is saved.
  bool place(const Window& window, int32_t group, std::vector<LanePlace>* places) const {
    std::vector<double> length(window.branches, 0);
    for (size_t i = 0; i < window.branch.size(); ++i) {
      length[window.branch[i]] += us_[window.begin + i];
    }
    std::vector<size_t> order(window.branches);
    std::iota(order.begin(), order.end(), size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](size_t a, size_t b) { return length[a] > length[b]; });
    std::vector<double> busy(std::min(window.branches, static_cast<size_t>(options_.max_lanes) + 1),
                             0);
    std::vector<int32_t> lane(window.branches);
    for (const size_t branch : order) {
      const auto free = std::min_element(busy.begin(), busy.end());
      *free += length[branch];
      lane[branch] = static_cast<int32_t>(free - busy.begin());
    }
    const double all = std::accumulate(length.begin(), length.end(), 0.0);
    if (all - *std::max_element(busy.begin(), busy.end()) < options_.least_gain_us) return false;
    for (size_t i = 0; i < window.branch.size(); ++i) {
      (*places)[window.begin + i] = {group, lane[window.branch[i]]};
    }
    return true;
  }

  const std::vector<double>& us_;
  const ConcurrencyOptions& options_;
  const std::vector<std::vector<size_t>> before_;
};

}  // namespace

std::vector<LanePlace> find_concurrency(const RegionGraph& graph, const std::vector<double>& us,
                                        const ConcurrencyOptions& options) {
  if (options.max_lanes < 1) return std::vector<LanePlace>(graph.regions.size());
  return Finder(graph, us, options).run();
}

}  // namespace stator
