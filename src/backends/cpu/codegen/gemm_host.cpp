// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/gemm_host.h"

#include <llvm/IR/MDBuilder.h>

#include <numeric>

namespace stator::cpu {

void Emit::loop(Value* begin, Value* end, int64_t step, const std::function<void(Value*)>& body) {
  llvm::Function* function = builder.GetInsertBlock()->getParent();
  auto* before = builder.GetInsertBlock();
  auto* head = llvm::BasicBlock::Create(builder.getContext(), "loop", function);
  auto* after = llvm::BasicBlock::Create(builder.getContext(), "loop_end");
  builder.CreateCondBr(less(begin, end), head, after);
  builder.SetInsertPoint(head);
  auto* index = builder.CreatePHI(builder.getInt64Ty(), 2);
  index->addIncoming(begin, before);
  body(index);
  Value* next = builder.CreateNSWAdd(index, num(step));
  index->addIncoming(next, builder.GetInsertBlock());
  builder.CreateCondBr(less(next, end), head, after);
  function->insert(function->end(), after);
  builder.SetInsertPoint(after);
}

void Emit::when(Value* condition, const std::function<void()>& body, bool unlikely) {
  llvm::Function* function = builder.GetInsertBlock()->getParent();
  auto* then = llvm::BasicBlock::Create(builder.getContext(), "then", function);
  auto* after = llvm::BasicBlock::Create(builder.getContext(), "after");
  llvm::MDNode* weights =
      unlikely ? llvm::MDBuilder(builder.getContext()).createUnlikelyBranchWeights() : nullptr;
  builder.CreateCondBr(condition, then, after, weights);
  builder.SetInsertPoint(then);
  body();
  builder.CreateBr(after);
  function->insert(function->end(), after);
  builder.SetInsertPoint(after);
}

Emit::Value* Emit::lane_mask(int lanes, Value* count) {
  std::vector<uint32_t> positions(static_cast<size_t>(lanes));
  std::iota(positions.begin(), positions.end(), 0U);
  Value* limit = builder.CreateTrunc(max(num(0), min(count, num(lanes))), builder.getInt32Ty());
  return builder.CreateICmpULT(llvm::ConstantDataVector::get(builder.getContext(), positions),
                               builder.CreateVectorSplat(static_cast<unsigned>(lanes), limit));
}

llvm::FixedVectorType* Emit::floats(int lanes) {
  return llvm::FixedVectorType::get(builder.getFloatTy(), static_cast<unsigned>(lanes));
}
llvm::FixedVectorType* Emit::words(int lanes) {
  return llvm::FixedVectorType::get(builder.getInt32Ty(), static_cast<unsigned>(lanes));
}

}  // namespace stator::cpu
