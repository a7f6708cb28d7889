// SPDX-License-Identifier: Apache-2.0
//
// The dry-run report, computed from the Partitions alone. Its lines are the interface: the document
// "Dryrun Mode" shows them, and tests compare them to the letter.
#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "graph/operator_set.h"
#include "partition/cost.h"
#include "partition/partitions.h"
#include "partition/type_text.h"

namespace stator {
namespace {

/// round(x, 2) as Python prints a float: 97.18, 97.5, 100.0.
std::string print_rounded(double value) {
  const double rounded = std::round(value * 100) / 100;
  std::ostringstream stream;
  stream.precision(15);
  stream << rounded;
  std::string text = stream.str();
  return text.find('.') == std::string::npos ? text + ".0" : text;
}

std::string print_block_size(int64_t size) {
  return size == INT64_MAX ? "inf" : std::to_string(size);
}

double coverage(const Partitions& p) {
  return p.total_operators == 0 ? 100.0
                                : 100.0 * static_cast<double>(p.supported_operators) /
                                      static_cast<double>(p.total_operators);
}

std::vector<const Segment*> engines_of(const Partitions& partitions) {
  std::vector<const Segment*> engines;
  for (const Segment& segment : partitions.segments) {
    if (segment.engine) {
      engines.push_back(&segment);
    }
  }
  return engines;
}

std::string types_of(const Graph& graph, const std::vector<ValueId>& values, bool always_list) {
  std::vector<std::string> types;
  for (const ValueId id : values) {
    types.push_back(report_type(graph, graph.value(id)));
  }
  return types.size() == 1 && !always_list ? types.front() : report_list(types);
}

class Report {
 public:
  Report(const Graph& graph, const Partitions& partitions)
      : graph_(graph), partitions_(partitions), engines_(engines_of(partitions)) {}

  std::string text(const std::string& settings) {
    line("++++++++++++++++++++++++++ Dry-Run Results for Graph ++++++++++++++++++++++++++");
    line("");
    line("The graph consists of " + std::to_string(partitions_.total_operators) +
         " Total Operators, of which " + std::to_string(partitions_.supported_operators) +
         " operators are supported, " + print_rounded(coverage(partitions_)) + "% coverage");
    line("");
    unsupported();
    fallbacks();
    line("Compiled with: " + settings);
    line("");
    structure();
    stats();
    recommendations();
    text_.pop_back();
    return text_;
  }

 private:
  void line(const std::string& text) { text_ += text + "\n"; }

  void unsupported() {
    if (partitions_.unsupported.empty()) {
      return;
    }
    line(
        "The following ops are currently unsupported or excluded from conversion, and are listed "
        "with their op-count in the graph:");
    for (const auto& [target, count] : partitions_.unsupported) {
      line(" " + qualified_operator_name(target) + ": " + std::to_string(count));
    }
    line("");
  }

  void fallbacks() {
    if (partitions_.fallbacks.empty()) {
      return;
    }
    line("The following nodes are currently set to run in Torch:");
    for (const Fallback& fallback : partitions_.fallbacks) {
      const Node& node = graph_.node(fallback.node);
      const std::string source = node.source().str();
      line(" " + qualified_operator_name(node.target) + ", node " + node.name +
           (source.empty() ? "" : " (" + source + ")") + ": " + fallback.reason);
    }
    line(
        "Note: Some of the above nodes may be supported, but were not included in a TRT graph by "
        "the partitioner");
    line("");
  }

  void structure() {
    line("  Graph Structure:");
    line("");
    line("   Inputs: " + report_inputs(graph_));
    int number = 0;
    for (const Segment* engine : engines_) {
      line("    ...");
      line("      TRT Engine #" + std::to_string(++number) + " - Submodule name: " + engine->name);
      line("       Engine Inputs: " + types_of(graph_, engine->inputs, true));
      line("       Number of Operators in Engine: " + std::to_string(engine->operator_count));
      line("       Engine Outputs: " + types_of(graph_, engine->outputs, false));
    }
    line("    ...");
    line("   Outputs: " + report_outputs(graph_));
    line("");
  }

  void stats() {
    line("  ------------------------- Aggregate Stats -------------------------");
    line("");
    if (engines_.empty()) {
      line("   No stats, because no engine would be built");
      line("");
      return;
    }
    int64_t sum = 0;
    int64_t most = 0;
    int64_t least = INT64_MAX;
    for (const Segment* engine : engines_) {
      sum += engine->operator_count;
      most = std::max(most, engine->operator_count);
      least = std::min(least, engine->operator_count);
    }
    line("   Average Number of Operators per TRT Engine: " +
         print_rounded(static_cast<double>(sum) / static_cast<double>(engines_.size())));
    line("   Most Operators in a TRT Engine: " + std::to_string(most));
    if (engines_.size() > 1) {
      line("   Least Operators in a TRT Engine: " + std::to_string(least));
    }
    line("");
  }

  /// Blocks at least as large as `size`: a larger min_block_size only drops blocks.
  int64_t engines_at(int64_t size) const {
    return std::count_if(partitions_.block_sizes.begin(), partitions_.block_sizes.end(),
                         [size](int64_t block) { return block >= size; });
  }

  void recommendations() {
    line("   ********** Recommendations **********");
    line("");
    for (const std::string& advice : advice_lines()) line("   - " + advice);
  }

 public:
  std::vector<std::string> advice_lines() const {
    std::vector<std::string> lines;
    if (partitions_.block_sizes.empty()) {
      return {"No operator can be compiled, whatever min_block_size"};
    }
    const int64_t largest =
        *std::max_element(partitions_.block_sizes.begin(), partitions_.block_sizes.end());
    const int64_t current = static_cast<int64_t>(engines_.size());
    lines.push_back(
        "For minimal graph segmentation, select min_block_size=" + std::to_string(largest) +
        " which would generate " + std::to_string(engines_at(largest)) + " TRT engine(s)");
    // The mean block is a middle way where it makes another choice than both ends.
    int64_t sum = 0;
    for (const int64_t block : partitions_.block_sizes) {
      sum += block;
    }
    const auto count = static_cast<int64_t>(partitions_.block_sizes.size());
    const int64_t middle = (sum + count - 1) / count;
    const int64_t middle_engines = engines_at(middle);
    if (middle_engines != engines_at(largest) && middle_engines != current) {
      lines.push_back(
          "For moderate graph segmentation, select min_block_size=" + std::to_string(middle) +
          " which would generate " + std::to_string(middle_engines) + " TRT engine(s)");
    }
    lines.push_back(
        "The current level of graph segmentation is equivalent to selecting min_block_size=" +
        print_block_size(partitions_.min_block_size) + " which generates " +
        std::to_string(current) + " TRT engine(s)");
    return lines;
  }

 private:
  const Graph& graph_;
  const Partitions& partitions_;
  std::vector<const Segment*> engines_;
  std::string text_;
};

nlohmann::ordered_json segment_json(const Graph& graph, const Segment& segment,
                                    const std::map<std::string, int64_t>& sizes) {
  const auto list = [&](const std::vector<ValueId>& values) {
    nlohmann::json types = nlohmann::json::array();
    for (const ValueId id : values) types.push_back(report_type(graph, graph.value(id)));
    return types;
  };
  std::map<std::string, int64_t> counts;
  for (const NodeId id : segment.nodes) {
    const Node& node = graph.node(id);
    if (!is_bookkeeping(node.target)) ++counts[qualified_operator_name(node.target)];
  }
  const Cost cost = segment_cost(graph, segment.nodes, sizes);
  return {{"name", segment.name},
          {"engine", segment.engine},
          {"operators", segment.operator_count},
          {"operator_counts", counts},
          {"inputs", list(segment.inputs)},
          {"outputs", list(segment.outputs)},
          {"flops", cost.flops},
          {"bytes", cost.bytes}};
}

/// [from, to] by segment; -1 as `from` is the graph's inputs, as `to` its outputs.
nlohmann::json edges_json(const Graph& graph, const Partitions& partitions) {
  std::map<ValueId, int> made_in;
  const auto count = static_cast<int>(partitions.segments.size());
  for (int i = 0; i < count; ++i) {
    for (const ValueId id : partitions.segments[static_cast<size_t>(i)].outputs) made_in[id] = i;
  }
  std::set<std::pair<int, int>> edges;
  const auto from = [&](ValueId id) { return made_in.count(id) != 0 ? made_in[id] : -1; };
  for (int i = 0; i < count; ++i) {
    for (const ValueId id : partitions.segments[static_cast<size_t>(i)].inputs) {
      edges.insert({from(id), i});
    }
  }
  for (const GraphOutput& output : graph.outputs) {
    if (const auto* use = std::get_if<ValueUse>(&output.value)) edges.insert({from(use->id), -1});
  }
  nlohmann::json list = nlohmann::json::array();
  for (const auto& [a, b] : edges) list.push_back({a, b});
  return list;
}

}  // namespace

std::string dry_run_report(const Graph& graph, const Partitions& partitions,
                           const std::string& settings) {
  return Report(graph, partitions).text(settings);
}

std::string dry_run_report_json(const Graph& graph, const Partitions& partitions,
                                const std::string& settings,
                                const std::map<std::string, int64_t>& sizes) {
  nlohmann::ordered_json root = {{"total_operators", partitions.total_operators},
                                 {"supported_operators", partitions.supported_operators},
                                 {"coverage_percent", coverage(partitions)},
                                 {"settings", settings},
                                 {"min_block_size", print_block_size(partitions.min_block_size)},
                                 {"block_sizes", partitions.block_sizes}};
  root["unsupported"] = nlohmann::json::object();
  for (const auto& [target, count] : partitions.unsupported) {
    root["unsupported"][qualified_operator_name(target)] = count;
  }
  root["inputs"] = report_inputs(graph);
  root["outputs"] = report_outputs(graph);
  root["segments"] = nlohmann::json::array();
  for (const Segment& segment : partitions.segments) {
    root["segments"].push_back(segment_json(graph, segment, sizes));
  }
  root["edges"] = edges_json(graph, partitions);
  root["in_torch"] = nlohmann::json::array();
  for (const Fallback& fallback : partitions.fallbacks) {
    const Node& node = graph.node(fallback.node);
    root["in_torch"].push_back({{"node", node.name},
                                {"operator", qualified_operator_name(node.target)},
                                {"kind", fallback_kind_name(fallback.kind)},
                                {"reason", fallback.reason},
                                {"source", node.source().str()},
                                {"flops", operator_flops(graph, node, sizes)}});
  }
  root["recommendations"] = Report(graph, partitions).advice_lines();
  return root.dump(2);
}

}  // namespace stator
