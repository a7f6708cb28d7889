// SPDX-License-Identifier: Apache-2.0
//
// Writes a LoopProgram by asking for values: get(tensor, index) gives the op that computes one
// element, and on its way folds views into the index and computes what is not in memory.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "optimizer/fusion/decide.h"

namespace stator {

class LoopBuilder {
 public:
  LoopBuilder(const Network& network, const FusionPlan& plan) : network_(network), plan_(plan) {
    bounds_ = network.bounds;
  }

  LoopProgram& program() { return program_; }
  const Bounds& bounds() const { return bounds_; }
  /// Adds a dim and gives its index.
  Expr add_dim(const Expr& extent, bool reduction);
  /// The element of a tensor at an index. `guard`: a bool op under which it is read, or kNoOp.
  OpId get(TensorId id, const Index& index, OpId guard = kNoOp);
  /// The same for the result of the region's own layer, which is not in memory yet.
  OpId compute(TensorId id, const Index& index, OpId guard = kNoOp);
  /// Says that reading `id` gives `value` (a contraction's accumulator), when read at `index`; at
  /// another index the program is not valid.
  void define(TensorId id, Index index, OpId value);
  /// Why the program is not valid; empty when it is.
  const std::string& problem() const { return problem_; }

  OpId add(LoopOp op);
  OpId constant(Scalar value, DType dtype);
  OpId unary(UnaryOp op, OpId a);
  OpId elementwise(ElementwiseOp op, OpId a, OpId b);
  OpId select(OpId c, OpId a, OpId b);
  OpId cast(OpId a, DType to);
  OpId reduce(ReduceOp op, OpId a);
  OpId index(const Expr& e);
  /// The value of an op as a part of indices: a symbol, of which 0 <= value < limit is known. What
  /// is read there has the op among its indirect ones.
  Expr place(OpId op, const Expr& limit);
  /// least <= e < limit, as a bool op; kNoOp when both are proved.
  OpId within(const Expr& e, const Expr& least, const Expr& limit);
  OpId both(OpId a, OpId b);  // kNoOp is true
  DType dtype(OpId op) const { return program_.ops[static_cast<size_t>(op)].dtype; }

  /// A buffer for an input tensor; the same tensor has one.
  int32_t input(TensorId id);
  const std::vector<TensorId>& inputs() const { return inputs_; }
  /// Stores to the region's output number `output`; buffers are numbered in finish().
  void store(int32_t output, Expr index, OpId value);
  /// Numbers the outputs behind the inputs and merges dims that always run together.
  void finish(bool may_merge_dims);

 private:
  OpId read(TensorId id, const Index& index, OpId guard);
  OpId compute_layer(const NetworkLayer& layer, const Index& index, OpId guard);
  OpId divisor(ElementwiseOp op, OpId x, OpId guard);
  OpId check(OpId value, OpId result, const Expr& limit, const FaultSite& site, OpId guard);
  bool is_within(TensorId indices, const Expr& limit) const;
  Expr checked_place(TensorId indices, const Index& at, const Expr& limit, const FaultSite& site,
                     OpId guard);
  OpId gather(const NetworkLayer& layer, const Index& index, OpId guard);
  Index gathered_index(const NetworkLayer& layer, const Index& index, OpId guard);
  OpId evaluate(const Expr& e);
  bool depends_on(OpId value, OpId place) const;
  OpId concat(const NetworkLayer& layer, const Index& index, OpId guard);
  OpId pad(const NetworkLayer& layer, const Index& index, OpId guard);
  OpId slice_scatter(const NetworkLayer& layer, const Index& index, OpId guard);
  OpId power(OpId x, float exponent);
  Index broadcast(TensorId id, const Index& index) const;

  const Network& network_;
  const FusionPlan& plan_;
  Bounds bounds_;
  LoopProgram program_;
  std::vector<TensorId> inputs_;
  std::map<std::string, OpId> shared_;  // equal ops are one
  std::map<TensorId, std::pair<Index, OpId>> defined_;
  /// What compute() gave, so that a value that a formula reads several times is followed once.
  struct Computed {
    Index index;
    OpId guard, value;
  };
  std::map<TensorId, std::vector<Computed>> computed_;
  /// Places that may be out of range, of the gathers in hand.
  struct Checked {
    OpId place;
    Expr limit;
    FaultSite site;
  };
  std::vector<Checked> checked_;
  std::string problem_;
};

}  // namespace stator
