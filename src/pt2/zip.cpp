// SPDX-License-Identifier: Apache-2.0
#include "pt2/zip.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <thread>
#include <vector>

namespace stator {
namespace {

constexpr uint32_t kEndSignature = 0x06054b50;
constexpr uint32_t kEnd64LocatorSignature = 0x07064b50;
constexpr uint32_t kEnd64Signature = 0x06064b50;
constexpr uint32_t kCentralSignature = 0x02014b50;
constexpr uint32_t kLocalSignature = 0x04034b50;
constexpr int64_t kEndBytes = 22;
constexpr int64_t kLocator64Bytes = 20;
constexpr int64_t kEnd64Bytes = 56;
constexpr int64_t kCentralBytes = 46;
constexpr int64_t kLocalBytes = 30;

/// Little-endian fields, each read checked against the file.
class Reader {
 public:
  explicit Reader(const MappedFile& file) : data_(file.data()), size_(file.size_bytes()) {}
  bool holds(int64_t offset, int64_t bytes) const {
    return offset >= 0 && bytes >= 0 && offset <= size_ && bytes <= size_ - offset;
  }
  template <typename T>
  T get(int64_t offset) const {
    T value;
    std::memcpy(&value, data_ + offset, sizeof(T));
    return value;
  }
  std::string_view text(int64_t offset, int64_t bytes) const {
    return {reinterpret_cast<const char*>(data_ + offset), static_cast<size_t>(bytes)};
  }
  int64_t size() const { return size_; }

 private:
  const uint8_t* data_;
  int64_t size_;
};

Error bad(const MappedFile& file, const std::string& what) {
  return Error{ErrorCode::kInvalidFile,
               file.path() + ": " + what +
                   "; it is damaged, truncated or no .pt2 archive. Save it again with "
                   "torch.export.save"};
}

struct Directory {
  int64_t offset = 0, size_bytes = 0, count = 0;
};

/// The directory's place from the end record, or from the zip64 one before it.
Result<Directory> find_directory(const MappedFile& file, const Reader& reader) {
  // The end record is followed by a comment of at most 65535 bytes.
  int64_t end = -1;
  bool goes_on = false;
  for (int64_t at = reader.size() - kEndBytes; at >= 0 && at >= reader.size() - kEndBytes - 65535;
       --at) {
    if (reader.get<uint32_t>(at) != kEndSignature) continue;
    if (reader.get<uint16_t>(at + 20) == reader.size() - at - kEndBytes) {
      end = at;
      break;
    }
    goes_on = true;
  }
  if (end < 0) {
    return bad(file, goes_on ? "bytes follow its end" : "it has no zip directory");
  }
  Directory d{reader.get<uint32_t>(end + 16), reader.get<uint32_t>(end + 12),
              reader.get<uint16_t>(end + 10)};
  const int64_t locator = end - kLocator64Bytes;
  if (locator >= 0 && reader.get<uint32_t>(locator) == kEnd64LocatorSignature) {
    const auto at = reader.get<int64_t>(locator + 8);
    if (!reader.holds(at, kEnd64Bytes) || reader.get<uint32_t>(at) != kEnd64Signature) {
      return bad(file, "its zip64 directory is damaged");
    }
    d = {reader.get<int64_t>(at + 48), reader.get<int64_t>(at + 40), reader.get<int64_t>(at + 32)};
  }
  if (d.count < 0 || !reader.holds(d.offset, d.size_bytes)) {
    return bad(file, "its zip directory lies outside the file");
  }
  return d;
}

/// Sizes and offsets of 0xffffffff stand in the zip64 extra field, in this order.
bool read_zip64(const Reader& reader, int64_t extra, int64_t extra_bytes, int64_t& plain,
                int64_t& packed, int64_t& local) {
  const int64_t end = extra + extra_bytes;
  while (extra + 4 <= end) {
    const auto id = reader.get<uint16_t>(extra);
    const int64_t bytes = reader.get<uint16_t>(extra + 2);
    extra += 4;
    if (bytes > end - extra) {
      return false;
    }
    if (id == 1) {
      int64_t at = extra;
      for (int64_t* field : {&plain, &packed, &local}) {
        if (*field == 0xffffffff) {
          if (at + 8 > extra + bytes) {
            return false;
          }
          *field = reader.get<int64_t>(at);
          at += 8;
        }
      }
      return true;
    }
    extra += bytes;
  }
  return true;
}

uint32_t crc32_of_piece(const uint8_t* data, int64_t size_bytes) {
  return static_cast<uint32_t>(::crc32_z(0, data, static_cast<size_t>(size_bytes)));
}

/// Of large entries by several threads: weights come at a gigabyte a second on one.
uint32_t crc32_of(const uint8_t* data, int64_t size_bytes) {
  constexpr int64_t kPiece = int64_t{16} << 20;
  const auto most = static_cast<int64_t>(std::max(1u, std::thread::hardware_concurrency()));
  const int64_t pieces = std::clamp<int64_t>(size_bytes / kPiece, 1, std::min<int64_t>(most, 16));
  const int64_t each = size_bytes / pieces;
  std::vector<std::future<uint32_t>> others;
  for (int64_t i = 1; i < pieces; ++i) {
    const int64_t begin = i * each, end = i + 1 == pieces ? size_bytes : begin + each;
    others.push_back(std::async(std::launch::async, crc32_of_piece, data + begin, end - begin));
  }
  uLong crc = crc32_of_piece(data, pieces == 1 ? size_bytes : each);
  for (int64_t i = 1; i < pieces; ++i) {
    const int64_t size = i + 1 == pieces ? size_bytes - i * each : each;
    crc = ::crc32_combine(crc, others[static_cast<size_t>(i) - 1].get(), size);
  }
  return static_cast<uint32_t>(crc);
}

}  // namespace

Result<ZipFile> ZipFile::open(const std::string& path) {
  ZipFile zip;
  STATOR_TRY(zip.file_, MappedFile::open(path));
  const Reader reader(zip.file_);
  STATOR_TRY(const Directory directory, find_directory(zip.file_, reader));
  int64_t at = directory.offset;
  for (int64_t i = 0; i < directory.count; ++i) {
    if (!reader.holds(at, kCentralBytes) || reader.get<uint32_t>(at) != kCentralSignature) {
      return bad(zip.file_, "its zip directory is damaged");
    }
    const int64_t name_bytes = reader.get<uint16_t>(at + 28);
    const int64_t extra_bytes = reader.get<uint16_t>(at + 30);
    const int64_t comment_bytes = reader.get<uint16_t>(at + 32);
    if (!reader.holds(at + kCentralBytes, name_bytes + extra_bytes + comment_bytes)) {
      return bad(zip.file_, "its zip directory is damaged");
    }
    const std::string name(reader.text(at + kCentralBytes, name_bytes));
    int64_t packed = reader.get<uint32_t>(at + 20);
    int64_t plain = reader.get<uint32_t>(at + 24);
    int64_t local = reader.get<uint32_t>(at + 42);
    if (!read_zip64(reader, at + kCentralBytes + name_bytes, extra_bytes, plain, packed, local) ||
        !reader.holds(local, kLocalBytes) || reader.get<uint32_t>(local) != kLocalSignature) {
      return bad(zip.file_, "entry '" + name + "' is damaged");
    }
    Entry entry;
    entry.stored = reader.get<uint16_t>(at + 10) == 0 && plain == packed;
    entry.offset =
        local + kLocalBytes + reader.get<uint16_t>(local + 26) + reader.get<uint16_t>(local + 28);
    entry.size_bytes = packed;
    entry.crc32 = reader.get<uint32_t>(at + 16);
    if (!reader.holds(entry.offset, entry.size_bytes)) {
      return bad(zip.file_, "entry '" + name + "' lies outside the file");
    }
    zip.entries_.emplace(name, entry);
    at += kCentralBytes + name_bytes + extra_bytes + comment_bytes;
  }
  return zip;
}

Result<TensorData> ZipFile::bytes(std::string_view name) const {
  const auto found = entries_.find(name);
  if (found == entries_.end()) {
    return bad(file_, "entry '" + std::string(name) + "' is missing");
  }
  if (!found->second.stored) {
    return Error{ErrorCode::kInvalidFile,
                 path() + ": entry '" + std::string(name) +
                     "' is compressed; a .pt2 archive is stored without compression. Save it again "
                     "with torch.export.save"};
  }
  const TensorData data = file_.slice(found->second.offset, found->second.size_bytes);
  if (checked_.find(name) == checked_.end()) {
    if (crc32_of(data.as<uint8_t>(), data.size_bytes) != found->second.crc32) {
      return bad(file_, "entry '" + std::string(name) + "' does not match its checksum");
    }
    checked_.emplace(name);
  }
  return data;
}

Result<std::string_view> ZipFile::text(std::string_view name) const {
  STATOR_TRY(const TensorData data, bytes(name));
  return std::string_view(data.as<char>(), static_cast<size_t>(data.size_bytes));
}

}  // namespace stator
