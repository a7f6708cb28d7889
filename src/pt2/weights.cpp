// SPDX-License-Identifier: Apache-2.0
#include "pt2/weights.h"

#include <algorithm>
#include <cstring>

#include "base/json.h"

namespace stator {
namespace {

using nlohmann::json;

/// A weight with strides of 0 is written out in full up to this size: a file of some kilobytes must
/// not take all memory.
constexpr int64_t kMaxExpandedBytes = int64_t{1} << 30;

struct Layout {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> sizes, strides;
  int64_t offset = 0;
};

/// Every field of tensor_meta as a plain integer.
Layout read_layout(const json& meta) {
  Layout layout;
  const auto integer = [](const json& value) { return value.at("as_int").get<int64_t>(); };
  for (const json& size : meta.at("sizes")) {
    layout.sizes.push_back(integer(size));
  }
  for (const json& stride : meta.at("strides")) {
    layout.strides.push_back(integer(stride));
  }
  layout.offset = integer(meta.at("storage_offset"));
  return layout;
}

/// Elements that the layout spans from its offset on, or -1 when it is not sensible.
int64_t span_of(const Layout& layout) {
  if (layout.sizes.size() != layout.strides.size() || layout.offset < 0) {
    return -1;
  }
  int64_t last = 0;
  for (size_t k = 0; k < layout.sizes.size(); ++k) {
    int64_t reach = 0;
    if (layout.sizes[k] < 0 || layout.strides[k] < 0) {
      return -1;
    }
    if (layout.sizes[k] == 0) {
      return 0;
    }
    if (__builtin_mul_overflow(layout.sizes[k] - 1, layout.strides[k], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return -1;
    }
  }
  return last + 1;
}

/// Elements of the tensor, or -1 when so many cannot be.
int64_t count_of(const Layout& layout) {
  int64_t count = 1;
  for (const int64_t size : layout.sizes) {
    if (size < 0 || __builtin_mul_overflow(count, size, &count) || count > INT64_MAX / 16) {
      return -1;
    }
  }
  return count;
}

bool is_row_major(const Layout& layout) {
  int64_t expected = 1;
  for (size_t k = layout.sizes.size(); k-- > 0;) {
    if (layout.sizes[k] != 1 && layout.strides[k] != expected) {
      return false;
    }
    expected *= layout.sizes[k];
  }
  return true;
}

/// Nothing steps along a dimension of one: its stride may be anything.
bool has_strides(const Layout& layout, const std::vector<Expr>& strides) {
  if (layout.strides.size() != strides.size()) return false;
  for (size_t k = 0; k < strides.size(); ++k) {
    if (layout.sizes[k] != 1 && Expr(layout.strides[k]) != strides[k]) return false;
  }
  return true;
}

std::string list_text(const std::vector<Expr>& sizes) {
  std::string text;
  for (const Expr& size : sizes) text += (text.empty() ? "" : ", ") + size.str();
  return "[" + text + "]";
}

std::string list_text(const std::vector<int64_t>& sizes) {
  return list_text(std::vector<Expr>(sizes.begin(), sizes.end()));
}

bool is_aligned(const void* data, int64_t bytes) {
  return reinterpret_cast<uintptr_t>(data) % static_cast<uintptr_t>(bytes) == 0;
}

TensorData copy_row_major(const Layout& layout, const uint8_t* source, int64_t count,
                          int64_t element_bytes) {
  void* writable = nullptr;
  TensorData data = TensorData::allocate(count * element_bytes, &writable);
  std::vector<int64_t> index(layout.sizes.size(), 0);
  int64_t from = layout.offset;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(static_cast<uint8_t*>(writable) + i * element_bytes, source + from * element_bytes,
                static_cast<size_t>(element_bytes));
    for (size_t k = layout.sizes.size(); k-- > 0;) {
      from += layout.strides[k];
      if (++index[k] < layout.sizes[k]) {
        break;
      }
      from -= layout.strides[k] * layout.sizes[k];
      index[k] = 0;
    }
  }
  return data;
}

}  // namespace

std::optional<DType> dtype_of_serialized(int64_t code) {
  switch (code) {
    case 1:
      return DType::kUInt8;
    case 2:
      return DType::kInt8;
    case 3:
      return DType::kInt16;
    case 4:
      return DType::kInt32;
    case 5:
      return DType::kInt64;
    case 6:
      return DType::kFloat16;
    case 7:
      return DType::kFloat32;
    case 8:
      return DType::kFloat64;
    case 10:
      return DType::kComplex64;
    case 11:
      return DType::kComplex128;
    case 12:
      return DType::kBool;
    case 13:
      return DType::kBFloat16;
    case 29:
      return DType::kFloat8E4M3;
    case 30:
      return DType::kFloat8E5M2;
    default:
      return std::nullopt;
  }
}

Result<Pt2Weights> Pt2Weights::open(const ZipFile& zip, const std::string& root,
                                    const std::string& model) {
  Pt2Weights weights;
  weights.zip_ = &zip;
  for (const auto& [folder, kind] : {std::pair{"weights", "weights"}, {"constants", "constants"}}) {
    const std::string base = root + "data/" + folder + "/";
    const std::string config = base + model + "_" + kind + "_config.json";
    if (!zip.contains(config)) {
      continue;  // a model without any
    }
    STATOR_TRY(const std::string_view text, zip.text(config));
    const Result<json> parsed = parse_json(text);
    if (!parsed.ok()) {
      return parsed.error().in(zip.path() + ": entry '" + config + "'");
    }
    const json& root = parsed.value();
    if (!root.is_object() || !root.contains("config") || !root["config"].is_object()) {
      return Error{ErrorCode::kInvalidFile, zip.path() + ": entry '" + config + "' is damaged"};
    }
    for (const auto& [name, payload] : root["config"].items()) {
      if (payload.is_object() && payload.contains("path_name") &&
          payload["path_name"].is_string()) {
        weights.sources_[name] = {base + payload["path_name"].get<std::string>(), payload};
      }
    }
  }
  return weights;
}

Result<TensorData> Pt2Weights::data(const std::string& name, const Value& value,
                                    const Expr& storage_offset) const {
  const auto found = sources_.find(name);
  const std::string where = "weight '" + name + "'";
  if (found == sources_.end()) {
    return Error{ErrorCode::kInvalidFile, where + " is missing"};
  }
  const auto& [entry, payload] = found->second;
  try {
    if (payload.value("use_pickle", false)) {
      return Error{ErrorCode::kInvalidFile,
                   where +
                       " is stored as a pickle, which is not read; save the model with its weights "
                       "as plain contiguous tensors"};
    }
    Layout layout = read_layout(payload.at("tensor_meta"));
    const std::optional<DType> dtype =
        dtype_of_serialized(payload.at("tensor_meta").at("dtype").get<int64_t>());
    if (!dtype.has_value()) {
      return Error{ErrorCode::kUnsupported, where + " has an unknown element type"};
    }
    STATOR_TRY(TensorData bytes, zip_->bytes(entry));
    const int64_t element = dtype_bytes(*dtype);
    const int64_t span = span_of(layout);
    const int64_t count = count_of(layout);
    if (count < 0) {
      return Error{ErrorCode::kInvalidFile, where + " has a damaged shape"};
    }
    const std::vector<Expr> shape(layout.sizes.begin(), layout.sizes.end());
    if (*dtype != value.tensor.dtype || shape != value.tensor.shape) {
      Value stored;
      stored.tensor.dtype = *dtype;
      stored.tensor.shape = shape;
      return Error{ErrorCode::kInvalidFile, where + " is stored as " + print_type(stored) +
                                                ", the model takes " + print_type(value)};
    }
    if (count > 0 && !has_strides(layout, value.tensor.strides)) {
      return Error{ErrorCode::kInvalidFile, where + " is stored with the strides " +
                                                list_text(layout.strides) + ", the model has " +
                                                list_text(value.tensor.strides)};
    }
    if (Expr(layout.offset) != storage_offset) {
      return Error{ErrorCode::kInvalidFile, where + " is stored with the storage offset " +
                                                std::to_string(layout.offset) + ", the model has " +
                                                storage_offset.str()};
    }
    if (span < 0 || layout.offset > bytes.size_bytes / element ||
        span > bytes.size_bytes / element - layout.offset) {
      return Error{ErrorCode::kInvalidFile, where + " lies outside its entry '" + entry + "'"};
    }
    // What another program packed need not be aligned; a kernel reads whole elements.
    const bool aligned = is_aligned(bytes.as<uint8_t>() + layout.offset * element, element);
    if (count > 0 && (!is_row_major(layout) || !aligned)) {
      if (count * element > std::max(kMaxExpandedBytes, bytes.size_bytes)) {
        return Error{ErrorCode::kInvalidFile,
                     where + " expands " + std::to_string(bytes.size_bytes) + " bytes to " +
                         std::to_string(count * element) + "; save it as a dense tensor"};
      }
      return copy_row_major(layout, bytes.as<uint8_t>(), count, element);
    }
    bytes.data = bytes.as<uint8_t>() + layout.offset * element;
    bytes.size_bytes = count * element;
    return bytes;
  } catch (const json::exception& e) {
    return Error{ErrorCode::kInvalidFile, where + " has a damaged description: " + e.what()};
  }
}

}  // namespace stator
