// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/tactics.h"

#include <cstdio>
#include <cstring>

#include "backends/cuda/codegen/epilogue.h"
#include "backends/cuda/codegen/prepare.h"
#include "backends/cuda/codegen/whole_kernels.h"
#include "base/check.h"
#include "base/float_element.h"
#include "layer/call_payload.h"
#include "layer/expr_fields.h"

namespace stator::cuda {

static bool is_whole(const RegionBody& body) {
  return std::holds_alternative<ScanRegion>(body) || std::holds_alternative<OrderRegion>(body) ||
         std::holds_alternative<ScatterRegion>(body);
}

static PreparedRegion prepare_whole(const RegionGraph& graph, const Region& region,
                                    const std::string& name) {
  const LoopProgram none;
  const LoopRequest request = loop_request(graph, region, none, name);
  if (const auto* scan = std::get_if<ScanRegion>(&region.body)) {
    return prepare_kernel(generate_scan(*scan, request), request);
  }
  if (const auto* order = std::get_if<OrderRegion>(&region.body)) {
    return prepare_kernel(generate_order(*order, request), request);
  }
  return prepare_kernel(generate_scatter(std::get<ScatterRegion>(region.body), request), request);
}

std::vector<Tactic> region_tactics(const RegionGraph& graph, const Region& region,
                                   const Target& target) {
  if (std::holds_alternative<CallRegion>(region.body)) return {{"call"}};
  if (is_whole(region.body)) return {{"whole"}};
  if (const auto* a = std::get_if<AttentionRegion>(&region.body)) {
    return attention_tactics(*a, target);
  }
  std::vector<Tactic> tactics;
  if (!std::holds_alternative<LoopProgram>(region.body)) {
    tactics = product_tactics(graph, region, target);
  }
  if (!tactics.empty()) return tactics;
  if (const auto* c = std::get_if<ConvolutionContraction>(&region.body)) {
    return convolution_tactics(*c, target);
  }
  return {{"loop"}};
}

PreparedRegion prepare_region(const RegionGraph& graph, const Region& region,
                              const std::string& tactic, const std::string& name, bool tf32) {
  if (const auto* call = std::get_if<CallRegion>(&region.body)) {
    PreparedRegion prepared;
    const CallPayload payload{static_cast<int64_t>(region.inputs.size()),
                              static_cast<int64_t>(region.outputs.size()), call->attributes};
    prepared.payload = HostPayload{print_call_payload(payload)};
    prepared.launch.sizes = expr_fields(call->attributes);
    return prepared;
  }
  if (is_whole(region.body)) return prepare_whole(graph, region, name);
  if (const auto* a = std::get_if<AttentionRegion>(&region.body)) {
    return prepare_attention(region, *a, tactic, name, tf32);
  }
  if (is_product_tactic(graph, region, tactic)) {
    return prepare_product(graph, region, tactic, name, tf32);
  }
  if (const auto* c = std::get_if<ConvolutionContraction>(&region.body)) {
    return prepare_convolution(graph, region, *c, tactic, name, tf32);
  }
  if (const auto* m = std::get_if<MatmulContraction>(&region.body)) {
    const LoopProgram loop = as_loop(*m);
    return prepare_loop(graph, region, loop, name);
  }
  return prepare_loop(graph, region, std::get<LoopProgram>(region.body), name);
}

/// float32 of halves.
static TensorData widened(const TensorData& source, DType dtype, int64_t count) {
  void* writable = nullptr;
  TensorData wide = TensorData::allocate(count * dtype_bytes(DType::kFloat32), &writable);
  for (int64_t i = 0; i < count; ++i) {
    static_cast<float*>(writable)[i] = load_float(source.data, dtype, i);
  }
  return wide;
}

Result<TensorData> pack_constant(const std::string& recipe, const TensorData& source) {
  int64_t rows = 0, padded_rows = 0, row_bytes = 0;
  if (std::sscanf(recipe.c_str(), "pad_rows %ld %ld %ld", &rows, &padded_rows, &row_bytes) == 3 &&
      rows * row_bytes == source.size_bytes && padded_rows >= rows) {
    void* writable = nullptr;
    TensorData packed = TensorData::allocate(padded_rows * row_bytes, &writable);
    std::memset(writable, 0, static_cast<size_t>(packed.size_bytes));
    std::memcpy(writable, source.data, static_cast<size_t>(source.size_bytes));
    return packed;
  }
  char name[16] = "";
  int64_t count = 0;
  if (std::sscanf(recipe.c_str(), "widen %15s %ld", name, &count) == 2) {
    const std::optional<DType> dtype = parse_dtype(name);
    if (dtype.has_value() && count * dtype_bytes(*dtype) == source.size_bytes) {
      return widened(source, *dtype, count);
    }
  }
  int64_t out = 0, channels = 0, taps = 0, element = 0;
  if (std::sscanf(recipe.c_str(), "channels_last %ld %ld %ld %ld", &out, &channels, &taps,
                  &element) != 4 ||
      out * channels * taps * element != source.size_bytes) {
    return Error{ErrorCode::kInvalidFile, "a recipe of weights is damaged: " + recipe};
  }
  void* writable = nullptr;
  TensorData packed = TensorData::allocate(source.size_bytes, &writable);
  auto* to = static_cast<char*>(writable);
  const char* from = source.as<char>();
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t c = 0; c < channels; ++c, to += element) {
        std::memcpy(to, from + ((o * channels + c) * taps + t) * element,
                    static_cast<size_t>(element));
      }
    }
  }
  return packed;
}

}  // namespace stator::cuda
