// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>

#include "base/check.h"
#include "optimizer/fusion/regions.h"

namespace stator {
namespace {

/// One over a count: a constant when the count is.
OpId inverse_count(LoopBuilder& loop, const Expr& count, DType dtype) {
  if (count.is_constant()) {
    return loop.constant(Scalar{1.0 / static_cast<double>(count.constant()), 0, false}, dtype);
  }
  return loop.unary(UnaryOp::kReciprocal, loop.cast(loop.index(count), dtype));
}

/// The place along the only reduction dim: the least of those that hold the extreme. Where there is
/// a NaN the extreme is NaN, equal to nothing, and the places of NaN count.
OpId place_of_extreme(LoopBuilder& loop, OpId x, bool greatest, const Expr& place,
                      const Expr& size) {
  const OpId best = loop.reduce(greatest ? ReduceOp::kMax : ReduceOp::kMin, x);
  OpId holds = loop.elementwise(ElementwiseOp::kEqual, x, best);
  if (is_floating_point(loop.dtype(x))) {
    holds = loop.elementwise(ElementwiseOp::kOr, holds, loop.unary(UnaryOp::kIsNan, x));
  }
  const bool small = loop.bounds().proves_less_equal(size, Expr(INT32_MAX));
  const DType dtype = small ? DType::kInt32 : DType::kInt64;
  const OpId candidate =
      loop.select(holds, loop.cast(loop.index(place), dtype), loop.cast(loop.index(size), dtype));
  return loop.cast(loop.reduce(ReduceOp::kMin, candidate), DType::kInt64);
}

void add_reduce(FusionContext& c, const NetworkLayer& layer, const Reduce& reduce) {
  LoopBuilder loop(c.network, c.plan);
  const std::vector<Expr>& shape = c.network.type(layer.inputs[0]).shape;
  Index index(shape.size(), Expr(0));
  const auto reduced = [&reduce](size_t k) {
    return std::find(reduce.axes.begin(), reduce.axes.end(), static_cast<int64_t>(k)) !=
           reduce.axes.end();
  };
  Expr count = 1;
  for (const bool reduction : {false, true}) {
    for (size_t k = 0; k < shape.size(); ++k) {
      if (reduced(k) != reduction) {
        continue;
      }
      // One reduction dim stays even when it is 1 wide: the fold needs a space.
      const bool needed = reduction && static_cast<int64_t>(k) == reduce.axes.back();
      if (!shape[k].is_constant(1) || needed) {
        index[k] = loop.add_dim(shape[k], reduction);
      }
      count = reduction ? count * shape[k] : count;
    }
  }
  OpId value = loop.get(layer.inputs[0], index);
  const bool logical = reduce.op == ReduceOp::kAny || reduce.op == ReduceOp::kAll;
  if (logical) {
    value = loop.cast(value, DType::kBool);
  }
  OpId result = kNoOp;
  if (reduce.op == ReduceOp::kArgMax || reduce.op == ReduceOp::kArgMin) {
    const auto axis = static_cast<size_t>(reduce.axes[0]);
    result =
        place_of_extreme(loop, value, reduce.op == ReduceOp::kArgMax, index[axis], shape[axis]);
  } else {
    result = loop.reduce(reduce.op == ReduceOp::kMean ? ReduceOp::kSum : reduce.op, value);
  }
  if (reduce.op == ReduceOp::kMean) {
    result = loop.elementwise(ElementwiseOp::kMul, result,
                              inverse_count(loop, count, loop.dtype(result)));
  }
  Index out;
  for (size_t k = 0; k < shape.size(); ++k) {
    if (!reduced(k)) {
      out.push_back(index[k]);
    } else if (reduce.keep_dims) {
      out.emplace_back(0);
    }
  }
  finish_reduction(c, loop, layer, out, result);
}

void add_softmax(FusionContext& c, const NetworkLayer& layer, const Softmax& softmax) {
  LoopBuilder loop(c.network, c.plan);
  const std::vector<Expr>& shape = c.network.type(layer.inputs[0]).shape;
  const auto axis = static_cast<size_t>(softmax.axis);
  Index index(shape.size(), Expr(0));
  for (size_t k = 0; k < shape.size(); ++k) {
    if (k != axis && !shape[k].is_constant(1)) {
      index[k] = loop.add_dim(shape[k], false);
    }
  }
  index[axis] = loop.add_dim(shape[axis], true);
  const OpId x = loop.get(layer.inputs[0], index);
  const OpId shifted = loop.elementwise(ElementwiseOp::kSub, x, loop.reduce(ReduceOp::kMax, x));
  const OpId exponent = loop.unary(UnaryOp::kExp, shifted);
  const OpId total = loop.reduce(ReduceOp::kSum, exponent);
  const OpId result =
      softmax.log ? loop.elementwise(ElementwiseOp::kSub, shifted, loop.unary(UnaryOp::kLog, total))
                  : loop.elementwise(ElementwiseOp::kMul, exponent,
                                     loop.unary(UnaryOp::kReciprocal, total));
  finish_reduction(c, loop, layer, index, result);
}

void add_normalization(FusionContext& c, const NetworkLayer& layer,
                       const Normalization& normalization) {
  LoopBuilder loop(c.network, c.plan);
  const std::vector<Expr>& shape = c.network.type(layer.inputs[0]).shape;
  const size_t first = shape.size() - normalization.axes.size();
  Index index(shape.size(), Expr(0)), inner;
  Expr count = 1;
  for (size_t k = 0; k < shape.size(); ++k) {
    const bool reduction = k >= first;
    if (!shape[k].is_constant(1) || k + 1 == shape.size()) {
      index[k] = loop.add_dim(shape[k], reduction);
    }
    if (reduction) {
      inner.push_back(index[k]);
      count = count * shape[k];
    }
  }
  OpId x = loop.get(layer.inputs[0], index);
  const DType dtype = loop.dtype(x) == DType::kFloat64 ? DType::kFloat64 : DType::kFloat32;
  const OpId inverse = inverse_count(loop, count, dtype);
  const OpId epsilon = loop.constant(Scalar{normalization.epsilon, 0, false}, dtype);
  if (!normalization.rms) {
    const OpId mean =
        loop.elementwise(ElementwiseOp::kMul, loop.reduce(ReduceOp::kSum, x), inverse);
    x = loop.elementwise(ElementwiseOp::kSub, x, mean);
  }
  const OpId square = loop.elementwise(ElementwiseOp::kMul, x, x);
  const OpId variance =
      loop.elementwise(ElementwiseOp::kMul, loop.reduce(ReduceOp::kSum, square), inverse);
  const OpId factor =
      loop.unary(UnaryOp::kRsqrt, loop.elementwise(ElementwiseOp::kAdd, variance, epsilon));
  OpId y = loop.elementwise(ElementwiseOp::kMul, x, factor);
  size_t next = 1;
  if (normalization.has_scale) {
    y = loop.elementwise(ElementwiseOp::kMul, y, loop.get(layer.inputs[next++], inner));
  }
  if (normalization.has_bias) {
    y = loop.elementwise(ElementwiseOp::kAdd, y, loop.get(layer.inputs[next], inner));
  }
  finish_reduction(c, loop, layer, index, y);
}

/// Many parts, cut into chunks of one size: each point copies one element of every chunk.
void add_join(FusionContext& c, const NetworkLayer& layer, const Concat& concat, int64_t chunk) {
  LoopBuilder loop(c.network, c.plan);
  const TensorId result = layer.outputs[0];
  const TensorId end = c.plan.epilogue_end(result);
  std::vector<Expr> shape = c.network.type(result).shape;
  const auto axis = static_cast<size_t>(concat.axis);
  shape[axis] = chunk;
  Index at;
  for (const Expr& size : shape) {
    at.push_back(size.is_constant(1) ? Expr(0) : loop.add_dim(size, false));
  }
  const Expr within = at[axis];
  int64_t begin = 0;
  for (const TensorId part : layer.inputs) {
    const int64_t size = c.network.type(part).shape[axis].constant();
    for (int64_t step = 0; step < size; step += chunk) {
      const int64_t offset = std::min(step, size - chunk);
      at[axis] = Expr(offset) + within;
      OpId value = loop.get(part, at);
      at[axis] = Expr(begin + offset) + within;
      if (end != result) {
        loop.define(result, at, value);
        value = loop.compute(end, at);
        STATOR_CHECK(loop.problem().empty(), "what follows a join reads elsewhere");
      }
      loop.store(0, flat_index(c.network.type(end).shape, at, loop.bounds()), value);
    }
    begin += size;
  }
  add_loop(c, loop, {end}, provenance_of(c, end));
}

}  // namespace

void finish_reduction(FusionContext& c, LoopBuilder& loop, const NetworkLayer& layer,
                      const Index& index, OpId value) {
  const TensorId result = layer.outputs[0];
  const TensorId end = c.plan.epilogue_end(result);
  if (end != result) {
    loop.define(result, index, value);
    value = loop.compute(end, index);
    STATOR_CHECK(loop.problem().empty(),
                 "what follows a reduction reads elsewhere: " + loop.problem());
  }
  loop.store(0, flat_index(c.network.type(end).shape, index, loop.bounds()), value);
  add_loop(c, loop, {end}, provenance_of(c, end));
}

void add_reduction_region(FusionContext& c, const NetworkLayer& layer) {
  if (const auto* reduce = std::get_if<Reduce>(&layer.attributes)) {
    add_reduce(c, layer, *reduce);
  } else if (const auto* softmax = std::get_if<Softmax>(&layer.attributes)) {
    add_softmax(c, layer, *softmax);
  } else if (const auto* concat = std::get_if<Concat>(&layer.attributes)) {
    add_join(c, layer, *concat, *join_chunk(c.network, layer));
  } else if (std::holds_alternative<Pooling>(layer.attributes) ||
             std::holds_alternative<AdaptivePooling>(layer.attributes)) {
    add_pooling(c, layer);
  } else {
    add_normalization(c, layer, std::get<Normalization>(layer.attributes));
  }
}

}  // namespace stator
