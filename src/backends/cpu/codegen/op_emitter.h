// SPDX-License-Identifier: Apache-2.0
//
// The ops of a LoopProgram as IR, at one point or at `lanes` neighbouring points of one dim (the
// lane dim). A value that does not depend on the lane is kept as one scalar.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "backends/cpu/codegen/gemm_host.h"
#include "region/loop_program.h"

namespace stator::cpu {

/// Where ops are computed: the index of each dim (of the first lane, for the lane dim).
struct Point {
  std::vector<llvm::Value*> index;  // i64; null for dims that no op here may use
  int lane_dim = -1;                // -1: one point
  int lanes = 0;
  llvm::Value* mask = nullptr;  // <lanes x i1>; null: all lanes are there
  bool aligned = false;         // the first lane's index is a multiple of the lanes
};

/// LLVM's type of an element in registers: bool is i1.
llvm::Type* register_type(llvm::LLVMContext& context, DType dtype);
/// In memory: bool is i8.
llvm::Type* memory_type(llvm::LLVMContext& context, DType dtype);

class OpEmitter {
 public:
  /// `buffer`, `size`: as in KernelHost. `dtypes`: element types of the buffers. `args`: address of
  /// the KernelArgs, for the fault record.
  OpEmitter(llvm::IRBuilder<>& builder, const LoopProgram& program,
            std::function<llvm::Value*(int32_t)> buffer,
            std::function<llvm::Value*(const Expr&)> size, llvm::Value* args);

  /// Known values: the reductions' results, the accumulator, outer values.
  void set(OpId op, llvm::Value* value) { values_[op] = value; }
  void forget(OpId op) { values_.erase(op); }
  /// The op at the point; operands that are not set are emitted too.
  llvm::Value* get(OpId op, const Point& point);
  /// Stores at the point.
  void store(const LoopStore& store, DType dtype, const Point& point);
  /// Makes `value` a vector of the point's lanes.
  llvm::Value* spread(llvm::Value* value, const Point& point);

 private:
  struct Address {
    llvm::Value* base = nullptr;     // i64 element offset that all lanes have
    bool uniform = true;             // the same for all lanes
    bool contiguous = false;         // one further for each lane
    llvm::Value* offsets = nullptr;  // <lanes x i64>, on top of the base; null where one of the two
    std::vector<int64_t> known;      // these offsets, where the index says them
    bool mostly_contiguous = false;  // the elements never lie further apart than contiguous ones
  };
  Address address(const Expr& index, const std::vector<Indirect>& indirect, const Point& point);
  llvm::Value* index_value(const Expr& e, const Point& point, bool vector);
  bool depends_on_lane(const Expr& e, const Point& point) const;
  llvm::Value* emit(const LoopOp& op, const Point& point);
  llvm::Value* load(const LoopOp& op, const Point& point);
  llvm::Value* elementwise(const LoopOp& op, llvm::Value* a, llvm::Value* b, const Point& point);
  llvm::Value* divide(ElementwiseOp op, bool is_unsigned, llvm::Value* a, llvm::Value* b,
                      const Point& point);
  llvm::Value* shift(ElementwiseOp op, bool is_unsigned, llvm::Value* a, llvm::Value* b);
  llvm::Value* widen(DType half, llvm::Value* bits);
  llvm::Value* narrow(DType half, llvm::Value* x);
  llvm::Value* far_apart(const Indirect& indirect, llvm::Value* position, llvm::Value* stride,
                         const Point& point);
  llvm::Value* either(llvm::Value* condition, const std::function<llvm::Value*()>& quick,
                      const std::function<llvm::Value*()>& slow);
  llvm::Value* picked(llvm::FixedVectorType* type, llvm::Value* first,
                      const std::vector<int64_t>& offsets);
  llvm::Value* scattered(const Address& a, const Expr& index, llvm::FixedVectorType* type,
                         llvm::Value* base, llvm::Value* mask, const Point& point);
  llvm::Value* cast(DType from, DType to, llvm::Value* x);
  llvm::Value* check_index(const LoopOp& op, const Point& point);
  void report_where(llvm::Value* wrong, llvm::Value* position, llvm::Value* limit,
                    const FaultSite& site);
  llvm::Value* constant(const Scalar& scalar, DType dtype);
  llvm::Value* lane_numbers(const Point& point);

  llvm::IRBuilder<>& b_;
  const LoopProgram& program_;
  std::function<llvm::Value*(int32_t)> buffer_;
  std::function<llvm::Value*(const Expr&)> size_;
  llvm::Value* args_;
  std::map<OpId, llvm::Value*> values_;
};

/// Whether the code generator has an elementwise operation for this type.
bool has_elementwise(ElementwiseOp op, DType dtype);

}  // namespace stator::cpu
