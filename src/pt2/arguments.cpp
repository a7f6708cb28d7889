// SPDX-License-Identifier: Apache-2.0
#include "pt2/arguments.h"

#include <limits>

#include "pt2/weights.h"

namespace stator {
namespace {

using nlohmann::json;

Error unknown(const std::string& name) {
  return Error{ErrorCode::kInvalidFile, "'" + name + "' is used before it is defined"};
}

Result<ValueUse> value_of(const std::string& name, const Pt2Names& names) {
  const auto found = names.values.find(name);
  if (found == names.values.end()) {
    return unknown(name);
  }
  return ValueUse{found->second};
}

/// {"as_name": …} or {"as_int": …}.
Result<Expr> sym_int(const json& arg, const Pt2Names& names) {
  if (arg.contains("as_int")) {
    return Expr(arg["as_int"].get<int64_t>());
  }
  const auto name = arg.at("as_name").get<std::string>();
  const auto found = names.sizes.find(name);
  if (found == names.sizes.end()) {
    return unknown(name);
  }
  return found->second;
}

/// JSON has no infinity and NaN: they come as text.
double real(const json& value) {
  if (value.is_string()) {
    const auto text = value.get<std::string>();
    if (text == "Infinity") {
      return std::numeric_limits<double>::infinity();
    }
    if (text == "-Infinity") {
      return -std::numeric_limits<double>::infinity();
    }
    return std::numeric_limits<double>::quiet_NaN();
  }
  return value.get<double>();
}

std::string device_name(const json& device) {
  std::string name = device.at("type").get<std::string>();
  if (device.contains("index") && device["index"].is_number()) {
    name += ":" + std::to_string(device["index"].get<int64_t>());
  }
  return name;
}

std::string memory_format_name(int64_t code) {
  static constexpr const char* kNames[] = {"unknown_format", "contiguous_format", "channels_last",
                                           "channels_last_3d", "preserve_format"};
  return code >= 0 && code < 5 ? kNames[code] : kNames[0];
}

std::string layout_name(int64_t code) {
  static constexpr const char* kNames[] = {"unknown",    "sparse_coo", "sparse_csr", "sparse_csc",
                                           "sparse_bsr", "sparse_bsc", "_mkldnn",    "strided"};
  return code >= 0 && code < 8 ? kNames[code] : kNames[0];
}

Result<Argument> tensor_list(const json& list, const Pt2Names& names) {
  std::vector<ValueUse> uses;
  for (const json& item : list) {
    const json& tensor = item.contains("as_tensor") ? item["as_tensor"] : item;
    if (item.contains("as_none")) {
      uses.push_back(ValueUse{kNoValue});
    } else {
      STATOR_TRY(const ValueUse use, value_of(tensor.at("name").get<std::string>(), names));
      uses.push_back(use);
    }
  }
  return Argument(std::move(uses));
}

Result<Argument> list_argument(const std::string& kind, const json& value, const Pt2Names& names) {
  if (kind == "as_tensors" || kind == "as_optional_tensors") {
    return tensor_list(value, names);
  }
  if (kind == "as_ints") {
    std::vector<Expr> list;
    for (const json& item : value) {
      list.emplace_back(item.get<int64_t>());
    }
    return Argument(std::move(list));
  }
  if (kind == "as_sym_ints") {
    std::vector<Expr> list;
    for (const json& item : value) {
      STATOR_TRY(Expr e, sym_int(item, names));
      list.push_back(std::move(e));
    }
    return Argument(std::move(list));
  }
  if (kind == "as_floats") {
    std::vector<double> list;
    for (const json& item : value) {
      list.push_back(real(item));
    }
    return Argument(std::move(list));
  }
  if (kind == "as_bools") {
    return Argument(value.get<std::vector<bool>>());
  }
  if (kind == "as_strings") {
    return Argument(value.get<std::vector<std::string>>());
  }
  return Argument(OpaqueArg{0, kind + " " + value.dump().substr(0, 60), {}, {}});
}

}  // namespace

Result<Expr> read_size(const json& size) {
  if (size.contains("as_int")) {
    return Expr(size["as_int"].get<int64_t>());
  }
  Result<Expr> e = parse_expr(size.at("as_expr").at("expr_str").get<std::string>());
  if (!e.ok()) {
    return Error{ErrorCode::kInvalidFile, e.error().message};
  }
  return e;
}

Result<Argument> read_argument(const json& arg, const Pt2Names& names) {
  if (!arg.is_object() || arg.empty()) {
    return Error{ErrorCode::kInvalidFile, "an argument has no value"};
  }
  const std::string& kind = arg.begin().key();
  const json& value = arg.begin().value();
  if (kind == "as_none") {
    return Argument(None{});
  }
  if (kind == "as_tensor") {
    STATOR_TRY(const ValueUse use, value_of(value.at("name").get<std::string>(), names));
    return Argument(use);
  }
  if (kind == "as_optional_tensor") {
    return value.contains("as_tensor") ? read_argument(value, names) : Result<Argument>(None{});
  }
  if (kind == "as_int") {
    return Argument(Expr(value.get<int64_t>()));
  }
  if (kind == "as_sym_int") {
    STATOR_TRY(Expr e, sym_int(value, names));
    return Argument(std::move(e));
  }
  if (kind == "as_float") {
    return Argument(real(value));
  }
  if (kind == "as_bool") {
    return Argument(value.get<bool>());
  }
  if (kind == "as_sym_bool" && value.contains("as_bool")) {
    return Argument(value["as_bool"].get<bool>());
  }
  if (kind == "as_sym_float" && value.contains("as_float")) {
    return Argument(real(value["as_float"]));
  }
  if (kind == "as_sym_bool" || kind == "as_sym_float") {
    STATOR_TRY(const ValueUse use, value_of(value.at("as_name").get<std::string>(), names));
    return Argument(use);
  }
  if (kind == "as_string") {
    return Argument(value.get<std::string>());
  }
  if (kind == "as_scalar_type") {
    const std::optional<DType> dtype = dtype_of_serialized(value.get<int64_t>());
    if (!dtype.has_value()) {
      return Error{ErrorCode::kUnsupported, "a dtype argument is of an unknown element type"};
    }
    return Argument(*dtype);
  }
  if (kind == "as_memory_format") {
    return Argument(MemoryFormatArg{memory_format_name(value.get<int64_t>())});
  }
  if (kind == "as_layout") {
    return Argument(LayoutArg{layout_name(value.get<int64_t>())});
  }
  if (kind == "as_device") {
    return Argument(DeviceArg{device_name(value)});
  }
  return list_argument(kind, value, names);
}

}  // namespace stator
