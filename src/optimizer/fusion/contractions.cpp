// SPDX-License-Identifier: Apache-2.0
//
// Matrix products, convolutions and attention. The epilogue is the expression of the tensor that
// the plan names as its end, with the accumulator in the place of the contraction's result.
#include <algorithm>

#include "base/check.h"
#include "optimizer/call_regions.h"
#include "optimizer/fusion/regions.h"

namespace stator {
namespace {

OpId accumulator(LoopBuilder& loop, DType dtype) {
  LoopOp op;
  op.kind = LoopOpKind::kAccumulator;
  op.dtype = dtype;
  return loop.add(op);
}

/// Provenance of everything between a contraction and the end of its epilogue.
std::vector<Provenance> epilogue_provenance(const FusionContext& c, const NetworkLayer& layer,
                                            TensorId end) {
  std::vector<Provenance> list = provenance_of(c, end);
  const bool known = std::any_of(list.begin(), list.end(), [&layer](const Provenance& p) {
    return p.node == layer.provenance.node;
  });
  if (!known && !layer.provenance.node.empty()) {
    list.insert(list.begin(), layer.provenance);
  }
  return list;
}

/// The epilogue: reads of the contraction's result at `index` are the accumulator plus the bias;
/// the end is stored at the same flat position. False when the end reads it elsewhere.
bool write_epilogue(FusionContext& c, LoopBuilder& loop, const NetworkLayer& layer,
                    const Index& index, TensorId end) {
  const TensorId result = layer.outputs[0];
  OpId value = accumulator(loop, c.network.type(result).dtype);
  if (layer.inputs.size() == 3) {
    value = loop.elementwise(ElementwiseOp::kAdd, value, loop.get(layer.inputs[2], {index.back()}));
  }
  loop.define(result, index, value);
  const Expr flat = flat_index(c.network.type(result).shape, index, loop.bounds());
  if (end == result) {
    loop.store(0, flat, value);
    return true;
  }
  // The end's element that this one becomes: the views between are permutations; try the flat
  // position, then the transposes of it that the chain of views names.
  const std::vector<Expr>& shape = c.network.type(end).shape;
  Index at = index;
  TensorId walk = result;
  while (walk != end) {
    const NetworkLayer& reader = c.network.layers[c.plan.readers(walk).front()];
    if (const auto* transpose = std::get_if<Transpose>(&reader.attributes)) {
      Index turned;
      for (const int64_t axis : transpose->permutation) {
        turned.push_back(at[static_cast<size_t>(axis)]);
      }
      at = turned;
    } else if (std::holds_alternative<Reshape>(reader.attributes)) {
      at = unflatten(flat_index(c.network.type(walk).shape, at, loop.bounds()),
                     c.network.type(reader.outputs[0]).shape, loop.bounds());
    }
    walk = reader.outputs[0];
    // Broadcasting may have added leading axes of size 1.
    while (at.size() < c.network.type(walk).shape.size()) {
      at.insert(at.begin(), Expr(0));
    }
  }
  const OpId stored = loop.compute(end, at);
  loop.store(0, flat_index(shape, at, loop.bounds()), stored);
  return loop.problem().empty();
}

std::vector<int32_t> region_inputs(FusionContext& c, const LoopBuilder& loop) {
  std::vector<int32_t> inputs;
  for (const TensorId id : loop.inputs()) {
    inputs.push_back(c.regions.tensor(id));
  }
  return inputs;
}

bool is_constant(const FusionContext& c, const LoopBuilder& loop, int32_t buffer) {
  return c.network.tensor(loop.inputs()[static_cast<size_t>(buffer)]).role == TensorRole::kConstant;
}

/// How a product is laid over dims.
struct MatmulDims {
  std::vector<Expr> batch;  // extents
  Expr m;
  bool flat_rows = false;  // the leading axes of a are part of m
};

MatmulDims matmul_dims(const FusionContext& c, const NetworkLayer& layer) {
  const std::vector<Expr>& out = c.network.type(layer.outputs[0]).shape;
  const auto& attributes = std::get<MatrixMultiply>(layer.attributes);
  MatmulDims dims;
  dims.flat_rows = c.network.type(layer.inputs[1]).rank() == 2 && !attributes.transpose_a;
  if (dims.flat_rows) {
    dims.m = product({out.begin(), out.end() - 1});
  } else {
    dims.batch.assign(out.begin(), out.end() - 2);
    dims.m = out[out.size() - 2];
  }
  return dims;
}

/// A product's result over the dims of its loop.
struct ResultSpace {
  std::vector<Expr> batch;
  Expr m, n;
  Index index;  // of the result's element
};

ResultSpace result_space(const FusionContext& c, const NetworkLayer& layer, const MatmulDims& dims,
                         LoopBuilder& loop) {
  const std::vector<Expr>& out = c.network.type(layer.outputs[0]).shape;
  ResultSpace space;
  for (const Expr& extent : dims.batch) {
    space.batch.push_back(loop.add_dim(extent, false));
  }
  space.m = loop.add_dim(dims.m, false);
  space.n = loop.add_dim(out.back(), false);
  if (dims.flat_rows) {
    space.index = unflatten(space.m, {out.begin(), out.end() - 1}, loop.bounds());
  } else {
    space.index = space.batch;
    space.index.push_back(space.m);
  }
  space.index.push_back(space.n);
  return space;
}

Index convolution_index(const FusionContext& c, const NetworkLayer& layer, LoopBuilder& loop) {
  Index index;
  for (const Expr& size : c.network.type(layer.outputs[0]).shape) {
    index.push_back(loop.add_dim(size, false));
  }
  return index;
}

/// Rows of halves along k, of which no four neighbours hold more than two that are not zero.
bool is_two_four(const NetworkTensor& weights, const MatmulContraction& matmul) {
  const bool halves = matmul.dtype == DType::kFloat16 || matmul.dtype == DType::kBFloat16;
  if (!halves || !matmul.batch.empty() || !matmul.k.is_constant() || !matmul.n.is_constant() ||
      !matmul.b.offset.is_constant(0) || !matmul.b.strides[0].is_constant(1) ||
      !(matmul.b.strides[1] == matmul.k) || matmul.k.constant() % 4 != 0) {
    return false;
  }
  const auto* bits = weights.data.as<uint16_t>();
  const int64_t count = matmul.n.constant() * matmul.k.constant();
  for (int64_t i = 0; i < count; i += 4) {
    int filled = 0;
    for (int64_t j = i; j < i + 4; ++j) filled += (bits[j] & 0x7fff) != 0 ? 1 : 0;
    if (filled > 2) return false;
  }
  return true;
}

}  // namespace

bool epilogue_fits(FusionContext& c, const NetworkLayer& layer) {
  const TensorId end = c.plan.epilogue_end(layer.outputs[0]);
  if (end == layer.outputs[0]) {
    return true;
  }
  LoopBuilder loop(c.network, c.plan);
  const Index index = std::holds_alternative<MatrixMultiply>(layer.attributes)
                          ? result_space(c, layer, matmul_dims(c, layer), loop).index
                          : convolution_index(c, layer, loop);
  return write_epilogue(c, loop, layer, index, end);
}

void add_matmul_region(FusionContext& c, const NetworkLayer& layer) {
  const auto& attributes = std::get<MatrixMultiply>(layer.attributes);
  const TensorId a = layer.inputs[0], b = layer.inputs[1];
  const std::vector<Expr>& a_shape = c.network.type(a).shape;
  const std::vector<Expr>& out = c.network.type(layer.outputs[0]).shape;
  const MatmulDims dims = matmul_dims(c, layer);
  LoopBuilder loop(c.network, c.plan);
  MatmulContraction matmul;
  matmul.dtype = c.network.type(a).dtype;
  matmul.batch = dims.batch;
  matmul.m = dims.m;
  matmul.n = out.back();
  matmul.k = attributes.transpose_a ? a_shape[a_shape.size() - 2] : a_shape.back();
  const ResultSpace result = result_space(c, layer, dims, loop);
  const std::vector<Expr>& batch = result.batch;
  const Expr &m = result.m, &n = result.n;
  // k is no dim of the epilogue; its symbol exists for the operands' index maps alone.
  LoopBuilder operands = loop;
  const Expr k = operands.add_dim(matmul.k, false);
  const auto matrix_index = [&](const std::vector<Expr>& shape, const Expr& row, const Expr& column,
                                bool transposed) {
    Index index;
    const size_t lead = shape.size() - 2;
    for (size_t i = 0; i < lead; ++i) {
      const Expr& at = batch[batch.size() - lead + i];
      index.push_back(shape[i].is_constant(1) ? Expr(0) : at);
    }
    index.push_back(transposed ? column : row);
    index.push_back(transposed ? row : column);
    return index;
  };
  Index a_index;
  if (dims.flat_rows) {
    a_index = unflatten(m, {a_shape.begin(), a_shape.end() - 1}, loop.bounds());
    a_index.push_back(k);
  } else {
    a_index = matrix_index(a_shape, m, k, attributes.transpose_a);
  }
  const Index b_index = matrix_index(c.network.type(b).shape, k, n, attributes.transpose_b);
  std::vector<Expr> a_dims = batch, b_dims = batch;
  a_dims.insert(a_dims.end(), {m, k});
  b_dims.insert(b_dims.end(), {k, n});
  matmul.a = strided_operand(c, operands, a, a_index, a_dims);
  matmul.b = strided_operand(c, operands, b, b_index, b_dims);
  for (const TensorId id : operands.inputs()) {
    loop.input(id);  // the same numbers
  }
  matmul.b_constant = is_constant(c, loop, matmul.b.buffer);
  matmul.b_sparse =
      matmul.b_constant && c.plan.traits().sparse_products &&
      is_two_four(c.network.tensor(loop.inputs()[static_cast<size_t>(matmul.b.buffer)]), matmul);

  const TensorId end = c.plan.epilogue_end(layer.outputs[0]);
  STATOR_CHECK(
      write_epilogue(c, loop, layer, result.index, end),
      "the epilogue of " + c.network.tensor(end).name + " reads elsewhere: " + loop.problem());
  loop.finish(false);
  matmul.epilogue = std::move(loop.program());
  const std::vector<Provenance> provenance = epilogue_provenance(c, layer, end);
  c.regions.add_region(std::move(matmul), region_inputs(c, loop), {c.regions.tensor(end)},
                       provenance, region_name(provenance, "matmul"));
}

void add_convolution_region(FusionContext& c, const NetworkLayer& layer) {
  LoopBuilder loop(c.network, c.plan);
  ConvolutionContraction conv;
  conv.attributes = std::get<Convolution>(layer.attributes);
  conv.dtype = c.network.type(layer.inputs[0]).dtype;
  conv.x_shape = c.network.type(layer.inputs[0]).shape;
  conv.w_shape = c.network.type(layer.inputs[1]).shape;
  conv.y_shape = c.network.type(layer.outputs[0]).shape;
  conv.x = loop.input(layer.inputs[0]);
  conv.w = loop.input(layer.inputs[1]);
  const Index index = convolution_index(c, layer, loop);
  const TensorId end = c.plan.epilogue_end(layer.outputs[0]);
  STATOR_CHECK(
      write_epilogue(c, loop, layer, index, end),
      "the epilogue of " + c.network.tensor(end).name + " reads elsewhere: " + loop.problem());
  loop.finish(false);
  conv.epilogue = std::move(loop.program());
  const std::vector<Provenance> provenance = epilogue_provenance(c, layer, end);
  c.regions.add_region(std::move(conv), region_inputs(c, loop), {c.regions.tensor(end)}, provenance,
                       region_name(provenance, "convolution"));
}

void add_attention_region(FusionContext& c, const NetworkLayer& layer, TensorId out) {
  const auto& attributes = std::get<Attention>(layer.attributes);
  const std::vector<Expr>& q = c.network.type(layer.inputs[0]).shape;
  const std::vector<Expr>& k = c.network.type(layer.inputs[1]).shape;
  const std::vector<Expr>& v = c.network.type(layer.inputs[2]).shape;
  LoopBuilder loop(c.network, c.plan);
  AttentionRegion region;
  region.batch = q[0];
  region.heads = q[1];
  region.kv_heads = k[1];
  region.q_length = q[2];
  region.kv_length = k[2];
  region.qk_dim = q[3];
  region.v_dim = v[3];
  region.dtype = c.network.type(layer.inputs[0]).dtype;
  region.scale = attributes.scale;
  region.causal = attributes.causal;
  const auto view = [&](TensorId id, const std::vector<Expr>& extents) {
    // Each operand has its own space; the symbols are those of a builder that shares the inputs.
    LoopBuilder space(c.network, c.plan);
    for (const TensorId known : loop.inputs()) {
      space.input(known);
    }
    std::vector<Expr> dims;
    Index index;
    const std::vector<Expr>& shape = c.network.type(id).shape;
    for (const Expr& extent : extents) {
      dims.push_back(space.add_dim(extent, false));
    }
    const size_t lead = extents.size() - shape.size();
    for (size_t i = 0; i < shape.size(); ++i) {
      index.push_back(shape[i].is_constant(1) ? Expr(0) : dims[lead + i]);
    }
    const StridedView result = strided_operand(c, space, id, index, dims);
    for (const TensorId input : space.inputs()) {
      loop.input(input);
    }
    return result;
  };
  region.q = view(layer.inputs[0], q);
  region.k = view(layer.inputs[1], k);
  region.v = view(layer.inputs[2], v);
  region.has_mask = attributes.has_mask;
  if (attributes.has_mask) {
    region.mask_dtype = c.network.type(layer.inputs[3]).dtype;
    region.mask = view(layer.inputs[3], {q[0], q[1], q[2], k[2]});
  }
  region.out.buffer = static_cast<int32_t>(loop.inputs().size());
  const std::vector<Expr> strides = contiguous_strides(c.network.type(out).shape);
  region.out.strides = strides;
  if (out != layer.outputs[0]) {
    const auto& transpose = std::get<Transpose>(
        c.network.layers[static_cast<size_t>(c.network.tensor(out).producer)].attributes);
    for (size_t i = 0; i < strides.size(); ++i) {
      region.out.strides[static_cast<size_t>(transpose.permutation[i])] = strides[i];
    }
  }
  c.regions.add_region(std::move(region), region_inputs(c, loop), {c.regions.tensor(out)},
                       {layer.provenance}, region_name({layer.provenance}, "attention"));
}

}  // namespace stator
