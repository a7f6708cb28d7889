// SPDX-License-Identifier: Apache-2.0
//
// The processor's caches, for timings that shall find memory as a model finds it.
#pragma once

#include <cstdint>

namespace stator {

/// Writes back and drops these bytes from every cache of an x86-64 processor; elsewhere nothing.
void evict_from_caches(const void* data, int64_t size_bytes);

}  // namespace stator
