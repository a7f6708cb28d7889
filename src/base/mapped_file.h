// SPDX-License-Identifier: Apache-2.0
//
// A file mapped read-only and private. Weights and code are used from it in place.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "stator/result.h"
#include "stator/tensor_data.h"

namespace stator {

class MappedFile {
 public:
  /// kIo: missing, unreadable or not a regular file. An empty file maps as size 0.
  static Result<MappedFile> open(const std::string& path);
  const std::string& path() const { return path_; }
  const uint8_t* data() const { return data_; }
  int64_t size_bytes() const { return size_bytes_; }
  /// A part of the file that keeps the mapping alive. The caller has checked the bounds.
  TensorData slice(int64_t offset, int64_t size) const;

 private:
  std::string path_;
  const uint8_t* data_ = nullptr;
  int64_t size_bytes_ = 0;
  std::shared_ptr<const void> mapping_;
};

}  // namespace stator
