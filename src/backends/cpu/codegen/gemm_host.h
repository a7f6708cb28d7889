// SPDX-License-Identifier: Apache-2.0
//
// What the emitters of contraction kernels need of the kernel around them: the function being
// built, its buffers and sizes, and a way to emit the epilogue at a point. And the few ways of
// writing loops that they share.
#pragma once

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Module.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "stator/expr.h"

namespace stator::cpu {

/// Width and number of the vector registers that the code may use.
struct VectorUnit {
  int lanes = 16;  // floats
  int registers = 32;
  bool byte_products = false;  // sums of four products of u8 and i8 in one instruction
};

/// `lanes` neighbouring points of a contraction's result along its last dim.
struct EpiloguePoint {
  std::vector<llvm::Value*> index;  // i64, one a dim of the epilogue; the last is the first point's
  llvm::Value* accumulator = nullptr;  // <lanes x T>, or T when lanes is 0
  llvm::Value* mask = nullptr;         // <lanes x i1>; null: all points are there
  int lanes = 0;                       // 0: one point, scalar
};

/// The kernel under construction. The builder stands in a block that every later one is dominated
/// by; sizes asked for before the task loop are computed once.
struct KernelHost {
  llvm::Module& module;
  llvm::Function* function;
  llvm::IRBuilder<>& builder;
  VectorUnit unit;
  llvm::Value* task_begin;
  llvm::Value* task_end;
  llvm::Value* scratch;
  std::function<llvm::Value*(int32_t)> buffer;    // address of buffer k
  std::function<llvm::Value*(const Expr&)> size;  // i64 over the region's symbols
  std::function<void(const EpiloguePoint&)> epilogue;
};

/// Integer arithmetic and loops, written short.
class Emit {
 public:
  explicit Emit(llvm::IRBuilder<>& builder) : builder(builder) {}
  using Value = llvm::Value;

  Value* num(int64_t v) { return builder.getInt64(static_cast<uint64_t>(v)); }
  Value* add(Value* a, Value* b) { return builder.CreateAdd(a, b); }
  Value* sub(Value* a, Value* b) { return builder.CreateSub(a, b); }
  Value* mul(Value* a, Value* b) { return builder.CreateMul(a, b); }
  Value* mul(Value* a, int64_t b) { return builder.CreateMul(a, num(b)); }
  Value* div(Value* a, Value* b) { return builder.CreateUDiv(a, b); }  // of non-negative numbers
  Value* rem(Value* a, Value* b) { return builder.CreateURem(a, b); }
  Value* ceil_div(Value* a, int64_t b) { return div(add(a, num(b - 1)), num(b)); }
  Value* min(Value* a, Value* b) {
    return builder.CreateBinaryIntrinsic(llvm::Intrinsic::smin, a, b);
  }
  Value* max(Value* a, Value* b) {
    return builder.CreateBinaryIntrinsic(llvm::Intrinsic::smax, a, b);
  }
  Value* less(Value* a, Value* b) { return builder.CreateICmpSLT(a, b); }
  Value* address(Value* base, Value* bytes) {
    return builder.CreateGEP(builder.getInt8Ty(), base, bytes);
  }
  Value* address(Value* base, int64_t bytes) { return address(base, num(bytes)); }

  /// for (i = begin; i < end; i += step) body(i)
  void loop(Value* begin, Value* end, int64_t step, const std::function<void(Value*)>& body);
  /// if (condition) body()
  void when(Value* condition, const std::function<void()>& body, bool unlikely = false);
  /// <lanes x i1>: lane k is set when k < count.
  Value* lane_mask(int lanes, Value* count);
  llvm::FixedVectorType* floats(int lanes);
  llvm::FixedVectorType* words(int lanes);  // i32

  llvm::IRBuilder<>& builder;
};

}  // namespace stator::cpu
