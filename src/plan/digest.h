// SPDX-License-Identifier: Apache-2.0
//
// XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md): finds damage in engine
// files at memory speed. It is no signature: a file that carries code must come from a source that
// its user trusts.
#pragma once

#include <cstdint>
#include <string>

namespace stator {

/// XXH64 of `size_bytes` bytes with seed 0.
uint64_t digest64(const void* data, int64_t size_bytes);
/// 16 lower-case hexadecimal digits.
std::string digest_text(uint64_t digest);

}  // namespace stator
