// SPDX-License-Identifier: Apache-2.0
#include "stator/network.h"

namespace stator {
namespace {

Error bad(const std::string& what) {
  return Error{ErrorCode::kInvalidFile, "the network is not well formed: " + what};
}

Status verify_layer(const Network& network, size_t index, const std::vector<bool>& defined) {
  const NetworkLayer& layer = network.layers[index];
  const std::string where =
      "layer " + std::to_string(index) + " (" + layer_kind_name(layer.attributes) + ")";
  std::vector<TensorType> types;
  for (const TensorId id : layer.inputs) {
    if (id < 0 || static_cast<size_t>(id) >= network.tensors.size()) {
      return bad(where + " uses a tensor that is not there");
    }
    if (!defined[static_cast<size_t>(id)]) {
      return bad(where + " uses %" + network.tensor(id).name + " before it is defined");
    }
    types.push_back(network.type(id));
  }
  Result<std::vector<TensorType>> inferred = infer_types(layer.attributes, types, network.bounds);
  if (!inferred.ok()) {
    return bad(where + ": " + inferred.error().message);
  }
  if (inferred->size() != layer.outputs.size()) {
    return bad(where + " has the wrong number of results");
  }
  for (size_t i = 0; i < layer.outputs.size(); ++i) {
    const TensorType& stored = network.type(layer.outputs[i]);
    const TensorType& derived = (*inferred)[i];
    const std::string name = "%" + network.tensor(layer.outputs[i]).name;
    if (stored.dtype != derived.dtype || stored.shape.size() != derived.shape.size()) {
      return bad(name + " is " + print_type(stored) + ", its layer makes " + print_type(derived));
    }
    for (size_t k = 0; k < stored.shape.size(); ++k) {
      if (network.bounds.proves_not_equal(stored.shape[k], derived.shape[k])) {
        return bad(name + " is " + print_type(stored) + ", its layer makes " + print_type(derived));
      }
    }
  }
  return {};
}

}  // namespace

Status verify_network(const Network& network) {
  std::vector<bool> defined(network.tensors.size(), false);
  for (size_t i = 0; i < network.tensors.size(); ++i) {
    const NetworkTensor& t = network.tensors[i];
    if (t.role == TensorRole::kConstant) {
      Expr bytes = product(t.type.shape) * Expr(dtype_bytes(t.type.dtype));
      if (!bytes.is_constant(t.data.size_bytes)) {
        return bad("constant %" + t.name + " has " + std::to_string(t.data.size_bytes) +
                   " bytes, its type is " + print_type(t.type));
      }
    }
    defined[i] = t.role != TensorRole::kIntermediate;
  }
  for (size_t i = 0; i < network.layers.size(); ++i) {
    STATOR_RETURN_IF_ERROR(verify_layer(network, i, defined));
    for (const TensorId id : network.layers[i].outputs) {
      if (defined[static_cast<size_t>(id)]) {
        return bad("%" + network.tensor(id).name + " is defined twice");
      }
      defined[static_cast<size_t>(id)] = true;
    }
  }
  for (const TensorId id : network.outputs) {
    if (id < 0 || static_cast<size_t>(id) >= defined.size() || !defined[static_cast<size_t>(id)]) {
      return bad("an output is not defined");
    }
  }
  return {};
}

}  // namespace stator
