// SPDX-License-Identifier: Apache-2.0
//
// The passes over networks. Each gives how often it fired.
#pragma once

#include "optimizer/optimizer.h"

namespace stator {

/// Products, convolutions and attention on halves that were widened run on the halves themselves,
/// where the backend can (it accumulates in float32 all the same):
///   %a = cast(%x) {f32}; %y = matrix_multiply(%a, …)   →   %m = matrix_multiply(%x, …); %y =
///   cast(%m)
/// The result is rounded to the half, as PyTorch rounds it. Casts there and back fall away.
int narrow_contractions(Network& network, const OptimizerOptions& options);

/// Computes layers whose inputs are all constants.
/// Requires: sizes fixed; the result is not larger than what it comes from, plus 64 KiB. Views of
/// large constants stay: they are index maps, or the packing of weights takes them in. Weights in a
/// half that the backend computes with in float32 become float32.
int fold_constant_layers(Network& network, const OptimizerOptions& options);

/// Runs convolutions and pooling with the channels last, and everything pointwise between them too.
///   %y = convolution(%x, %w)            %t = transpose(%x) {0, 2, 3, 1}
///                                       %u = convolution(%t, %w) {channels_last}
///                                       %y = transpose(%u) {0, 3, 1, 2}
/// Transposes appear only where a layer needs the other order. Exact.
int channels_last(Network& network, const OptimizerOptions& options);

/// Takes the constant scale and shift of a convolution's channels into its weights and bias:
///   %y = convolution(%x, W) ; %z = %y * s + t   →   %z = convolution(%x, s W, t)
/// What an inference batch norm becomes. The weights are rounded to their own type.
int fold_scales(Network& network, const OptimizerOptions& options);

/// Products and convolutions between quantized operands are computed on the integers, where the
/// backend can (traits.byte_product, byte_convolution):
///   %a = (%q - z) * s; %w = %c * t; %y = matmul(%a, %w) + b      (c: constant i8)
///   →   %y = to_float(matmul(%q, %c) - z * column sums of %c) * (s * t) + b
/// Finds quantization as it is written (integers that are dequantized) and as it is faked (whole
/// numbers in float32 between bounds). Sums are exact, where float32 rounds.
int quantized_products(Network& network, const OptimizerOptions& options);

/// Products, convolutions and attention of float32 in options.low_precision, where the backend is
/// faster in it:
///   %y = matmul(%a, %b)   →   %y = to_float(matmul(to_half(%a), to_half(%b)))
/// Everything between them stays in float32.
int lower_precisions(Network& network, const OptimizerOptions& options);

/// Residual sums stay in float32 from one to the next, where halves are rounded at each:
///   %y = to_half(%x + %a) ; to_float(%y) + %b   →   (%x + %a) + %b
/// What norms read is not rounded either. Only sums of at most 8 MiB (or of dynamic sizes): larger
/// ones would leave the caches.
int keep_sums_wide(Network& network, const OptimizerOptions& options);

/// Queries, keys and values as one product: products of one tensor with constant weights whose
/// results go to attention become one with the weights side by side; attention reads its slices.
int merge_products(Network& network, const OptimizerOptions& options);

/// A transposed convolution with constant weights is a direct one, of stride 1, over its input with
/// zeros between the positions and with the filter turned:
///   %y = convolution(%x, W) {transposed, stride s}
///   →   %u = pad(%x) with s - 1 zeros after each position; %y = convolution(%u, turned W)
int transposed_convolutions(Network& network, const OptimizerOptions& options);

/// A convolution whose windows lie side by side (a vision transformer's patches) is a product of
/// the patches: views of the image, one copy, no window left.
int patches_as_products(Network& network, const OptimizerOptions& options);

/// Channels of a convolution's input padded with zeros to what the device's kernels are made for
/// (traits.channel_multiple), its weights too; the rows' margins with them.
int pad_channels(Network& network, const OptimizerOptions& options);

/// What no region stands for, as layers that loops hold: joins of many parts, pooling over the
/// whole image, resizing, reductions over nothing (expand/expand.h).
int expand_into_loops(Network& network, const OptimizerOptions& options);

/// Reductions of many elements to few results, which would keep few of the device's processors busy
/// (traits.few_results, long_reduction), in two steps:
///   %y = reduce(%x) {sum, axes 0 1}   →   %p = reduce(%x) {sum, axes 1}; %y = reduce(%p) {sum,
///   axes 0}
/// A single axis becomes two where it has a divisor near its root. Halves are rounded once.
int split_reductions(Network& network, const OptimizerOptions& options);

/// Removes layers that nobody reads.
int remove_dead_layers(Network& network, const OptimizerOptions& options);

}  // namespace stator
