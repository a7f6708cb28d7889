// SPDX-License-Identifier: Apache-2.0
#include "plan/digest.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <system_error>
#include <thread>

namespace stator {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F,
                   kPrime3 = 0x165667B19E3779F9, kPrime4 = 0x85EBCA77C2B2AE63,
                   kPrime5 = 0x27D4EB2F165667C5;

constexpr int64_t kMostDigestThreads = 16;  // more do not read memory faster

template <typename T>
T read(const uint8_t* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

uint64_t round(uint64_t lane, uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

uint64_t merge(uint64_t hash, uint64_t lane) { return (hash ^ round(0, lane)) * kPrime1 + kPrime4; }

uint64_t finish(uint64_t hash, const uint8_t* p, const uint8_t* end) {
  for (; end - p >= 8; p += 8) {
    hash = std::rotl(hash ^ round(0, read<uint64_t>(p)), 27) * kPrime1 + kPrime4;
  }
  if (end - p >= 4) {
    hash = std::rotl(hash ^ (read<uint32_t>(p) * kPrime1), 23) * kPrime2 + kPrime3;
    p += 4;
  }
  for (; p < end; ++p) hash = std::rotl(hash ^ (*p * kPrime5), 11) * kPrime1;
  hash = (hash ^ (hash >> 33)) * kPrime2;
  hash = (hash ^ (hash >> 29)) * kPrime3;
  return hash ^ (hash >> 32);
}

}  // namespace

uint64_t digest64(const void* data, int64_t size_bytes) {
  const auto* p = static_cast<const uint8_t*>(data);
  const uint8_t* const end = p + size_bytes;
  uint64_t hash = kPrime5;
  if (size_bytes >= 32) {
    uint64_t a = kPrime1 + kPrime2, b = kPrime2, c = 0, d = 0 - kPrime1;
    for (; end - p >= 32; p += 32) {
      a = round(a, read<uint64_t>(p));
      b = round(b, read<uint64_t>(p + 8));
      c = round(c, read<uint64_t>(p + 16));
      d = round(d, read<uint64_t>(p + 24));
    }
    hash = std::rotl(a, 1) + std::rotl(b, 7) + std::rotl(c, 12) + std::rotl(d, 18);
    hash = merge(merge(merge(merge(hash, a), b), c), d);
  }
  return finish(hash + static_cast<uint64_t>(size_bytes), p, end);
}

std::vector<uint64_t> digest_blobs(const std::vector<TensorData>& blobs) {
  struct Piece {
    const uint8_t* data;
    int64_t size_bytes;
    uint64_t* digest;
  };
  std::vector<std::vector<uint64_t>> parts(blobs.size());
  std::vector<Piece> pieces;
  int64_t total = 0;
  for (size_t i = 0; i < blobs.size(); ++i) {
    const int64_t size = blobs[i].size_bytes;
    parts[i].resize(static_cast<size_t>(std::max<int64_t>(1, (size - 1) / kDigestPiece + 1)));
    for (size_t k = 0; k < parts[i].size(); ++k) {
      const auto begin = static_cast<int64_t>(k) * kDigestPiece;
      pieces.push_back(
          {blobs[i].as<uint8_t>() + begin, std::min(kDigestPiece, size - begin), &parts[i][k]});
    }
    total += size;
  }
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < pieces.size(); i = next++) {
      *pieces[i].digest = digest64(pieces[i].data, pieces[i].size_bytes);
    }
  };
  // A thread costs what hashing some hundred kilobytes costs.
  const int64_t useful = std::min<int64_t>(total / (4 * kDigestPiece), kMostDigestThreads);
  const int64_t wanted = std::min<int64_t>(useful, std::thread::hardware_concurrency());
  std::vector<std::thread> threads;
  try {
    while (static_cast<int64_t>(threads.size()) + 1 < wanted) threads.emplace_back(work);
  } catch (const std::system_error&) {  // no more threads: those that are there do it
  }
  work();
  for (std::thread& thread : threads) thread.join();
  std::vector<uint64_t> digests;
  for (const std::vector<uint64_t>& part : parts) {
    digests.push_back(
        part.size() == 1 ? part[0] : digest64(part.data(), static_cast<int64_t>(part.size()) * 8));
  }
  return digests;
}

std::string digest_text(uint64_t digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text(16, '0');
  for (int i = 15; i >= 0; --i, digest >>= 4) text[static_cast<size_t>(i)] = kDigits[digest & 15];
  return text;
}

}  // namespace stator
