// SPDX-License-Identifier: Apache-2.0
//
// XXH64 (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md): finds damage in engine
// files at memory speed. It is no signature: a file that carries code must come from a source that
// its user trusts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "stator/tensor_data.h"

namespace stator {

/// XXH64 of `size_bytes` bytes with seed 0.
uint64_t digest64(const void* data, int64_t size_bytes);
/// Of each blob: XXH64, or of a blob of more than kDigestPiece bytes XXH64 of its pieces' digests
/// (8 bytes each), which several threads compute.
std::vector<uint64_t> digest_blobs(const std::vector<TensorData>& blobs);
inline constexpr int64_t kDigestPiece = int64_t{1} << 20;
/// 16 lower-case hexadecimal digits.
std::string digest_text(uint64_t digest);

}  // namespace stator
