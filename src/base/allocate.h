// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "stator/result.h"
#include "stator/tensor_data.h"

namespace stator {

/// TensorData::allocate for a size that a file or a caller gave: kIo where the machine has no such
/// memory.
Result<TensorData> allocate_if_there_is(int64_t size_bytes, void** writable);

}  // namespace stator
