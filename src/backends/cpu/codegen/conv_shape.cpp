// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/conv_shape.h"

#include <algorithm>

#include "base/check.h"

namespace stator::cpu {
namespace {

/// `index` with the dims before the last taken as one flat dim: possible when its coefficients
/// nest as row-major positions do.
std::optional<Expr> flat_index(const Expr& index, const std::vector<Expr>& extents) {
  size_t pixels = extents.size() - 1;
  std::vector<std::string> names;
  for (size_t d = 0; d <= pixels; ++d) names.push_back(index_symbol(static_cast<int>(d)));
  std::optional<LinearForm> form = linear_form(index, names);
  if (!form) return std::nullopt;
  // The innermost dim that moves at all gives the step; those of extent 1 are always at 0.
  std::optional<Expr> step;
  Expr expected;
  for (size_t d = pixels; d-- > 0;) {
    if (extents[d].is_constant(1)) continue;
    const Expr& coefficient = form->coefficients.at(names[d]);
    if (!step) {
      step = expected = coefficient;
    } else if (!(coefficient == expected)) {
      return std::nullopt;
    }
    expected = expected * extents[d];
  }
  return form->constant_term + step.value_or(0) * Expr::symbol(index_symbol(0)) +
         form->coefficients.at(names[pixels]) * Expr::symbol(index_symbol(1));
}

std::optional<LoopProgram> flat_epilogue(const LoopProgram& epilogue) {
  std::vector<Expr> extents;
  for (const LoopDim& dim : epilogue.dims) extents.push_back(dim.extent);
  LoopProgram flat = epilogue;
  Expr pixels = product({extents.begin(), extents.end() - 1});
  flat.dims = {LoopDim{pixels}, LoopDim{extents.back()}};
  for (LoopOp& op : flat.ops) {
    bool indexed = op.kind == LoopOpKind::kLoad || op.kind == LoopOpKind::kIndex;
    if (!indexed) continue;
    std::optional<Expr> index = flat_index(op.index, extents);
    if (!index) return std::nullopt;
    op.index = *index;
    for (Indirect& indirect : op.indirect)
      for (size_t d = 0; d < extents.size(); ++d)
        if (indirect.stride.uses_symbol(index_symbol(static_cast<int>(d)))) return std::nullopt;
  }
  for (LoopStore& store : flat.stores) {
    std::optional<Expr> index = flat_index(store.index, extents);
    if (!index) return std::nullopt;
    store.index = *index;
  }
  return flat;
}

}  // namespace

ConvShape::ConvShape(const ConvolutionContraction& conv) {
  const Convolution& attributes = conv.attributes;
  spatial_rank = static_cast<int>(conv.x_shape.size()) - 2;
  STATOR_CHECK(spatial_rank >= 1 && spatial_rank <= 3, "convolution over 1 to 3 spatial axes");
  batch = conv.x_shape[0];
  in = {1, 1, 1};
  out = {1, 1, 1};
  for (int d = 0; d < spatial_rank; ++d) {
    auto from = static_cast<size_t>(d), to = static_cast<size_t>(3 - spatial_rank + d);
    in[to] = conv.x_shape[from + 1];
    out[to] = conv.y_shape[from + 1];
    kernel[to] = conv.w_shape[from + 2].constant();
    stride[to] = attributes.stride[from];
    dilation[to] = attributes.dilation[from];
    pad[to] = attributes.pad_before[from];
    pads = pads || attributes.pad_before[from] != 0 || attributes.pad_after[from] != 0;
  }
  groups = attributes.groups;
  group_in = conv.w_shape[1].constant();
  group_out = conv.w_shape[0].constant() / groups;
  bytes = conv.dtype == DType::kUInt8;
}

PanelRecipe conv_recipe(const ConvShape& shape, int64_t columns) {
  int64_t positions = shape.kernel_positions();
  PanelRecipe recipe;
  recipe.columns = columns;
  int64_t filter = shape.depth() * (shape.bytes ? 4 : 1);
  recipe.n = {shape.group_out, filter};
  recipe.k = {{positions, 1}, {shape.group_in, positions}};
  recipe.batch = {{shape.groups, shape.group_out * filter}};
  if (shape.bytes) recipe.group_bytes(positions);
  return recipe;
}

PanelRecipe depthwise_recipe(const ConvShape& shape, int64_t lanes) {
  PanelRecipe recipe;
  int64_t positions = shape.kernel_positions();
  recipe.columns = (shape.groups + lanes - 1) / lanes * lanes;
  recipe.n = {shape.groups, positions};
  recipe.k = {{positions, 1}};
  return recipe;
}

std::optional<MatmulContraction> conv_as_matmul(const ConvolutionContraction& conv) {
  ConvShape shape(conv);
  bool plain = shape.groups == 1 && shape.kernel_positions() == 1 && !conv.attributes.transposed;
  for (size_t d = 0; d < conv.attributes.stride.size(); ++d)
    plain = plain && conv.attributes.stride[d] == 1 && conv.attributes.pad_before[d] == 0 &&
            conv.attributes.pad_after[d] == 0;
  if (!plain) return std::nullopt;
  std::optional<LoopProgram> epilogue = flat_epilogue(conv.epilogue);
  if (!epilogue) return std::nullopt;
  MatmulContraction matmul;
  matmul.m = epilogue->dims[0].extent;
  matmul.n = shape.group_out;
  matmul.k = shape.group_in;
  matmul.dtype = conv.dtype;
  matmul.a = {conv.x, 0, {shape.group_in, 1}};
  matmul.b = {conv.w, 0, {1, shape.group_in * (shape.bytes ? 4 : 1)}};
  matmul.b_constant = conv.w_constant;
  matmul.epilogue = std::move(*epilogue);
  return matmul;
}

}  // namespace stator::cpu
