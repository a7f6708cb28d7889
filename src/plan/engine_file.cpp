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
  BlobUse add(const TensorData& data, uint64_t digest) {
    auto& same_digest = by_digest_[digest];
    for (int32_t index : same_digest) {
      const TensorData& other = contents_[static_cast<size_t>(index)];
      if (other.size_bytes == data.size_bytes &&
          (data.size_bytes == 0 ||
           std::memcmp(other.data, data.data, static_cast<size_t>(data.size_bytes)) == 0)) {
        return {index, digest};
      }
    }
    const auto index = static_cast<int32_t>(contents_.size());
    contents_.push_back(data);
    entries_.push_back({end_, data.size_bytes, digest});
    end_ = align_up(end_ + data.size_bytes);
    same_digest.push_back(index);
    return {index, digest};
  }
  const std::vector<BlobEntry>& entries() const { return entries_; }
  const std::vector<TensorData>& contents() const { return contents_; }

 private:
  std::vector<BlobEntry> entries_;
  std::vector<TensorData> contents_;
  std::map<uint64_t, std::vector<int32_t>> by_digest_;
  int64_t end_ = 0;
};

/// The bytes of all weights, then of all code.
std::vector<TensorData> contents_of(const Plan& plan) {
  std::vector<TensorData> contents;
  for (const PlanWeight& weight : plan.weights) contents.push_back(weight.data);
  for (const CodeVariant& code : plan.code) contents.push_back(code.image);
  return contents;
}

Status write_padding(const Sink& sink, int64_t written) {
  static constexpr char kZeros[kAlignment] = {};
  return sink(kZeros, align_up(written) - written);
}

/// Writes the whole file into `sink`, front to back.
Status write_engine(const Plan& plan, const std::string& key, const Sink& sink) {
  const std::vector<TensorData> contents = contents_of(plan);
  const std::vector<uint64_t> digests = digest_blobs(contents);
  BlobTable table;
  BlobIndex index;
  for (size_t i = 0; i < contents.size(); ++i) {
    auto& uses = i < plan.weights.size() ? index.weights : index.code;
    uses.push_back(table.add(contents[i], digests[i]));
  }
  index.blobs = table.entries();

  const std::string header = encode_header(plan, key, index);
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

/// A blob as a part of the file, bounds checked.
Result<TensorData> slice_blob(const TensorData& bytes, int64_t blobs_begin, const BlobIndex& index,
                              const BlobUse& use, const std::string& what) {
  const int32_t number = use.blob;
  if (number >= static_cast<int32_t>(index.blobs.size())) {
    return Error{ErrorCode::kInvalidFile, what + ": blob " + std::to_string(number) + " of " +
                                              std::to_string(index.blobs.size())};
  }
  const BlobEntry& blob = index.blobs[static_cast<size_t>(number)];
  const std::string entry = "blobs[" + std::to_string(number) + "]";
  const int64_t room = bytes.size_bytes - blobs_begin;
  if (blob.offset % kAlignment != 0) {
    return damaged(entry + ": offset " + std::to_string(blob.offset) + " is not a multiple of 64");
  }
  if (blob.offset > room || blob.size_bytes > room - blob.offset) {
    return damaged(entry + ": bytes " + std::to_string(blob.offset) + " to " +
                   std::to_string(blob.offset) + " + " + std::to_string(blob.size_bytes) +
                   ", the file holds " + std::to_string(std::max<int64_t>(room, 0)));
  }
  if (blob.digest != use.digest) {
    return damaged(what + ": blob " + std::to_string(number) + " is another one by its digest");
  }
  return TensorData{bytes.as<uint8_t>() + blobs_begin + blob.offset, blob.size_bytes, bytes.owner};
}

/// Whether the file ends where its last blob does: what stands behind it is no part of an engine.
Status check_end(const TensorData& bytes, int64_t blobs_begin, const BlobIndex& index) {
  int64_t end = blobs_begin;
  for (size_t number = 0; number < index.blobs.size(); ++number) {
    BlobUse use;
    use.blob = static_cast<int32_t>(number);
    use.digest = index.blobs[number].digest;
    STATOR_TRY(const TensorData blob, slice_blob(bytes, blobs_begin, index, use, "blobs"));
    end = std::max(end, align_up(blobs_begin + index.blobs[number].offset + blob.size_bytes));
  }
  if (bytes.size_bytes == end) return {};
  return damaged("the file should have " + std::to_string(end) + " bytes, it has " +
                 std::to_string(bytes.size_bytes));
}

std::string weight_place(const Plan& plan, size_t index) {
  return "weights[" + std::to_string(index) + "] \"" + plan.weights[index].name + "\"";
}

/// The bytes of code, and of weights where `weights` says so, against their digests.
Status check_digests(const Plan& plan, const BlobIndex& index, bool weights) {
  std::map<int32_t, TensorData> blobs;  // each once, however many weights share it
  for (size_t i = 0; i < plan.code.size(); ++i) blobs[index.code[i].blob] = plan.code[i].image;
  for (size_t i = 0; weights && i < plan.weights.size(); ++i) {
    blobs[index.weights[i].blob] = plan.weights[i].data;
  }
  std::vector<TensorData> contents;
  for (const auto& [number, data] : blobs) contents.push_back(data);
  const std::vector<uint64_t> digests = digest_blobs(contents);
  size_t position = 0;
  for (const auto& [number, data] : blobs) {
    const uint64_t found = digests[position++];
    if (found == index.blobs[static_cast<size_t>(number)].digest) continue;
    std::string place;
    for (size_t i = plan.weights.size(); i-- > 0;) {
      if (index.weights[i].blob == number) place = weight_place(plan, i);
    }
    for (size_t i = plan.code.size(); i-- > 0;) {
      if (index.code[i].blob == number) place = "code[" + std::to_string(i) + "].image";
    }
    return damaged(place + " does not match its digest");
  }
  return {};
}

/// A plan whose weights and images point into `bytes`.
Result<Plan> read_engine(const TensorData& bytes, bool verify_weights) {
  STATOR_TRY(const std::string_view header, find_header(bytes));
  BlobIndex index;
  STATOR_TRY(Plan plan, decode_header(header, &index));
  const int64_t begin = align_up(kPrefixBytes + static_cast<int64_t>(header.size()));
  for (size_t i = 0; i < plan.code.size(); ++i) {
    STATOR_TRY(plan.code[i].image,
               slice_blob(bytes, begin, index, index.code[i], "code[" + std::to_string(i) + "]"));
  }
  for (size_t i = 0; i < plan.weights.size(); ++i) {
    STATOR_TRY(plan.weights[i].data,
               slice_blob(bytes, begin, index, index.weights[i], weight_place(plan, i)));
  }
  STATOR_RETURN_IF_ERROR(check_end(bytes, begin, index));
  STATOR_RETURN_IF_ERROR(check_digests(plan, index, verify_weights));
  STATOR_RETURN_IF_ERROR(validate_plan(plan));
  return plan;
}

}  // namespace

Status write_engine_file(const Plan& plan, const std::string& path, const std::string& key) {
  STATOR_TRY(AtomicFile file, AtomicFile::create(path));
  STATOR_RETURN_IF_ERROR(write_engine(plan, key, [&](const void* data, int64_t size_bytes) {
    return file.write(data, size_bytes);
  }));
  return file.commit();
}

Result<std::string> engine_bytes(const Plan& plan, const std::string& key) {
  std::string bytes;
  const auto append = [&](const void* data, int64_t size_bytes) -> Status {
    if (size_bytes > 0) {
      bytes.append(static_cast<const char*>(data), static_cast<size_t>(size_bytes));
    }
    return {};
  };
  STATOR_RETURN_IF_ERROR(write_engine(plan, key, append));
  return bytes;
}

Result<Plan> read_engine_file(const std::string& path, bool verify_weights) {
  STATOR_TRY(MappedFile file, MappedFile::open(path));
  Result<Plan> plan = read_engine(file.slice(0, file.size_bytes()), verify_weights);
  if (!plan.ok()) return plan.error().in(path);
  return plan;
}

Result<Plan> read_engine_bytes(TensorData bytes, const std::string& name, bool verify_weights) {
  if (reinterpret_cast<uintptr_t>(bytes.data) % kAlignment != 0) {
    void* writable = nullptr;
    TensorData copy = TensorData::allocate(bytes.size_bytes, &writable);
    std::memcpy(writable, bytes.data, static_cast<size_t>(bytes.size_bytes));
    bytes = std::move(copy);
  }
  Result<Plan> plan = read_engine(bytes, verify_weights);
  if (!plan.ok()) return plan.error().in(name);
  return plan;
}

}  // namespace stator
