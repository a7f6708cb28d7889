// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "stator/layer.h"

namespace stator {

/// Whether a scan also gives the places of its values: running extremes, where NaN stays and what
/// comes last wins among equals.
constexpr bool has_places(ScanOp op) { return op == ScanOp::kMax || op == ScanOp::kMin; }

}  // namespace stator
