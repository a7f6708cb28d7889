// SPDX-License-Identifier: Apache-2.0
//
// Notices that somebody wrote to memory that compiled code was made from. What is small is read
// whole; of what is large a sample is read, so that a look costs little however large a model is.
#pragma once

#include <cstdint>
#include <vector>

namespace stator {

/// Bytes that are watched; their owner keeps them alive.
struct WatchedMemory {
  const void* data = nullptr;
  int64_t size_bytes = 0;
};

/// What is read of one piece of memory: all of it up to kWatchedWhole bytes; of more kSampledLines
/// cache lines, of which the first and the last are the memory's own and each other one lies at an
/// arbitrary place, always the same, in its own equal part.
inline constexpr int64_t kWatchedWhole = 4096;
inline constexpr int64_t kSampledLines = 16;
inline constexpr int64_t kSampledLineBytes = 64;

class MemoryWatch {
 public:
  /// Notes what the memory holds now.
  explicit MemoryWatch(std::vector<WatchedMemory> memory);
  /// Positions in the list of what holds something else than was noted.
  std::vector<int64_t> changed() const;
  /// Whether there is any, which is found out in as much time as one look takes.
  bool any_changed() const;

 private:
  std::vector<WatchedMemory> memory_;
  std::vector<uint64_t> noted_;
};

}  // namespace stator
