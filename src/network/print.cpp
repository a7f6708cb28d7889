// SPDX-License-Identifier: Apache-2.0
//
// The text form of a network; parse.cpp reads it back.
//
//   network main where s0 in [1, 64]:
//     input %x: f32[s0, 8]
//     constant %w: f32[8, 8] "0.weight" digest 0f3a…
//     %linear.2: f32[s0, 8] = matrix_multiply(%x, %w) {transpose_a = false, transpose_b = true}
//     return %linear.2
#include <cinttypes>
#include <cstdio>

#include "stator/network.h"
#include "symbolic/facts.h"

namespace stator {
namespace {

/// FNV-1a over the bytes: tells constants apart in printed forms.
uint64_t digest_of(const TensorData& data) {
  uint64_t hash = 1469598103934665603ull;
  const auto* bytes = data.as<uint8_t>();
  for (int64_t i = 0; i < data.size_bytes; ++i) {
    hash = (hash ^ bytes[i]) * 1099511628211ull;
  }
  return hash;
}

std::string print_bounds(const Bounds& bounds) {
  std::string s;
  for (const auto& [name, range] : bounds.ranges()) {
    s += (s.empty() ? " where " : ", ") + name + " in [" + std::to_string(range.first) + ", " +
         (range.second == Bounds::kUnbounded ? "inf" : std::to_string(range.second)) + "]";
  }
  return s;
}

}  // namespace

std::string print_network(const Network& network, bool digests) {
  const auto definition = [&network](TensorId id) {
    return "%" + network.tensor(id).name + ": " + print_type(network.type(id));
  };
  std::string s = "network " + (network.name.empty() ? "main" : network.name) +
                  print_bounds(network.bounds) + ":\n" +
                  print_facts(network.bounds, network.guards);
  for (const TensorId id : network.inputs) {
    s += "  input " + definition(id) + "\n";
  }
  for (const Expr& scalar : network.scalar_inputs) {
    s += "  scalar " + scalar.str() + "\n";
  }
  for (size_t i = 0; i < network.tensors.size(); ++i) {
    const NetworkTensor& t = network.tensors[i];
    if (t.role == TensorRole::kConstant) {
      s += "  constant " + definition(static_cast<TensorId>(i)) + " \"" + t.origin.name + "\"";
      if (digests) {
        char digest[20];
        std::snprintf(digest, sizeof(digest), "%016" PRIx64, digest_of(t.data));
        s += std::string(" digest ") + digest;
      }
      s += "\n";
    }
  }
  for (const NetworkLayer& layer : network.layers) {
    s += "  ";
    for (size_t i = 0; i < layer.outputs.size(); ++i) {
      s += (i > 0 ? ", " : "") + definition(layer.outputs[i]);
    }
    s += std::string(" = ") + layer_kind_name(layer.attributes) + "(";
    for (size_t i = 0; i < layer.inputs.size(); ++i) {
      s += (i > 0 ? ", %" : "%") + network.tensor(layer.inputs[i]).name;
    }
    s += ") " + print_attributes(layer.attributes) + "\n";
  }
  s += "  return";
  for (size_t i = 0; i < network.outputs.size(); ++i) {
    s += (i > 0 ? ", %" : " %") + network.tensor(network.outputs[i]).name;
  }
  return s + "\n";
}

}  // namespace stator
