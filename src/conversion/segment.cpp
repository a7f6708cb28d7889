// SPDX-License-Identifier: Apache-2.0
//
// convert_segment: the driver that runs one converter a node.
#include <algorithm>
#include <set>

#include "base/check.h"
#include "conversion/conversion.h"

namespace stator {
namespace {

/// Nodes that only compute sizes: their values stand as expressions in the arguments of others.
bool makes_no_tensor(const Graph& graph, const Node& node) {
  return std::none_of(node.outputs.begin(), node.outputs.end(),
                      [&](ValueId id) { return graph.value(id).kind == ValueKind::kTensor; });
}

Status convert_node(Conversion& conversion, const Node& node, const ConverterRegistry& registry) {
  const Graph& graph = conversion.graph();
  if (makes_no_tensor(graph, node)) {
    return {};
  }
  if (const Support support = registry.support(graph, node, true); !support) {
    return Error{ErrorCode::kUnsupported, node.target + " (" + node.name +
                                              ") cannot be converted because " + support.reason()};
  }
  const bool lowered = !node.original_target.empty();
  conversion.network().current = {lowered ? node.original_name : node.name,
                                  lowered ? node.original_target : node.target, node.source()};
  try {
    if (Status status = registry.find(node.target)->convert(conversion, node); !status.ok()) {
      return status.error().in(node.target + " (" + node.name + ")");
    }
  } catch (const InternalError& e) {  // whoever catches it wants to know where
    const std::string source = node.source().str();
    throw InternalError(node.target + " (" + node.name + ")" +
                        (source.empty() ? "" : " at " + source) + ": " + e.what());
  }
  return {};
}

/// The guards over symbols that the segment gets.
void take_guards(const Graph& graph, Network& network) {
  std::set<std::string> bound;
  for (const TensorId input : network.inputs) {
    for (const Expr& size : network.type(input).shape) {
      if (size.is_symbol()) bound.insert(size.symbol_name());
    }
  }
  for (const Expr& scalar : network.scalar_inputs) bound.insert(scalar.symbol_name());
  for (const Guard& guard : graph.guards) {
    std::set<std::string> used;
    guard.condition.collect_symbols(used);
    if (std::includes(bound.begin(), bound.end(), used.begin(), used.end())) {
      network.guards.push_back(guard);
    }
  }
}

}  // namespace

Result<Network> convert_segment(const Graph& graph, const std::vector<NodeId>& nodes,
                                const std::vector<ValueId>& inputs,
                                const std::vector<std::string>& symbol_inputs,
                                const std::vector<ValueId>& outputs,
                                const ConverterRegistry& registry, const std::string& name) {
  Network network;
  network.name = name;
  network.bounds = graph.bounds;
  Conversion conversion(graph, network);
  for (const ValueId id : inputs) {
    const Value& value = graph.value(id);
    STATOR_CHECK(value.kind == ValueKind::kTensor,
                 "segment " + name + ": input " + value.name + " is no tensor");
    conversion.bind(id, network.add_input(value.name, {value.tensor.dtype, value.tensor.shape}));
  }
  for (const std::string& symbol : symbol_inputs) {
    network.scalar_inputs.push_back(Expr::symbol(symbol));
  }
  take_guards(graph, network);
  for (const NodeId id : nodes) {
    STATOR_RETURN_IF_ERROR(convert_node(conversion, graph.node(id), registry));
  }
  network.current = {};
  for (const ValueId id : outputs) {
    const TensorId tensor = conversion.tensor(id);
    if (network.tensor(tensor).role == TensorRole::kIntermediate) {
      network.tensor(tensor).name = graph.value(id).name;
    }
    network.mark_output(tensor);
  }
  return network;
}

}  // namespace stator
