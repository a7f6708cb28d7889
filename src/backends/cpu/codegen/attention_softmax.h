// SPDX-License-Identifier: Apache-2.0
//
// The online softmax of turned scores: rows are kv positions, columns q rows, so that maxima and
// sums over kv positions are vectors over q rows.
#pragma once

#include "backends/cpu/codegen/gemm_host.h"

namespace stator::cpu {

/// maxima = the least finite number, sums = 0.
void start_statistics(llvm::IRBuilder<>& builder, int lanes, int vectors, llvm::Value* maxima,
                      llvm::Value* sums);

/// One block of scores, dense [rows][vectors * lanes].
struct SoftmaxBlock {
  int lanes = 16, vectors = 4;
  llvm::Value* scores = nullptr;
  llvm::Value* rows = nullptr;
  double scale = 1;
  llvm::Value* added = nullptr;          // [rows][vectors * lanes], added to the scaled scores
  llvm::Value* added_per_row = nullptr;  // [rows]
  llvm::Value* first_row = nullptr;      // causal: row first_row + r counts for column
  llvm::Value* first_column = nullptr;   // first_column + c only where it is not greater
  llvm::Value *maxima = nullptr, *sums = nullptr;  // running, [vectors * lanes]
  llvm::Value* factors = nullptr;  // out: what earlier results are to be multiplied with
};
/// scores become exp(scale * scores + added - maxima); maxima and sums move on.
void emit_softmax_block(llvm::IRBuilder<>& builder, const SoftmaxBlock& block);

/// Rows of a mask as numbers to add, to[r * to_row_bytes] [column]: bool true gives 0, false
/// -infinity; floats are copied.
struct MaskRows {
  llvm::Value* from;
  llvm::Value *row_stride, *column_stride;  // bytes
  bool boolean;
  llvm::Value *rows, *columns;
  llvm::Value* to;
  int64_t to_row_bytes;
};
void emit_mask_rows(llvm::IRBuilder<>& builder, int lanes, const MaskRows& mask);

}  // namespace stator::cpu
