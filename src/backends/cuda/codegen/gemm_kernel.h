// SPDX-License-Identifier: Apache-2.0
//
// Matrix products of halves, or of bytes, on tensor cores with any epilogue, for compute
// capability 9.0: a warp asks for tiles by tensor maps, one or two warpgroups multiply them and run
// the epilogue on their sums in registers (the shape of CUTLASS's warp-specialized kernels, whose
// documentation describes it). Where there are few tiles, the blocks of a cluster share a tile's
// depth and add their sums up in each other's memory. Weights are asked for before the kernel
// before has ended.
//
// A convolution is the product of its positions' pixels with the filter: a tile of A is a box of
// the image, shifted for each tap of the filter; what lies outside the image comes as zeros.
#pragma once

#include "backends/cuda/codegen/loop_kernel.h"

namespace stator::cuda {

/// D = epilogue(A B). A is [m, k], k fastest, with rows `lda` apart; B is [k, n] with rows `ldb`
/// apart, or [n, k] where `b_transposed`. Of bytes (A i8 or u8, B i8), k and all distances count
/// pairs, which move like halves; B is transposed.
struct TiledProduct {
  DType dtype = DType::kFloat16;
  Expr m, n, k;
  int a = 0, b = 1;  // buffers
  Expr a_offset, lda, b_offset, ldb;
  bool b_transposed = false;
  bool b_constant = false;
  bool b_packed = false;  // B is stored as [k, n]: a recipe turns it
};

/// `groups` warpgroups of 64 rows a block, `columns` columns (32, 64, 96 …, 256), `split` blocks
/// for a tile (1, 2, 4 or 8).
struct TileShape {
  int groups = 1, columns = 64, split = 1;
};

/// How many steps of 64 along the depth there are; 0 when rows do not begin where tensor maps can,
/// or columns do not come in vectors.
int64_t tile_steps(const TiledProduct& product);
/// The same of a convolution with one group along one or two dims of known extent.
int64_t tile_steps(const ConvolutionContraction& convolution);
/// How many tiles of that shape there are.
Expr tile_count(const TiledProduct& product, const TileShape& shape);
Expr tile_count(const ConvolutionContraction& convolution, const TileShape& shape);

/// `request`: of the epilogue, whose last dim is n, the others together m.
GeneratedKernel generate_product(const TiledProduct& product, const LoopRequest& request,
                                 const TileShape& shape);
/// Its weights are packed as [O, kernel…, C]. `request`: of the epilogue, over [N, spatial…, O].
GeneratedKernel generate_convolution(const ConvolutionContraction& convolution,
                                     const LoopRequest& request, const TileShape& shape);

}  // namespace stator::cuda
