// SPDX-License-Identifier: Apache-2.0
#include "compiler/oracle.h"

#include <algorithm>
#include <cstring>

#include "backend/compiler.h"
#include "builder/build.h"
#include "graph/uses.h"
#include "optimizer/optimizer.h"
#include "stator/runtime.h"

namespace stator {
namespace {

bool is_used(const Graph& graph, ValueId id) {
  bool used = graph.is_output(id);
  for (const NodeId node : graph.order()) {
    for (const NamedArgument& argument : graph.node(node).args) {
      for_each_use(argument.value, [&](ValueId read) { used = used || read == id; });
    }
  }
  return used;
}

}  // namespace

Result<std::vector<TensorData>> evaluate_network(const Network& network) {
  CompilerBackend& backend = oracle_backend();
  OptimizerOptions options;
  options.traits = backend.traits();
  STATOR_TRY(RegionGraph regions, fuse(network, options));
  BuilderOptions builder;
  builder.build.optimization_level = 0;
  STATOR_TRY(Plan plan, build(regions, backend, builder, nullptr));
  STATOR_TRY(std::shared_ptr<const Engine> engine, Engine::from_plan(std::move(plan)));
  ExecutionContext context(engine);
  STATOR_RETURN_IF_ERROR(context.set_shapes({}));
  STATOR_RETURN_IF_ERROR(context.run());
  std::vector<TensorData> results;
  for (size_t i = 0; i < engine->outputs().size(); ++i) {
    const TensorView view = context.output(static_cast<int>(i));
    void* writable = nullptr;
    TensorData data = TensorData::allocate(view.size_bytes(), &writable);
    std::memcpy(writable, view.data, static_cast<size_t>(view.size_bytes()));
    results.push_back(std::move(data));
  }
  return results;
}

Result<std::vector<TensorData>> evaluate_layer_of(const NetworkLayer& layer,
                                                  const Network& network) {
  Network single;
  std::vector<TensorId> inputs;
  for (const TensorId id : layer.inputs) {
    const NetworkTensor& tensor = network.tensor(id);
    inputs.push_back(single.add_constant(tensor.name, tensor.type, tensor.data, tensor.origin));
  }
  for (const TensorId output : single.add_layer(layer.attributes, inputs)) {
    single.mark_output(output);
  }
  return evaluate_network(single);
}

Result<std::vector<TensorData>> evaluate_node(const Graph& graph, const Node& node,
                                              const ConverterRegistry& registry) {
  // Converters leave out results that nobody uses, such as the statistics of a normalization.
  std::vector<ValueId> used;
  for (const ValueId id : node.outputs) {
    if (node.outputs.size() == 1 || is_used(graph, id)) used.push_back(id);
  }
  STATOR_TRY(Network network,
             convert_segment(graph, {node.id}, {}, {}, used, registry, "constant"));
  STATOR_TRY(std::vector<TensorData> results, evaluate_network(network));
  std::vector<TensorData> all(node.outputs.size());
  for (size_t i = 0; i < used.size(); ++i) {
    const auto place = std::find(node.outputs.begin(), node.outputs.end(), used[i]);
    all[static_cast<size_t>(place - node.outputs.begin())] = std::move(results[i]);
  }
  return all;
}

}  // namespace stator
