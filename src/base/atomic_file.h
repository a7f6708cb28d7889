// SPDX-License-Identifier: Apache-2.0
//
// Writes a file so that a reader sees the old one or the new one and never a part: to a temporary
// name in the same folder, flushed, then renamed. Destroyed before commit(): the temporary file is
// removed, the target untouched. What a killed writer leaves behind the next one of the same target
// removes: a living one holds a lock on its file.
#pragma once

#include <cstdint>
#include <string>

#include "stator/result.h"

namespace stator {

class AtomicFile {
 public:
  /// kIo when the folder is missing or not writable.
  static Result<AtomicFile> create(const std::string& path);
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&&) = delete;
  ~AtomicFile();
  Status write(const void* data, int64_t size_bytes);
  Status commit();

 private:
  AtomicFile() = default;
  std::string path_, temporary_;
  int fd_ = -1;
};

}  // namespace stator
