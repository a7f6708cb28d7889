// SPDX-License-Identifier: Apache-2.0
//
// The memory planner. Every buffer of one shape has a size and a life (first to last step); two
// buffers whose lives meet must not share a byte. Greedy by size: the largest buffer is placed
// first, each at the lowest offset that is free during its whole life. On the networks of the paper
// (see plan.h) this is within a few percent of the lower bound. Runs once for each new shape, so it
// is kept to one sorted list: O(n^2) for n buffers, 0.1 ms at 300.
#include <algorithm>
#include <numeric>

#include "base/align.h"
#include "plan/plan.h"

namespace stator {
namespace {

struct Placed {
  int64_t begin, end;
  int32_t first_step, last_step;
};

/// Where `request` fits lowest among `placed`, which is sorted by begin.
int64_t lowest_gap(const std::vector<Placed>& placed, const ArenaRequest& request, int64_t bytes) {
  int64_t cursor = 0;
  for (const Placed& other : placed) {
    if (other.last_step < request.first_step || request.last_step < other.first_step) continue;
    if (other.begin - cursor >= bytes) break;
    cursor = std::max(cursor, other.end);
  }
  return cursor;
}

}  // namespace

int64_t plan_memory(const std::vector<ArenaRequest>& requests, std::vector<int64_t>* offsets) {
  std::vector<size_t> order(requests.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return requests[a].size_bytes > requests[b].size_bytes;
  });
  offsets->assign(requests.size(), 0);
  std::vector<Placed> placed;
  placed.reserve(requests.size());
  int64_t arena_bytes = 0;
  for (size_t index : order) {
    const ArenaRequest& request = requests[index];
    if (request.size_bytes <= 0) continue;
    const int64_t bytes = align_up(request.size_bytes);
    const int64_t begin = lowest_gap(placed, request, bytes);
    (*offsets)[index] = begin;
    arena_bytes = std::max(arena_bytes, begin + bytes);
    const Placed entry{begin, begin + bytes, request.first_step, request.last_step};
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), entry,
                         [](const Placed& a, const Placed& b) { return a.begin < b.begin; }),
        entry);
  }
  return arena_bytes;
}

}  // namespace stator
