// SPDX-License-Identifier: Apache-2.0
//
// Kernels for matrix products. A task is a block of rows times a block of columns of one batch
// element; it walks k in blocks, panels of B, tiles of rows, and runs the epilogue on each finished
// tile while the tile is in the first-level cache.
#pragma once

#include "backend/compiler.h"
#include "backends/cpu/codegen/gemm_host.h"
#include "backends/cpu/codegen/gemm_tactic.h"
#include "backends/cpu/codegen/packing_recipe.h"

namespace stator::cpu {

/// The panels of a constant B; nullopt when its view has a size or stride that is not constant.
std::optional<PanelRecipe> gemm_recipe(const MatmulContraction& matmul, int columns);

/// Tasks, scratch and packed inputs (`sizes` is left to the caller, who knows how the host reads
/// them). f32 only.
KernelLaunch gemm_launch(const MatmulContraction& matmul, const GemmTactic& tactic);

/// Emits the task loop at the host's builder. f32 only.
void emit_gemm(KernelHost& host, const MatmulContraction& matmul, const GemmTactic& tactic);

/// Where a tile of C lies in the result.
struct TileSite {
  std::vector<llvm::Value*> index;  // of the epilogue's dims; the last two are filled in
  llvm::Value* row;                 // of the tile's first row
  llvm::Value* column;              // of the tile's first column
  llvm::Value* columns;             // extent of the last dim
  Expr column_extent;               // the same, to see whether masks are needed
};
/// Runs the epilogue over the first `rows` rows of a finished tile.
void emit_tile_epilogue(KernelHost& host, llvm::Value* c, const TileShape& shape, llvm::Value* rows,
                        const TileSite& site);

/// Any dtype, any strides, nothing packed: a task is a row. Slow; for f64, integers and the like.
KernelLaunch plain_matmul_launch(const MatmulContraction& matmul);
void emit_plain_matmul(KernelHost& host, const MatmulContraction& matmul);

}  // namespace stator::cpu
