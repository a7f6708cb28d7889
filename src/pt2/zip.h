// SPDX-License-Identifier: Apache-2.0
//
// Entries of a stored (uncompressed) zip file, in place. Own code, because weights are mapped where
// they lie: libraries copy what they read. Format: PKWARE APPNOTE 6.3.9, sections 4.3 and 4.5.3
// (zip64).
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "base/mapped_file.h"
#include "stator/result.h"

namespace stator {

class ZipFile {
 public:
  /// kIo, or kInvalidFile when the directory is missing, damaged or points outside the file.
  static Result<ZipFile> open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  /// Offset and size of every entry's bytes, by name; all within the file.
  struct Entry {
    int64_t offset = 0, size_bytes = 0;
    uint32_t crc32 = 0;
    bool stored = true;
  };
  const std::map<std::string, Entry, std::less<>>& entries() const { return entries_; }
  bool contains(std::string_view name) const { return entries_.find(name) != entries_.end(); }
  /// The bytes of an entry, in the mapping. kInvalidFile when it is missing or compressed, or its
  /// checksum, which is computed at the first call, is another one.
  Result<TensorData> bytes(std::string_view name) const;
  Result<std::string_view> text(std::string_view name) const;

 private:
  MappedFile file_;
  std::map<std::string, Entry, std::less<>> entries_;
  mutable std::set<std::string, std::less<>> checked_;  // entries whose checksum is right
};

}  // namespace stator
