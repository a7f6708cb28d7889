// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/shared/payload.h"

#include <algorithm>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/json.h"

namespace stator::cuda {
namespace {

using nlohmann::json;

json to_json(const KernelPayload& p) {
  json j = {{"kind", "kernel"},     {"function", p.function},   {"module", p.module},
            {"threads", p.threads}, {"shared", p.shared_bytes}, {"buffers", p.buffers},
            {"sizes", p.sizes}};
  if (p.overlaps) j["overlaps"] = true;
  for (const TensorMapPayload& map : p.maps) {
    j["maps"].push_back({{"buffer", map.buffer},
                         {"dtype", dtype_name(map.dtype)},
                         {"box", map.box},
                         {"steps", map.steps}});
  }
  return j;
}

void add_epilogue(json& j, const std::optional<KernelPayload>& epilogue) {
  if (epilogue.has_value()) {
    j["epilogue"] = to_json(*epilogue);
  }
}

json to_json(const GemmPayload& p) {
  json j = {{"kind", "gemm"},
            {"dtype", dtype_name(p.dtype)},
            {"out", dtype_name(p.out)},
            {"a_transposed", p.a_transposed},
            {"b_transposed", p.b_transposed},
            {"a", p.a},
            {"b", p.b},
            {"d", p.d},
            {"bias", p.bias},
            {"residual", p.residual},
            {"activation", p.activation},
            {"alpha", p.alpha},
            {"tf32", p.tf32},
            {"sparse", p.sparse},
            {"index", p.index},
            {"tuned", p.tuned},
            {"buffers", p.buffers}};
  add_epilogue(j, p.epilogue);
  return j;
}

json to_json(const ConvolutionPayload& p) {
  json j = {{"kind", "convolution"},
            {"dtype", dtype_name(p.dtype)},
            {"filter", p.filter},
            {"stride", p.stride},
            {"dilation", p.dilation},
            {"pad_before", p.pad_before},
            {"pad_after", p.pad_after},
            {"groups", p.groups},
            {"x", p.x},
            {"w", p.w},
            {"y", p.y},
            {"bias", p.bias},
            {"residual", p.residual},
            {"relu", p.relu},
            {"tf32", p.tf32},
            {"index", p.index},
            {"tuned", p.tuned},
            {"buffers", p.buffers}};
  add_epilogue(j, p.epilogue);
  return j;
}

json to_json(const AttentionPayload& p) {
  return {{"kind", "attention"},
          {"dtype", dtype_name(p.dtype)},
          {"q", p.q},
          {"k", p.k},
          {"v", p.v},
          {"out", p.out},
          {"scale", p.scale},
          {"buffers", p.buffers}};
}

json to_json(const HostPayload& p) { return {{"kind", "host"}, {"call", p.call}}; }

DType dtype_of(const json& j, const char* key) {
  const std::optional<DType> dtype = parse_dtype(j.at(key).get<std::string>());
  if (!dtype.has_value()) {
    throw std::invalid_argument(std::string("no dtype: ") + key);
  }
  return *dtype;
}

KernelPayload kernel_of(const json& j) {
  KernelPayload p;
  p.function = j.at("function");
  p.module = j.at("module");
  p.threads = j.at("threads");
  p.shared_bytes = j.at("shared");
  p.buffers = j.at("buffers");
  p.sizes = j.at("sizes");
  p.overlaps = j.value("overlaps", false);
  if (p.threads < 1 || p.threads > 1024 || p.shared_bytes < 0 || p.buffers < 0 || p.sizes < 0 ||
      p.buffers > 180 || p.sizes > 180) {
    throw std::invalid_argument("a launch out of range");
  }
  for (const json& j_map : j.value("maps", json::array())) {
    TensorMapPayload map{j_map.at("buffer"), dtype_of(j_map, "dtype"), j_map.at("box"),
                         j_map.at("steps")};
    const auto within = [](const std::vector<int>& values, int most) {
      return values.size() == 4 && std::all_of(values.begin(), values.end(), [&](int value) {
               return value >= 1 && value <= most;
             });
    };
    if (map.buffer < 0 || map.buffer >= p.buffers || !within(map.box, 256) ||
        !within(map.steps, 8) || dtype_bytes(map.dtype) != 2 || p.maps.size() == 8) {
      throw std::invalid_argument("a tensor map out of range");
    }
    p.maps.push_back(std::move(map));
  }
  return p;
}

std::optional<KernelPayload> epilogue_of(const json& j) {
  return j.contains("epilogue") ? std::optional(kernel_of(j.at("epilogue"))) : std::nullopt;
}

void check_buffers(std::initializer_list<int> used, int buffers) {
  for (const int buffer : used) {
    if (buffer < -1 || buffer >= buffers) {
      throw std::invalid_argument("a buffer out of range");
    }
  }
}

GemmPayload gemm_of(const json& j) {
  GemmPayload p;
  p.dtype = dtype_of(j, "dtype");
  p.out = dtype_of(j, "out");
  p.a_transposed = j.at("a_transposed");
  p.b_transposed = j.at("b_transposed");
  p.a = j.at("a");
  p.b = j.at("b");
  p.d = j.at("d");
  p.bias = j.at("bias");
  p.residual = j.at("residual");
  p.activation = j.at("activation");
  p.alpha = j.at("alpha");
  p.tf32 = j.at("tf32");
  p.sparse = j.at("sparse");
  p.index = j.at("index");
  p.tuned = j.at("tuned").get<std::vector<int64_t>>();
  p.buffers = j.at("buffers");
  p.epilogue = epilogue_of(j);
  check_buffers({p.a, p.b, p.d, p.bias, p.residual}, p.buffers);
  return p;
}

ConvolutionPayload convolution_of(const json& j) {
  ConvolutionPayload p;
  p.dtype = dtype_of(j, "dtype");
  p.filter = j.at("filter").get<std::vector<int64_t>>();
  p.stride = j.at("stride").get<std::vector<int64_t>>();
  p.dilation = j.at("dilation").get<std::vector<int64_t>>();
  p.pad_before = j.at("pad_before").get<std::vector<int64_t>>();
  p.pad_after = j.at("pad_after").get<std::vector<int64_t>>();
  p.groups = j.at("groups");
  p.x = j.at("x");
  p.w = j.at("w");
  p.y = j.at("y");
  p.bias = j.at("bias");
  p.residual = j.at("residual");
  p.relu = j.at("relu");
  p.tf32 = j.at("tf32");
  p.index = j.at("index");
  p.tuned = j.at("tuned").get<std::vector<int64_t>>();
  p.buffers = j.at("buffers");
  p.epilogue = epilogue_of(j);
  check_buffers({p.x, p.w, p.y, p.bias, p.residual}, p.buffers);
  const size_t spatial = p.stride.size();
  if (spatial < 1 || spatial > 3 || p.filter.size() != spatial + 2 ||
      p.dilation.size() != spatial || p.pad_before.size() != spatial ||
      p.pad_after.size() != spatial) {
    throw std::invalid_argument("a convolution's lists differ in length");
  }
  return p;
}

AttentionPayload attention_of(const json& j) {
  AttentionPayload p;
  p.dtype = dtype_of(j, "dtype");
  p.q = j.at("q");
  p.k = j.at("k");
  p.v = j.at("v");
  p.out = j.at("out");
  p.scale = j.at("scale");
  p.buffers = j.at("buffers");
  check_buffers({p.q, p.k, p.v, p.out}, p.buffers);
  return p;
}

}  // namespace

std::string print_payload(const Payload& payload) {
  return std::visit([](const auto& p) { return to_json(p).dump(); }, payload);
}

std::string join_cubins(const std::vector<std::string>& cubins) {
  const auto align = [](size_t n) { return (n + 63) / 64 * 64; };
  std::vector<uint64_t> table = {cubins.size()};
  size_t at = align((1 + 2 * cubins.size()) * sizeof(uint64_t));
  for (const std::string& cubin : cubins) {
    table.push_back(at);
    table.push_back(cubin.size());
    at = align(at + cubin.size());
  }
  std::string image(at, '\0');
  std::memcpy(image.data(), table.data(), table.size() * sizeof(uint64_t));
  for (size_t i = 0; i < cubins.size(); ++i) {
    cubins[i].copy(image.data() + table[1 + 2 * i], cubins[i].size());
  }
  return image;
}

Result<std::vector<std::string_view>> split_cubins(std::string_view image) {
  const Error damaged{ErrorCode::kInvalidFile, "the engine's GPU code is damaged"};
  const auto word = [&](size_t i) {
    uint64_t value = 0;
    std::memcpy(&value, image.data() + i * sizeof value, sizeof value);
    return value;
  };
  if (image.size() < sizeof(uint64_t) || word(0) > image.size() / 16) {
    return damaged;
  }
  std::vector<std::string_view> cubins;
  for (uint64_t i = 0; i < word(0); ++i) {
    if ((3 + 2 * i) * sizeof(uint64_t) > image.size()) {
      return damaged;
    }
    const uint64_t at = word(1 + 2 * i), size = word(2 + 2 * i);
    if (at > image.size() || size > image.size() - at || size < 64) {
      return damaged;
    }
    cubins.push_back(image.substr(at, size));
  }
  return cubins;
}

Result<Payload> parse_payload(const std::string& text) {
  try {
    Result<json> parsed = parse_json(text);
    if (!parsed.ok()) return parsed.error().in("a CUDA kernel's description");
    const json j = std::move(parsed).value();
    const std::string kind = j.at("kind");
    if (kind == "kernel") return Payload(kernel_of(j));
    if (kind == "gemm") return Payload(gemm_of(j));
    if (kind == "convolution") return Payload(convolution_of(j));
    if (kind == "attention") return Payload(attention_of(j));
    if (kind == "host") return Payload(HostPayload{j.at("call")});
    return Error{ErrorCode::kInvalidFile, "a CUDA kernel of kind '" + kind + "'"};
  } catch (const std::exception& e) {
    return Error{ErrorCode::kInvalidFile, std::string("a CUDA kernel's description: ") + e.what()};
  }
}

}  // namespace stator::cuda
