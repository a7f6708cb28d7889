// SPDX-License-Identifier: Apache-2.0
#include "stator/tensor_data.h"

#include <cstdlib>
#include <new>

#include "base/align.h"

namespace stator {

TensorData TensorData::allocate(int64_t size_bytes, void** writable) {
  // At least one line, so that an empty tensor still has an address.
  const int64_t bytes = align_up(size_bytes > 0 ? size_bytes : 1);
  void* memory = std::aligned_alloc(static_cast<size_t>(kAlignment), static_cast<size_t>(bytes));
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  *writable = memory;
  TensorData data;
  data.data = memory;
  data.size_bytes = size_bytes;
  data.owner =
      std::shared_ptr<const void>(memory, [](const void* p) { std::free(const_cast<void*>(p)); });
  return data;
}

}  // namespace stator
