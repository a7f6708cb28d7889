// SPDX-License-Identifier: Apache-2.0
//
// The JSON header of an engine file: a plan without its bytes. Weights and code images are numbers
// of blobs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "plan/plan.h"

namespace stator {

/// A blob's place, counted from the first 64-byte boundary behind the header.
struct BlobEntry {
  int64_t offset = 0;
  int64_t size_bytes = 0;
  uint64_t digest = 0;
};

/// A blob by its number, and its digest once more: a wrong number finds another one.
struct BlobUse {
  int32_t blob = -1;
  uint64_t digest = 0;
};

/// Which blob holds what.
struct BlobIndex {
  std::vector<BlobEntry> blobs;
  std::vector<BlobUse> weights;  // parallel to Plan::weights
  std::vector<BlobUse> code;     // parallel to Plan::code
};

std::string encode_header(const Plan& plan, const std::string& key, const BlobIndex& index);
/// The plan with empty weights and images, and where their bytes are. kInvalidFile with the path of
/// the first entry that is missing or of the wrong type; kIncompatible for another format version.
Result<Plan> decode_header(std::string_view text, BlobIndex* index);

}  // namespace stator
