// SPDX-License-Identifier: Apache-2.0
#include "plan/engine_file.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>

#include "base/align.h"
#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "plan/digest.h"
#include "plan/engine_header.h"

namespace stator {
namespace {

constexpr char kMagic[8] = {'S', 'T', 'A', 'T', 'O', 'R', '\0', '\1'};
constexpr int64_t kPrefixBytes = 24;  // magic, header length, header digest

// ---------------------------------------------------------------- write

using Sink = std::function<Status(const void* data, int64_t size_bytes)>;

/// Collects blobs; equal ones are stored once.
class BlobTable {
 public:
  int32_t add(const TensorData& data) {
    const uint64_t digest = digest64(data.data, data.size_bytes);
    auto& same_digest = by_digest_[digest];
    for (int32_t index : same_digest) {
      const TensorData& other = contents_[static_cast<size_t>(index)];
      if (other.size_bytes == data.size_bytes &&
          (data.size_bytes == 0 ||
           std::memcmp(other.data, data.data, static_cast<size_t>(data.size_bytes)) == 0)) {
        return index;
      }
    }
    const auto index = static_cast<int32_t>(contents_.size());
    contents_.push_back(data);
    entries_.push_back({end_, data.size_bytes, digest});
    end_ = align_up(end_ + data.size_bytes);
    same_digest.push_back(index);
    return index;
  }
  const std::vector<BlobEntry>& entries() const { return entries_; }
  const std::vector<TensorData>& contents() const { return contents_; }

 private:
  std::vector<BlobEntry> entries_;
  std::vector<TensorData> contents_;
  std::map<uint64_t, std::vector<int32_t>> by_digest_;
  int64_t end_ = 0;
};

Status write_padding(const Sink& sink, int64_t written) {
  static constexpr char kZeros[kAlignment] = {};
  return sink(kZeros, align_up(written) - written);
}

/// Writes the whole file into `sink`, front to back.
Status write_engine(const Plan& plan, const Sink& sink) {
  BlobTable table;
  BlobIndex index;
  for (const PlanWeight& weight : plan.weights) index.weights.push_back(table.add(weight.data));
  for (const CodeVariant& code : plan.code) index.code.push_back(table.add(code.image));
  index.blobs = table.entries();

  const std::string header = encode_header(plan, index);
  const auto length = static_cast<int64_t>(header.size());
  const uint64_t digest = digest64(header.data(), length);
  STATOR_RETURN_IF_ERROR(sink(kMagic, sizeof kMagic));
  STATOR_RETURN_IF_ERROR(sink(&length, sizeof length));
  STATOR_RETURN_IF_ERROR(sink(&digest, sizeof digest));
  STATOR_RETURN_IF_ERROR(sink(header.data(), length));
  STATOR_RETURN_IF_ERROR(write_padding(sink, kPrefixBytes + length));
  for (const TensorData& blob : table.contents()) {
    STATOR_RETURN_IF_ERROR(sink(blob.data, blob.size_bytes));
    STATOR_RETURN_IF_ERROR(write_padding(sink, blob.size_bytes));
  }
  return {};
}

// ---------------------------------------------------------------- read

Error damaged(const std::string& what) {
  return Error{ErrorCode::kInvalidFile, what +
                                            ": the file is truncated or damaged; build the "
                                            "engine again or copy it again"};
}

/// The prefix, checked, and the header's text.
Result<std::string_view> find_header(const TensorData& bytes) {
  const char* data = bytes.as<char>();
  if (bytes.size_bytes < kPrefixBytes || std::memcmp(data, kMagic, 6) != 0) {
    return Error{ErrorCode::kInvalidFile,
                 "not an engine file (it does not start with \"STATOR\"); expected what `stator "
                 "compile` or stator.save wrote"};
  }
  if (std::memcmp(data, kMagic, sizeof kMagic) != 0) {
    return Error{ErrorCode::kIncompatible,
                 "an engine file of another layout; update Stator or build the engine again"};
  }
  int64_t length = 0;
  uint64_t digest = 0;
  std::memcpy(&length, data + 8, sizeof length);
  std::memcpy(&digest, data + 16, sizeof digest);
  if (length < 0 || length > bytes.size_bytes - kPrefixBytes) {
    return damaged("the header should have " + std::to_string(length) + " bytes, the file has " +
                   std::to_string(bytes.size_bytes));
  }
  if (digest64(data + kPrefixBytes, length) != digest) {
    return damaged("the header does not match its digest");
  }
  return std::string_view(data + kPrefixBytes, static_cast<size_t>(length));
}

/// Blob `number` as a part of the file, bounds checked.
Result<TensorData> slice_blob(const TensorData& bytes, int64_t blobs_begin, const BlobIndex& index,
                              int32_t number, const std::string& what) {
  if (number >= static_cast<int32_t>(index.blobs.size())) {
    return Error{ErrorCode::kInvalidFile, what + ": blob " + std::to_string(number) + " of " +
                                              std::to_string(index.blobs.size())};
  }
  const BlobEntry& blob = index.blobs[static_cast<size_t>(number)];
  const int64_t room = bytes.size_bytes - blobs_begin;
  if (blob.offset % kAlignment != 0) {
    return damaged("blobs[" + std::to_string(number) + "]: offset " + std::to_string(blob.offset) +
                   " is not a multiple of 64");
  }
  if (blob.offset > room || blob.size_bytes > room - blob.offset) {
    return damaged("blobs[" + std::to_string(number) + "]: bytes " + std::to_string(blob.offset) +
                   " to " + std::to_string(blob.offset) + " + " + std::to_string(blob.size_bytes) +
                   ", the file holds " + std::to_string(std::max<int64_t>(room, 0)));
  }
  return TensorData{bytes.as<uint8_t>() + blobs_begin + blob.offset, blob.size_bytes, bytes.owner};
}

Status check_blob(const TensorData& data, const BlobEntry& entry, const std::string& what) {
  if (digest64(data.data, data.size_bytes) == entry.digest) return {};
  return damaged(what + " does not match its digest");
}

/// A plan whose weights and images point into `bytes`. Weights are hashed only when asked.
Result<Plan> read_engine(const TensorData& bytes, bool check_weights) {
  STATOR_TRY(const std::string_view header, find_header(bytes));
  BlobIndex index;
  STATOR_TRY(Plan plan, decode_header(header, &index));
  const int64_t begin = align_up(kPrefixBytes + static_cast<int64_t>(header.size()));
  for (size_t i = 0; i < plan.code.size(); ++i) {
    const std::string what = "code[" + std::to_string(i) + "]";
    STATOR_TRY(plan.code[i].image, slice_blob(bytes, begin, index, index.code[i], what));
    STATOR_RETURN_IF_ERROR(check_blob(
        plan.code[i].image, index.blobs[static_cast<size_t>(index.code[i])], what + ".image"));
  }
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    PlanWeight& weight = plan.weights[i];
    const std::string what = "weights[" + std::to_string(i) + "] \"" + weight.name + "\"";
    STATOR_TRY(weight.data, slice_blob(bytes, begin, index, index.weights[i], what));
    if (check_weights) {
      STATOR_RETURN_IF_ERROR(
          check_blob(weight.data, index.blobs[static_cast<size_t>(index.weights[i])], what));
    }
  }
  STATOR_RETURN_IF_ERROR(validate_plan(plan));
  return plan;
}

Result<Plan> read_file(const std::string& path, bool check_weights) {
  STATOR_TRY(MappedFile file, MappedFile::open(path));
  Result<Plan> plan = read_engine(file.slice(0, file.size_bytes()), check_weights);
  if (!plan.ok()) return plan.error().in(path);
  return plan;
}

}  // namespace

Status write_engine_file(const Plan& plan, const std::string& path) {
  STATOR_TRY(AtomicFile file, AtomicFile::create(path));
  STATOR_RETURN_IF_ERROR(write_engine(
      plan, [&](const void* data, int64_t size_bytes) { return file.write(data, size_bytes); }));
  return file.commit();
}

Result<std::string> engine_bytes(const Plan& plan) {
  std::string bytes;
  STATOR_RETURN_IF_ERROR(write_engine(plan, [&](const void* data, int64_t size_bytes) -> Status {
    if (size_bytes > 0)
      bytes.append(static_cast<const char*>(data), static_cast<size_t>(size_bytes));
    return {};
  }));
  return bytes;
}

Result<Plan> read_engine_file(const std::string& path) { return read_file(path, false); }

Status check_engine_file(const std::string& path) {
  STATOR_TRY(const Plan plan, read_file(path, true));
  return {};
}

Result<Plan> read_engine_bytes(TensorData bytes, const std::string& name) {
  if (reinterpret_cast<uintptr_t>(bytes.data) % kAlignment != 0) {
    void* writable = nullptr;
    TensorData copy = TensorData::allocate(bytes.size_bytes, &writable);
    std::memcpy(writable, bytes.data, static_cast<size_t>(bytes.size_bytes));
    bytes = std::move(copy);
  }
  Result<Plan> plan = read_engine(bytes, false);
  if (!plan.ok()) return plan.error().in(name);
  return plan;
}

}  // namespace stator
