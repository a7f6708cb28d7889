// SPDX-License-Identifier: Apache-2.0
#include "runtime/memory_watch.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "plan/digest.h"

namespace stator {
namespace {

/// A number that looks random, the same for the same `seed` (splitmix64).
constexpr uint64_t scattered(uint64_t seed) {
  uint64_t x = (seed + 1) * 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

/// Scattered places: a regular stride would meet the same few columns of a matrix in every row.
constexpr auto kPlaces = [] {
  std::array<uint32_t, kSampledLines> places{};
  for (size_t i = 0; i < places.size(); ++i) {
    places[i] = static_cast<uint32_t>(scattered(i) >> 32);
  }
  return places;
}();

/// Of the i-th line, the byte that it begins at.
int64_t begin_of_line(int64_t i, int64_t size_bytes) {
  if (i == 0) return 0;
  if (i == kSampledLines - 1) return size_bytes - kSampledLineBytes;
  const int64_t part = size_bytes / kSampledLines;  // at least one line
  const auto slack = static_cast<uint64_t>(part - kSampledLineBytes + 1);
  // The product's upper half: a place below `slack`, without a division.
  const auto within = static_cast<int64_t>(
      (static_cast<unsigned __int128>(kPlaces[static_cast<size_t>(i)]) * slack) >> 32);
  return i * part + within;
}

uint64_t digest_of(const WatchedMemory& memory) {
  if (memory.size_bytes <= kWatchedWhole) return digest64(memory.data, memory.size_bytes);
  const auto* bytes = static_cast<const char*>(memory.data);
  // All reads are issued before any is waited for: the lines lie far apart.
  std::array<char, kSampledLines * kSampledLineBytes> sample;
  for (int64_t i = 0; i < kSampledLines; ++i) {
    __builtin_prefetch(bytes + begin_of_line(i, memory.size_bytes));
  }
  for (int64_t i = 0; i < kSampledLines; ++i) {
    std::memcpy(sample.data() + i * kSampledLineBytes, bytes + begin_of_line(i, memory.size_bytes),
                kSampledLineBytes);
  }
  return digest64(sample.data(), static_cast<int64_t>(sample.size()));
}

}  // namespace

MemoryWatch::MemoryWatch(std::vector<WatchedMemory> memory) : memory_(std::move(memory)) {
  for (const WatchedMemory& one : memory_) noted_.push_back(digest_of(one));
}

std::vector<int64_t> MemoryWatch::changed() const {
  std::vector<int64_t> positions;
  for (size_t i = 0; i < memory_.size(); ++i) {
    if (digest_of(memory_[i]) != noted_[i]) positions.push_back(static_cast<int64_t>(i));
  }
  return positions;
}

bool MemoryWatch::any_changed() const {
  for (size_t i = 0; i < memory_.size(); ++i) {
    if (digest_of(memory_[i]) != noted_[i]) return true;
  }
  return false;
}

}  // namespace stator
