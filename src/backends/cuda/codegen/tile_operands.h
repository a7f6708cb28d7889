// SPDX-License-Identifier: Apache-2.0
//
// What a product in tiles (gemm_kernel.h) needs to know of its operands, as CUDA C++ text.
#pragma once

#include <string>
#include <vector>

#include "backends/cuda/codegen/gemm_kernel.h"
#include "backends/cuda/codegen/op_printer.h"

namespace stator::cuda {

inline constexpr int kTileDepth = 64;  // of k in a step: a row of 128 bytes

struct TileOperands {
  DType dtype = DType::kFloat16;
  int64_t columns = 0;  // of the result
  int64_t steps = 0;    // along the depth
  Expr row_tiles;
  int box_rows = 0;  // of A that a step brings
  bool b_rows_along_k = false, b_constant = false;
  bool down_first = false;  // neighbouring blocks share columns of B, not rows of A
  std::string constants;    // declarations before everything else
  std::string origin;       // statements: where tile `tile` lies, and `first_column`
  std::string copy_a;       // statements: A's part of step t to `at`, barrier `ready`
  std::string copy_b;       // the same of B
  std::string place;        // statements: where row `tile_row` of the tile lies; bool `inside`
  std::vector<std::string> index;  // of the epilogue's dims at that place, but for the last
  std::vector<TensorMapPayload> maps;
  std::vector<Expr> map_sizes;
};

TileOperands operands_of(const TiledProduct& product, const LoopRequest& request,
                         const KernelScope& scope, const TileShape& shape);
TileOperands operands_of(const ConvolutionContraction& convolution, const LoopRequest& request,
                         const KernelScope& scope, const TileShape& shape);

}  // namespace stator::cuda
