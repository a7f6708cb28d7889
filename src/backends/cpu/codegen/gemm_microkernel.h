// SPDX-License-Identifier: Apache-2.0
//
// The batch-reduce GEMM microkernel under matmul, convolution and attention: one tile of C, `rows`
// by `vectors * lanes`, kept in registers while k runs.
//
// A is read where it lies: row r of step s, element k is at a + offsets[s] + r * a_stride + 4 * k
// bytes. So a matrix is one step (offsets = {0}), and a convolution is one step for each kernel row
// (the channels of neighbouring pixels are one run). B is packed: panels of `vectors * lanes`
// columns, each panel [k][columns], the steps one after another. C is a dense tile
// [rows][vectors * lanes] in scratch, where the epilogue finds it in the first-level cache.
#pragma once

#include <cstdint>
#include <vector>

namespace llvm {
class Function;
class Module;
}  // namespace llvm

namespace stator::cpu {

/// A register tile: rows x (vectors * lanes) floats. bytes: an element of A is four u8 of
/// neighbouring k, one of B four i8, and one of C the i32 that they are summed in.
struct TileShape {
  int rows = 14;
  int vectors = 2;
  int lanes = 16;
  /// A is given by columns: row r, element k is at a + offsets[step] + 4 * r + k * a_stride bytes.
  bool a_by_columns = false;
  /// A row of B is b_stride bytes after the one before, and aligned as floats are.
  bool b_strided = false;
  bool bytes = false;
  int columns() const { return vectors * lanes; }
};

/// Ends the names of tactics with such tiles of bytes.
inline constexpr const char* kByteTile = " u8";

/// The module's function for this tile; made on first use, internal and never inlined, so that all
/// kernels of a module share it:
///   void tile(ptr a, i64 a_stride, ptr offsets, i64 steps, i64 k, ptr b, ptr c, i1 accumulate,
///             ptr ahead, i64 b_stride)
/// `accumulate`: C starts from what the tile holds, not from zero. k and steps may be 0. From
/// `ahead` on, a cache line is fetched into the second-level cache for every two elements of k (any
/// address will do).
llvm::Function* tile_function(llvm::Module& module, const TileShape& shape);

/// The largest number of rows whose accumulators, one row of B and a broadcast fit the registers.
int greatest_rows(int vectors, int registers);

/// A function that runs tile_function for `rows` in 1 … most_rows, by a switch:
///   void tiles(i64 rows, …)
/// `wanted`: the row counts that can occur (empty: all).
llvm::Function* tile_switch(llvm::Module& module, const TileShape& most,
                            const std::vector<int>& wanted);

}  // namespace stator::cpu
