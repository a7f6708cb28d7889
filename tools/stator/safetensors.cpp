// SPDX-License-Identifier: Apache-2.0
//
// .safetensors: an 8-byte header length, a JSON header of {name: {dtype, shape, data_offsets}},
// then the data (huggingface.co/docs/safetensors).
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/json.h"
#include "base/mapped_file.h"
#include "tensors.h"

namespace stator::cli {
namespace {

struct Code {
  const char* text;
  DType dtype;
};
constexpr Code kCodes[] = {
    {"F32", DType::kFloat32}, {"F64", DType::kFloat64},   {"F16", DType::kFloat16},
    {"I8", DType::kInt8},     {"BF16", DType::kBFloat16}, {"U8", DType::kUInt8},
    {"I16", DType::kInt16},   {"I32", DType::kInt32},     {"I64", DType::kInt64},
    {"BOOL", DType::kBool},
};

Error bad(const std::string& path, const std::string& what) {
  return Error{ErrorCode::kInvalidFile, path + ": " + what};
}

Result<Tensor> read_entry(const MappedFile& file, int64_t data_begin, const std::string& name,
                          const nlohmann::json& entry) {
  Tensor tensor;
  const std::string dtype = entry.value("dtype", "");
  bool known = false;
  for (const Code& code : kCodes) {
    if (dtype == code.text) {
      tensor.dtype = code.dtype;
      known = true;
    }
  }
  if (!known) {
    return bad(file.path(), "tensor '" + name + "' has the unsupported type '" + dtype + "'");
  }
  int64_t bytes = dtype_bytes(tensor.dtype);
  for (const nlohmann::json& size : entry.at("shape")) {
    tensor.shape.push_back(size.get<int64_t>());
    if (tensor.shape.back() < 0 || __builtin_mul_overflow(bytes, tensor.shape.back(), &bytes)) {
      return bad(file.path(), "tensor '" + name + "' has a damaged shape");
    }
  }
  const auto begin = entry.at("data_offsets").at(0).get<int64_t>();
  const auto end = entry.at("data_offsets").at(1).get<int64_t>();
  if (begin < 0 || end < begin || end - begin != bytes || end > file.size_bytes() - data_begin) {
    return bad(file.path(), "tensor '" + name + "' lies outside the file");
  }
  tensor.data = file.slice(data_begin + begin, bytes);
  return tensor;
}

}  // namespace

Result<NamedTensors> read_safetensors(const std::string& path) {
  STATOR_TRY(const MappedFile file, MappedFile::open(path));
  uint64_t length = 0;
  if (file.size_bytes() < 8) {
    return bad(path, "it is no .safetensors file");
  }
  std::memcpy(&length, file.data(), 8);
  if (length > static_cast<uint64_t>(file.size_bytes() - 8)) {
    return bad(path, "it is truncated or no .safetensors file");
  }
  const auto* text = reinterpret_cast<const char*>(file.data()) + 8;
  const Result<nlohmann::json> parsed = parse_json({text, static_cast<size_t>(length)});
  if (!parsed.ok() || !parsed.value().is_object()) {
    return bad(path, "its header is no JSON object");
  }
  const nlohmann::json& header = parsed.value();
  NamedTensors tensors;
  try {
    for (const auto& [name, entry] : header.items()) {
      if (name != "__metadata__") {
        STATOR_TRY(tensors[name], read_entry(file, static_cast<int64_t>(8 + length), name, entry));
      }
    }
  } catch (const nlohmann::json::exception& e) {
    return bad(path, std::string("its header is damaged: ") + e.what());
  }
  return tensors;
}

Status write_safetensors(const std::string& path,
                         const std::vector<std::pair<std::string, TensorView>>& tensors) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    std::string dtype;
    for (const Code& code : kCodes) {
      if (code.dtype == tensor.dtype) {
        dtype = code.text;
      }
    }
    if (dtype.empty()) {
      return Error{ErrorCode::kUnsupported, path + ": .safetensors files of this program have no " +
                                                dtype_name(tensor.dtype)};
    }
    const int64_t bytes = tensor.size_bytes();
    header[name] = {
        {"dtype", dtype}, {"shape", tensor.shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  }
  std::string text = header.dump();
  text.append((8 - text.size() % 8) % 8, ' ');
  const uint64_t length = text.size();
  STATOR_TRY(AtomicFile file, AtomicFile::create(path));
  STATOR_RETURN_IF_ERROR(file.write(&length, 8));
  STATOR_RETURN_IF_ERROR(file.write(text.data(), static_cast<int64_t>(text.size())));
  for (const auto& [name, tensor] : tensors) {
    STATOR_RETURN_IF_ERROR(file.write(tensor.data, tensor.size_bytes()));
  }
  return file.commit();
}

}  // namespace stator::cli
