// SPDX-License-Identifier: Apache-2.0
//
// The passes over networks. Each gives how often it fired.
#pragma once

#include "optimizer/optimizer.h"

namespace stator {

/// Computes layers whose inputs are all constants.
/// Requires: sizes fixed; the result is not larger than what it comes from, plus 64 KiB. Views of
/// large constants stay: they are index maps, or the packing of weights takes them in.
int fold_constant_layers(Network& network, const OptimizerOptions& options);

/// Runs convolutions and pooling with the channels last, and everything pointwise between them too.
///   %y = convolution(%x, %w)            %t = transpose(%x) {0, 2, 3, 1}
///                                       %u = convolution(%t, %w) {channels_last}
///                                       %y = transpose(%u) {0, 3, 1, 2}
/// Transposes appear only where a layer needs the other order. Exact.
int channels_last(Network& network, const OptimizerOptions& options);

/// Removes layers that nobody reads.
int remove_dead_layers(Network& network, const OptimizerOptions& options);

}  // namespace stator
