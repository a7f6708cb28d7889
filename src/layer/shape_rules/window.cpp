// SPDX-License-Identifier: Apache-2.0
//
// Contractions and windows: matrix products, convolutions, pooling, resize, attention.
#include "layer/shape_rules/rules.h"

namespace stator::shape_rules {
namespace {

/// Axis of the k-th spatial size and of the channels in an image tensor.
size_t spatial_axis(size_t k, bool channels_last) { return k + (channels_last ? 1 : 2); }
size_t channel_axis(size_t rank, bool channels_last) { return channels_last ? rank - 1 : 1; }

Status expect_image(const TensorType& x, size_t spatial) {
  if (x.shape.size() != spatial + 2) {
    return refuse("its input must have " + std::to_string(spatial + 2) + " axes");
  }
  return {};
}

}  // namespace

/// The element type of sums of products.
Result<DType> sum_dtype(const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 2, 3));
  if (is_byte(in[0].dtype) && is_byte(in[1].dtype)) return DType::kInt32;
  if (in[0].dtype != in[1].dtype) return refuse("its operands must be of one element type");
  return in[0].dtype;
}

Result<Types> infer(const MatrixMultiply& layer, const Inputs& in) {
  STATOR_TRY(const DType dtype, sum_dtype(in));
  const TensorType& a = in[0];
  const TensorType& b = in[1];
  if (a.rank() < 2 || b.rank() < 2) {
    return refuse("its operands must be matrices");
  }
  const auto sizes = [](const TensorType& t, bool transposed) {
    const size_t r = t.shape.size();
    return transposed ? std::pair{t.shape[r - 1], t.shape[r - 2]}
                      : std::pair{t.shape[r - 2], t.shape[r - 1]};
  };
  const auto [m, k] = sizes(a, layer.transpose_a);
  const auto [k2, n] = sizes(b, layer.transpose_b);
  if (in.bounds.proves_not_equal(k, k2)) {
    return refuse("inner sizes " + k.str() + " and " + k2.str() + " differ");
  }
  STATOR_TRY(std::vector<Expr> shape, broadcast({a.shape.begin(), a.shape.end() - 2},
                                                {b.shape.begin(), b.shape.end() - 2}, in.bounds));
  shape.push_back(m);
  shape.push_back(n);
  if (in.size() == 3 && (in[2].rank() != 1 || in[2].dtype != dtype ||
                         in.bounds.proves_not_equal(in[2].shape[0], n))) {
    return refuse("its bias must be " + std::string(dtype_name(dtype)) + "[" + n.str() + "]");
  }
  return Types{{dtype, std::move(shape)}};
}

Result<Types> infer(const Convolution& layer, const Inputs& in) {
  STATOR_TRY(const DType dtype, sum_dtype(in));
  const size_t spatial = layer.stride.size();
  STATOR_RETURN_IF_ERROR(expect_image(in[0], spatial));
  STATOR_RETURN_IF_ERROR(expect_image(in[1], spatial));
  if (layer.dilation.size() != spatial || layer.pad_before.size() != spatial ||
      layer.pad_after.size() != spatial || layer.output_padding.size() != spatial) {
    return refuse("its attributes must have one entry for each spatial axis");
  }
  const size_t rank = spatial + 2;
  const Expr channels = in[0].shape[channel_axis(rank, layer.channels_last)];
  const Expr expected = layer.transposed ? in[1].shape[0] : in[1].shape[1] * Expr(layer.groups);
  if (in.bounds.proves_not_equal(channels, expected)) {
    return refuse("weight expects " + expected.str() + " input channels, input has " +
                  channels.str());
  }
  TensorType out = in[0];
  out.dtype = dtype;
  out.shape[channel_axis(rank, layer.channels_last)] =
      layer.transposed ? in[1].shape[1] * Expr(layer.groups) : in[1].shape[0];
  for (size_t k = 0; k < spatial; ++k) {
    const Expr size = in[0].shape[spatial_axis(k, layer.channels_last)];
    const Expr reach = Expr(layer.dilation[k]) * (in[1].shape[2 + k] - Expr(1)) + Expr(1);
    const Expr padding = Expr(layer.pad_before[k] + layer.pad_after[k]);
    out.shape[spatial_axis(k, layer.channels_last)] =
        layer.transposed ? (size - Expr(1)) * Expr(layer.stride[k]) - padding + reach +
                               Expr(layer.output_padding[k])
                         : floor_div(size + padding - reach, Expr(layer.stride[k])) + Expr(1);
  }
  return Types{std::move(out)};
}

Result<Types> infer(const Pooling& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  const size_t spatial = layer.kernel.size();
  STATOR_RETURN_IF_ERROR(expect_image(in[0], spatial));
  if (layer.output_size.size() != spatial || layer.stride.size() != spatial ||
      layer.dilation.size() != spatial || layer.pad_before.size() != spatial ||
      layer.pad_after.size() != spatial) {
    return refuse("its attributes must have one entry for each spatial axis");
  }
  TensorType out = in[0];
  for (size_t k = 0; k < spatial; ++k) {
    out.shape[spatial_axis(k, layer.channels_last)] = layer.output_size[k];
  }
  return Types{std::move(out)};
}

Result<Types> infer(const AdaptivePooling& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  STATOR_RETURN_IF_ERROR(expect_image(in[0], layer.output_size.size()));
  TensorType out = in[0];
  for (size_t k = 0; k < layer.output_size.size(); ++k) {
    out.shape[spatial_axis(k, layer.channels_last)] = layer.output_size[k];
  }
  return Types{std::move(out)};
}

Result<Types> infer(const Resize& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, 1, 1));
  STATOR_RETURN_IF_ERROR(expect_image(in[0], layer.size.size()));
  TensorType out = in[0];
  for (size_t k = 0; k < layer.size.size(); ++k) {
    out.shape[spatial_axis(k, layer.channels_last)] = layer.size[k];
  }
  return Types{std::move(out)};
}

Result<Types> infer(const Attention& layer, const Inputs& in) {
  STATOR_RETURN_IF_ERROR(expect_inputs(in, layer.has_mask ? 4 : 3, layer.has_mask ? 4 : 3));
  for (size_t i = 0; i < 3; ++i) {
    if (in[i].rank() != 4 || in[i].dtype != in[0].dtype) {
      return refuse("q, k and v must have four axes and one element type");
    }
  }
  if (in.bounds.proves_not_equal(in[0].shape[3], in[1].shape[3]) ||
      in.bounds.proves_not_equal(in[1].shape[2], in[2].shape[2])) {
    return refuse("q and k must have one width, k and v one length");
  }
  return Types{{in[0].dtype, {in[0].shape[0], in[0].shape[1], in[0].shape[2], in[2].shape[3]}}};
}

}  // namespace stator::shape_rules
