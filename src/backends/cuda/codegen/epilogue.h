// SPDX-License-Identifier: Apache-2.0
//
// Epilogues of contractions: which of them the libraries can do themselves, and the kernel that
// does the others on the product's result in memory.
#pragma once

#include <optional>
#include <string>

#include "region/region.h"

namespace stator::cuda {

/// alpha * acc [+ bias along the last dim] [+ residual at the store's place] [activation], stored
/// dense with the last dim fastest.
struct LibraryEpilogue {
  DType out = DType::kFloat32;  // of the store and the residual: the product's type, or float32
  double alpha = 1;
  int bias = -1, residual = -1;  // buffers; the bias has the product's type
  std::optional<UnaryOp> activation;
  Expr store_index;
};

/// nullopt when the epilogue is something else. `dtype`: of the product's operands.
std::optional<LibraryEpilogue> match_epilogue(const RegionGraph& graph, const Region& region,
                                              const LoopProgram& epilogue, DType dtype);

/// The epilogue as a loop of its own: the accumulator is read from buffer `from`, which holds it
/// dense over the dims, but with rows of `row_length`.
LoopProgram as_loop(const LoopProgram& epilogue, int32_t from, DType dtype, const Expr& row_length);

/// The whole contraction as one loop with reduction dims: any strides, any type; slow.
LoopProgram as_loop(const MatmulContraction& matmul);
LoopProgram as_loop(const ConvolutionContraction& convolution);

}  // namespace stator::cuda
