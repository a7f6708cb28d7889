// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/packing_copy.h"

namespace stator::cpu {
namespace {

enum class CopyKind { kRows, kTransposed, kStrided };

class CopyEmitter : Emit {
 public:
  CopyEmitter(llvm::IRBuilder<>& builder, llvm::Function* function, int lanes)
      : Emit(builder),
        to_(function->getArg(0)),
        to_stride_(function->getArg(1)),
        from_(function->getArg(2)),
        row_stride_(function->getArg(3)),
        column_stride_(function->getArg(4)),
        rows_(function->getArg(5)),
        columns_(function->getArg(6)),
        padded_(function->getArg(7)),
        lanes_(lanes),
        type_(floats(lanes)) {}

  void emit(CopyKind kind) {
    if (kind == CopyKind::kRows) emit_rows();
    if (kind == CopyKind::kTransposed) emit_transposed();
    if (kind == CopyKind::kStrided) emit_strided();
    builder.CreateRetVoid();
  }

 private:
  /// A vector of a row: unmasked where all of it is there.
  Value* load(Value* address, Value* mask) {
    return builder.CreateMaskedLoad(type_, address, llvm::Align(4), mask,
                                    llvm::Constant::getNullValue(type_));
  }
  void store(Value* value, Value* address) {
    builder.CreateAlignedStore(value, address, llvm::Align(4));
  }

  void emit_rows() {
    Value* whole = builder.CreateAnd(columns_, num(-lanes_));
    Value* tail = lane_mask(lanes_, sub(columns_, whole));
    loop(num(0), rows_, 1, [&](Value* r) {
      Value* from = address(from_, mul(r, row_stride_));
      Value* to = address(to_, mul(r, to_stride_));
      loop(num(0), whole, lanes_, [&](Value* c) {
        Value* bytes = mul(c, 4);
        store(builder.CreateAlignedLoad(type_, address(from, bytes), llvm::Align(4)),
              address(to, bytes));
      });
      when(less(whole, padded_), [&] {
        Value* bytes = mul(whole, 4);
        store(load(address(from, bytes), tail), address(to, bytes));
      });
      loop(add(whole, num(lanes_)), padded_, lanes_,
           [&](Value* c) { store(llvm::Constant::getNullValue(type_), address(to, mul(c, 4))); });
    });
  }

  /// Squares of lanes x lanes: `lanes` source columns (each contiguous along r) are loaded, and
  /// turned by log2(lanes) rounds of interleaving.
  void emit_transposed() {
    loop(num(0), rows_, lanes_, [&](Value* r) {
      Value* row_mask = lane_mask(lanes_, sub(rows_, r));
      loop(num(0), padded_, lanes_, [&](Value* c) {
        std::vector<Value*> values;
        for (int k = 0; k < lanes_; ++k) {
          Value* column = add(c, num(k));
          Value* there =
              builder.CreateVectorSplat(static_cast<unsigned>(lanes_), less(column, columns_));
          Value* from = address(from_, add(mul(column, column_stride_), mul(r, 4)));
          values.push_back(load(from, builder.CreateAnd(row_mask, there)));
        }
        values = turned(values);
        for (int k = 0; k < lanes_; ++k) {
          Value* row = add(r, num(k));
          when(less(row, rows_), [&] {
            store(values[static_cast<size_t>(k)],
                  address(to_, add(mul(row, to_stride_), mul(c, 4))));
          });
        }
      });
    });
  }

  /// Round by round, vector i pairs with vector i + n/2 and their elements interleave: after
  /// log2(n) rounds the square is transposed.
  std::vector<Value*> turned(std::vector<Value*> values) {
    size_t n = values.size();
    std::vector<int> low, high;
    for (size_t k = 0; k < n / 2; ++k) {
      for (size_t from : {k, n + k}) low.push_back(static_cast<int>(from));
      for (size_t from : {n / 2 + k, n + n / 2 + k}) high.push_back(static_cast<int>(from));
    }
    for (size_t round = 1; round < n; round *= 2) {
      std::vector<Value*> next(n);
      for (size_t i = 0; i < n / 2; ++i) {
        next[2 * i] = builder.CreateShuffleVector(values[i], values[i + n / 2], low);
        next[2 * i + 1] = builder.CreateShuffleVector(values[i], values[i + n / 2], high);
      }
      values = std::move(next);
    }
    return values;
  }

  void emit_strided() {
    loop(num(0), rows_, 1, [&](Value* r) {
      Value* from = address(from_, mul(r, row_stride_));
      Value* to = address(to_, mul(r, to_stride_));
      loop(num(0), columns_, 1, [&](Value* c) {
        Value* value = builder.CreateAlignedLoad(
            builder.getFloatTy(), address(from, mul(c, column_stride_)), llvm::Align(4));
        builder.CreateAlignedStore(value, address(to, mul(c, 4)), llvm::Align(4));
      });
      loop(columns_, padded_, 1, [&](Value* c) {
        builder.CreateAlignedStore(llvm::ConstantFP::get(builder.getFloatTy(), 0),
                                   address(to, mul(c, 4)), llvm::Align(4));
      });
    });
  }

  Value *to_, *to_stride_, *from_, *row_stride_, *column_stride_, *rows_, *columns_, *padded_;
  int lanes_;
  llvm::FixedVectorType* type_;
};

llvm::Function* copy_function(llvm::Module& module, CopyKind kind, int lanes) {
  static constexpr const char* kNames[] = {"copy_rows_", "copy_transposed_", "copy_strided_"};
  std::string name = kNames[static_cast<int>(kind)] + std::to_string(lanes);
  if (llvm::Function* existing = module.getFunction(name)) return existing;
  llvm::LLVMContext& context = module.getContext();
  auto* i64 = llvm::Type::getInt64Ty(context);
  auto* pointer = llvm::PointerType::get(context, 0);
  auto* type = llvm::FunctionType::get(llvm::Type::getVoidTy(context),
                                       {pointer, i64, pointer, i64, i64, i64, i64, i64}, false);
  auto* function = llvm::Function::Create(type, llvm::GlobalValue::InternalLinkage, name, module);
  function->addFnAttr(llvm::Attribute::NoInline);
  function->addFnAttr(llvm::Attribute::NoUnwind);
  function->addFnAttr("prefer-vector-width", "512");
  function->addFnAttr("no-builtins");  // a loop that copies stays one: there is no memcpy to call
  function->addParamAttr(0, llvm::Attribute::NoAlias);
  function->addParamAttr(2, llvm::Attribute::NoAlias);
  llvm::IRBuilder<> builder(llvm::BasicBlock::Create(context, "entry", function));
  CopyEmitter(builder, function, lanes).emit(kind);
  return function;
}

bool is_float_size(llvm::Value* stride) {
  auto* constant = llvm::dyn_cast<llvm::ConstantInt>(stride);
  return constant != nullptr && constant->equalsInt(4);
}

}  // namespace

void emit_block_copy(llvm::Module& module, llvm::IRBuilder<>& builder, int lanes,
                     const BlockCopy& copy) {
  CopyKind kind = is_float_size(copy.column_stride) ? CopyKind::kRows
                  : is_float_size(copy.row_stride)  ? CopyKind::kTransposed
                                                    : CopyKind::kStrided;
  builder.CreateCall(copy_function(module, kind, lanes),
                     {copy.to, copy.to_stride, copy.from, copy.row_stride, copy.column_stride,
                      copy.rows, copy.columns, copy.padded_columns});
}

}  // namespace stator::cpu
