// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/attention_softmax.h"

#include <limits>
#include <numeric>

namespace stator::cpu {
namespace {

class SoftmaxEmitter : Emit {
 public:
  SoftmaxEmitter(llvm::IRBuilder<>& builder, const SoftmaxBlock& block)
      : Emit(builder), b_(block), type_(floats(block.lanes)) {}

  void emit() {
    Values old = load_all(b_.maxima);
    Values greatest =
        over_rows(old, [&](Value* r, const Values& maxima) { return find(r, maxima); });
    for (size_t v = 0; v < greatest.size(); ++v) {
      store(exp_of(builder.CreateFSub(old[v], greatest[v])), vector(b_.factors, num(0), v));
      store(greatest[v], vector(b_.maxima, num(0), v));
    }
    Values sums(old.size(), llvm::Constant::getNullValue(type_));
    sums = over_rows(
        sums, [&](Value* r, const Values& before) { return exponentiate(r, greatest, before); });
    for (size_t v = 0; v < sums.size(); ++v) {
      Value* before =
          builder.CreateFMul(load(vector(b_.sums, num(0), v)), load(vector(b_.factors, num(0), v)));
      store(builder.CreateFAdd(before, sums[v]), vector(b_.sums, num(0), v));
    }
  }

 private:
  using Values = std::vector<Value*>;

  Value* vector(Value* base, Value* row, size_t v) {
    return address(base, add(mul(row, 4 * b_.vectors * b_.lanes),
                             num(4 * static_cast<int64_t>(v) * b_.lanes)));
  }
  Value* load(Value* from) {
    return builder.CreateAlignedLoad(type_, from, llvm::Align(b_.lanes * 4));
  }
  void store(Value* value, Value* to) {
    builder.CreateAlignedStore(value, to, llvm::Align(b_.lanes * 4));
  }
  Value* splat(Value* scalar) {
    return builder.CreateVectorSplat(static_cast<unsigned>(b_.lanes), scalar);
  }
  Value* constant(double value) { return llvm::ConstantFP::get(type_, value); }
  Value* fma(Value* x, Value* y, Value* z) {
    return builder.CreateIntrinsic(type_, llvm::Intrinsic::fmuladd, {x, y, z});
  }
  Values load_all(Value* base) {
    Values values;
    for (int v = 0; v < b_.vectors; ++v)
      values.push_back(load(vector(base, num(0), static_cast<size_t>(v))));
    return values;
  }

  /// state = body(r, state) for every row.
  Values over_rows(const Values& first, const std::function<Values(Value*, const Values&)>& body) {
    llvm::Function* function = builder.GetInsertBlock()->getParent();
    auto* before = builder.GetInsertBlock();
    auto* head = llvm::BasicBlock::Create(builder.getContext(), "rows", function);
    auto* after = llvm::BasicBlock::Create(builder.getContext(), "rows_end", function);
    builder.CreateBr(head);  // a block has at least one row
    builder.SetInsertPoint(head);
    auto* row = builder.CreatePHI(builder.getInt64Ty(), 2);
    row->addIncoming(num(0), before);
    std::vector<llvm::PHINode*> phis;
    for (Value* value : first) {
      phis.push_back(builder.CreatePHI(type_, 2));
      phis.back()->addIncoming(value, before);
    }
    Values next = body(row, Values(phis.begin(), phis.end()));
    Value* following = add(row, num(1));
    row->addIncoming(following, builder.GetInsertBlock());
    for (size_t v = 0; v < phis.size(); ++v)
      phis[v]->addIncoming(next[v], builder.GetInsertBlock());
    builder.CreateCondBr(less(following, b_.rows), head, after);
    builder.SetInsertPoint(after);
    return next;
  }

  /// Scales and masks a row of scores in place; the maxima with it.
  Values find(Value* r, const Values& maxima) {
    Values result = maxima;
    Value* per_row = nullptr;
    if (b_.added_per_row != nullptr)
      per_row =
          splat(builder.CreateLoad(builder.getFloatTy(), address(b_.added_per_row, mul(r, 4))));
    for (size_t v = 0; v < result.size(); ++v) {
      Value* place = vector(b_.scores, r, v);
      Value* score = builder.CreateFMul(load(place), constant(b_.scale));
      if (per_row != nullptr) score = builder.CreateFAdd(score, per_row);
      if (b_.added != nullptr) score = builder.CreateFAdd(score, load(vector(b_.added, r, v)));
      if (b_.first_row != nullptr) score = causal(r, v, score);
      store(score, place);
      // NaN wins, as it does in the sum.
      Value* keep = builder.CreateFCmpOGT(result[v], score);
      result[v] = builder.CreateSelect(keep, result[v], score);
    }
    return result;
  }

  Value* causal(Value* r, size_t v, Value* score) {
    std::vector<uint64_t> positions(static_cast<size_t>(b_.lanes));
    std::iota(positions.begin(), positions.end(), v * static_cast<size_t>(b_.lanes));
    // Columns at and after row - first column see it; in 32 bits, which clamping keeps exact.
    Value* ahead = sub(add(b_.first_row, r), b_.first_column);
    ahead = builder.CreateTrunc(max(num(-1), min(ahead, num(1 << 20))), builder.getInt32Ty());
    std::vector<uint32_t> columns(positions.begin(), positions.end());
    Value* seen = builder.CreateICmpSGE(
        llvm::ConstantDataVector::get(builder.getContext(), columns), splat(ahead));
    return builder.CreateSelect(seen, score, constant(-std::numeric_limits<float>::infinity()));
  }

  Values exponentiate(Value* r, const Values& maxima, const Values& sums) {
    Values result = sums;
    for (size_t v = 0; v < result.size(); ++v) {
      Value* place = vector(b_.scores, r, v);
      Value* power = exp_of(builder.CreateFSub(load(place), maxima[v]));
      store(power, place);
      result[v] = builder.CreateFAdd(result[v], power);
    }
    return result;
  }

  /// exp(x) for x <= 0, 0 below -87; about 1 ulp. 2^n from the low bits of a sum that rounds to an
  /// integer, the rest by Cephes' polynomial.
  Value* exp_of(Value* x) {
    constexpr double kRound = 12582912.0;  // 1.5 * 2^23
    Value* shifted = fma(x, constant(1.44269504088896341), constant(kRound));
    Value* n = builder.CreateFSub(shifted, constant(kRound));
    Value* rest = fma(n, constant(-0.693359375), x);
    rest = fma(n, constant(2.12194440e-4), rest);
    Value* p = constant(1.9875691500e-4);
    for (double c :
         {1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1})
      p = fma(p, rest, constant(c));
    p = fma(p, builder.CreateFMul(rest, rest), builder.CreateFAdd(rest, constant(1)));
    auto* integers =
        llvm::FixedVectorType::get(builder.getInt32Ty(), static_cast<unsigned>(b_.lanes));
    Value* exponent = builder.CreateShl(builder.CreateBitCast(shifted, integers),
                                        llvm::ConstantInt::get(integers, 23));
    Value* power = builder.CreateBitCast(
        builder.CreateAdd(builder.CreateBitCast(p, integers), exponent), type_);
    Value* vanishes = builder.CreateFCmpOLT(x, constant(-87.0));
    return builder.CreateSelect(vanishes, llvm::Constant::getNullValue(type_), power);
  }

  const SoftmaxBlock& b_;
  llvm::FixedVectorType* type_;
};

class MaskEmitter : Emit {
 public:
  MaskEmitter(llvm::IRBuilder<>& builder, int lanes, const MaskRows& mask)
      : Emit(builder), m_(mask), lanes_(lanes) {}

  void emit() {
    auto* stride = llvm::dyn_cast<llvm::ConstantInt>(m_.column_stride);
    bool contiguous = stride != nullptr && stride->equalsInt(m_.boolean ? 1 : 4);
    loop(num(0), m_.rows, 1, [&](Value* r) {
      Value* from = address(m_.from, mul(r, m_.row_stride));
      Value* to = address(m_.to, mul(r, m_.to_row_bytes));
      if (contiguous) {
        loop(num(0), m_.columns, lanes_, [&](Value* c) { emit_vector(from, to, c); });
      } else {
        loop(num(0), m_.columns, 1, [&](Value* c) { emit_one(from, to, c); });
      }
    });
  }

 private:
  llvm::Type* element() { return m_.boolean ? builder.getInt8Ty() : builder.getFloatTy(); }
  /// `value` (bytes or floats, one or many) as numbers to add.
  Value* number(Value* value, llvm::Type* type) {
    if (!m_.boolean) return value;
    Value* set = builder.CreateICmpNE(value, llvm::Constant::getNullValue(value->getType()));
    return builder.CreateSelect(
        set, llvm::ConstantFP::get(type, 0.0),
        llvm::ConstantFP::get(type, -std::numeric_limits<float>::infinity()));
  }
  void emit_vector(Value* from, Value* to, Value* c) {
    auto* type = llvm::FixedVectorType::get(element(), static_cast<unsigned>(lanes_));
    Value* there = lane_mask(lanes_, sub(m_.columns, c));
    Value* place = address(from, mul(c, m_.boolean ? 1 : 4));
    Value* value = builder.CreateMaskedLoad(type, place, llvm::Align(m_.boolean ? 1 : 4), there,
                                            llvm::Constant::getNullValue(type));
    // The row has room for whole vectors.
    builder.CreateAlignedStore(number(value, floats(lanes_)), address(to, mul(c, 4)),
                               llvm::Align(4));
  }
  void emit_one(Value* from, Value* to, Value* c) {
    Value* value = builder.CreateAlignedLoad(element(), address(from, mul(c, m_.column_stride)),
                                             llvm::Align(m_.boolean ? 1 : 4));
    builder.CreateStore(number(value, builder.getFloatTy()), address(to, mul(c, 4)));
  }

  const MaskRows& m_;
  int lanes_;
};

}  // namespace

void start_statistics(llvm::IRBuilder<>& builder, int lanes, int vectors, llvm::Value* maxima,
                      llvm::Value* sums) {
  Emit e(builder);
  auto* least = llvm::ConstantFP::get(e.floats(lanes), -std::numeric_limits<float>::max());
  for (int v = 0; v < vectors; ++v) {
    builder.CreateAlignedStore(least, e.address(maxima, 4 * v * lanes), llvm::Align(lanes * 4));
    builder.CreateAlignedStore(llvm::Constant::getNullValue(e.floats(lanes)),
                               e.address(sums, 4 * v * lanes), llvm::Align(lanes * 4));
  }
}

void emit_softmax_block(llvm::IRBuilder<>& builder, const SoftmaxBlock& block) {
  SoftmaxEmitter(builder, block).emit();
}

void emit_mask_rows(llvm::IRBuilder<>& builder, int lanes, const MaskRows& mask) {
  MaskEmitter(builder, lanes, mask).emit();
}

}  // namespace stator::cpu
