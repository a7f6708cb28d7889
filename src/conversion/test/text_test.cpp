// SPDX-License-Identifier: Apache-2.0
//
// Cases in text: test/data/<family>.cases holds graphs and the networks that they become, or the
// sentence with which they are refused.
//
//   case name
//   graph g(%x: f32[2]):
//     …
//   becomes
//   network main:
//     …
//
// STATOR_UPDATE=1 writes what conversion says now into the files; a person reads the difference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "conversion/conversion.h"

namespace stator {
namespace {

struct TextCase {
  std::string name, graph, expected;
};

std::vector<TextCase> read_cases(const std::filesystem::path& path) {
  std::vector<TextCase> cases;
  std::ifstream file(path);
  std::string line;
  bool expecting = false;
  while (std::getline(file, line)) {
    if (line.starts_with("case ")) {
      cases.push_back({line.substr(5), "", ""});
      expecting = false;
    } else if (line == "becomes") {
      expecting = true;
    } else if (!cases.empty() && !line.empty()) {
      (expecting ? cases.back().expected : cases.back().graph) += line + "\n";
    }
  }
  return cases;
}

/// The network that a graph becomes, or why not.
std::string converted(const std::string& text) {
  Result<Graph> graph = parse_graph(text);
  if (!graph.ok()) return "graph: " + graph.error().message + "\n";
  if (Status status = verify_graph(*graph); !status.ok()) {
    return "graph: " + status.error().message + "\n";
  }
  const ConverterRegistry& registry = ConverterRegistry::global();
  for (const NodeId id : graph->order()) {
    const Node& node = graph->node(id);
    if (const Support support = registry.support(*graph, node, false); !support) {
      return "refused: " + node.target + " because " + support.reason() + "\n";
    }
  }
  std::vector<ValueId> inputs, outputs;
  for (const GraphInput& input : graph->inputs) {
    if (input.kind == InputKind::kUserInput &&
        graph->value(input.value).kind == ValueKind::kTensor) {
      inputs.push_back(input.value);
    }
  }
  for (const GraphOutput& output : graph->outputs) {
    outputs.push_back(std::get<ValueUse>(output.value).id);
  }
  Result<Network> network =
      convert_segment(*graph, graph->order(), inputs, {}, outputs, registry, "main");
  if (!network.ok()) return "error: " + network.error().message + "\n";
  if (Status status = verify_network(*network); !status.ok()) {
    return "network: " + status.error().message + "\n";
  }
  return print_network(*network);
}

std::vector<std::string> families() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(STATOR_TEST_DATA)) {
    if (entry.path().extension() == ".cases") names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Conversions : public testing::TestWithParam<std::string> {};

TEST_P(Conversions, BecomeTheNetworksInText) {
  const auto path = std::filesystem::path(STATOR_TEST_DATA) / (GetParam() + ".cases");
  const std::vector<TextCase> cases = read_cases(path);
  EXPECT_FALSE(cases.empty());
  std::ostringstream updated;
  for (const TextCase& c : cases) {
    const std::string actual = converted(c.graph);
    updated << (updated.tellp() > 0 ? "\n" : "") << "case " << c.name << "\n"
            << c.graph << "becomes\n"
            << actual;
    if (std::getenv("STATOR_UPDATE") == nullptr) {
      EXPECT_EQ(actual, c.expected) << "case " << c.name;
    }
  }
  if (std::getenv("STATOR_UPDATE") != nullptr) {
    std::ofstream(path) << updated.str();
  }
}

INSTANTIATE_TEST_SUITE_P(Families, Conversions, testing::ValuesIn(families()),
                         [](const auto& info) { return info.param; });

}  // namespace
}  // namespace stator
