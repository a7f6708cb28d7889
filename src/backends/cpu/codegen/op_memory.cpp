// SPDX-License-Identifier: Apache-2.0
//
// Loads and stores: which of a vector's lanes lie side by side, as far as the index says, and what
// then takes their place where gathers would be slow.
#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "backends/cpu/codegen/op_emitter.h"

namespace stator::cpu {

using llvm::Value;

namespace {

constexpr int64_t kMostSpread = 4;  // times the lanes: elements that are read to pick them from

/// How far the lanes' elements lie behind the first one's, where that is known.
std::optional<std::vector<int64_t>> known_offsets(const Expr& index, const std::string& lane,
                                                  const Point& point) {
  const int lanes = point.lanes;
  const Expr first = Expr(point.aligned ? lanes : 1) * Expr::symbol("$first");
  Bounds bounds;
  bounds.set("$first", 0);
  const Expr begin = simplify(index.substitute({{lane, first}}), bounds);
  std::vector<int64_t> offsets;
  for (int l = 0; l < lanes; ++l) {
    const Expr at = simplify(index.substitute({{lane, first + Expr(l)}}), bounds);
    const Expr offset = simplify(at - begin, bounds);
    if (!offset.is_constant()) {
      return std::nullopt;
    }
    offsets.push_back(offset.constant());
  }
  return offsets;
}

/// Bounds of how much an expression grows from a lane to the next; kFar: not known.
struct Growth {
  static constexpr int64_t kFar = 1 << 20;
  int64_t least = 0, most = 0;
};

Growth times(int64_t factor, const Growth& g) {
  const Growth result{factor * g.least, factor * g.most};
  return factor < 0 ? Growth{result.most, result.least} : result;
}

/// Of one factor that depends on the lane, a constant, and sizes, which are 0 or more.
Growth growth_of_product(const Expr& e, const std::vector<Growth>& parts, const std::string& lane) {
  constexpr int64_t kLargest = 1 << 20;
  int64_t factor = 1;
  bool sizes = false;
  std::optional<Growth> varying;
  for (size_t k = 0; k < parts.size(); ++k) {
    const Expr& part = e.operands()[k];
    if (part.uses_symbol(lane)) {
      if (varying) return {-Growth::kFar, Growth::kFar};
      varying = parts[k];
    } else if (part.is_constant() && std::abs(part.constant()) <= kLargest) {
      factor *= part.constant();
    } else if (part.is_symbol()) {
      sizes = true;
    } else {
      return {-Growth::kFar, Growth::kFar};
    }
  }
  const Growth g = times(factor, *varying);
  if (!sizes) {
    return g;
  }
  return {g.least >= 0 ? 0 : -Growth::kFar, g.most <= 0 ? 0 : Growth::kFar};
}

Growth growth(const Expr& e, const std::string& lane) {
  const Growth unknown{-Growth::kFar, Growth::kFar};
  if (!e.uses_symbol(lane)) {
    return {0, 0};
  }
  if (e.is_symbol()) {
    return {1, 1};
  }
  std::vector<Growth> parts;
  for (const Expr& part : e.operands()) {
    parts.push_back(growth(part, lane));
    if (parts.back().least <= -Growth::kFar && parts.back().most >= Growth::kFar) return unknown;
  }
  switch (e.kind()) {
    case ExprKind::kAdd: {
      Growth sum;
      for (const Growth& part : parts) {
        sum = {std::max(sum.least + part.least, -Growth::kFar),
               std::min(sum.most + part.most, Growth::kFar)};
      }
      return sum;
    }
    case ExprKind::kMin:
    case ExprKind::kMax:
      return {std::min(parts[0].least, parts[1].least), std::max(parts[0].most, parts[1].most)};
    case ExprKind::kMul:
      return growth_of_product(e, parts, lane);
    case ExprKind::kFloorDiv:
    case ExprKind::kMod: {
      // Of what grows by at most one the quotient does too; the rest falls back to 0 at times.
      const bool slow =
          !e.operands()[1].uses_symbol(lane) && parts[0].least >= 0 && parts[0].most <= 1;
      return !slow                             ? unknown
             : e.kind() == ExprKind::kFloorDiv ? Growth{0, 1}
                                               : Growth{-Growth::kFar, 1};
    }
    default:
      return unknown;
  }
}

}  // namespace

OpEmitter::Address OpEmitter::address(const Expr& index, const std::vector<Indirect>& indirect,
                                      const Point& point) {
  Address a;
  a.uniform = !depends_on_lane(index, point);
  if (!a.uniform) {
    const std::string lane = index_symbol(point.lane_dim);
    const std::optional<LinearForm> form = linear_form(index, {lane});
    a.contiguous = form.has_value() && form->coefficients.at(lane).is_constant(1);
    if (!a.contiguous && indirect.empty()) {
      const auto offsets = known_offsets(index, lane, point);
      if (offsets) a.known = *offsets;
      a.mostly_contiguous = !offsets && growth(index, lane).most <= 1;
    }
  }
  const bool scattered = !a.uniform && !a.contiguous;
  if (scattered && a.known.empty()) {
    a.base = b_.getInt64(0);
    a.offsets = index_value(index, point, true);
  } else {
    a.base = index_value(index, point, false);
    if (scattered) {
      a.offsets = llvm::ConstantDataVector::get(
          b_.getContext(), std::vector<uint64_t>(a.known.begin(), a.known.end()));
    }
  }
  for (const Indirect& i : indirect) {
    Value* position = get(i.op, point);
    Value* stride = index_value(i.stride, point, false);
    if (!position->getType()->isVectorTy()) {
      a.base = b_.CreateAdd(a.base, b_.CreateMul(position, stride));
      continue;
    }
    Value* offsets = i.stride.is_constant(1) ? position : far_apart(i, position, stride, point);
    if (a.offsets != nullptr) {
      offsets = b_.CreateAdd(a.offsets, offsets);
    } else if (a.contiguous) {
      offsets = b_.CreateAdd(offsets, lane_numbers(point));
    }
    a.offsets = offsets;
    a.uniform = a.contiguous = false;
  }
  return a;
}

/// position * stride. In 32 bits where it is known to fit them: there are instructions that gather
/// by such offsets, twice as many at once.
Value* OpEmitter::far_apart(const Indirect& indirect, Value* position, Value* stride,
                            const Point& point) {
  const LoopOp& op = program_.ops[static_cast<size_t>(indirect.op)];
  const bool fits = op.kind == LoopOpKind::kCheckIndex && op.b == kNoOp && op.index.is_constant() &&
                    indirect.stride.is_constant() &&
                    op.index.constant() * indirect.stride.constant() <= INT32_MAX;
  if (!fits) {
    return b_.CreateMul(position, spread(stride, point));
  }
  llvm::Type* narrow = position->getType()->getWithNewBitWidth(32);
  Value* product = b_.CreateMul(b_.CreateTrunc(position, narrow),
                                llvm::ConstantInt::getSigned(narrow, indirect.stride.constant()),
                                "", true, true);
  return b_.CreateSExt(product, position->getType());
}

/// One or the other vector, by a branch.
Value* OpEmitter::either(Value* condition, const std::function<Value*()>& quick,
                         const std::function<Value*()>& slow) {
  llvm::Function* function = b_.GetInsertBlock()->getParent();
  const auto block = [&](const char* name) {
    return llvm::BasicBlock::Create(b_.getContext(), name, function);
  };
  llvm::BasicBlock *whole = block("whole"), *some = block("some"), *after = block("after");
  b_.CreateCondBr(condition, whole, some);
  b_.SetInsertPoint(whole);
  Value* first = quick();
  llvm::BasicBlock* first_end = b_.GetInsertBlock();
  b_.CreateBr(after);
  b_.SetInsertPoint(some);
  Value* second = slow();
  llvm::BasicBlock* second_end = b_.GetInsertBlock();
  b_.CreateBr(after);
  b_.SetInsertPoint(after);
  llvm::PHINode* result = b_.CreatePHI(first->getType(), 2);
  result->addIncoming(first, first_end);
  result->addIncoming(second, second_end);
  return result;
}

/// Elements a known way apart: whole vectors that are picked from.
Value* OpEmitter::picked(llvm::FixedVectorType* type, Value* first,
                         const std::vector<int64_t>& offsets) {
  const auto [least, most] = std::minmax_element(offsets.begin(), offsets.end());
  const auto span = static_cast<int>(*most - *least + 1);
  int width = 1;
  while (width < span) width *= 2;
  // What lies behind the last element need not be there.
  std::vector<llvm::Constant*> there;
  std::vector<int> places;
  for (int i = 0; i < width; ++i) there.push_back(b_.getInt1(i < span));
  for (const int64_t offset : offsets) places.push_back(static_cast<int>(offset - *least));
  llvm::Type* element = type->getElementType();
  auto* wide = llvm::FixedVectorType::get(element, static_cast<unsigned>(width));
  const llvm::Align align(element->getPrimitiveSizeInBits() / 8);
  Value* begin = b_.CreateGEP(element, first, b_.getInt64(static_cast<uint64_t>(*least)));
  Value* all = span == width
                   ? static_cast<Value*>(b_.CreateAlignedLoad(wide, begin, align))
                   : b_.CreateMaskedLoad(wide, begin, align, llvm::ConstantVector::get(there),
                                         llvm::Constant::getNullValue(wide));
  return b_.CreateShuffleVector(all, places);
}

/// The elements at an address whose lanes are not side by side, or not known to be.
Value* OpEmitter::scattered(const Address& a, const Expr& index, llvm::FixedVectorType* type,
                            Value* base, Value* mask, const Point& point) {
  llvm::Type* element = type->getElementType();
  const llvm::Align align(element->getPrimitiveSizeInBits() / 8);
  Value* zero = llvm::Constant::getNullValue(type);
  Value* first = b_.CreateGEP(element, base, a.base);
  const auto gathered = [&] {
    Value* addresses =
        a.offsets != nullptr ? b_.CreateGEP(element, first, a.offsets) : spread(first, point);
    Value* lanes = mask != nullptr ? mask
                                   : llvm::Constant::getAllOnesValue(llvm::FixedVectorType::get(
                                         b_.getInt1Ty(), type->getNumElements()));
    return b_.CreateMaskedGather(type, addresses, align, lanes, zero);
  };
  if (!a.known.empty()) {
    const auto [least, most] = std::minmax_element(a.known.begin(), a.known.end());
    if (*most - *least >= kMostSpread * point.lanes) {
      return gathered();
    }
    const auto quick = [&] { return picked(type, first, a.known); };
    return mask == nullptr ? quick() : either(b_.CreateAndReduce(mask), quick, gathered);
  }
  if (!a.mostly_contiguous) {
    return gathered();
  }
  // No step is longer than one: the lanes are side by side where the last is as far as it can be.
  Point last = point;
  Value*& at = last.index[static_cast<size_t>(point.lane_dim)];
  at = b_.CreateAdd(at, b_.getInt64(static_cast<uint64_t>(point.lanes - 1)));
  Value* begin = index_value(index, point, false);
  Value* end = index_value(index, last, false);
  Value* whole = b_.CreateICmpEQ(b_.CreateSub(end, begin),
                                 b_.getInt64(static_cast<uint64_t>(point.lanes - 1)));
  const auto quick = [&]() -> Value* {
    Value* address = b_.CreateGEP(element, base, begin);
    return mask == nullptr ? static_cast<Value*>(b_.CreateAlignedLoad(type, address, align))
                           : b_.CreateMaskedLoad(type, address, align, mask, zero);
  };
  return either(whole, quick, gathered);
}

Value* OpEmitter::load(const LoopOp& op, const Point& point) {
  const Address a = address(op.index, op.indirect, point);
  Value* guard = op.guard == kNoOp ? nullptr : get(op.guard, point);
  llvm::Type* element = memory_type(b_.getContext(), op.dtype);
  const llvm::Align align(static_cast<uint64_t>(dtype_bytes(op.dtype)));
  Value* base = buffer_(op.buffer);
  const bool vector_guard = guard != nullptr && guard->getType()->isVectorTy();
  Value* result = nullptr;
  if (a.uniform && !vector_guard) {
    Value* address = b_.CreateGEP(element, base, a.base);
    if (guard == nullptr) {
      result = b_.CreateAlignedLoad(element, address, align);
    } else {
      auto* one = llvm::FixedVectorType::get(element, 1);
      Value* mask = b_.CreateVectorSplat(1, guard);
      result = b_.CreateMaskedLoad(one, address, align, mask, llvm::Constant::getNullValue(one));
      result = b_.CreateExtractElement(result, uint64_t{0});
    }
  } else {
    auto* type = llvm::FixedVectorType::get(element, static_cast<unsigned>(point.lanes));
    Value* mask = point.mask;
    if (guard != nullptr) {
      Value* wide = spread(guard, point);
      mask = mask == nullptr ? wide : b_.CreateAnd(mask, wide);
    }
    if (a.contiguous) {
      Value* address = b_.CreateGEP(element, base, a.base);
      result = mask == nullptr ? static_cast<Value*>(b_.CreateAlignedLoad(type, address, align))
                               : b_.CreateMaskedLoad(type, address, align, mask,
                                                     llvm::Constant::getNullValue(type));
    } else {
      result = scattered(a, op.index, type, base, mask, point);
    }
  }
  if (op.dtype == DType::kBool) {
    result = b_.CreateICmpNE(result, llvm::Constant::getNullValue(result->getType()));
  }
  return result;
}

void OpEmitter::store(const LoopStore& store, DType dtype, const Point& point) {
  Value* value = get(store.value, point);
  llvm::Type* element = memory_type(b_.getContext(), dtype);
  const llvm::Align align(static_cast<uint64_t>(dtype_bytes(dtype)));
  const Address a = address(store.index, {}, point);
  Value* base = buffer_(store.buffer);
  const auto in_memory = [&](Value* v) {
    return dtype == DType::kBool ? b_.CreateZExt(v, v->getType()->getWithNewBitWidth(8)) : v;
  };
  if (a.uniform) {
    if (value->getType()->isVectorTy()) {
      // The lane dim is 1 wide, so that its index does not show: the first lane is the only one.
      value = b_.CreateExtractElement(value, uint64_t{0});
    }
    b_.CreateAlignedStore(in_memory(value), b_.CreateGEP(element, base, a.base), align);
    return;
  }
  value = in_memory(spread(value, point));
  if (a.contiguous) {
    Value* address = b_.CreateGEP(element, base, a.base);
    if (point.mask == nullptr) {
      b_.CreateAlignedStore(value, address, align);
    } else {
      b_.CreateMaskedStore(value, address, align, point.mask);
    }
    return;
  }
  Value* mask = point.mask != nullptr ? point.mask
                                      : llvm::Constant::getAllOnesValue(llvm::FixedVectorType::get(
                                            b_.getInt1Ty(), static_cast<unsigned>(point.lanes)));
  b_.CreateMaskedScatter(
      value, b_.CreateGEP(element, b_.CreateGEP(element, base, a.base), a.offsets), align, mask);
}

}  // namespace stator::cpu
