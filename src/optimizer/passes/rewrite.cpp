// SPDX-License-Identifier: Apache-2.0
#include "optimizer/passes/rewrite.h"

#include "base/check.h"

namespace stator {

Rewriter::Rewriter(const Network& source) : source_(source), map_(source.tensors.size(), -1) {
  result_.name = source.name;
  result_.bounds = source.bounds;
  result_.guards = source.guards;
  result_.scalar_inputs = source.scalar_inputs;
  for (const TensorId id : source.inputs) {
    bind(id, result_.add_input(source.tensor(id).name, source.type(id)));
  }
}

TensorId Rewriter::map(TensorId old) {
  TensorId& fresh = map_[static_cast<size_t>(old)];
  if (fresh == -1) {
    const NetworkTensor& t = source_.tensor(old);
    STATOR_CHECK(t.role == TensorRole::kConstant,
                 "tensor " + t.name + " is used before it is made");
    fresh = result_.add_constant(t.name, t.type, t.data, t.origin);
  }
  return fresh;
}

void Rewriter::copy(const NetworkLayer& layer) {
  std::vector<TensorId> inputs;
  for (const TensorId id : layer.inputs) {
    inputs.push_back(map(id));
  }
  result_.current = layer.provenance;
  const std::vector<TensorId> outputs = result_.add_layer(layer.attributes, std::move(inputs));
  for (size_t i = 0; i < outputs.size(); ++i) {
    bind(layer.outputs[i], outputs[i]);
    result_.tensor(outputs[i]).type = source_.type(layer.outputs[i]);
    result_.tensor(outputs[i]).name = source_.tensor(layer.outputs[i]).name;
  }
}

Network Rewriter::finish() {
  result_.current = {};
  for (const TensorId id : source_.outputs) {
    const TensorId fresh = map(id);
    if (result_.tensor(fresh).role == TensorRole::kIntermediate) {
      result_.tensor(fresh).name = source_.tensor(id).name;
    }
    result_.mark_output(fresh);
  }
  return std::move(result_);
}

std::vector<std::vector<size_t>> layer_readers(const Network& network) {
  std::vector<std::vector<size_t>> readers(network.tensors.size());
  for (size_t i = 0; i < network.layers.size(); ++i) {
    for (const TensorId id : network.layers[i].inputs) {
      readers[static_cast<size_t>(id)].push_back(i);
    }
  }
  return readers;
}

std::vector<int> count_readers(const Network& network) {
  std::vector<int> readers(network.tensors.size(), 0);
  for (const NetworkLayer& layer : network.layers) {
    for (const TensorId id : layer.inputs) {
      ++readers[static_cast<size_t>(id)];
    }
  }
  for (const TensorId id : network.outputs) {
    ++readers[static_cast<size_t>(id)];
  }
  return readers;
}

}  // namespace stator
