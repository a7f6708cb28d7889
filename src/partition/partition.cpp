// SPDX-License-Identifier: Apache-2.0
//
// The driver: ask for every node whether an engine may hold it, let a partitioner plan the cut,
// give blocks that are too small back to PyTorch, and describe the segments.
#include <algorithm>
#include <set>
#include <utility>

#include "graph/operator_set.h"
#include "graph/schema.h"
#include "partition/describe.h"
#include "partition/partitions.h"
#include "partition/phases.h"
#include "partition/resources.h"

namespace stator {
namespace {

/// What was decided for the node at each position of the order.
struct Verdicts {
  std::vector<bool> convertible;
  std::vector<Fallback> fallbacks;  // node -1: none
};

/// Looks at its arguments and gives nothing.
bool asserts(const Node& node) {
  const Schema* schema = find_schema(node.target);
  return schema != nullptr && schema->output_count == 0 && !schema->is_mutating;
}

Fallback judge(const Graph& graph, const Node& node, const SupportQuery& query,
               const PartitionOptions& options) {
  if (contains_operator(options.torch_executed_ops, node)) {
    return {node.id, FallbackKind::kTorchExecuted, "it is listed in torch_executed_ops"};
  }
  if (writes_argument(node)) {
    return {node.id, FallbackKind::kStateful, "it writes its argument in place"};
  }
  if (asserts(node)) {
    return {node.id, FallbackKind::kStateful,
            "it asserts what depends on data, and raises PyTorch's error"};
  }
  if (draws_random_numbers(node)) {
    return {node.id, FallbackKind::kStateful, "it draws random numbers from PyTorch's generator"};
  }
  if (const Support support = query(graph, node); !support) {
    return {node.id, FallbackKind::kNotConvertible, support.reason()};
  }
  return {};
}

Verdicts judge_all(const Graph& graph, const SupportQuery& query, const PartitionOptions& options,
                   Partitions& result) {
  Verdicts verdicts;
  for (const NodeId id : graph.order()) {
    const Node& node = graph.node(id);
    Fallback fallback;
    bool convertible = false;
    if (!is_bookkeeping(node.target)) {
      fallback = judge(graph, node, query, options);
      convertible = fallback.node == -1;
      ++result.total_operators;
      if (convertible) {
        ++result.supported_operators;
      } else {
        ++result.unsupported[node.target];
      }
    }
    verdicts.convertible.push_back(convertible);
    verdicts.fallbacks.push_back(std::move(fallback));
  }
  return verdicts;
}

/// The segments of a cut; blocks below the least size join the PyTorch code around them.
std::vector<Segment> cut(const Graph& graph, const std::vector<int>& phases, int64_t least,
                         Partitions& result) {
  const int last = phases.empty() ? -1 : *std::max_element(phases.begin(), phases.end());
  std::vector<std::vector<int>> positions(static_cast<size_t>(last) + 1);
  for (size_t at = 0; at < phases.size(); ++at) {
    positions[static_cast<size_t>(phases[at])].push_back(static_cast<int>(at));
  }
  std::vector<std::pair<bool, std::vector<int>>> parts;
  for (size_t phase = 0; phase < positions.size(); ++phase) {
    std::vector<int>& here = positions[phase];
    if (here.empty()) {
      continue;
    }
    bool engine = phase % 2 == 1;
    if (engine) {
      const auto size = static_cast<int64_t>(here.size());
      result.block_sizes.push_back(size);
      engine = size >= least;
    }
    if (!parts.empty() && !engine && !parts.back().first) {
      parts.back().second.insert(parts.back().second.end(), here.begin(), here.end());
    } else {
      parts.emplace_back(engine, std::move(here));
    }
  }
  std::vector<Segment> segments;
  for (auto& [engine, members] : parts) {
    // The order of the graph, which is topological, is also right inside a part.
    std::sort(members.begin(), members.end());
    Segment segment;
    segment.engine = engine;
    segment.name = (engine ? "_run_on_acc_" : "_run_on_gpu_") + std::to_string(segments.size());
    for (const int at : members) {
      segment.nodes.push_back(graph.order()[static_cast<size_t>(at)]);
    }
    segments.push_back(std::move(segment));
  }
  return segments;
}

int64_t least_block(const PartitionOptions& options, const Partitions& counted) {
  if (options.require_full_compilation) return 1;
  if (options.min_block_size != kChooseBlockSize) return options.min_block_size;
  return counted.supported_operators == counted.total_operators ? 1 : kLeastBlockOfMixedGraph;
}

/// Every operator that ended up in PyTorch has its reason.
void collect_fallbacks(const Graph& graph, Verdicts& verdicts, const std::vector<int>& phases,
                       Partitions& result) {
  std::set<NodeId> in_engine;
  for (const Segment& segment : result.segments) {
    if (segment.engine) {
      in_engine.insert(segment.nodes.begin(), segment.nodes.end());
    }
  }
  std::map<int, int64_t> block_size;
  for (const int phase : phases) {
    ++block_size[phase];
  }
  for (size_t at = 0; at < phases.size(); ++at) {
    const NodeId id = graph.order()[at];
    if (verdicts.fallbacks[at].node != -1) {
      result.fallbacks.push_back(std::move(verdicts.fallbacks[at]));
    } else if (verdicts.convertible[at] && in_engine.count(id) == 0) {
      const std::string least =
          result.min_block_size == INT64_MAX ? "inf" : std::to_string(result.min_block_size);
      result.fallbacks.push_back({id, FallbackKind::kBelowMinBlockSize,
                                  "its block of " + std::to_string(block_size[phases[at]]) +
                                      " operator(s) is below min_block_size=" + least});
    }
  }
}

Error full_compilation_error(const Graph& graph, const Partitions& partitions,
                             const PartitionOptions& options) {
  const std::string asked = options.without_pytorch
                                ? "an engine without PyTorch must hold the whole model, but "
                                : "require_full_compilation is set, but ";
  std::string text = asked + std::to_string(partitions.fallbacks.size()) + " of " +
                     std::to_string(partitions.total_operators) +
                     " operators cannot run in an engine:";
  for (const Fallback& fallback : partitions.fallbacks) {
    const Node& node = graph.node(fallback.node);
    text +=
        "\n  " + qualified_operator_name(node.target) + "  %" + node.name + ": " + fallback.reason;
    if (const std::string source = node.source().str(); !source.empty()) {
      text += "\n    source  " + source;
    }
  }
  text += "\nremedy: register converters for these operators, change the model, or ";
  text += options.without_pytorch
              ? "compile in Python, where they run in PyTorch: "
                "stator.compile(torch.export.load(\"model.pt2\")), then stator.save"
              : "compile with require_full_compilation=False to run them in PyTorch";
  return Error{ErrorCode::kUnsupported, text};
}

}  // namespace

const char* fallback_kind_name(FallbackKind kind) {
  switch (kind) {
    case FallbackKind::kNotConvertible:
      return "not_convertible";
    case FallbackKind::kTorchExecuted:
      return "torch_executed";
    case FallbackKind::kStateful:
      return "stateful";
    case FallbackKind::kBelowMinBlockSize:
      return "below_min_block_size";
  }
  return "";
}

Result<Partitions> partition(const Graph& graph, const SupportQuery& query,
                             const PartitionOptions& options) {
  Partitions result;
  Verdicts verdicts = judge_all(graph, query, options, result);
  const Dependencies dependencies = find_dependencies(graph);
  const std::vector<int> phases = options.use_fast_partitioner
                                      ? phases_fast(dependencies, verdicts.convertible)
                                      : phases_global(dependencies, verdicts.convertible);
  result.min_block_size = least_block(options, result);
  result.segments = cut(graph, phases, result.min_block_size, result);
  if (options.memory_budget > 0) {
    STATOR_RETURN_IF_ERROR(split_by_memory(graph, options.memory_budget, result.segments));
  }
  collect_fallbacks(graph, verdicts, phases, result);
  if (options.require_full_compilation && !result.fallbacks.empty()) {
    return full_compilation_error(graph, result, options);
  }
  describe_segments(graph, result.segments);
  return result;
}

}  // namespace stator
