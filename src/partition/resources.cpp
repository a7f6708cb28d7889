// SPDX-License-Identifier: Apache-2.0
#include "partition/resources.h"

#include <set>

#include "graph/operator_set.h"
#include "partition/dependencies.h"

namespace stator {
namespace {

constexpr int64_t kCopiesOfWeights = 3;
constexpr int64_t kMemoryOfAnyBuild = int64_t{8} << 20;

class Need {
 public:
  explicit Need(const Graph& graph) : graph_(&graph) {}
  /// With `node` too.
  int64_t with(const Node& node) const {
    int64_t bytes = bytes_;
    std::set<ValueId> fresh;
    for (const ValueId id : values_used(node)) {
      const GraphInput* constant = graph_->constant(id);
      if (constant != nullptr && constants_.count(id) == 0 && fresh.insert(id).second) {
        bytes += constant->data.size_bytes;
      }
    }
    return kMemoryOfAnyBuild + kCopiesOfWeights * bytes;
  }
  void add(const Node& node) {
    for (const ValueId id : values_used(node)) {
      const GraphInput* constant = graph_->constant(id);
      if (constant != nullptr && constants_.insert(id).second) bytes_ += constant->data.size_bytes;
    }
  }

 private:
  const Graph* graph_;
  std::set<ValueId> constants_;
  int64_t bytes_ = 0;
};

Error too_small(const Node& node, int64_t budget, int64_t needed) {
  return Error{ErrorCode::kUnsupported, "cpu_memory_budget=" + std::to_string(budget) +
                                            " is too small for node " + node.name + " (" +
                                            qualified_operator_name(node.target) +
                                            "), whose engine needs "
                                            "about " +
                                            std::to_string(needed) +
                                            " bytes to be built; give more, or leave it "
                                            "to PyTorch with torch_executed_ops"};
}

}  // namespace

Status split_by_memory(const Graph& graph, int64_t budget, std::vector<Segment>& segments) {
  std::vector<Segment> result;
  for (Segment& segment : segments) {
    if (!segment.engine) {
      result.push_back(std::move(segment));
      continue;
    }
    Need need(graph);
    Segment part;
    part.engine = true;
    for (const NodeId id : segment.nodes) {
      const Node& node = graph.node(id);
      if (const int64_t alone = Need(graph).with(node); alone > budget) {
        return too_small(node, budget, alone);
      }
      if (need.with(node) > budget && !part.nodes.empty()) {
        result.push_back(std::move(part));
        part = Segment();
        part.engine = true;
        need = Need(graph);
      }
      need.add(node);
      part.nodes.push_back(id);
    }
    result.push_back(std::move(part));
  }
  for (size_t i = 0; i < result.size(); ++i) {
    result[i].name = (result[i].engine ? "_run_on_acc_" : "_run_on_gpu_") + std::to_string(i);
  }
  segments = std::move(result);
  return {};
}

}  // namespace stator
