// SPDX-License-Identifier: Apache-2.0
//
// The run-time half of symbolic sizes: a flat program that computes a table of int64 from the
// symbols. Built once by the builder, stored in the engine file, run by the runtime without
// allocation.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "stator/expr.h"

namespace stator {

/// From kFunction on: kFunction + k is the k-th SizeFunction.
enum class SizeOp : uint8_t {
  kConstant,
  kSymbol,
  kAdd,
  kSub,
  kMul,
  kFloorDiv,
  kMod,
  kMin,
  kMax,
  kFunction
};
inline constexpr int kSizeOpCount = static_cast<int>(SizeOp::kFunction) + kSizeFunctionCount;

/// slot[i] is the result of instruction i: kConstant → a; kSymbol → value of symbols[a]; else
/// op(slot[a], slot[b]); of a function of one operand b is a. Doubles stand as their bits.
struct SizeInstruction {
  SizeOp op;
  int64_t a;
  int64_t b;
};

inline bool is_function(SizeOp op) { return op >= SizeOp::kFunction; }
inline SizeFunction function_of(SizeOp op) {
  return static_cast<SizeFunction>(static_cast<int>(op) - static_cast<int>(SizeOp::kFunction));
}

/// A slot of the table. Every size, offset and task count of a plan is one.
using SizeSlot = int32_t;

struct SizeProgram {
  std::vector<std::string> symbols;  // in the order in which run() takes their values
  std::vector<SizeInstruction> instructions;

  /// The slot that computes `e`; equal expressions share one. `e`'s symbols must be in `symbols`.
  SizeSlot add(const Expr& e);
  /// Fills table[0 .. instructions.size()) . False on overflow or division by zero.
  bool run(const int64_t* symbol_values, int64_t* table) const;

 private:
  std::map<Expr, SizeSlot> slots_;
};

}  // namespace stator
