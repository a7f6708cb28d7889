// SPDX-License-Identifier: Apache-2.0
//
// What a run must find true of its data. Where it does not, the run ends in the error that eager
// PyTorch raises.
#pragma once

#include "conversion/aten/common.h"

namespace stator::aten {

/// `value` (int64), each of its elements in 0 … limit - 1; negative ones count from the end where
/// `wrap`.
TensorId checked_places(Conversion& c, TensorId value, const Expr& limit, DataError error,
                        int64_t dim = 0, bool wrap = false);
/// `x`, where `wrong` (bool, broadcast to x) holds nowhere.
TensorId check_none(Conversion& c, TensorId x, TensorId wrong, DataError error);
/// `x`, made of `size` elements of which there must be one.
TensorId check_not_empty(Conversion& c, TensorId x, const Expr& size, DataError error,
                         int64_t dim = 0);
/// No where a constant index lies outside of a constant size: PyTorch raises its own error.
Support constant_places(const SupportContext& c, ValueId index, const Expr& size, bool wrap);

}  // namespace stator::aten
