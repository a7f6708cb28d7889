// SPDX-License-Identifier: Apache-2.0
//
// A place in a kernel that may find its data wrong, as one number that the kernel writes.
#pragma once

#include "stator/layer.h"

namespace stator {

struct FaultSite {
  DataError error = DataError::kNone;
  int64_t dim = 0;    // for the message
  bool wrap = false;  // negative values have had the limit added

  /// Below 2^32 and not 0.
  constexpr int64_t code() const {
    return static_cast<int64_t>(error) | (dim & 0xff) << 8 | (wrap ? 1 << 16 : 0);
  }
  static FaultSite of(int64_t code) {
    return {static_cast<DataError>(code & 0xff), code >> 8 & 0xff, (code >> 16 & 1) != 0};
  }
};

/// An integer division by zero.
inline constexpr FaultSite kDivisionSite{DataError::kDivision, 0, false};

}  // namespace stator
