// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <limits>

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

OpId real(LoopBuilder& loop, double value) {
  return loop.constant(Scalar{value, 0, false}, DType::kFloat32);
}

/// The rest of the region: what the plan computes from the result at once, and the store.
void finish(FusionContext& c, LoopBuilder& loop, const NetworkLayer& layer, const Index& index,
            OpId value) {
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
  OpId result = loop.reduce(reduce.op == ReduceOp::kMean ? ReduceOp::kSum : reduce.op, value);
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
  finish(c, loop, layer, out, result);
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
  finish(c, loop, layer, index, result);
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
  const OpId inverse = inverse_count(loop, count, DType::kFloat32);
  OpId x = loop.get(layer.inputs[0], index);
  if (!normalization.rms) {
    const OpId mean =
        loop.elementwise(ElementwiseOp::kMul, loop.reduce(ReduceOp::kSum, x), inverse);
    x = loop.elementwise(ElementwiseOp::kSub, x, mean);
  }
  const OpId square = loop.elementwise(ElementwiseOp::kMul, x, x);
  const OpId variance =
      loop.elementwise(ElementwiseOp::kMul, loop.reduce(ReduceOp::kSum, square), inverse);
  const OpId factor = loop.unary(
      UnaryOp::kRsqrt,
      loop.elementwise(ElementwiseOp::kAdd, variance, real(loop, normalization.epsilon)));
  OpId y = loop.elementwise(ElementwiseOp::kMul, x, factor);
  size_t next = 1;
  if (normalization.has_scale) {
    y = loop.elementwise(ElementwiseOp::kMul, y, loop.get(layer.inputs[next++], inner));
  }
  if (normalization.has_bias) {
    y = loop.elementwise(ElementwiseOp::kAdd, y, loop.get(layer.inputs[next], inner));
  }
  finish(c, loop, layer, index, y);
}

/// Windows of a channels-last image: the window's positions are reduction dims, what lies outside
/// the image is read under a guard.
void add_pooling(FusionContext& c, const NetworkLayer& layer, const Pooling& pooling) {
  LoopBuilder loop(c.network, c.plan);
  const std::vector<Expr>& in = c.network.type(layer.inputs[0]).shape;
  const std::vector<Expr>& out = c.network.type(layer.outputs[0]).shape;
  Index at;
  for (const Expr& size : out) {
    at.push_back(loop.add_dim(size, false));
  }
  Index source = at;
  OpId inside = kNoOp, counted = kNoOp;
  for (size_t k = 0; k < 2; ++k) {
    const Expr tap = loop.add_dim(Expr(pooling.kernel[k]), true);
    source[1 + k] = at[1 + k] * Expr(pooling.stride[k]) + tap * Expr(pooling.dilation[k]) -
                    Expr(pooling.pad_before[k]);
    // Compared without the padding taken off, so that no index is negative.
    const Expr padded = source[1 + k] + Expr(pooling.pad_before[k]);
    inside = loop.both(inside, loop.within(padded, Expr(pooling.pad_before[k]),
                                           Expr(pooling.pad_before[k]) + in[1 + k]));
    counted = loop.both(
        counted, loop.within(padded, Expr(0),
                             Expr(pooling.pad_before[k] + pooling.pad_after[k]) + in[1 + k]));
  }
  const OpId x = loop.get(layer.inputs[0], source, inside);
  OpId result = kNoOp;
  if (pooling.op == PoolOp::kMax) {
    const OpId lowest = real(loop, -std::numeric_limits<double>::infinity());
    result = loop.reduce(ReduceOp::kMax, inside == kNoOp ? x : loop.select(inside, x, lowest));
  } else {
    const OpId sum = loop.reduce(ReduceOp::kSum, x);  // a guarded load outside is 0
    const OpId which = pooling.count_include_pad ? counted : inside;
    OpId inverse = kNoOp;
    if (pooling.divisor != 0 || which == kNoOp) {
      const int64_t divisor =
          pooling.divisor != 0 ? pooling.divisor : pooling.kernel[0] * pooling.kernel[1];
      inverse = real(loop, 1.0 / static_cast<double>(divisor));
    } else {
      const OpId one = loop.cast(which, DType::kFloat32);
      inverse = loop.unary(UnaryOp::kReciprocal, loop.reduce(ReduceOp::kSum, one));
    }
    result = loop.elementwise(ElementwiseOp::kMul, sum, inverse);
  }
  finish(c, loop, layer, at, result);
}

}  // namespace

void add_reduction_region(FusionContext& c, const NetworkLayer& layer) {
  if (const auto* reduce = std::get_if<Reduce>(&layer.attributes)) {
    add_reduce(c, layer, *reduce);
  } else if (const auto* softmax = std::get_if<Softmax>(&layer.attributes)) {
    add_softmax(c, layer, *softmax);
  } else if (const auto* pooling = std::get_if<Pooling>(&layer.attributes)) {
    add_pooling(c, layer, *pooling);
  } else {
    add_normalization(c, layer, std::get<Normalization>(layer.attributes));
  }
}

}  // namespace stator
