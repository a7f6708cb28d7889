// SPDX-License-Identifier: Apache-2.0
//
// Running sums, products and extremes. A scan is a chain: what is fast is to follow several at
// once. Where inner is 1 these are rows, side by side; else a block of neighbouring columns.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/run/library/element.h"
#include "backends/cpu/run/library/library.h"

namespace stator::cpu {
namespace {

constexpr int64_t kRows = 4;  // that are followed at once

/// As in PyTorch's CPU kernels: floats are added up in double, halves in float.
template <typename T>
using Sum = std::conditional_t<is_half_type<T>, float,
                               std::conditional_t<std::is_floating_point_v<T>, double, uint64_t>>;

/// What is known of one chain, and what one more element makes of it.
template <typename T, ScanOp kOp>
struct RunningSum {
  using Total = Sum<T>;
  Total total = kOp == ScanOp::kProd ? 1 : 0;

  void take(T x, int64_t) {
    const auto value = static_cast<Total>(x);
    total = kOp == ScanOp::kProd ? total * value : total + value;
  }
  void put(const KernelArgs* args, int64_t at) const {
    static_cast<T*>(args->buffers[1])[at] = element_of<T>(total);
  }
};

/// The logarithm of a sum of exponentials, as PyTorch's CPU kernel goes on from one element to the
/// next: in double, of halves in float.
template <typename T>
struct RunningLogSumExp {
  using Total = Sum<T>;
  Total total = -std::numeric_limits<Total>::infinity();

  void take(T x, int64_t) {
    const auto value = static_cast<Total>(x);
    const Total least = value < total ? value : total, most = value < total ? total : value;
    // Of two equal infinities the difference is none.
    const bool same_infinity = least == most && std::isinf(most);
    total = same_infinity ? most : std::log1p(std::exp(least - most)) + most;
  }
  void put(const KernelArgs* args, int64_t at) const {
    static_cast<T*>(args->buffers[1])[at] = element_of<T>(total);
  }
};

/// NaN stays, and what comes last wins among equals.
template <typename T, bool kGreatest>
struct RunningExtreme {
  T best;
  int64_t place = -1;

  bool loses_to(T x) const {
    if (place < 0) return true;
    if constexpr (is_real_type<T>) {
      if (is_nan(x)) return true;
      if (is_nan(best)) return false;
    }
    return kGreatest ? x >= best : x <= best;
  }
  void take(T x, int64_t i) {
    const bool better = loses_to(x);
    best = better ? x : best;
    place = better ? i : place;
  }
  void put(const KernelArgs* args, int64_t at) const {
    static_cast<T*>(args->buffers[1])[at] = best;
    static_cast<int64_t*>(args->buffers[2])[at] = place;
  }
};

/// Follows `count` chains at once, at most kMost: they begin at `at` and every `chain` elements
/// further, and go on by `step`.
template <typename T, typename Op, int64_t kMost>
void follow(const KernelArgs* args, int64_t at, int64_t length, int64_t step, int64_t chain,
            int64_t count) {
  const auto* x = static_cast<const T*>(args->buffers[0]);
  Op chains[kMost];
  for (int64_t i = 0; i < length; ++i, at += step) {
    for (int64_t c = 0; c < count; ++c) {
      chains[c].take(x[at + c * chain], i);
      chains[c].put(args, at + c * chain);
    }
  }
}

template <typename T, typename Op>
void scan(const KernelArgs* args, int64_t begin, int64_t end, void*) {
  const int64_t length = args->sizes[1], inner = args->sizes[2];
  if (inner == 1) {
    for (; begin + kRows <= end; begin += kRows) {
      follow<T, Op, kRows>(args, begin * length, length, 1, length, kRows);
    }
    for (; begin < end; ++begin) follow<T, Op, 1>(args, begin * length, length, 1, length, 1);
    return;
  }
  const int64_t blocks = (inner + kScanColumns - 1) / kScanColumns;
  for (; begin < end; ++begin) {
    const int64_t column = begin % blocks * kScanColumns;
    follow<T, Op, kScanColumns>(args, begin / blocks * length * inner + column, length, inner, 1,
                                std::min(kScanColumns, inner - column));
  }
}

}  // namespace

CpuKernel scan_entry(const ScanKernel& kernel) {
  return with_element(kernel.dtype, [&](auto element) -> CpuKernel {
    using T = decltype(element);
    switch (kernel.op) {
      case ScanOp::kSum:
        return scan<T, RunningSum<T, ScanOp::kSum>>;
      case ScanOp::kProd:
        return scan<T, RunningSum<T, ScanOp::kProd>>;
      case ScanOp::kMax:
        return scan<T, RunningExtreme<T, true>>;
      case ScanOp::kMin:
        return scan<T, RunningExtreme<T, false>>;
      case ScanOp::kLogSumExp:
        if constexpr (is_real_type<T>) return scan<T, RunningLogSumExp<T>>;
    }
    return nullptr;
  });
}

}  // namespace stator::cpu
