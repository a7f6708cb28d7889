// SPDX-License-Identifier: Apache-2.0
//
// Proves a memory plan by a sweep over the steps: at each one the live buffers, in the order of
// their offsets, must follow each other without overlap and inside the arena. Shares nothing with
// the planner.
#include <algorithm>
#include <map>
#include <string>

#include "plan/plan.h"

namespace stator {
namespace {

Error wrong(size_t index, const std::string& what) {
  return Error{ErrorCode::kInternal, "memory plan: request " + std::to_string(index) + " " + what};
}

}  // namespace

Status check_memory(const std::vector<ArenaRequest>& requests, const std::vector<int64_t>& offsets,
                    int64_t arena_bytes) {
  if (offsets.size() != requests.size()) {
    return Error{ErrorCode::kInternal, "memory plan: " + std::to_string(offsets.size()) +
                                           " offsets for " + std::to_string(requests.size()) +
                                           " requests"};
  }
  std::map<int32_t, std::vector<size_t>> starts, ends;
  for (size_t i = 0; i < requests.size(); ++i) {
    if (requests[i].size_bytes <= 0) continue;
    if (offsets[i] < 0 || offsets[i] % 64 != 0) {
      return wrong(i, "stands at offset " + std::to_string(offsets[i]));
    }
    if (offsets[i] > arena_bytes || requests[i].size_bytes > arena_bytes - offsets[i]) {
      return wrong(i, "ends behind the arena of " + std::to_string(arena_bytes) + " bytes");
    }
    starts[requests[i].first_step].push_back(i);
    ends[requests[i].last_step].push_back(i);
  }
  // Live buffers by offset; lives change only at starts and ends, so only new ones need a look.
  std::multimap<int64_t, size_t> live;
  for (const auto& [step, beginning] : starts) {
    while (!ends.empty() && ends.begin()->first < step) {
      for (size_t i : ends.begin()->second) {
        auto [from, to] = live.equal_range(offsets[i]);
        const auto found =
            std::find_if(from, to, [i](const auto& entry) { return entry.second == i; });
        if (found != to) live.erase(found);
      }
      ends.erase(ends.begin());
    }
    for (size_t i : beginning) live.emplace(offsets[i], i);
    for (auto it = live.begin(); it != live.end(); ++it) {
      const auto next = std::next(it);
      if (next != live.end() && it->first + requests[it->second].size_bytes > next->first) {
        return wrong(it->second, "overlaps request " + std::to_string(next->second) + " at step " +
                                     std::to_string(step));
      }
    }
  }
  return {};
}

}  // namespace stator
