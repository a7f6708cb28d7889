// SPDX-License-Identifier: Apache-2.0
//
// Matrix products of halves on tensor cores with any epilogue, for compute capability 9.0: a warp
// asks for tiles by tensor maps, one or two warpgroups multiply them and run the epilogue on their
// sums in registers (the shape of CUTLASS's warp-specialized kernels, whose documentation describes
// it).
#pragma once

#include "backends/cuda/codegen/loop_kernel.h"

namespace stator::cuda {

/// D = epilogue(A B). A is [m, k], k fastest, with rows `lda` apart; B is [k, n] with rows `ldb`
/// apart, or [n, k] where `b_transposed`.
struct TiledProduct {
  DType dtype = DType::kFloat16;
  Expr m, n, k;
  int a = 0, b = 1;  // buffers
  Expr a_offset, lda, b_offset, ldb;
  bool b_transposed = false;
};

/// Whether its rows begin where tensor maps can, and its columns come in vectors.
bool is_tileable(const TiledProduct& product);
/// `request`: of the epilogue, whose last dim is n, the others together m. `groups` warpgroups of
/// 64 rows a block, `columns` columns (32, 64, 96 …, 256).
GeneratedKernel generate_product(const TiledProduct& product, const LoopRequest& request,
                                 int groups, int columns);

}  // namespace stator::cuda
