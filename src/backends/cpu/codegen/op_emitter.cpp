// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/op_emitter.h"

#include <bit>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <set>

#include "backend/executor.h"
#include "backends/cpu/codegen/vector_math.h"
#include "base/check.h"
#include "base/float_element.h"

namespace stator::cpu {

using llvm::Value;

llvm::Type* register_type(llvm::LLVMContext& context, DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return llvm::Type::getFloatTy(context);
    case DType::kFloat64:
      return llvm::Type::getDoubleTy(context);
    case DType::kBool:
      return llvm::Type::getInt1Ty(context);
    case DType::kInt8:
    case DType::kUInt8:
      return llvm::Type::getInt8Ty(context);
    case DType::kInt16:
    case DType::kFloat16:  // its bits: halves are moved and converted, not computed with
    case DType::kBFloat16:
      return llvm::Type::getInt16Ty(context);
    case DType::kInt32:
      return llvm::Type::getInt32Ty(context);
    case DType::kInt64:
      return llvm::Type::getInt64Ty(context);
    default:
      STATOR_CHECK(false, std::string(dtype_name(dtype)) + " is not generated");
  }
}

llvm::Type* memory_type(llvm::LLVMContext& context, DType dtype) {
  return dtype == DType::kBool ? llvm::Type::getInt8Ty(context) : register_type(context, dtype);
}

OpEmitter::OpEmitter(llvm::IRBuilder<>& builder, const LoopProgram& program,
                     std::function<Value*(int32_t)> buffer, std::function<Value*(const Expr&)> size,
                     Value* args)
    : b_(builder),
      program_(program),
      buffer_(std::move(buffer)),
      size_(std::move(size)),
      args_(args) {}

Value* OpEmitter::get(OpId op, const Point& point) {
  const auto found = values_.find(op);
  if (found != values_.end()) {
    return found->second;
  }
  Value* value = emit(program_.ops[static_cast<size_t>(op)], point);
  values_[op] = value;
  return value;
}

Value* OpEmitter::spread(Value* value, const Point& point) {
  return point.lanes == 0 || value->getType()->isVectorTy()
             ? value
             : b_.CreateVectorSplat(static_cast<unsigned>(point.lanes), value);
}

Value* OpEmitter::lane_numbers(const Point& point) {
  std::vector<uint64_t> numbers(static_cast<size_t>(point.lanes));
  std::iota(numbers.begin(), numbers.end(), 0U);
  return llvm::ConstantDataVector::get(b_.getContext(), numbers);
}

bool OpEmitter::depends_on_lane(const Expr& e, const Point& point) const {
  return point.lanes > 0 && e.uses_symbol(index_symbol(point.lane_dim));
}

/// An expression over indices and sizes: of the first lane, or of every lane.
Value* OpEmitter::index_value(const Expr& e, const Point& point, bool vector) {
  if (vector && !depends_on_lane(e, point)) {
    return spread(index_value(e, point, false), point);
  }
  switch (e.kind()) {
    case ExprKind::kConstant:
      return b_.getInt64(static_cast<uint64_t>(e.constant()));
    case ExprKind::kSymbol: {
      if (e.symbol_name()[0] != '$') {
        return size_(e);
      }
      const int dim = std::stoi(e.symbol_name().substr(1));
      Value* first = point.index[static_cast<size_t>(dim)];
      STATOR_CHECK(first != nullptr, "index " + e.symbol_name() + " is not known here");
      return vector && dim == point.lane_dim
                 ? b_.CreateAdd(spread(first, point), lane_numbers(point))
                 : first;
    }
    default:
      break;
  }
  std::set<std::string> symbols;
  e.collect_symbols(symbols);
  bool only_sizes = true;
  for (const std::string& symbol : symbols) {
    only_sizes = only_sizes && symbol[0] != '$';
  }
  if (only_sizes && !vector) {
    return size_(e);
  }
  std::vector<Value*> parts;
  for (const Expr& operand : e.operands()) {
    parts.push_back(index_value(operand, point, vector));
  }
  // The index of a guarded load is computed where the guard is false too: an empty part of a concat
  // must not divide by its size.
  const auto at_least_one = [this](Value* v) {
    return b_.CreateBinaryIntrinsic(llvm::Intrinsic::umax, v,
                                    llvm::ConstantInt::get(v->getType(), 1));
  };
  Value* result = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) {
    switch (e.kind()) {
      case ExprKind::kAdd:
        result = b_.CreateAdd(result, parts[i]);
        break;
      case ExprKind::kMul:
        result = b_.CreateMul(result, parts[i]);
        break;
      case ExprKind::kFloorDiv: {
        // Index expressions are not negative, but for lanes whose guard is false: what is counted
        // from such a lane must be right all the same.
        const Expr& divisor = e.operands()[i];
        const bool shifts = divisor.is_constant() && divisor.constant() > 0 &&
                            (divisor.constant() & (divisor.constant() - 1)) == 0;
        const auto bits = shifts ? std::countr_zero(static_cast<uint64_t>(divisor.constant())) : 0;
        result = shifts ? b_.CreateAShr(result, static_cast<uint64_t>(bits))
                        : b_.CreateUDiv(result, at_least_one(parts[i]));
        break;
      }
      case ExprKind::kMod:  // by a power of two: of negative ones too
        result = b_.CreateURem(result, at_least_one(parts[i]));
        break;
      case ExprKind::kMin:
        result = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, result, parts[i]);
        break;
      default:
        result = b_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, result, parts[i]);
        break;
    }
  }
  return result;
}

Value* OpEmitter::constant(const Scalar& scalar, DType dtype) {
  llvm::Type* type = register_type(b_.getContext(), dtype);
  if (is_half(dtype)) {
    uint16_t bits = 0;
    store_float(&bits, dtype, 0, static_cast<float>(scalar.real));
    return llvm::ConstantInt::get(type, bits);
  }
  if (is_floating_point(dtype)) {
    return llvm::ConstantFP::get(type, scalar.real);
  }
  if (dtype == DType::kBool) {
    return b_.getInt1(scalar.is_integer ? scalar.integer != 0 : scalar.real != 0);
  }
  return llvm::ConstantInt::getSigned(
      type, scalar.is_integer ? scalar.integer : static_cast<int64_t>(scalar.real));
}

Value* OpEmitter::emit(const LoopOp& op, const Point& point) {
  // Operands of one op are either all scalars or all vectors.
  const auto operands = [&](std::initializer_list<OpId> ids) {
    std::vector<Value*> values;
    bool vector = false;
    for (const OpId id : ids) {
      values.push_back(get(id, point));
      vector = vector || values.back()->getType()->isVectorTy();
    }
    for (Value*& value : values) {
      value = vector ? spread(value, point) : value;
    }
    return values;
  };
  switch (op.kind) {
    case LoopOpKind::kLoad:
      return load(op, point);
    case LoopOpKind::kConstant:
      return constant(op.scalar, op.dtype);
    case LoopOpKind::kIndex:
      return index_value(op.index, point, depends_on_lane(op.index, point));
    case LoopOpKind::kUnary: {
      const DType from = program_.ops[static_cast<size_t>(op.a)].dtype;
      return emit_unary(b_, op.unary, from, get(op.a, point));
    }
    case LoopOpKind::kElementwise: {
      const std::vector<Value*> v = operands({op.a, op.b});
      return elementwise(op, v[0], v[1], point);
    }
    case LoopOpKind::kSelect: {
      const std::vector<Value*> v = operands({op.a, op.b, op.c});
      return b_.CreateSelect(v[0], v[1], v[2]);
    }
    case LoopOpKind::kCast:
      return cast(program_.ops[static_cast<size_t>(op.a)].dtype, op.dtype, get(op.a, point));
    case LoopOpKind::kCheckIndex:
      return check_index(op, point);
    case LoopOpKind::kReduce:
    case LoopOpKind::kAccumulator:
      break;
  }
  STATOR_CHECK(false, "an op is needed before it is known");
}

Value* OpEmitter::check_index(const LoopOp& op, const Point& point) {
  Value* position = get(op.a, point);
  Value* result = op.b == kNoOp ? position : get(op.b, point);
  Value* guard = op.guard == kNoOp ? nullptr : get(op.guard, point);
  bool vector = false;
  for (const Value* value : {position, result, guard}) {
    vector = vector || (value != nullptr && value->getType()->isVectorTy());
  }
  Value* limit = index_value(op.index, point, false);
  Value* end = limit;
  if (vector) {
    position = spread(position, point);
    result = spread(result, point);
    end = spread(limit, point);
    guard = guard == nullptr ? nullptr : spread(guard, point);
  }
  Value* inside = b_.CreateICmpULT(position, end);
  Value* wrong = b_.CreateNot(inside);
  for (Value* present : {guard, vector ? point.mask : nullptr}) {
    wrong = present == nullptr ? wrong : b_.CreateAnd(wrong, present);
  }
  report_where(wrong, position, limit, op.site);
  return b_.CreateSelect(inside, result, llvm::Constant::getNullValue(result->getType()));
}

/// Claims the run's fault record where any lane is wrong, which a branch makes free where none is.
void OpEmitter::report_where(Value* wrong, Value* position, Value* limit, const FaultSite& site) {
  Emit emit(b_);
  llvm::Type* word = b_.getInt64Ty();
  const bool vector = wrong->getType()->isVectorTy();
  const auto report = [&] {
    if (vector) {
      const unsigned lanes = llvm::cast<llvm::FixedVectorType>(wrong->getType())->getNumElements();
      Value* bits = b_.CreateZExt(b_.CreateBitCast(wrong, b_.getIntNTy(lanes)), word);
      Value* first = b_.CreateBinaryIntrinsic(llvm::Intrinsic::cttz, bits, b_.getTrue());
      if (position->getType()->isVectorTy()) position = b_.CreateExtractElement(position, first);
    }
    const auto field = [&](Value* base, size_t offset) {
      return emit.address(base, static_cast<int64_t>(offset));
    };
    Value* record = b_.CreateLoad(b_.getPtrTy(), field(args_, offsetof(KernelArgs, fault)));
    Value* step = b_.CreateLoad(word, field(args_, offsetof(KernelArgs, step)));
    Value* claimed = b_.CreateAtomicCmpXchg(
        field(record, offsetof(FaultRecord, claimed)), emit.num(0), emit.num(1), llvm::Align(8),
        llvm::AtomicOrdering::SequentiallyConsistent, llvm::AtomicOrdering::Monotonic);
    emit.when(b_.CreateExtractValue(claimed, 1), [&] {
      b_.CreateStore(position, field(record, offsetof(FaultRecord, value)));
      b_.CreateStore(limit, field(record, offsetof(FaultRecord, limit)));
      Value* code = b_.CreateOr(b_.CreateShl(step, kFaultStepShift), emit.num(site.code()));
      b_.CreateStore(code, field(record, offsetof(FaultRecord, code)));
    });
  };
  emit.when(vector ? b_.CreateOrReduce(wrong) : wrong, report, true);
}

}  // namespace stator::cpu
