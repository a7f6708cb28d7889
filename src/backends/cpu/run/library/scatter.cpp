// SPDX-License-Identifier: Apache-2.0
//
// Writing by index. The indices' dims without the axis are columns: no two write to one element,
// so they are dealt out, and each goes along the axis in order: sums are the same in every run, and
// what comes last stays.
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <algorithm>

#include "backends/cpu/run/library/element.h"
#include "backends/cpu/run/library/library.h"

namespace stator::cpu {
namespace {

/// A step's sizes by name.
struct Sizes {
  const int64_t* at;
  int rank;
  int64_t axis, fault, limit;
  const int64_t* extents;

  explicit Sizes(const int64_t* sizes)
      : at(sizes),
        rank(static_cast<int>(sizes[0])),
        axis(sizes[1]),
        fault(sizes[2]),
        limit(sizes[3]),
        extents(sizes + 4) {}
  int64_t offset(int view) const { return extents[rank + view * (1 + rank)]; }
  int64_t stride(int view, int64_t dim) const {
    return extents[rank + view * (1 + rank) + 1 + dim];
  }
};

enum View { kIndices, kUpdates, kY };

/// The elements of one task: along the axis, and beside each a run along the last dim.
struct Column {
  int64_t start[3];
  int64_t run = 1;
  int64_t run_strides[3] = {0, 0, 0};
};

Column column_of(const Sizes& sizes, int64_t task) {
  Column column;
  for (int view = 0; view < 3; ++view) column.start[view] = sizes.offset(view);
  const auto go = [&](int64_t dim, int64_t by) {
    for (int view = 0; view < 3; ++view) column.start[view] += by * sizes.stride(view, dim);
  };
  int64_t dim = sizes.rank - 1;
  if (dim != sizes.axis) {
    const int64_t last = sizes.extents[dim];
    const int64_t blocks = (last + kScatterColumns - 1) / kScatterColumns;
    const int64_t first = task % blocks * kScatterColumns;
    task /= blocks;
    go(dim, first);
    column.run = std::min(kScatterColumns, last - first);
    for (int view = 0; view < 3; ++view) column.run_strides[view] = sizes.stride(view, dim);
    --dim;
  }
  for (; dim >= 0; --dim) {
    if (dim == sizes.axis) continue;
    go(dim, task % sizes.extents[dim]);
    task /= sizes.extents[dim];
  }
  return column;
}

/// Halves are rounded after each update, as in PyTorch's CPU kernels that keep no sum in float.
template <typename T, ScatterOp kOp>
void write(T* y, T update) {
  if constexpr (kOp == ScatterOp::kPut) {
    *y = update;
  } else if constexpr (kOp == ScatterOp::kMax || kOp == ScatterOp::kMin) {
    bool wins = kOp == ScatterOp::kMax ? *y < update : update < *y;
    if constexpr (is_real_type<T>) wins |= is_nan(update);
    *y = wins ? update : *y;
  } else {
    using Value = std::conditional_t<std::is_integral_v<T>, uint64_t,
                                     std::conditional_t<is_half_type<T>, float, T>>;
    const auto old = static_cast<Value>(*y), value = static_cast<Value>(update);
    *y = element_of<T>(kOp == ScatterOp::kAdd ? old + value : old * value);
  }
}

#if defined(__x86_64__)
/// Sums and products of neighbouring halves, eight at once; gives how many it has written.
template <ScatterOp kOp>
__attribute__((target("avx,f16c"))) int64_t write_halves(Float16* y, const Float16* updates,
                                                         int64_t count) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    auto* to = reinterpret_cast<__m128i*>(y + i);
    const __m256 old = _mm256_cvtph_ps(_mm_loadu_si128(to));
    const __m256 update =
        _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(updates + i)));
    const __m256 value =
        kOp == ScatterOp::kAdd ? _mm256_add_ps(old, update) : _mm256_mul_ps(old, update);
    _mm_storeu_si128(to, _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT));
  }
  return i;
}
#endif

/// Updates of neighbours.
template <typename T, ScatterOp kOp>
void write_run(T* y, const T* updates, int64_t count) {
  int64_t i = 0;
#if defined(__x86_64__)
  if constexpr (std::is_same_v<T, Float16> && (kOp == ScatterOp::kAdd || kOp == ScatterOp::kMul)) {
    static const bool has_halves = __builtin_cpu_supports("f16c") && __builtin_cpu_supports("avx");
    if (has_halves) i = write_halves<kOp>(y, updates, count);
  }
#endif
  for (; i < count; ++i) write<T, kOp>(y + i, updates[i]);
}

template <typename T, ScatterOp kOp>
void scatter_column(const KernelArgs* args, const Sizes& sizes, const Column& column) {
  const auto* indices = static_cast<const int64_t*>(args->buffers[1]) + column.start[kIndices];
  const auto* updates = static_cast<const T*>(args->buffers[2]) + column.start[kUpdates];
  auto* y = static_cast<T*>(args->buffers[3]) + column.start[kY];
  const int64_t stride = sizes.stride(kY, sizes.axis);
  const auto place = [&](int64_t index) -> T* {
    if (static_cast<uint64_t>(index) < static_cast<uint64_t>(sizes.limit)) {
      return y + index * stride;
    }
    report_fault(*args, sizes.fault, index, sizes.limit);
    return nullptr;
  };
  const int64_t count = sizes.extents[sizes.axis];
  const int64_t index_step = sizes.stride(kIndices, sizes.axis);
  const int64_t update_step = sizes.stride(kUpdates, sizes.axis);
  if (column.run == 1) {
    for (int64_t i = 0; i < count; ++i) {
      if (T* to = place(indices[i * index_step])) write<T, kOp>(to, updates[i * update_step]);
    }
    return;
  }
  const int64_t* run = column.run_strides;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t* index = indices + i * index_step;
    const T* update = updates + i * update_step;
    if (run[kIndices] != 0) {
      for (int64_t c = 0; c < column.run; ++c) {
        if (T* to = place(index[c * run[kIndices]])) {
          write<T, kOp>(to + c * run[kY], update[c * run[kUpdates]]);
        }
      }
    } else if (T* to = place(*index)) {  // one place for all of them
      if (run[kUpdates] == 1 && run[kY] == 1) {
        write_run<T, kOp>(to, update, column.run);
      } else {
        for (int64_t c = 0; c < column.run; ++c) {
          write<T, kOp>(to + c * run[kY], update[c * run[kUpdates]]);
        }
      }
    }
  }
}

template <typename T, ScatterOp kOp>
void scatter(const KernelArgs* args, int64_t begin, int64_t end, void*) {
  const Sizes sizes(args->sizes);
  for (; begin < end; ++begin) {
    scatter_column<T, kOp>(args, sizes, column_of(sizes, begin));
  }
}

/// What is moved is moved by its size alone.
CpuKernel put_entry(int64_t bytes) {
  return bytes == 1   ? scatter<uint8_t, ScatterOp::kPut>
         : bytes == 2 ? scatter<int16_t, ScatterOp::kPut>
         : bytes == 4 ? scatter<int32_t, ScatterOp::kPut>
                      : scatter<int64_t, ScatterOp::kPut>;
}

}  // namespace

CpuKernel scatter_entry(const ScatterKernel& kernel) {
  return with_element(kernel.dtype, [&](auto element) -> CpuKernel {
    using T = decltype(element);
    switch (kernel.op) {
      case ScatterOp::kPut:
        return put_entry(sizeof(T));
      case ScatterOp::kAdd:
        return scatter<T, ScatterOp::kAdd>;
      case ScatterOp::kMul:
        return scatter<T, ScatterOp::kMul>;
      case ScatterOp::kMax:
        return scatter<T, ScatterOp::kMax>;
      case ScatterOp::kMin:
        return scatter<T, ScatterOp::kMin>;
    }
    return nullptr;
  });
}

}  // namespace stator::cpu
