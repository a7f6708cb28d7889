// SPDX-License-Identifier: Apache-2.0
//
// An element becomes a key, an unsigned number of the same order (run/library/order.cpp of the CPU
// backend does the same), and an entry is a key with its place: all are different, so that any way
// of sorting them is stable.
#include <algorithm>

#include "backends/cuda/codegen/kernel_frame.h"
#include "backends/cuda/codegen/whole_kernels.h"
#include "base/check.h"
#include "base/float_element.h"
#include "layer/fault_site.h"

namespace stator::cuda {
namespace {

constexpr int64_t kMostEntries = 4096;  // in shared memory; of 64-bit keys half of them
constexpr int64_t kLeastEntries = 64;

// Before it stand LENGTH, INNER, COUNT, THREADS, CAPACITY, FAULT; the types K of a key and E of an
// entry; key_of(at), entry(K, place), place_of(E), kNoEntry, less(E, E).
const char* const kOrderBody = R"(
  constexpr int BITS = 8 * sizeof(K);
  __shared__ E entries[CAPACITY];
  __shared__ unsigned counts[256];
  __shared__ unsigned ranks[THREADS];
  __shared__ unsigned shared_digit, shared_before;
  const int t = (int)threadIdx.x;
  if (COUNT > LENGTH) {
    if (t == 0) report(fault, FAULT, COUNT, LENGTH);
    return;
  }
  const i64 outer = blockIdx.x / INNER, column = blockIdx.x % INNER;
  const i64 from = outer * LENGTH * INNER + column, to = outer * COUNT * INNER + column;
  const bool in_shared = COUNT <= CAPACITY;
  // What is too much for shared memory lies in the memory of the places: a place has room for two
  // lists, one in each half.
  const auto list = [&](i64 i, int half) -> unsigned& {
    return ((unsigned*)(b2 + to + i * INNER))[half];
  };
  const auto take = [&](i64 i, K key, i64 place) {
    if (in_shared) entries[i] = entry(key, (unsigned)place);
    else list(i, 0) = (unsigned)place;
  };
  if (COUNT == LENGTH) {
    for (i64 i = t; i < LENGTH; i += THREADS) take(i, key_of(from + i * INNER), i);
  } else {
    // The key of the last one that is taken, digit by digit, and how many of its equals are.
    K last = 0, known = 0;
    unsigned wanted = (unsigned)COUNT;
    for (int shift = BITS - 8; shift >= 0; shift -= 8) {
      for (int i = t; i < 256; i += THREADS) counts[i] = 0;
      __syncthreads();
      for (i64 i = t; i < LENGTH; i += THREADS) {
        const K key = key_of(from + i * INNER);
        if ((key & known) == last) atomicAdd(&counts[(unsigned)(key >> shift) & 255], 1u);
      }
      __syncthreads();
      if (t == 0) {
        unsigned digit = 0, before = 0;
        while (digit < 255 && before + counts[digit] < wanted) before += counts[digit++];
        shared_digit = digit;
        shared_before = before;
      }
      __syncthreads();
      wanted -= shared_before;
      last |= (K)shared_digit << shift;
      known |= (K)255 << shift;
      __syncthreads();
    }
    // In the order of their places: each thread learns what those before it take. Counts of lesser
    // ones above 16 bits, of equal ones below.
    i64 taken = 0;
    for (i64 begin = 0; begin < LENGTH; begin += THREADS) {
      const i64 i = begin + t;
      const K key = i < LENGTH ? key_of(from + i * INNER) : (K)0;
      const bool lesser = i < LENGTH && key < last, equal = i < LENGTH && key == last;
      ranks[t] = (lesser ? 65536u : 0u) + (equal ? 1u : 0u);
      __syncthreads();
      for (int d = 1; d < THREADS; d *= 2) {
        const unsigned before = t >= d ? ranks[t - d] : 0u;
        __syncthreads();
        ranks[t] += before;
        __syncthreads();
      }
      const unsigned before = t > 0 ? ranks[t - 1] : 0u, all = ranks[THREADS - 1];
      const unsigned equals = min(before & 65535u, wanted);
      if (lesser || (equal && (before & 65535u) < wanted)) {
        take(taken + (before >> 16) + equals, key, i);
      }
      const unsigned all_equals = min(all & 65535u, wanted);
      taken += (all >> 16) + all_equals;
      wanted -= all_equals;
      __syncthreads();
    }
  }
  __syncthreads();
  if (in_shared) {
    int size = 1;
    while (size < COUNT) size *= 2;
    for (int i = (int)COUNT + t; i < size; i += THREADS) entries[i] = kNoEntry;
    __syncthreads();
    for (int run = 2; run <= size; run *= 2) {
      for (int d = run / 2; d > 0; d /= 2) {
        for (int i = t; i < size / 2; i += THREADS) {
          const int a = i / d * 2 * d + i % d, b = a + d;
          const E x = entries[a], y = entries[b];
          if (less(y, x) == ((a & run) == 0)) {
            entries[a] = y;
            entries[b] = x;
          }
        }
        __syncthreads();
      }
    }
    for (i64 i = t; i < COUNT; i += THREADS) {
      const i64 place = place_of(entries[i]);
      b1[to + i * INNER] = b0[from + place * INNER];
      b2[to + i * INNER] = place;
    }
    return;
  }
  for (int shift = 0; shift < BITS; shift += 8) {
    const int half = shift / 8 % 2;
    for (int i = t; i < 256; i += THREADS) counts[i] = 0;
    __syncthreads();
    const auto digit_of = [&](i64 i) {
      return (unsigned)(key_of(from + (i64)list(i, half) * INNER) >> shift) & 255;
    };
    for (i64 i = t; i < COUNT; i += THREADS) atomicAdd(&counts[digit_of(i)], 1u);
    __syncthreads();
    if (t == 0) {
      unsigned sum = 0;
      for (int digit = 0; digit < 256; ++digit) {
        const unsigned count = counts[digit];
        counts[digit] = sum;
        sum += count;
      }
    }
    __syncthreads();
    for (i64 begin = 0; begin < COUNT; begin += THREADS) {
      const i64 i = begin + t;
      const unsigned digit = i < COUNT ? digit_of(i) : 256;
      ranks[t] = digit;
      __syncthreads();
      unsigned before = 0, after = 0;
      for (int other = 0; other < THREADS; ++other) {
        const bool same = ranks[other] == digit;
        before += same && other < t ? 1 : 0;
        after += same && other > t ? 1 : 0;
      }
      if (i < COUNT) list(counts[digit] + before, 1 - half) = list(i, half);
      __syncthreads();
      if (i < COUNT && after == 0) counts[digit] += before + 1;
      __syncthreads();
    }
  }
  for (i64 i = t; i < COUNT; i += THREADS) {
    const i64 place = list(i, 0);
    b1[to + i * INNER] = b0[from + place * INNER];
    b2[to + i * INNER] = place;
  }
}
)";

/// The key of "x", an element in memory, ascending.
std::string print_key(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "unsigned u = __float_as_uint(x);\n    if (u << 1 > 0xff000000u) return ~0u;\n"
             "    if (u << 1 == 0) u = 0;\n    return u >> 31 ? ~u : u | 0x80000000u;";
    case DType::kFloat64:
      return "K u = (K)__double_as_longlong(x);\n"
             "    if (u << 1 > 0xffe0000000000000ull) return ~K(0);\n"
             "    if (u << 1 == 0) u = 0;\n    return u >> 63 ? ~u : u | 0x8000000000000000ull;";
    case DType::kFloat16:
    case DType::kBFloat16:
      return std::string("const unsigned size = x & 0x7fffu;\n    if (size > ") +
             (dtype == DType::kFloat16 ? "0x7c00u" : "0x7f80u") +
             ") return ~0u;\n    return x & 0x8000u ? 0x8000u - size : 0x8000u + size;";
    case DType::kInt64:
      return "return (K)x ^ 0x8000000000000000ull;";
    case DType::kUInt8:
    case DType::kBool:
      return "return (K)x;";
    default:
      return "return (K)(int)x ^ 0x80000000u;";
  }
}

std::string print_entries(const OrderRegion& order) {
  const bool wide = dtype_bytes(order.dtype) == 8;
  std::string s = std::string("  typedef ") + (wide ? "unsigned long long" : "unsigned") + " K;\n";
  s += "  const auto ascending = [](" + std::string(memory_type(order.dtype)) + " x) -> K {\n    " +
       print_key(order.dtype) + "\n  };\n";
  s += std::string("  const auto key_of = [&](i64 at) -> K { return ") +
       (order.descending ? "~" : "") + "ascending(b0[at]); };\n";
  if (wide) {
    s += R"(  struct E { K key; unsigned place; };
  const E kNoEntry = {~K(0), ~0u};
  const auto entry = [](K key, unsigned place) { return E{key, place}; };
  const auto place_of = [](E e) -> i64 { return e.place; };
  const auto less = [](E a, E b) {
    return a.key != b.key ? a.key < b.key : a.place < b.place;
  };
)";
  } else {
    s += R"(  typedef unsigned long long E;
  const E kNoEntry = ~0ull;
  const auto entry = [](K key, unsigned place) -> E { return (E)key << 32 | place; };
  const auto place_of = [](E e) -> i64 { return (unsigned)e; };
  const auto less = [](E a, E b) { return a < b; };
)";
  }
  return s;
}

/// Entries that shared memory holds: a power of two, no greater than needed.
int64_t capacity_of(const OrderRegion& order, const Bounds& bounds) {
  const int64_t most = kMostEntries / (dtype_bytes(order.dtype) == 8 ? 2 : 1);
  const std::optional<int64_t> count = bounds.greatest(order.count);
  int64_t capacity = kLeastEntries;
  while (capacity < most && (!count.has_value() || capacity < *count)) capacity *= 2;
  return capacity;
}

}  // namespace

GeneratedKernel generate_order(const OrderRegion& order, const LoopRequest& request) {
  const int64_t capacity = capacity_of(order, *request.bounds);
  const std::optional<int64_t> length = request.bounds->greatest(order.length);
  const int64_t wanted = std::max(capacity / 2, std::min<int64_t>(length.value_or(1024), 1024));
  int threads = 64;
  while (threads < 1024 && threads < wanted) threads *= 2;
  std::string s = whole_head(
      request, threads, {{"LENGTH", order.length}, {"INNER", order.inner}, {"COUNT", order.count}});
  const FaultSite site{DataError::kRank, 0, false};
  s += "  constexpr int CAPACITY = " + std::to_string(capacity) +
       ";\n  constexpr i64 FAULT = " + std::to_string(site.code()) + ";\n";
  s += print_entries(order) + kOrderBody;
  return finish_kernel(request, s, threads, 0, order.outer * order.inner);
}

}  // namespace stator::cuda
