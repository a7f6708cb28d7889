// SPDX-License-Identifier: Apache-2.0
#include "partition/describe.h"

#include <algorithm>
#include <set>

#include "graph/schema.h"
#include "graph/strides.h"
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
  std::vector<NodeId> nodes = segment.views;
  nodes.insert(nodes.end(), segment.nodes.begin(), segment.nodes.end());
  for (const NodeId id : nodes) {
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

/// Operators to which a view and a copy of it are not the same.
bool tells_views(const Node& node) { return sees_memory(node) || writes_argument(node); }

/// Values that a PyTorch segment takes from engines and that PyTorch has as views which an engine
/// cannot give: with gaps or overlaps, or where the node sees the memory around them.
class BoundaryViews {
 public:
  BoundaryViews(const Graph& graph, const std::vector<Segment>& segments) : graph_(graph) {
    for (const Segment& segment : segments) {
      if (segment.engine) in_engine_.insert(segment.nodes.begin(), segment.nodes.end());
    }
  }

  void add_to(Segment& segment) {
    std::set<NodeId> taken;
    for (const NodeId id : segment.nodes) {
      const Node& node = graph_.node(id);
      for (const ValueId used : values_used(node)) {
        if (!is_right(used, node)) add_view(segment, used, taken);
      }
    }
  }

 private:
  /// The engine's node that makes a value as a view; -1 for others.
  NodeId view_of(ValueId id) const {
    const NodeId producer = graph_.value(id).producer;
    const bool found = producer >= 0 && in_engine_.contains(producer) &&
                       is_alias(graph_, graph_.node(producer)) &&
                       values_used(graph_.node(producer)).size() == 1;
    return found ? producer : -1;
  }

  bool is_right(ValueId id, const Node& user) const {
    if (view_of(id) < 0) return true;
    const std::optional<DenseOrder> order = dense_order(graph_.value(id).tensor, graph_.bounds);
    return order && order->exact && !tells_views(user);
  }

  void add_view(Segment& segment, ValueId id, std::set<NodeId>& taken) {
    const NodeId view = view_of(id);
    if (view < 0 || !taken.insert(view).second) return;
    add_view(segment, aliased_argument(graph_, graph_.node(view)), taken);
    segment.views.push_back(view);
  }

  const Graph& graph_;
  std::set<NodeId> in_engine_;
};

/// The values that a segment makes.
std::set<ValueId> made_in(const Graph& graph, const Segment& segment) {
  std::set<ValueId> made;
  for (const std::vector<NodeId>* nodes : {&segment.views, &segment.nodes}) {
    for (const NodeId id : *nodes) {
      made.insert(graph.node(id).outputs.begin(), graph.node(id).outputs.end());
    }
  }
  return made;
}

}  // namespace

bool is_bookkeeping(std::string_view target) {
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
    if (target.starts_with(module)) {
      return true;
    }
  }
  return kTargets.find(target) != kTargets.end();
}

void describe_segments(const Graph& graph, std::vector<Segment>& segments) {
  BoundaryViews boundary(graph, segments);
  for (Segment& segment : segments) {
    if (!segment.engine) boundary.add_to(segment);
  }
  // The segment that last takes each value; graph outputs are taken behind all segments.
  std::vector<int> last_use(static_cast<size_t>(graph.value_count()), -1);
  for (size_t s = 0; s < segments.size(); ++s) {
    const std::set<ValueId> inside = made_in(graph, segments[s]);
    for (const std::vector<NodeId>* nodes : {&segments[s].views, &segments[s].nodes}) {
      for (const NodeId id : *nodes) {
        for (const ValueId used : values_used(graph.node(id))) {
          if (!inside.contains(used)) last_use[static_cast<size_t>(used)] = static_cast<int>(s);
        }
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
    const std::set<ValueId> inside = made_in(graph, segment);
    for (const NodeId id : segment.nodes) {
      segment.operator_count += is_bookkeeping(graph.node(id).target) ? 0 : 1;
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
