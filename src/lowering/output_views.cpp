// SPDX-License-Identifier: Apache-2.0
#include "lowering/output_views.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>

#include "graph/strides.h"
#include "stator/layer.h"

namespace stator {
namespace {

/// An operator that takes a size from another tensor, as the one that takes the size itself.
const std::map<std::string, std::string, std::less<>> kBySize = {
    {"aten.view_as.default", "aten.view.default"},
    {"aten.reshape_as.default", "aten.reshape.default"},
    {"aten.expand_as.default", "aten.expand.default"},
};

class OutputViews {
 public:
  explicit OutputViews(Graph& graph) : graph_(graph), memory_(graph) {
    for (const GraphInput& input : graph.inputs) note_symbols(graph.value(input.value));
    graph.bounds.expand(&symbols_);
    for (const GraphOutput& output : graph.outputs) {
      const auto* use = std::get_if<ValueUse>(&output.value);
      if (use == nullptr || use->id == kNoValue) continue;
      leaving_[memory_.root(use->id)].insert(use->id);
      if (output.kind != OutputKind::kUserOutput) written_back_.insert(use->id);
    }
  }

  void run() {
    for (GraphOutput& output : graph_.outputs) {
      const auto* use = std::get_if<ValueUse>(&output.value);
      if (output.kind != OutputKind::kUserOutput || use == nullptr || use->id == kNoValue ||
          graph_.value(use->id).kind != ValueKind::kTensor) {
        continue;
      }
      const ValueId view = use->id, root = root_of(view);
      if (root == view || !must_be_view(view, root) || !take(view, root)) continue;
      output.value = ValueUse{root};
      output.view = view;
    }
    graph_.remove_dead_nodes();
  }

 private:
  void note_symbols(const Value& value) {
    if (value.expr.is_symbol()) symbols_.insert(value.expr.symbol_name());
    for (const Expr& size : value.tensor.shape) {
      if (size.is_symbol()) symbols_.insert(size.symbol_name());
    }
  }

  /// What the view is of; an input's new value, which is written back to it, counts as the input.
  ValueId root_of(ValueId id) const {
    while (!written_back_.contains(id)) {
      const ValueId next = argument_of(id);
      if (next == kNoValue) break;
      id = next;
    }
    return id;
  }

  ValueId argument_of(ValueId id) const {
    const NodeId producer = graph_.value(id).producer;
    return producer < 0 ? kNoValue : aliased_argument(graph_, graph_.node(producer));
  }

  bool must_be_view(ValueId view, ValueId root) const {
    if (graph_.value(root).producer < 0 || written_back_.contains(root)) return true;
    if (leaving_.at(memory_.root(view)).size() > 1) return true;
    const TensorMeta& seen = graph_.value(view).tensor;
    const TensorMeta& whole = graph_.value(root).tensor;
    const std::optional<DenseOrder> order = dense_order(seen, graph_.bounds);
    return !order || !order->exact ||
           !graph_.bounds.proves_equal(product(seen.shape), product(whole.shape));
  }

  /// Adds the views between `root` and `view`; false where one of them needs more than its size.
  bool take(ValueId view, ValueId root) {
    std::vector<Node> path;
    for (ValueId at = view; at != root; at = argument_of(at)) {
      Node node = graph_.node(graph_.value(at).producer);
      if (const auto sized = kBySize.find(node.target); sized != kBySize.end()) {
        node.target = sized->second;
        node.args = {node.args.front(), {"size", graph_.value(at).tensor.shape}};
        if (node.target == "aten.reshape.default") node.args.back().name = "shape";
        if (node.target == "aten.expand.default") node.args.push_back({"implicit", false});
      }
      if (!stands_alone(node)) return false;
      path.push_back(std::move(node));
    }
    std::reverse(path.begin(), path.end());
    for (Node& node : path) {
      if (taken_.insert(node.id).second) graph_.output_views.push_back(std::move(node));
    }
    return true;
  }

  /// Reads no tensor but its first argument, and no size that the caller could not know.
  bool stands_alone(const Node& node) const {
    for (size_t i = 0; i < node.args.size(); ++i) {
      const Argument& value = node.args[i].value;
      if (i > 0 && (std::holds_alternative<ValueUse>(value) ||
                    std::holds_alternative<std::vector<ValueUse>>(value) ||
                    std::holds_alternative<OpaqueArg>(value))) {
        return false;
      }
      std::set<std::string> symbols;
      if (const auto* e = std::get_if<Expr>(&value)) e->collect_symbols(symbols);
      if (const auto* list = std::get_if<std::vector<Expr>>(&value)) {
        for (const Expr& e : *list) e.collect_symbols(symbols);
      }
      if (!std::includes(symbols_.begin(), symbols_.end(), symbols.begin(), symbols.end())) {
        return false;
      }
    }
    return true;
  }

  Graph& graph_;
  Memory memory_;
  std::map<ValueId, std::set<ValueId>> leaving_;  // outputs that lie in each root
  std::set<ValueId> written_back_;
  std::set<std::string> symbols_;  // that the caller reads off its arguments
  std::set<NodeId> taken_;
};

}  // namespace

void take_output_views(Graph& graph) { OutputViews(graph).run(); }

}  // namespace stator
