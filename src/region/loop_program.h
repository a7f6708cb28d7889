// SPDX-License-Identifier: Apache-2.0
//
// LoopProgram: what one loop kernel computes, as a small expression form over an iteration space.
// Printed as LLVM IR by the CPU backend and as CUDA C++ by the other.
//
// The iteration space is a list of dims: the outer ones run over the result's elements and may run
// in parallel, the reduction dims (all at the end; maybe none) are folded by kReduce. The ops are
// in SSA order. An op that depends on a reduction index, and not only through a kReduce, is an
// inner value (one for each point of the whole space); every other op is an outer value (one for
// each point of the outer dims). A program with several kReduce in a chain therefore means several
// passes over a row (softmax: max, then sum of exp, then the quotient); how often a row is read
// again, and whether it is cached, is the backend's choice.
//
// Index maps: element offsets are Expr over the dims' index symbols ("$0", "$1", …:
// `index_symbol(k)`) and the size symbols of the plan. Views (slice, transpose, broadcast, reshape,
// flip) are only such maps. Concatenation and padding are loads under a guard and a select. Gathers
// add a loaded index.
//
// Buffers are numbered as the region numbers them: its inputs first, then its outputs.
//
// Example, layer_norm over [r, c] without scale and bias:
//   dims $0 < s0, $1 < 768 reduction
//   %0 = load f32 b0[768*$0 + $1]
//   %1 = reduce sum %0
//   %2 = constant f32 0.00130208
//   %3 = mul %1, %2           # mean: an outer value
//   %4 = sub %0, %3
//   %5 = mul %4, %4
//   %6 = reduce sum %5
//   …
//   store b1[768*$0 + $1] = %9
#pragma once

#include <string>
#include <vector>

#include "layer/fault_site.h"
#include "stator/dtype.h"
#include "stator/expr.h"
#include "stator/layer.h"
#include "stator/result.h"

namespace stator {

using OpId = int32_t;
inline constexpr OpId kNoOp = -1;

/// Name of the index symbol of dim k: "$k".
std::string index_symbol(int k);

struct LoopDim {
  Expr extent;             // over size symbols; may be 0 at run time
  bool reduction = false;  // reduction dims come last
};

enum class LoopOpKind : uint8_t {
  kLoad,  // buffer[index + sum(indirect.op * indirect.stride)]; 0 where `guard` is false (and not
          // read)
  kConstant,     // scalar
  kIndex,        // the value of the Expr `index` as i64
  kUnary,        // a
  kElementwise,  // a, b of one dtype
  kSelect,       // a ? b : c
  kCast,         // a → dtype
  kReduce,      // folds inner value a over the reduction dims; result is an outer value; empty rows
                // give the neutral element (max: -inf or the least integer)
  kCheckIndex,  // a (i64), or b where there is one, if 0 <= a < index; else the run fails with
                // `site` and the result is 0. Where `guard` is false nothing is checked.
  kAccumulator,  // in an epilogue only: the contraction's f32 result at this point
};

struct Indirect {
  OpId op = kNoOp;  // i64
  Expr stride;
};

struct LoopOp {
  LoopOpKind kind = LoopOpKind::kConstant;
  DType dtype = DType::kFloat32;  // of the result
  OpId a = kNoOp, b = kNoOp, c = kNoOp;
  UnaryOp unary = UnaryOp::kNeg;
  ElementwiseOp elementwise = ElementwiseOp::kAdd;
  ReduceOp reduce = ReduceOp::kSum;  // sum, max, min, prod, any, all, argmax, argmin (argmax: flat
                                     // position over the reduction dims, i64)
  Scalar scalar;                     // kConstant
  int32_t buffer = -1;               // kLoad
  Expr index;  // kLoad: element offset; kIndex: value; kCheckIndex: the exclusive limit
  std::vector<Indirect> indirect;  // kLoad
  OpId guard = kNoOp;              // kLoad, kCheckIndex: bool
  FaultSite site;                  // kCheckIndex
};

/// buffer[index + sum(indirect)] = value. An inner value is stored at every point, an outer value
/// once an outer point.
struct LoopStore {
  int32_t buffer = -1;
  Expr index;
  OpId value = kNoOp;
};

struct LoopProgram {
  std::vector<LoopDim> dims;
  std::vector<LoopOp> ops;
  std::vector<LoopStore> stores;

  int outer_rank() const;  // dims before the first reduction dim
  bool has_reduction() const;
  /// For each op: true when it is an inner value.
  std::vector<bool> inner_values() const;
  /// For each op: how many kReduce stand before it on its longest chain (the pass in which it can
  /// be computed).
  std::vector<int> passes() const;
  /// The index symbols with their extents, on top of `sizes`.
  Bounds index_bounds(const Bounds& sizes) const;
};

std::string print_loop_program(const LoopProgram& program);
Result<LoopProgram> parse_loop_program(std::string_view text);
Status verify_loop_program(const LoopProgram& program, int buffer_count);

}  // namespace stator
