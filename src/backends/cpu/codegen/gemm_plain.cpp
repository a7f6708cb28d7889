// SPDX-License-Identifier: Apache-2.0
//
// Contractions of every dtype but f32, and convolutions whose weights are computed: plain loops.
#include <array>

#include "backends/cpu/codegen/conv_kernel.h"
#include "backends/cpu/codegen/gemm_kernel.h"
#include "base/check.h"

namespace stator::cpu {
namespace {

/// The dtype in which the epilogue takes the sum.
DType accumulator_dtype(const LoopProgram& epilogue) {
  for (const LoopOp& op : epilogue.ops)
    if (op.kind == LoopOpKind::kAccumulator) return op.dtype;
  return DType::kFloat32;
}

/// Products of single elements, summed in the accumulator's dtype.
class PlainEmitter : protected Emit {
 public:
  PlainEmitter(KernelHost& host, DType operands, const LoopProgram& epilogue)
      : Emit(host.builder), host_(host), operands_(operands), sum_(accumulator_dtype(epilogue)) {}

 protected:
  llvm::Type* sum_type() {
    switch (sum_) {
      case DType::kFloat32:
        return builder.getFloatTy();
      case DType::kFloat64:
        return builder.getDoubleTy();
      default:
        return builder.getIntNTy(static_cast<unsigned>(8 * dtype_bytes(sum_)));
    }
  }
  Value* zero() { return llvm::Constant::getNullValue(sum_type()); }

  /// The weight at `from`, and the element of the other operand.
  Value* load_weight(Value* from) {
    return load(from, operands_ == DType::kUInt8 ? DType::kInt8 : operands_);
  }
  Value* load(Value* from) { return load(from, operands_); }
  /// In the accumulator's dtype.
  Value* load(Value* from, DType dtype) {
    auto bytes = static_cast<unsigned>(dtype_bytes(dtype));
    llvm::Type* integer = builder.getIntNTy(8 * bytes);
    if (dtype == DType::kFloat32 || dtype == DType::kFloat64) {
      llvm::Type* type = dtype == DType::kFloat32 ? builder.getFloatTy() : builder.getDoubleTy();
      return builder.CreateFPCast(builder.CreateAlignedLoad(type, from, llvm::Align(bytes)),
                                  sum_type());
    }
    Value* value = builder.CreateAlignedLoad(integer, from, llvm::Align(bytes));
    if (dtype == DType::kBFloat16) {
      Value* bits = builder.CreateShl(builder.CreateZExt(value, builder.getInt32Ty()), 16);
      return builder.CreateFPCast(builder.CreateBitCast(bits, builder.getFloatTy()), sum_type());
    }
    bool is_signed = dtype != DType::kUInt8 && dtype != DType::kBool;
    if (sum_type()->isFloatingPointTy())
      return is_signed ? builder.CreateSIToFP(value, sum_type())
                       : builder.CreateUIToFP(value, sum_type());
    return builder.CreateIntCast(value, sum_type(), is_signed);
  }
  Value* add_product(Value* sum, Value* a, Value* b) {
    if (sum_type()->isFloatingPointTy())
      return builder.CreateIntrinsic(sum_type(), llvm::Intrinsic::fmuladd, {a, b, sum});
    return builder.CreateAdd(sum, builder.CreateMul(a, b));
  }

  /// sum = body(i, sum) for begin <= i < end.
  Value* sum_over(Value* begin, Value* end, Value* first,
                  const std::function<Value*(Value*, Value*)>& body) {
    llvm::Function* function = builder.GetInsertBlock()->getParent();
    auto* before = builder.GetInsertBlock();
    auto* head = llvm::BasicBlock::Create(builder.getContext(), "sum", function);
    auto* after = llvm::BasicBlock::Create(builder.getContext(), "sum_end", function);
    builder.CreateCondBr(less(begin, end), head, after);
    builder.SetInsertPoint(head);
    auto* index = builder.CreatePHI(builder.getInt64Ty(), 2);
    auto* sum = builder.CreatePHI(sum_type(), 2);
    index->addIncoming(begin, before);
    sum->addIncoming(first, before);
    Value* next = body(index, sum);
    Value* following = add(index, num(1));
    auto* latch = builder.GetInsertBlock();
    index->addIncoming(following, latch);
    sum->addIncoming(next, latch);
    builder.CreateCondBr(less(following, end), head, after);
    builder.SetInsertPoint(after);
    auto* result = builder.CreatePHI(sum_type(), 2);
    result->addIncoming(first, before);
    result->addIncoming(next, latch);
    return result;
  }
  void finish(std::vector<Value*> index, Value* sum) {
    EpiloguePoint point;
    point.index = std::move(index);
    point.accumulator = sum;
    host_.epilogue(point);
  }

  KernelHost& host_;
  DType operands_, sum_;
};

class PlainMatmul : PlainEmitter {
 public:
  PlainMatmul(KernelHost& host, const MatmulContraction& matmul)
      : PlainEmitter(host, matmul.dtype, matmul.epilogue), matmul_(matmul) {}

  void emit() {
    Value* m = host_.size(matmul_.m);
    Value* n = host_.size(matmul_.n);
    Value* k = host_.size(matmul_.k);
    std::vector<Value*> extents;
    for (const Expr& extent : matmul_.batch) extents.push_back(host_.size(extent));
    View a = view(matmul_.a), b = view(matmul_.b);
    size_t rank = extents.size();
    loop(host_.task_begin, host_.task_end, 1, [&](Value* task) {
      std::vector<Value*> index(rank + 2);
      index[rank] = rem(task, m);
      Value* rest = div(task, m);
      for (size_t d = rank; d-- > 0; rest = div(rest, extents[d])) index[d] = rem(rest, extents[d]);
      Value* a_row = address(a.base, mul(index[rank], a.strides[rank]));
      Value* b_matrix = b.base;
      for (size_t d = 0; d < rank; ++d) {
        a_row = address(a_row, mul(index[d], a.strides[d]));
        b_matrix = address(b_matrix, mul(index[d], b.strides[d]));
      }
      loop(num(0), n, 1, [&](Value* column) {
        Value* b_column = address(b_matrix, mul(column, b.strides[rank + 1]));
        index[rank + 1] = column;
        finish(index, sum_over(num(0), k, zero(), [&](Value* i, Value* sum) {
                 return add_product(sum, load(address(a_row, mul(i, a.strides[rank + 1]))),
                                    load_weight(address(b_column, mul(i, b.strides[rank]))));
               }));
      });
    });
  }

 private:
  struct View {
    Value* base;
    std::vector<Value*> strides;
  };
  View view(const StridedView& v) {
    int64_t bytes = dtype_bytes(operands_);
    View result{address(host_.buffer(v.buffer), host_.size(v.offset * bytes)), {}};
    for (const Expr& stride : v.strides) result.strides.push_back(host_.size(stride * bytes));
    return result;
  }
  const MatmulContraction& matmul_;
};

class PlainConv : PlainEmitter {
 public:
  PlainConv(KernelHost& host, const ConvolutionContraction& conv)
      : PlainEmitter(host, conv.dtype, conv.epilogue), conv_(conv), shape_(conv) {}

  void emit() {
    for (size_t d = 0; d < 3; ++d) {
      in_[d] = host_.size(shape_.in[d]);
      out_[d] = host_.size(shape_.out[d]);
    }
    x_ = host_.buffer(conv_.x);
    w_ = host_.buffer(conv_.w);
    loop(host_.task_begin, host_.task_end, 1, [&](Value* task) {
      Value* row = rem(task, out_[1]);
      Value* rest = div(task, out_[1]);
      Value* plane = rem(rest, out_[0]);
      Value* n = div(rest, out_[0]);
      loop(num(0), out_[2], 1, [&](Value* column) {
        loop(num(0), num(shape_.channels_out()), 1, [&](Value* o) {
          std::vector<Value*> index = {n};
          if (shape_.spatial_rank == 3) index.push_back(plane);
          if (shape_.spatial_rank >= 2) index.push_back(row);
          index.push_back(column);
          index.push_back(o);
          finish(index, sum_window(n, {plane, row, column}, o));
        });
      });
    });
  }

 private:
  struct Window {
    Value *begin, *end, *start;
  };
  Window window(size_t d, Value* o) {
    Value* start = sub(mul(o, shape_.stride[d]), num(shape_.pad[d]));
    Value* begin = ceil_div(max(num(0), sub(num(0), start)), shape_.dilation[d]);
    Value* room = max(num(0), sub(in_[d], start));
    return {begin, min(num(shape_.kernel[d]), ceil_div(room, shape_.dilation[d])), start};
  }

  Value* sum_window(Value* n, const std::array<Value*, 3>& at, Value* o) {
    std::array<Window, 3> w;
    for (size_t d = 0; d < 3; ++d) w[d] = window(d, at[d]);
    int64_t bytes = dtype_bytes(operands_);
    int64_t positions = shape_.kernel_positions();
    Value* first_channel = mul(div(o, num(shape_.group_out)), shape_.group_in);
    Value* weights = address(w_, mul(o, shape_.depth() * bytes));
    auto place = [&](size_t d, Value* k) { return add(w[d].start, mul(k, shape_.dilation[d])); };
    return sum_over(w[0].begin, w[0].end, zero(), [&](Value* kd, Value* s0) {
      Value* plane = add(mul(n, in_[0]), place(0, kd));
      return sum_over(w[1].begin, w[1].end, s0, [&](Value* kh, Value* s1) {
        Value* row = add(mul(plane, in_[1]), place(1, kh));
        return sum_over(w[2].begin, w[2].end, s1, [&](Value* kw, Value* s2) {
          Value* pixel = add(mul(row, in_[2]), place(2, kw));
          Value* x = address(x_, mul(add(mul(pixel, shape_.channels_in()), first_channel), bytes));
          Value* position = add(mul(add(mul(kd, shape_.kernel[1]), kh), shape_.kernel[2]), kw);
          Value* from = address(weights, mul(position, bytes));
          return sum_over(num(0), num(shape_.group_in), s2, [&](Value* c, Value* sum) {
            return add_product(sum, load(address(x, mul(c, bytes))),
                               load_weight(address(from, mul(c, positions * bytes))));
          });
        });
      });
    });
  }

  const ConvolutionContraction& conv_;
  ConvShape shape_;
  std::array<Value*, 3> in_{}, out_{};
  Value *x_ = nullptr, *w_ = nullptr;
};

}  // namespace

KernelLaunch plain_matmul_launch(const MatmulContraction& matmul) {
  KernelLaunch launch;
  launch.task_count = product(matmul.batch) * matmul.m;
  return launch;
}

void emit_plain_matmul(KernelHost& host, const MatmulContraction& matmul) {
  PlainMatmul(host, matmul).emit();
}

KernelLaunch plain_conv_launch(const ConvolutionContraction& conv) {
  ConvShape shape(conv);
  KernelLaunch launch;
  launch.task_count = shape.batch * shape.out[0] * shape.out[1];
  return launch;
}

void emit_plain_conv(KernelHost& host, const ConvolutionContraction& conv) {
  STATOR_CHECK(!conv.attributes.transposed, "a transposed convolution that was refused");
  PlainConv(host, conv).emit();
}

}  // namespace stator::cpu
