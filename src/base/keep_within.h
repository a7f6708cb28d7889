// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace stator {

/// Drops the items that take more than `limit`; if all do, the one that takes least (the first of
/// several) stays, since something must run. Gives what that one takes, nullopt where some fit.
template <typename T, typename Bytes>
std::optional<int64_t> keep_within(int64_t limit, const Bytes& bytes, std::vector<T>* items) {
  std::vector<T> fitting;
  std::optional<std::pair<int64_t, T>> leanest;
  for (const T& item : *items) {
    const int64_t needed = bytes(item);
    if (needed <= limit) fitting.push_back(item);
    if (!leanest.has_value() || needed < leanest->first) leanest.emplace(needed, item);
  }
  if (!fitting.empty() || !leanest.has_value()) {
    *items = std::move(fitting);
    return std::nullopt;
  }
  *items = {leanest->second};
  return leanest->first;
}

}  // namespace stator
