// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/gemm_microkernel.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/InlineAsm.h>
#include <llvm/IR/IntrinsicsX86.h>
#include <llvm/IR/Module.h>

#include <algorithm>
#include <string>

#include "base/check.h"

namespace stator::cpu {
namespace {

/// Rows of A that share one moving pointer: x86 reaches p, p + s and p + 2s without another
/// register, and a pointer for every row would spill.
constexpr int kRowsPerPointer = 3;

/// k steps that run side by side on accumulators of their own: few accumulators cannot hide the
/// latency of a multiply-add (4 cycles, 2 a cycle).
int independent_steps(const TileShape& shape) {
  int accumulators = shape.rows * shape.vectors;
  if (accumulators >= 8) return 1;
  return accumulators >= 4 ? 2 : 4;
}

/// Columns of A an iteration takes: two hide the loop's own instructions.
int unrolled_steps(const TileShape& shape) { return std::max(2, independent_steps(shape)); }

class TileEmitter {
 public:
  TileEmitter(llvm::Module& module, const TileShape& shape, llvm::Function* function)
      : shape_(shape),
        function_(function),
        builder_(module.getContext()),
        scalar_(shape.bytes ? llvm::Type::getInt32Ty(module.getContext())
                            : llvm::Type::getFloatTy(module.getContext())),
        vector_(llvm::FixedVectorType::get(scalar_, static_cast<unsigned>(shape.lanes))),
        steps_side_by_side_(independent_steps(shape)),
        unroll_(unrolled_steps(shape)) {}

  void emit() {
    auto* entry = block("entry");
    auto* step = block("step");
    auto* done = block("done");
    builder_.SetInsertPoint(entry);
    auto* load = block("load_c");
    auto* start = block("start");
    builder_.CreateCondBr(argument(7), load, start);
    builder_.SetInsertPoint(load);
    std::vector<llvm::Value*> loaded = load_c();
    builder_.CreateBr(start);
    builder_.SetInsertPoint(start);
    std::vector<llvm::Value*> first = merge(entry, load, loaded);
    auto* nothing = builder_.CreateOr(builder_.CreateICmpSLE(argument(3), int64(0)),
                                      builder_.CreateICmpSLE(argument(4), int64(0)));
    builder_.CreateCondBr(nothing, done, step);
    emit_steps(step, done, start, first);
    function_->insert(function_->end(), done);
    store_c();
  }

 private:
  using Values = std::vector<llvm::Value*>;

  llvm::BasicBlock* block(const char* name) {
    bool last = std::string(name) == "done";
    return llvm::BasicBlock::Create(builder_.getContext(), name, last ? nullptr : function_);
  }
  llvm::Value* argument(unsigned k) { return function_->getArg(k); }
  llvm::Value* int64(int64_t v) { return builder_.getInt64(static_cast<uint64_t>(v)); }
  llvm::Value* zero() { return llvm::Constant::getNullValue(vector_); }
  llvm::Value* byte_offset(llvm::Value* pointer, llvm::Value* bytes) {
    return builder_.CreateGEP(builder_.getInt8Ty(), pointer, bytes);
  }
  llvm::Value* c_address(int row, int v) {
    return byte_offset(argument(6), int64(4 * (row * shape_.columns() + v * shape_.lanes)));
  }

  Values load_c() {
    Values values;
    for (int r = 0; r < shape_.rows; ++r)
      for (int v = 0; v < shape_.vectors; ++v)
        values.push_back(
            builder_.CreateAlignedLoad(vector_, c_address(r, v), llvm::Align(shape_.lanes * 4)));
    return values;
  }

  /// The accumulators at the start: zero, or what C holds; the side-by-side ones always zero.
  Values merge(llvm::BasicBlock* entry, llvm::BasicBlock* load, const Values& loaded) {
    Values values;
    for (llvm::Value* value : loaded) {
      auto* phi = builder_.CreatePHI(vector_, 2);
      phi->addIncoming(zero(), entry);
      phi->addIncoming(value, load);
      values.push_back(phi);
    }
    values.resize(loaded.size() * static_cast<size_t>(steps_side_by_side_), zero());
    return values;
  }

  /// for each step: pointers from offsets[step]; k in groups that run side by side, then singly.
  void emit_steps(llvm::BasicBlock* step, llvm::BasicBlock* done, llvm::BasicBlock* start,
                  const Values& first) {
    builder_.SetInsertPoint(step);
    auto* index = builder_.CreatePHI(builder_.getInt64Ty(), 2);
    auto* b = builder_.CreatePHI(builder_.getPtrTy(), 2);
    index->addIncoming(int64(0), start);
    b->addIncoming(argument(5), start);
    auto* ahead = builder_.CreatePHI(builder_.getPtrTy(), 2);
    ahead->addIncoming(argument(8), start);
    std::vector<llvm::PHINode*> accumulators = phis(first, start);
    auto* offset = builder_.CreateLoad(
        builder_.getInt64Ty(), builder_.CreateGEP(builder_.getInt64Ty(), argument(2), index));
    State state{group_pointers(byte_offset(argument(0), offset)), b,
                Values(accumulators.begin(), accumulators.end()), ahead};
    state = emit_k_loop(state, builder_.CreateUDiv(argument(4), int64(unroll_)), unroll_);
    state = emit_k_loop(state, builder_.CreateURem(argument(4), int64(unroll_)), 1);
    auto* next = builder_.CreateAdd(index, int64(1));
    auto* latch = builder_.GetInsertBlock();
    builder_.CreateCondBr(builder_.CreateICmpSLT(next, argument(3)), step, done);
    index->addIncoming(next, latch);
    b->addIncoming(state.b, latch);
    ahead->addIncoming(state.ahead, latch);
    for (size_t i = 0; i < accumulators.size(); ++i)
      accumulators[i]->addIncoming(state.accumulators[i], latch);
    builder_.SetInsertPoint(done);
    for (size_t i = 0; i < first.size(); ++i) {
      auto* phi = builder_.CreatePHI(vector_, 2);
      phi->addIncoming(first[i], start);
      phi->addIncoming(state.accumulators[i], latch);
      result_.push_back(phi);
    }
  }

  struct State {
    Values a;  // one pointer for each group of rows
    llvm::Value* b;
    Values accumulators;
    llvm::Value* ahead;
  };

  std::vector<llvm::PHINode*> phis(const Values& values, llvm::BasicBlock* from) {
    std::vector<llvm::PHINode*> result;
    for (llvm::Value* value : values) {
      result.push_back(builder_.CreatePHI(value->getType(), 2));
      result.back()->addIncoming(value, from);
    }
    return result;
  }

  /// for (count times) { `unroll` columns of A times rows of B }; the state after it.
  State emit_k_loop(const State& in, llvm::Value* count, int unroll) {
    auto* before = builder_.GetInsertBlock();
    auto* loop = block("k");
    auto* after = block("k_done");
    builder_.CreateCondBr(builder_.CreateICmpSGT(count, int64(0)), loop, after);
    builder_.SetInsertPoint(loop);
    auto* left = builder_.CreatePHI(builder_.getInt64Ty(), 2);
    left->addIncoming(count, before);
    std::vector<llvm::PHINode*> a = phis(in.a, before);
    auto* b = builder_.CreatePHI(builder_.getPtrTy(), 2);
    b->addIncoming(in.b, before);
    auto* ahead = builder_.CreatePHI(builder_.getPtrTy(), 2);
    ahead->addIncoming(in.ahead, before);
    std::vector<llvm::PHINode*> accumulators = phis(in.accumulators, before);
    Values next(accumulators.begin(), accumulators.end());
    Values groups;
    for (llvm::PHINode* pointer : a) groups.push_back(opaque(pointer));
    Values rows = row_pointers(groups);
    for (int u = 0; u < unroll; ++u) {
      if (u > 0) keep_loads_below();
      emit_k(rows, b, u, next);
    }
    Values next_a;
    for (llvm::Value* pointer : groups) next_a.push_back(byte_offset(pointer, a_advance(unroll)));
    auto* next_b = byte_offset(b, b_advance(unroll));
    auto* next_ahead = unroll > 1 ? fetch_ahead(ahead, unroll) : ahead;
    auto* next_left = builder_.CreateSub(left, int64(1));
    left->addIncoming(next_left, loop);
    for (size_t i = 0; i < a.size(); ++i) a[i]->addIncoming(next_a[i], loop);
    b->addIncoming(next_b, loop);
    ahead->addIncoming(next_ahead, loop);
    for (size_t i = 0; i < next.size(); ++i) accumulators[i]->addIncoming(next[i], loop);
    builder_.CreateCondBr(builder_.CreateICmpNE(next_left, int64(0)), loop, after);
    return leave_loop(in, before, loop, after, {next_a, next_b, next, next_ahead});
  }

  State leave_loop(const State& in, llvm::BasicBlock* before, llvm::BasicBlock* loop,
                   llvm::BasicBlock* after, const State& out) {
    builder_.SetInsertPoint(after);
    auto join = [&](llvm::Value* x, llvm::Value* y) {
      auto* phi = builder_.CreatePHI(x->getType(), 2);
      phi->addIncoming(x, before);
      phi->addIncoming(y, loop);
      return phi;
    };
    State state{{}, join(in.b, out.b), {}, join(in.ahead, out.ahead)};
    for (size_t i = 0; i < in.a.size(); ++i) state.a.push_back(join(in.a[i], out.a[i]));
    for (size_t i = 0; i < in.accumulators.size(); ++i)
      state.accumulators.push_back(join(in.accumulators[i], out.accumulators[i]));
    return state;
  }

  /// Bytes that A and B move for `steps` elements of k.
  llvm::Value* a_advance(int steps) {
    return shape_.a_by_columns ? builder_.CreateMul(argument(1), int64(steps)) : int64(4 * steps);
  }
  llvm::Value* b_advance(int steps) {
    return shape_.b_strided ? builder_.CreateMul(argument(9), int64(steps))
                            : int64(4 * steps * shape_.columns());
  }

  /// A moving pointer for every kRowsPerPointer rows.
  Values group_pointers(llvm::Value* a) {
    auto* step = builder_.CreateMul(argument(1), int64(kRowsPerPointer));
    Values groups;
    for (int r = 0; r < (shape_.a_by_columns ? 1 : shape_.rows); r += kRowsPerPointer) {
      if (r > 0) a = byte_offset(a, step);
      groups.push_back(a);
    }
    return groups;
  }

  /// A line into the second-level cache for every two columns of A.
  llvm::Value* fetch_ahead(llvm::Value* ahead, int unroll) {
    for (int u = 0; u < unroll; u += 2)
      builder_.CreateIntrinsic(llvm::Intrinsic::prefetch, {builder_.getPtrTy()},
                               {byte_offset(ahead, int64(32 * u)), builder_.getInt32(0),
                                builder_.getInt32(2), builder_.getInt32(1)});
    return byte_offset(ahead, int64(32 * unroll));
  }

  /// Hides from strength reduction that the pointers move alike: it would fold them into one, with
  /// a chain of additions that takes the multiply-adds' ports, or into one for each row, which
  /// spill.
  llvm::Value* opaque(llvm::Value* pointer) {
    auto* type = llvm::FunctionType::get(pointer->getType(), {pointer->getType()}, false);
    return builder_.CreateCall(llvm::InlineAsm::get(type, "", "=r,0", /*hasSideEffects=*/false),
                               {pointer});
  }

  /// Keeps the scheduler from loading B's next row while all registers are taken.
  void keep_loads_below() {
    auto* type = llvm::FunctionType::get(builder_.getVoidTy(), false);
    builder_.CreateCall(llvm::InlineAsm::get(type, "", "~{memory}", /*hasSideEffects=*/true));
  }

  Values row_pointers(const Values& groups) {
    auto* stride = argument(1);
    auto* twice = builder_.CreateShl(stride, int64(1));
    Values rows;
    for (int r = 0; r < shape_.rows; ++r) {
      if (shape_.a_by_columns) {
        rows.push_back(byte_offset(groups[0], int64(4 * r)));
        continue;
      }
      llvm::Value* base = groups[static_cast<size_t>(r / kRowsPerPointer)];
      int within = r % kRowsPerPointer;
      rows.push_back(within == 0 ? base : byte_offset(base, within == 1 ? stride : twice));
    }
    return rows;
  }

  void emit_k(const Values& rows, llvm::Value* b, int u, Values& accumulators) {
    Values columns;
    for (int v = 0; v < shape_.vectors; ++v) {
      auto* address = byte_offset(byte_offset(b, b_advance(u)), int64(4 * v * shape_.lanes));
      columns.push_back(builder_.CreateAlignedLoad(
          vector_, address, llvm::Align(shape_.b_strided ? 4 : shape_.lanes * 4)));
    }
    size_t set = static_cast<size_t>((u % steps_side_by_side_) * shape_.rows * shape_.vectors);
    for (int r = 0; r < shape_.rows; ++r) {
      auto* address = byte_offset(rows[static_cast<size_t>(r)], a_advance(u));
      auto* scalar =
          builder_.CreateAlignedLoad(scalar_, address, llvm::Align(shape_.bytes ? 1 : 4));
      auto* a = builder_.CreateVectorSplat(static_cast<unsigned>(shape_.lanes), scalar);
      for (int v = 0; v < shape_.vectors; ++v) {
        llvm::Value*& c = accumulators[set + static_cast<size_t>(r * shape_.vectors + v)];
        c = multiply_add(a, columns[static_cast<size_t>(v)], c);
      }
    }
  }

  llvm::Value* multiply_add(llvm::Value* a, llvm::Value* b, llvm::Value* c) {
    if (!shape_.bytes) {
      return builder_.CreateIntrinsic(vector_, llvm::Intrinsic::fmuladd, {a, b, c});
    }
    STATOR_CHECK(shape_.lanes == 16 || shape_.lanes == 8, "sums of bytes take 8 or 16 lanes");
    const auto name = shape_.lanes == 16 ? llvm::Intrinsic::x86_avx512_vpdpbusd_512
                                         : llvm::Intrinsic::x86_avx512_vpdpbusd_256;
    return builder_.CreateIntrinsic(name, {}, {c, a, b});
  }

  void store_c() {
    size_t tile = static_cast<size_t>(shape_.rows * shape_.vectors);
    for (size_t i = 0; i < tile; ++i) {
      llvm::Value* value = result_[i];
      for (size_t s = tile; s < result_.size(); s += tile)
        value = shape_.bytes ? builder_.CreateAdd(value, result_[s + i])
                             : builder_.CreateFAdd(value, result_[s + i]);
      int row = static_cast<int>(i) / shape_.vectors, v = static_cast<int>(i) % shape_.vectors;
      builder_.CreateAlignedStore(value, c_address(row, v), llvm::Align(shape_.lanes * 4));
    }
    builder_.CreateRetVoid();
  }

  TileShape shape_;
  llvm::Function* function_;
  llvm::IRBuilder<> builder_;
  llvm::Type* scalar_;
  llvm::FixedVectorType* vector_;
  int steps_side_by_side_;
  int unroll_;
  Values result_;
};

llvm::FunctionType* tile_type(llvm::LLVMContext& context, bool with_rows) {
  auto* i64 = llvm::Type::getInt64Ty(context);
  auto* pointer = llvm::PointerType::get(context, 0);
  std::vector<llvm::Type*> types = {pointer, i64,     pointer, i64,
                                    i64,     pointer, pointer, llvm::Type::getInt1Ty(context),
                                    pointer, i64};
  if (with_rows) types.insert(types.begin(), i64);
  return llvm::FunctionType::get(llvm::Type::getVoidTy(context), types, false);
}

llvm::Function* declare_internal(llvm::Module& module, const std::string& name, bool with_rows) {
  auto* function = llvm::Function::Create(tile_type(module.getContext(), with_rows),
                                          llvm::GlobalValue::InternalLinkage, name, module);
  function->addFnAttr(llvm::Attribute::NoInline);
  function->addFnAttr(llvm::Attribute::NoUnwind);
  function->addFnAttr("prefer-vector-width", "512");
  function->addFnAttr("no-builtins");
  return function;
}

std::string tile_name(const char* prefix, const TileShape& shape) {
  return prefix + std::to_string(shape.rows) + "x" + std::to_string(shape.vectors) + "x" +
         std::to_string(shape.lanes) + (shape.a_by_columns ? "c" : "") +
         (shape.b_strided ? "s" : "") + (shape.bytes ? "b" : "");
}

}  // namespace

llvm::Function* tile_function(llvm::Module& module, const TileShape& shape) {
  STATOR_CHECK(shape.rows > 0 && shape.vectors > 0 && shape.lanes > 0, "empty register tile");
  std::string name = tile_name("gemm_tile_", shape);
  if (llvm::Function* existing = module.getFunction(name)) return existing;
  llvm::Function* function = declare_internal(module, name, false);
  // What A and B hold is never what the tile of C holds: the loads of B need not wait.
  for (unsigned k : {0u, 2u, 5u, 6u}) function->addParamAttr(k, llvm::Attribute::NoAlias);
  TileEmitter(module, shape, function).emit();
  return function;
}

int greatest_rows(int vectors, int registers) { return (registers - vectors - 1) / vectors; }

llvm::Function* tile_switch(llvm::Module& module, const TileShape& most,
                            const std::vector<int>& wanted) {
  std::string name = tile_name("gemm_tiles_", most);
  std::vector<int> counts = wanted;
  if (counts.empty())
    for (int r = 1; r <= most.rows; ++r) counts.push_back(r);
  for (int rows : counts) name += "_" + std::to_string(rows);
  if (llvm::Function* existing = module.getFunction(name)) return existing;
  llvm::Function* function = declare_internal(module, name, true);
  llvm::IRBuilder<> builder(llvm::BasicBlock::Create(module.getContext(), "entry", function));
  auto* done = llvm::BasicBlock::Create(module.getContext(), "done", function);
  auto* chosen = builder.CreateSwitch(function->getArg(0), done);
  for (int rows : counts) {
    auto* block = llvm::BasicBlock::Create(module.getContext(), "rows", function);
    chosen->addCase(builder.getInt64(static_cast<uint64_t>(rows)), block);
    builder.SetInsertPoint(block);
    std::vector<llvm::Value*> arguments;
    for (unsigned k = 1; k < function->arg_size(); ++k) arguments.push_back(function->getArg(k));
    TileShape shape = most;
    shape.rows = rows;
    builder.CreateCall(tile_function(module, shape), arguments)->setTailCall();
    builder.CreateBr(done);
  }
  builder.SetInsertPoint(done);
  builder.CreateRetVoid();
  return function;
}

}  // namespace stator::cpu
