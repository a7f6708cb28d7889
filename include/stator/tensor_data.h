// SPDX-License-Identifier: Apache-2.0
//
// Bytes of a weight, shared and never copied: a mapped file, a PyTorch tensor kept alive, or our
// own memory.
#pragma once

#include <cstdint>
#include <memory>

namespace stator {

struct TensorData {
  const void* data = nullptr;
  int64_t size_bytes = 0;
  std::shared_ptr<const void> owner;  // keeps `data` alive

  template <typename T>
  const T* as() const {
    return static_cast<const T*>(data);
  }
  /// Fresh, 64-byte aligned, uninitialized memory; `writable` receives the pointer to fill it
  /// through.
  static TensorData allocate(int64_t size_bytes, void** writable);
};

}  // namespace stator
