// SPDX-License-Identifier: Apache-2.0
//
// The global partitioner. A node may run in any phase of its kind between the earliest that its
// inputs allow and the latest that its users allow:
//
//        earliest = fast(…)                      latest = the same walk from the end
//
// Engines are then settled one after another, the one that could hold most nodes first: all nodes
// whose interval holds it are taken, and the intervals of what they depend on and of what depends
// on them shrink. Taking all of them is always consistent: a node before a taken one can run in
// that phase or earlier, a node behind it in that phase or later. Each round costs one walk.
#include <algorithm>

#include "partition/phases.h"

namespace stator {
namespace {

struct Intervals {
  std::vector<int> earliest, latest;
};

void shrink_earliest(const Dependencies& d, Intervals& i) {
  for (size_t at = 0; at < i.earliest.size(); ++at) {
    for (const int before : d.before[at]) {
      const int p = i.earliest[static_cast<size_t>(before)];
      i.earliest[at] = std::max(i.earliest[at], (p - i.earliest[at]) % 2 == 0 ? p : p + 1);
    }
  }
}

void shrink_latest(const Dependencies& d, Intervals& i) {
  for (size_t at = i.latest.size(); at-- > 0;) {
    for (const int after : d.after[at]) {
      const int p = i.latest[static_cast<size_t>(after)];
      i.latest[at] = std::min(i.latest[at], (p - i.latest[at]) % 2 == 0 ? p : p - 1);
    }
  }
}

bool holds(const Intervals& i, size_t at, int phase) {
  return i.earliest[at] <= phase && phase <= i.latest[at];
}

}  // namespace

std::vector<int> phases_global(const Dependencies& dependencies,
                               const std::vector<bool>& convertible) {
  Intervals i;
  i.earliest = phases_fast(dependencies, convertible);
  const int last = i.earliest.empty() ? 0 : *std::max_element(i.earliest.begin(), i.earliest.end());
  for (const bool engine : convertible) {
    i.latest.push_back((last % 2 == 1) == engine ? last : last - 1);
  }
  shrink_latest(dependencies, i);

  std::vector<bool> settled(static_cast<size_t>(last) + 1, false);
  for (int round = 1; round <= last; round += 2) {
    int best = -1;
    int64_t most = -1;
    for (int phase = 1; phase <= last; phase += 2) {
      int64_t count = 0;
      for (size_t at = 0; at < convertible.size(); ++at) {
        count += convertible[at] && holds(i, at, phase) ? 1 : 0;
      }
      if (!settled[static_cast<size_t>(phase)] && count > most) {
        best = phase;
        most = count;
      }
    }
    settled[static_cast<size_t>(best)] = true;
    for (size_t at = 0; at < convertible.size(); ++at) {
      if (convertible[at] && holds(i, at, best)) {
        i.earliest[at] = i.latest[at] = best;
      }
    }
    shrink_earliest(dependencies, i);
    shrink_latest(dependencies, i);
  }
  return i.earliest;
}

}  // namespace stator
