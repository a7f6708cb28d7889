// SPDX-License-Identifier: Apache-2.0
#include "base/caches.h"

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

namespace stator {

void evict_from_caches(const void* data, int64_t size_bytes) {
#if defined(__x86_64__)
  constexpr int64_t kLine = 64;
  const auto* bytes = static_cast<const char*>(data);
  for (int64_t i = 0; i < size_bytes; i += kLine) _mm_clflush(bytes + i);
  _mm_mfence();
#else
  (void)data;
  (void)size_bytes;
#endif
}

}  // namespace stator
