// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "partition/phases.h"

namespace stator {

std::vector<int> phases_fast(const Dependencies& dependencies,
                             const std::vector<bool>& convertible) {
  std::vector<int> phase(convertible.size());
  for (size_t at = 0; at < convertible.size(); ++at) {
    const int kind = convertible[at] ? 1 : 0;
    int earliest = kind;
    for (const int before : dependencies.before[at]) {
      const int p = phase[static_cast<size_t>(before)];
      earliest = std::max(earliest, p % 2 == kind ? p : p + 1);
    }
    phase[at] = earliest;
  }
  return phase;
}

}  // namespace stator
