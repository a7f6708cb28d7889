// SPDX-License-Identifier: Apache-2.0
#include "partition/describe.h"

#include <algorithm>
#include <set>

#include "graph/schema.h"
#include "graph/uses.h"
#include "partition/dependencies.h"

namespace stator {
namespace {

bool carries_data(const Value& value) {
  return value.kind != ValueKind::kSymInt && value.kind != ValueKind::kNone;
}

/// Symbols that a caller reads off the plain dimensions of the segment's tensors.
std::set<std::string> readable_symbols(const Graph& graph, const std::vector<ValueId>& inputs) {
  std::set<std::string> names;
  for (const ValueId id : inputs) {
    for (const Expr& size : graph.value(id).tensor.shape) {
      if (size.is_symbol()) {
        names.insert(size.symbol_name());
      }
    }
  }
  return names;
}

/// `known`: symbols that exist before the segment runs; the others it makes itself ("u0" of a
/// nonzero). `symbols`: what it wants besides what its nodes do.
void find_inputs(const Graph& graph, Segment& segment, const std::set<ValueId>& inside,
                 const std::set<std::string>& known, std::set<std::string> symbols) {
  std::set<ValueId> seen;
  for (const NodeId id : segment.nodes) {
    const Node& node = graph.node(id);
    for (const ValueId used : values_used(node)) {
      if (inside.count(used) == 0 && graph.constant(used) == nullptr &&
          carries_data(graph.value(used)) && seen.insert(used).second) {
        segment.inputs.push_back(used);
      }
    }
    symbols.merge(symbols_of(graph, node));
  }
  const std::set<std::string> readable = readable_symbols(graph, segment.inputs);
  for (const std::string& name : symbols) {
    if (readable.count(name) == 0 && known.count(name) != 0) {
      segment.symbol_inputs.push_back(name);
    }
  }
}

}  // namespace

bool is_bookkeeping(const Node& node) {
  static const std::set<std::string, std::less<>> kTargets = {
      "aten.sym_size.int",
      "aten.sym_size.default",
      "aten.sym_stride.int",
      "aten.sym_stride.default",
      "aten.sym_numel.default",
      "aten.sym_storage_offset.default",
      "aten.size.int",
      "aten.sym_constrain_range.default",
      "aten.sym_constrain_range_for_size.default",
      "aten._assert_scalar.default",
      "aten._assert_tensor_metadata.default",
  };
  constexpr std::string_view kPythonModules[] = {"_operator.", "operator.", "math.", "torch.sym_",
                                                 "builtins."};
  for (const std::string_view module : kPythonModules) {
    if (std::string_view(node.target).substr(0, module.size()) == module) {
      return true;
    }
  }
  return kTargets.find(node.target) != kTargets.end();
}

void describe_segments(const Graph& graph, std::vector<Segment>& segments) {
  // The segment that last uses each value; graph outputs are used behind all segments.
  std::vector<int> last_use(static_cast<size_t>(graph.value_count()), -1);
  for (size_t s = 0; s < segments.size(); ++s) {
    for (const NodeId id : segments[s].nodes) {
      for (const ValueId used : values_used(graph.node(id))) {
        last_use[static_cast<size_t>(used)] = static_cast<int>(s);
      }
    }
  }
  std::set<std::string> known;
  for (const GraphInput& input : graph.inputs) {
    collect_symbols(graph.value(input.value), known);
  }
  graph.bounds.expand(&known);
  const std::set<std::string> given = known;
  std::set<std::string> guarded;  // what guards are about; the first engine checks them
  for (const Guard& guard : graph.guards) guard.condition.collect_symbols(guarded);
  std::set<std::string> asked;  // symbols that a later segment takes and no graph input gives
  for (Segment& segment : segments) {
    std::set<ValueId> inside;
    for (const NodeId id : segment.nodes) {
      const Node& node = graph.node(id);
      inside.insert(node.outputs.begin(), node.outputs.end());
      segment.operator_count += is_bookkeeping(node) ? 0 : 1;
    }
    find_inputs(graph, segment, inside, known, segment.engine ? guarded : std::set<std::string>{});
    if (segment.engine) guarded.clear();
    for (const ValueId id : inside) {
      collect_symbols(graph.value(id), known);
    }
    graph.bounds.expand(&known);
    for (const std::string& name : segment.symbol_inputs) {
      if (given.count(name) == 0) {
        asked.insert(name);
      }
    }
  }
  for (size_t s = 0; s < segments.size(); ++s) {
    for (const NodeId id : segments[s].nodes) {
      for (const ValueId made : graph.node(id).outputs) {
        const Value& value = graph.value(made);
        const auto shown = std::find_if(asked.begin(), asked.end(), [&](const std::string& name) {
          return shows_symbol(value, name);
        });
        const bool source = shown != asked.end();
        if (source) {
          asked.erase(shown);
        }
        if (source || last_use[static_cast<size_t>(made)] > static_cast<int>(s) ||
            graph.is_output(made)) {
          segments[s].outputs.push_back(made);
        }
      }
    }
  }
}

}  // namespace stator
