// SPDX-License-Identifier: Apache-2.0
//
// CUDA C++ text around the warpgroup matrix instructions of compute capability 9.0 (PTX ISA,
// "Asynchronous warpgroup level matrix instructions"): one source for every kernel that uses them.
#pragma once

#include <string>

#include "backends/cuda/codegen/source.h"

namespace stator::cuda {

/// Device functions: wgmma_fence, wgmma_commit, wgmma_wait<N>, and `panel(address, next)`, the
/// descriptor of a shared-memory operand in panels of rows of 128 bytes, swizzled by 128 bytes,
/// that begins at `address`; `next`: bytes from one panel to the next, where the operand's rows run
/// along k (transposed). Barriers in shared memory: barrier_init(at, count), barrier_expect(at,
/// bytes), barrier_arrive(at), barrier_wait(at, parity). copy_box(to, map, barrier, c0, c1, c2,
/// c3): a tensor map's box.
extern const char* const kWgmmaFunctions;

/// A function `name`(d, a, b, accumulate): d (64 x n, n / 2 registers a thread) = a b, or += where
/// `accumulate`, over 32 bytes along k. `a`: a descriptor, or four registers of halves. `dtype`: a
/// half, and d is float; or i8 or u8 of a, b is i8, and d is int. `b_transposed`: rows of b in
/// shared memory run along k (halves alone).
struct WgmmaShape {
  int n = 64;
  bool a_in_registers = false;
  bool b_transposed = false;
  DType dtype = DType::kBFloat16;
};
std::string wgmma_function(const std::string& name, const WgmmaShape& shape);

}  // namespace stator::cuda
