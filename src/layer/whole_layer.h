// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "stator/layer.h"

namespace stator {

/// Whether a layer is a scan, a sort, a top-k or a scatter, of elements that it is defined for:
/// truth values have extremes and are put, and have no sums. A backend with kernels for all of them
/// gives this as its BackendTraits::runs_whole.
bool is_whole_layer(const LayerAttributes& attributes, DType dtype);

}  // namespace stator
