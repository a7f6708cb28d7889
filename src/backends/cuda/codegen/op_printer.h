// SPDX-License-Identifier: Apache-2.0
//
// The ops of a LoopProgram as CUDA C++, at one point or at `lanes` neighbouring points of one dim
// (the lane dim), each thread its own. A value that depends on the lane is an array of `lanes`.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "backends/cuda/codegen/source.h"
#include "region/loop_program.h"

namespace stator::cuda {

/// What the ops of one kernel share.
struct KernelScope {
  const LoopProgram* program = nullptr;
  std::vector<DType> buffer_types;
  std::map<std::string, std::string> sizes;  // symbol → C++ name
  std::string index_type;                    // "int" or "i64"
  std::vector<bool> rounded;  // by op: a float that is only read to make a half of it
  Bounds bounds;              // of sizes and indices
};

struct PrintPoint {
  std::vector<std::string> index;  // by dim: a C++ expression (of the first lane, for the lane dim)
  int lane_dim = -1;
  int lanes = 1;
};

/// For KernelScope::rounded.
std::vector<bool> ops_rounded_to_halves(const LoopProgram& program);

bool has_unary(UnaryOp op, DType dtype);
bool has_elementwise(ElementwiseOp op, DType dtype);

class OpPrinter {
 public:
  OpPrinter(const KernelScope& scope, SourceWriter& out, std::string prefix)
      : scope_(scope), out_(out), prefix_(std::move(prefix)) {}

  struct Value {
    std::string name;
    bool by_lane = false;
    std::string at(const std::string& lane) const {
      return by_lane ? name + "[" + lane + "]" : name;
    }
  };
  void set(OpId op, Value value) { values_[op] = std::move(value); }
  /// What an epilogue's accumulators are.
  void set_accumulators(const Value& value);
  void take(const OpPrinter& outer) { values_.insert(outer.values_.begin(), outer.values_.end()); }
  bool knows(OpId op) const { return values_.count(op) != 0; }
  Value get(OpId op, const PrintPoint& point);
  void store(const LoopStore& store, const PrintPoint& point);
  /// A load's elements into an array of `lanes` that is declared already.
  void load_into(const std::string& array, const LoopOp& op, const PrintPoint& point);

  /// An Expr at the point; `lane`: what is added to the lane dim's index, "" for nothing.
  std::string index(const Expr& e, const PrintPoint& point, const std::string& lane) const;

 private:
  Value declare(const LoopOp& op, OpId id, bool by_lane, const PrintPoint& point);
  bool depends_on_lane(const Expr& e, const PrintPoint& point) const;
  bool is_vector_access(const Expr& index, DType dtype, const PrintPoint& point) const;
  std::string address(const LoopOp& op, const PrintPoint& point, const std::string& lane);
  std::string expression(const LoopOp& op, const PrintPoint& point, const std::string& lane);
  std::string operand(OpId op, const std::string& lane);
  std::string unary(UnaryOp op, DType dtype, bool half, const std::string& x) const;
  std::string elementwise(ElementwiseOp op, DType dtype, const std::string& a,
                          const std::string& b) const;
  bool is_clamped(OpId id) const;
  std::string cast(DType from, DType to, const std::string& x) const;
  std::string constant(const Scalar& scalar, DType dtype) const;

  const KernelScope& scope_;
  SourceWriter& out_;
  std::string prefix_;
  std::map<OpId, Value> values_;
};

/// Whether `e` is a multiple of `n` for all values of its symbols, by its terms.
bool is_multiple(const Expr& e, int64_t n);
/// A reduction's C++ functor, and its neutral element as a literal.
const char* fold_name(ReduceOp op);
std::string neutral_literal(ReduceOp op, DType dtype);

}  // namespace stator::cuda
