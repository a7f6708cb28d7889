// SPDX-License-Identifier: Apache-2.0
//
// Regions that are no loop, one generated kernel each: scans, orders and scatters. None needs more
// than the barrier of its block and atomics, so each is right for rows of any length; what is fast
// are rows that the block's shared memory holds, and many of them.
#pragma once

#include "backends/cuda/codegen/loop_kernel.h"

namespace stator::cuda {

/// A block takes a row in chunks, each scanned in shared memory; where inner is not 1 a thread
/// follows a column.
GeneratedKernel generate_scan(const ScanRegion& scan, const LoopRequest& request);
/// A block takes a row: the first `count` are selected by radix, and sorted in shared memory where
/// that holds them, otherwise by radix in the memory of the places. Always stable.
GeneratedKernel generate_order(const OrderRegion& order, const LoopRequest& request);
/// A thread takes an update. What is not put is atomic, and comes in any order.
GeneratedKernel generate_scatter(const ScatterRegion& scatter, const LoopRequest& request);

/// The head of such a kernel: the function's first lines, then `constants`, each an Expr as an i64
/// by name. Over the symbols of `request`.
std::string whole_head(const LoopRequest& request, int threads,
                       const std::vector<std::pair<std::string, Expr>>& constants);

}  // namespace stator::cuda
