// SPDX-License-Identifier: Apache-2.0
//
// Conversion: a segment of the graph → a Network. One file a family of operators in
// conversion/aten; each ends in a registration function named in families.inc.
//
//   Support support(const SupportContext& c, const Node& node);  // asked first; no side effects
//   Status convert(Conversion& c, const Node& node);             // only after support() said yes
//   void register_softmax(ConverterRegistry& r) {
//     r.add("aten._softmax.default", {support, convert});
//   }
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/support.h"
#include "stator/graph.h"
#include "stator/network.h"

namespace stator {

/// What a validator may look at.
struct SupportContext {
  const Graph& graph;
  const TensorMeta& meta(ValueId id) const { return graph.value(id).tensor; }
  const TensorMeta& meta(const Node& node, std::string_view arg) const {
    return meta(node.tensor(arg));
  }
};

/// One segment's conversion in progress.
class Conversion {
 public:
  Conversion(const Graph& graph, Network& network) : graph_(graph), network_(network) {}
  const Graph& graph() const { return graph_; }
  Network& network() { return network_; }
  /// The tensor of a value; constants are added on first use.
  TensorId tensor(ValueId value);
  TensorId tensor(const Node& node, std::string_view arg) { return tensor(node.tensor(arg)); }
  /// A tensor or scalar argument ("other" of add.Tensor / add.Scalar) as a tensor of `dtype`.
  TensorId operand(const Node& node, std::string_view arg, DType dtype);
  /// The tensor cast to `dtype` (itself when it has it).
  TensorId cast(TensorId tensor, DType dtype);
  /// A 0-d tensor holding `value`.
  TensorId fill(const Scalar& value, DType dtype);
  /// Binds a value that comes from outside: an input of the segment.
  void bind(ValueId value, TensorId tensor);
  /// Binds a node's output; casts to the dtype that PyTorch recorded for it when they differ.
  void set(const Node& node, TensorId tensor, int output = 0);
  /// True when somebody reads the node's output, so that it must be computed.
  bool used(const Node& node, int output);
  const TensorMeta& meta(const Node& node, std::string_view arg) const {
    return graph_.value(node.tensor(arg)).tensor;
  }
  const TensorMeta& output_meta(const Node& node, int output = 0) const {
    return graph_.value(node.outputs[static_cast<size_t>(output)]).tensor;
  }

 private:
  const Graph& graph_;
  Network& network_;
  std::map<ValueId, TensorId> tensors_;
  std::vector<bool> used_;  // by value; filled by the first used()
};

/// A constant scalar argument (int, float or bool) as an immediate of `dtype`.
Scalar scalar_of(const Argument& argument, DType dtype);

struct Converter {
  std::function<Support(const SupportContext&, const Node&)> support;  // empty: always
  std::function<Status(Conversion&, const Node&)> convert;
  bool dynamic_shapes = true;  // false: refused when an input has a symbolic size
  int priority = 0;            // higher wins; equal: the later registration
};

class ConverterRegistry {
 public:
  /// With Stator's own converters.
  static ConverterRegistry& global();
  void add(std::string target, Converter converter);
  const Converter* find(std::string_view target) const;  // nullptr: none
  std::vector<std::string> targets() const;              // sorted
  /// Converter, dtypes (complex and sparse refused), device, then the converter's own validator.
  Support support(const Graph& graph, const Node& node, bool assume_dynamic_shape_support) const;

 private:
  std::map<std::string, std::vector<Converter>, std::less<>> converters_;
};

/// How the caller's tensors lie in memory: of each the axes from the slowest to the fastest,
/// nothing for a row-major one.
struct InterfaceOrders {
  std::vector<std::vector<int64_t>> inputs, outputs;
  std::string str() const;
};

/// nodes: in order. inputs / outputs: as Segment has them. symbol_inputs become scalar inputs.
/// Where `orders` is given, the network takes and gives tensors with their axes in the order that
/// PyTorch has them in memory, and `orders` says which; else all are row-major.
Result<Network> convert_segment(const Graph& graph, const std::vector<NodeId>& nodes,
                                const std::vector<ValueId>& inputs,
                                const std::vector<std::string>& symbol_inputs,
                                const std::vector<ValueId>& outputs,
                                const ConverterRegistry& registry, const std::string& name,
                                InterfaceOrders* orders = nullptr);

/// Normalizes a negative dim.
inline int64_t normalize_dim(int64_t dim, int64_t rank) {
  return dim < 0 ? dim + (rank == 0 ? 1 : rank) : dim;
}

}  // namespace stator
