// SPDX-License-Identifier: Apache-2.0
#include "base/allocate.h"

#include <unistd.h>

#include <new>

namespace stator {
namespace {

/// Linux gives addresses for more than there is and kills who uses them.
int64_t machine_bytes() {
  static const int64_t bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGE_SIZE);
  return bytes;
}

}  // namespace

Result<TensorData> allocate_if_there_is(int64_t size_bytes, void** writable) {
  const auto refused = [&] {
    return Error{ErrorCode::kIo, "there is no memory for " + std::to_string(size_bytes) +
                                     " bytes; this machine has " + std::to_string(machine_bytes())};
  };
  if (size_bytes < 0 || size_bytes > machine_bytes()) return refused();
  try {
    return TensorData::allocate(size_bytes, writable);
  } catch (const std::bad_alloc&) {
    return refused();
  }
}

}  // namespace stator
