// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/epilogue.h"

#include "backends/cuda/codegen/prepare.h"
#include "base/check.h"

namespace stator::cuda {
namespace {

class Matcher {
 public:
  Matcher(const RegionGraph& graph, const Region& region, const LoopProgram& program, DType dtype)
      : graph_(graph), region_(region), p_(program), dtype_(dtype) {}

  std::optional<LibraryEpilogue> match() {
    if (p_.stores.size() != 1) return std::nullopt;
    e_.out = buffer_type(p_.stores[0].buffer);
    if (e_.out != dtype_ && e_.out != DType::kFloat32) return std::nullopt;
    e_.store_index = p_.stores[0].index;
    OpId at = through_casts(p_.stores[0].value);
    if (const LoopOp& op = this->op(at); op.kind == LoopOpKind::kUnary) {
      e_.activation = op.unary;
      at = through_casts(op.a);
    }
    return match_sum(at) ? std::optional(e_) : std::nullopt;
  }

 private:
  const LoopOp& op(OpId id) const { return p_.ops[static_cast<size_t>(id)]; }
  DType buffer_type(int32_t buffer) const {
    return buffer_tensor(graph_, region_, buffer).type.dtype;
  }
  /// Casts among the real types round to the type that is stored in the end, at most.
  OpId through_casts(OpId id) const {
    while (op(id).kind == LoopOpKind::kCast && is_library_dtype(op(id).dtype) &&
           is_library_dtype(op(op(id).a).dtype)) {
      id = op(id).a;
    }
    return id;
  }

  bool match_sum(OpId id) {
    id = through_casts(id);
    const LoopOp& o = op(id);
    if (o.kind == LoopOpKind::kAccumulator) {
      return true;
    }
    if (o.kind != LoopOpKind::kElementwise) {
      return false;
    }
    if (o.elementwise == ElementwiseOp::kMul && e_.alpha == 1 && e_.bias < 0 && e_.residual < 0) {
      // Only the innermost: (acc * c) and then the sums.
      const OpId a = through_casts(o.a), b = through_casts(o.b);
      return match_scale(a, b) || match_scale(b, a);
    }
    if (o.elementwise != ElementwiseOp::kAdd) {
      return false;
    }
    const OpId a = through_casts(o.a), b = through_casts(o.b);
    if (op(b).kind == LoopOpKind::kLoad && take_operand(op(b))) return match_rest(a);
    if (op(a).kind == LoopOpKind::kLoad && take_operand(op(a))) return match_rest(b);
    return false;
  }

  bool match_rest(OpId id) {
    const LoopOp& o = op(through_casts(id));
    if (o.kind == LoopOpKind::kElementwise && o.elementwise == ElementwiseOp::kMul) {
      const OpId a = through_casts(o.a), b = through_casts(o.b);
      return match_scale(a, b) || match_scale(b, a);
    }
    return match_sum(id);
  }

  bool match_scale(OpId acc, OpId factor) {
    if (op(acc).kind != LoopOpKind::kAccumulator || op(factor).kind != LoopOpKind::kConstant) {
      return false;
    }
    e_.alpha = op(factor).scalar.real;
    return true;
  }

  bool take_operand(const LoopOp& load) {
    if (load.guard != kNoOp || !load.indirect.empty()) return false;
    const DType type = buffer_type(load.buffer);
    const std::string last = index_symbol(static_cast<int>(p_.dims.size()) - 1);
    if (e_.bias < 0 && type == dtype_ && load.index == Expr::symbol(last)) {
      e_.bias = load.buffer;
      return true;
    }
    if (e_.residual < 0 && type == e_.out && load.index == e_.store_index) {
      e_.residual = load.buffer;
      return true;
    }
    return false;
  }

  const RegionGraph& graph_;
  const Region& region_;
  const LoopProgram& p_;
  DType dtype_;
  LibraryEpilogue e_;
};

/// Puts `prefix` before the epilogue's ops, with `accumulator` in the accumulator's place.
void append_epilogue(const LoopProgram& epilogue, OpId accumulator, LoopProgram* to) {
  std::vector<OpId> moved;
  const auto map = [&](OpId id) { return id == kNoOp ? kNoOp : moved[static_cast<size_t>(id)]; };
  for (const LoopOp& op : epilogue.ops) {
    if (op.kind == LoopOpKind::kAccumulator) {
      moved.push_back(accumulator);
      continue;
    }
    LoopOp copy = op;
    copy.a = map(op.a);
    copy.b = map(op.b);
    copy.c = map(op.c);
    copy.guard = map(op.guard);
    for (Indirect& indirect : copy.indirect) indirect.op = map(indirect.op);
    moved.push_back(static_cast<OpId>(to->ops.size()));
    to->ops.push_back(std::move(copy));
  }
  for (LoopStore store : epilogue.stores) {
    store.value = map(store.value);
    to->stores.push_back(std::move(store));
  }
}

DType accumulator_type(const LoopProgram& epilogue, DType otherwise) {
  for (const LoopOp& op : epilogue.ops) {
    if (op.kind == LoopOpKind::kAccumulator) return op.dtype;
  }
  return otherwise;
}

Expr index(size_t k) { return Expr::symbol(index_symbol(static_cast<int>(k))); }

OpId add_op(LoopProgram* program, LoopOp op) {
  program->ops.push_back(std::move(op));
  return static_cast<OpId>(program->ops.size()) - 1;
}

OpId add_load(LoopProgram* program, int32_t buffer, DType dtype, const Expr& at,
              OpId guard = kNoOp) {
  LoopOp op;
  op.kind = LoopOpKind::kLoad;
  op.dtype = dtype;
  op.buffer = buffer;
  op.index = at;
  op.guard = guard;
  return add_op(program, std::move(op));
}

OpId add_elementwise(LoopProgram* program, ElementwiseOp which, DType dtype, OpId a, OpId b) {
  LoopOp op;
  op.kind = LoopOpKind::kElementwise;
  op.elementwise = which;
  op.dtype = dtype;
  op.a = a;
  op.b = b;
  return add_op(program, std::move(op));
}

/// Weights of bytes are i8.
DType weight_type(DType operand) { return operand == DType::kUInt8 ? DType::kInt8 : operand; }

/// Bytes are widened first.
OpId add_product(LoopProgram* program, DType dtype, OpId a, OpId b) {
  const auto widened = [&](OpId x) {
    LoopOp op;
    op.kind = LoopOpKind::kCast;
    op.dtype = dtype;
    op.a = x;
    return dtype == DType::kInt32 ? add_op(program, std::move(op)) : x;
  };
  return add_elementwise(program, ElementwiseOp::kMul, dtype, widened(a), widened(b));
}

OpId add_sum(LoopProgram* program, DType dtype, OpId a) {
  LoopOp op;
  op.kind = LoopOpKind::kReduce;
  op.reduce = ReduceOp::kSum;
  op.dtype = dtype;
  op.a = a;
  return add_op(program, std::move(op));
}

/// 0 <= at < limit, as a bool op; kNoOp where it always holds.
OpId add_bounds(LoopProgram* program, const Expr& at, const Expr& limit, OpId before) {
  const auto constant = [&](int64_t v) {
    LoopOp op;
    op.kind = LoopOpKind::kConstant;
    op.dtype = DType::kInt64;
    op.scalar = Scalar::of(v);
    return add_op(program, std::move(op));
  };
  const auto value = [&](const Expr& e) {
    LoopOp op;
    op.kind = LoopOpKind::kIndex;
    op.dtype = DType::kInt64;
    op.index = e;
    return add_op(program, std::move(op));
  };
  const OpId position = value(at);
  const OpId low =
      add_elementwise(program, ElementwiseOp::kGreaterEqual, DType::kBool, position, constant(0));
  const OpId high =
      add_elementwise(program, ElementwiseOp::kLess, DType::kBool, position, value(limit));
  OpId inside = add_elementwise(program, ElementwiseOp::kAnd, DType::kBool, low, high);
  return before == kNoOp
             ? inside
             : add_elementwise(program, ElementwiseOp::kAnd, DType::kBool, before, inside);
}

}  // namespace

std::optional<LibraryEpilogue> match_epilogue(const RegionGraph& graph, const Region& region,
                                              const LoopProgram& epilogue, DType dtype) {
  return Matcher(graph, region, epilogue, dtype).match();
}

LoopProgram as_loop(const LoopProgram& epilogue, int32_t from, DType dtype,
                    const Expr& row_length) {
  LoopProgram loop;
  loop.dims = epilogue.dims;
  Expr at = 0;
  for (size_t k = 0; k < epilogue.dims.size(); ++k) {
    const bool last = k + 1 == epilogue.dims.size();
    at = at * (last ? row_length : epilogue.dims[k].extent) + index(k);
  }
  const OpId accumulator = add_load(&loop, from, dtype, at);
  append_epilogue(epilogue, accumulator, &loop);
  return loop;
}

LoopProgram as_loop(const MatmulContraction& matmul) {
  LoopProgram loop;
  loop.dims = matmul.epilogue.dims;  // batch…, m, n
  const size_t rank = loop.dims.size();
  loop.dims.push_back({matmul.k, true});
  const auto view = [&](const StridedView& v, bool rows) {
    Expr at = v.offset;
    for (size_t k = 0; k + 2 < rank; ++k) at = at + v.strides[k] * index(k);
    const Expr& first = v.strides[rank - 2];
    const Expr& second = v.strides[rank - 1];
    return rows ? at + first * index(rank - 2) + second * index(rank)
                : at + first * index(rank) + second * index(rank - 1);
  };
  const DType type = accumulator_type(matmul.epilogue, matmul.dtype);
  const OpId a = add_load(&loop, matmul.a.buffer, matmul.dtype, view(matmul.a, true));
  const OpId b = add_load(&loop, matmul.b.buffer, weight_type(matmul.dtype), view(matmul.b, false));
  const OpId product = add_product(&loop, type, a, b);
  append_epilogue(matmul.epilogue, add_sum(&loop, type, product), &loop);
  return loop;
}

LoopProgram as_loop(const ConvolutionContraction& conv) {
  LoopProgram loop;
  loop.dims = conv.epilogue.dims;  // n, spatial…, o
  const size_t spatial = conv.attributes.stride.size();
  const size_t rank = loop.dims.size();
  for (size_t k = 0; k < spatial; ++k) loop.dims.push_back({conv.w_shape[k + 2], true});
  loop.dims.push_back({conv.w_shape[1], true});  // channels of a group
  const Expr out = index(rank - 1);
  const Expr channel = index(rank + spatial);
  const Expr per_group = floor_div(conv.w_shape[0], Expr(conv.attributes.groups));
  const Expr group = conv.attributes.groups == 1 ? Expr(0) : floor_div(out, per_group);
  OpId guard = kNoOp;
  // The packed filter lies as [O, kernel…, C/groups], a depthwise one as [kernel…, O].
  const bool depthwise = conv.w_shape[1].is_constant(1);
  Expr x_at = index(0), w_at = depthwise ? Expr(0) : out;
  for (size_t k = 0; k < spatial; ++k) {
    const Expr position = index(k + 1) * Expr(conv.attributes.stride[k]) +
                          index(rank + k) * Expr(conv.attributes.dilation[k]) -
                          Expr(conv.attributes.pad_before[k]);
    if (conv.attributes.pad_before[k] != 0 || conv.attributes.pad_after[k] != 0) {
      guard = add_bounds(&loop, position, conv.x_shape[k + 1], guard);
    }
    x_at = x_at * conv.x_shape[k + 1] + position;
    w_at = w_at * conv.w_shape[k + 2] + index(rank + k);
  }
  x_at = x_at * conv.x_shape.back() + group * conv.w_shape[1] + channel;
  w_at = depthwise ? w_at * conv.w_shape[0] + out : w_at * conv.w_shape[1] + channel;
  const OpId x = add_load(&loop, conv.x, conv.dtype, x_at, guard);
  const OpId w = add_load(&loop, conv.w, weight_type(conv.dtype), w_at);
  const DType type = accumulator_type(conv.epilogue, conv.dtype);
  const OpId product = add_product(&loop, type, x, w);
  append_epilogue(conv.epilogue, add_sum(&loop, type, product), &loop);
  return loop;
}

}  // namespace stator::cuda
