// SPDX-License-Identifier: Apache-2.0
//
// Copies of blocks of floats into scratch, in the form that the microkernel reads: B into panels,
// A where its own strides do not suit, K and V of attention. Internal functions of the module,
// shared by its kernels. Strides are in bytes.
#pragma once

#include "backends/cpu/codegen/gemm_host.h"

namespace stator::cpu {

/// Emits to[r * to_stride][c] = from[r][c] for r < rows, c < columns, and zero for columns <= c <
/// padded_columns (a multiple of the lanes; `to` has room for it). from's strides are given; a
/// stride of 4 that is known now takes a vector path: along c plainly, along r by transposing
/// square blocks in registers.
struct BlockCopy {
  llvm::Value* to;
  llvm::Value* to_stride;
  llvm::Value* from;
  llvm::Value* row_stride;
  llvm::Value* column_stride;
  llvm::Value* rows;
  llvm::Value* columns;
  llvm::Value* padded_columns;
};
void emit_block_copy(llvm::Module& module, llvm::IRBuilder<>& builder, int lanes,
                     const BlockCopy& copy);

}  // namespace stator::cpu
