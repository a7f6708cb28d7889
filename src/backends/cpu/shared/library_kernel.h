// SPDX-License-Identifier: Apache-2.0
//
// Kernels of the runtime's own library (run/library/): what is no loop, and what code generated for
// one region would do no better. As PlanKernel::payload they are words, "scan sum f32", where a
// generated kernel's payload is the number of a byte. The code generator writes it, the executor
// reads it and proves of each step that its buffers are what the kernel will touch.
#pragma once

#include <cstdint>
#include <string>
#include <variant>

#include "stator/layer.h"

namespace stator::cpu {

/// ScanRegion. Sizes: outer, length, inner. Tasks: outer times blocks of kScanColumns of inner.
struct ScanKernel {
  ScanOp op = ScanOp::kSum;
  DType dtype = DType::kFloat32;
};
inline constexpr int kScanSizes = 3;
inline constexpr int64_t kScanColumns = 64;

/// OrderRegion. Sizes: outer, length, inner, count, and how: a sum of the numbers below. Tasks:
/// outer times inner. Scratch memory: order_bytes() for each element of a row, and kOrderMore.
struct OrderKernel {
  DType dtype = DType::kFloat32;
};
inline constexpr int kOrderSizes = 5;
inline constexpr int64_t kDescending = 1, kStable = 2, kSelect = 4, kSorted = 8;
inline constexpr int64_t kOrderMore = 64;
inline int64_t order_bytes(DType dtype) { return dtype_bytes(dtype) > 4 ? 32 : 16; }

/// ScatterRegion of `rank` dims. Sizes: rank, axis, FaultSite::code(), limit, the extents, then
/// offset and strides of indices, updates and y. Tasks: the product of all extents but the axis's
/// and, where that is another one, the last one's, times blocks of kScatterColumns of the last.
struct ScatterKernel {
  DType dtype = DType::kFloat32;
  ScatterOp op = ScatterOp::kPut;
  int rank = 1;
};
inline constexpr int kMostScatterDims = 8;
inline constexpr int scatter_sizes(int rank) { return 4 + rank + 3 * (1 + rank); }
inline constexpr int64_t kScatterColumns = 32;

using LibraryKernel = std::variant<ScanKernel, OrderKernel, ScatterKernel>;

std::string print_library_kernel(const LibraryKernel& kernel);
/// kInvalidFile when the text is none.
Result<LibraryKernel> parse_library_kernel(const std::string& text);

}  // namespace stator::cpu
