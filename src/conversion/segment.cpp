// SPDX-License-Identifier: Apache-2.0
//
// convert_segment: the driver that runs one converter a node.
#include <algorithm>
#include <set>

#include "base/check.h"
#include "conversion/conversion.h"
#include "graph/strides.h"

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

/// The order of a value's axes in memory; nothing where it is row-major, or where it has gaps or
/// overlaps and its bytes are not what an engine reads or writes.
AxisOrder order_of(const Network& network, const Value& value) {
  const std::optional<DenseOrder> order = dense_order(value.tensor, network.bounds);
  const bool ascending = order && std::is_sorted(order->axes.begin(), order->axes.end());
  return order && !ascending ? order->axes : AxisOrder{};
}

/// An input of the network, turned to the value's own order of axes.
TensorId add_input(Network& network, const Value& value, InterfaceOrders* orders) {
  const TensorMeta& meta = value.tensor;
  const AxisOrder order = orders == nullptr ? AxisOrder{} : order_of(network, value);
  if (orders != nullptr) orders->inputs.push_back(order);
  if (order.empty()) {
    return network.add_input(value.name, {meta.dtype, meta.shape});
  }
  const TensorId input =
      network.add_input(value.name, {meta.dtype, in_memory_order(meta.shape, order)});
  if (moves_nothing(order, meta.shape)) return network.add_reshape(input, meta.shape);
  std::vector<int64_t> back(order.size());
  for (size_t k = 0; k < order.size(); ++k) {
    back[static_cast<size_t>(order[k])] = static_cast<int64_t>(k);
  }
  return network.add_transpose(input, back);
}

/// An output with its axes as they are to lie in memory.
TensorId in_order(Network& network, TensorId tensor, const Value& value, InterfaceOrders* orders) {
  if (orders == nullptr) return tensor;
  orders->outputs.push_back(order_of(network, value));
  const AxisOrder& order = orders->outputs.back();
  if (order.empty()) return tensor;
  if (moves_nothing(order, value.tensor.shape)) {
    return network.add_reshape(tensor, in_memory_order(value.tensor.shape, order));
  }
  return network.add_transpose(tensor, order);
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

std::string InterfaceOrders::str() const {
  std::string text;
  for (const auto* lists : {&inputs, &outputs}) {
    for (const std::vector<int64_t>& order : *lists) {
      text += "(";
      for (const int64_t axis : order) text += std::to_string(axis) + ",";
      text += ")";
    }
    text += ";";
  }
  return text;
}

Result<Network> convert_segment(const Graph& graph, const std::vector<NodeId>& nodes,
                                const std::vector<ValueId>& inputs,
                                const std::vector<std::string>& symbol_inputs,
                                const std::vector<ValueId>& outputs,
                                const ConverterRegistry& registry, const std::string& name,
                                InterfaceOrders* orders) {
  Network network;
  network.name = name;
  network.bounds = graph.bounds;
  Conversion conversion(graph, network);
  for (const ValueId id : inputs) {
    const Value& value = graph.value(id);
    STATOR_CHECK(value.kind == ValueKind::kTensor,
                 "segment " + name + ": input " + value.name + " is no tensor");
    conversion.bind(id, add_input(network, value, orders));
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
    const TensorId tensor = in_order(network, conversion.tensor(id), graph.value(id), orders);
    if (network.tensor(tensor).role == TensorRole::kIntermediate) {
      network.tensor(tensor).name = graph.value(id).name;
    }
    network.mark_output(tensor);
  }
  return network;
}

}  // namespace stator
