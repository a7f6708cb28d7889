// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "partition/partitions.h"

namespace stator {
namespace {

/// Everything but aten.inverse and aten.erfc can be compiled.
Support query(const Graph&, const Node& node) {
  return node.target == "aten.inverse.default" ? Support::no("there is no converter")
                                               : Support::yes();
}

constexpr const char* kMixed = R"(graph g(%x: f32[3, 3]):
  %a: f32[3, 3] = aten.add.Tensor(%x, 1)
  %b: f32[3, 3] = aten.relu.default(%a)
  %i: f32[3, 3] = aten.inverse.default(%b)  # m.py:7 in forward:  i = b.inverse()
  %c: f32[3, 3] = aten.mul.Tensor(%i, %b)
  return %c
)";

Partitions cut(const std::string& text, const PartitionOptions& options) {
  Result<Graph> graph = parse_graph(text);
  EXPECT_TRUE(graph.ok());
  Result<Partitions> partitions = partition(*graph, query, options);
  EXPECT_TRUE(partitions.ok());
  return std::move(partitions).value();
}

std::string names(const Partitions& partitions) {
  std::string s;
  for (const Segment& segment : partitions.segments) {
    s += (s.empty() ? "" : " ") + segment.name + ":" + std::to_string(segment.operator_count);
  }
  return s;
}

TEST(Partition, CutsAroundWhatCannotBeCompiled) {
  PartitionOptions options;
  options.min_block_size = 1;
  for (const bool fast : {true, false}) {
    options.use_fast_partitioner = fast;
    const Partitions partitions = cut(kMixed, options);
    EXPECT_EQ(names(partitions), "_run_on_acc_0:2 _run_on_gpu_1:1 _run_on_acc_2:1");
    EXPECT_EQ(partitions.total_operators, 4);
    EXPECT_EQ(partitions.supported_operators, 3);
    ASSERT_EQ(partitions.fallbacks.size(), 1u);
    EXPECT_STREQ(fallback_kind_name(partitions.fallbacks[0].kind), "not_convertible");
  }
}

TEST(Partition, MakesViewsAgainWhereAnEngineCannotGiveThem) {
  PartitionOptions options;
  options.min_block_size = 1;
  const std::string head = "graph g(%x: f32[3, 6]):\n  %a: f32[3, 6] = aten.add.Tensor(%x, 1)\n";
  const std::string tail = "  return %i\n";
  const Partitions gaps =
      cut(head + R"(  %b: f32[3, 3] strides [6, 1] = aten.slice.Tensor(%a, 1, 0, 3)
  %i: f32[3, 3] = aten.inverse.default(%b)
)" + tail,
          options);
  EXPECT_EQ(names(gaps), "_run_on_acc_0:2 _run_on_gpu_1:1");
  EXPECT_EQ(gaps.segments[1].views.size(), 1u);
  EXPECT_EQ(gaps.segments[0].outputs, gaps.segments[1].inputs);
  const Partitions dense = cut(head + R"(  %b: f32[6, 3] strides [1, 6] = aten.t.default(%a)
  %i: f32[6, 3] = aten.inverse.default(%b)
)" + tail,
                               options);
  EXPECT_TRUE(dense.segments[1].views.empty());
}

TEST(Partition, DropsSmallBlocks) {
  PartitionOptions options;
  options.min_block_size = 2;
  EXPECT_EQ(names(cut(kMixed, options)), "_run_on_acc_0:2 _run_on_gpu_1:2");
  options.min_block_size = INT64_MAX;
  EXPECT_EQ(names(cut(kMixed, options)), "_run_on_gpu_0:4");
}

TEST(Partition, ChoosesTheLeastBlockByWhetherTheGraphIsWhole) {
  const Partitions mixed = cut(kMixed, {});
  EXPECT_EQ(names(mixed), "_run_on_acc_0:2 _run_on_gpu_1:2");
  EXPECT_EQ(mixed.min_block_size, kLeastBlockOfMixedGraph);
  const Partitions whole = cut(R"(graph g(%x: f32[3, 3]):
  %a: f32[3, 3] = aten.relu.default(%x)
  return %a
)",
                               {});
  EXPECT_EQ(names(whole), "_run_on_acc_0:1");
  EXPECT_EQ(whole.min_block_size, 1);
}

TEST(Partition, KeepsWhatTheUserWantsInPyTorch) {
  PartitionOptions options;
  options.min_block_size = 1;
  options.torch_executed_ops = {"torch.ops.aten.relu"};
  const Partitions partitions = cut(kMixed, options);
  EXPECT_EQ(names(partitions), "_run_on_acc_0:1 _run_on_gpu_1:2 _run_on_acc_2:1");
  EXPECT_EQ(partitions.unsupported.at("aten.relu.default"), 1);
}

TEST(Partition, FullCompilationNamesNodeAndLine) {
  PartitionOptions options;
  options.require_full_compilation = true;
  Result<Graph> graph = parse_graph(kMixed);
  ASSERT_TRUE(graph.ok());
  Result<Partitions> partitions = partition(*graph, query, options);
  ASSERT_FALSE(partitions.ok());
  EXPECT_EQ(partitions.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(partitions.error().message.find("aten.inverse.default"), std::string::npos);
  EXPECT_NE(partitions.error().message.find("m.py:7"), std::string::npos);
  const std::string in_pytorch = "require_full_compilation=False";
  EXPECT_NE(partitions.error().message.find(in_pytorch), std::string::npos);
  options.without_pytorch = true;  // the program: it must not recommend what it cannot do
  partitions = partition(*graph, query, options);
  ASSERT_FALSE(partitions.ok());
  EXPECT_EQ(partitions.error().message.find(in_pytorch), std::string::npos);
  EXPECT_NE(partitions.error().message.find("compile in Python"), std::string::npos);
}

TEST(Report, IsTheDocumentsText) {
  Result<Graph> graph = parse_graph(kMixed);
  ASSERT_TRUE(graph.ok());
  PartitionOptions options;
  options.min_block_size = 2;
  Result<Partitions> partitions = partition(*graph, query, options);
  ASSERT_TRUE(partitions.ok());
  const std::string report = dry_run_report(*graph, *partitions, "CompilationSettings()");
  EXPECT_EQ(report.substr(0, report.find("The following nodes")),
            R"(++++++++++++++++++++++++++ Dry-Run Results for Graph ++++++++++++++++++++++++++

The graph consists of 4 Total Operators, of which 3 operators are supported, 75.0% coverage

The following ops are currently unsupported or excluded from conversion, and are listed with their op-count in the graph:
 torch.ops.aten.inverse.default: 1

)");
  EXPECT_EQ(report.substr(report.find("Compiled with")),
            R"(Compiled with: CompilationSettings()

  Graph Structure:

   Inputs: List[Tensor: (3, 3)@float32]
    ...
      TRT Engine #1 - Submodule name: _run_on_acc_0
       Engine Inputs: List[Tensor: (3, 3)@float32]
       Number of Operators in Engine: 2
       Engine Outputs: Tensor: (3, 3)@float32
    ...
   Outputs: List[Tensor: (3, 3)@float32]

  ------------------------- Aggregate Stats -------------------------

   Average Number of Operators per TRT Engine: 2.0
   Most Operators in a TRT Engine: 2

   ********** Recommendations **********

   - For minimal graph segmentation, select min_block_size=2 which would generate 1 TRT engine(s)
   - The current level of graph segmentation is equivalent to selecting min_block_size=2 which generates 1 TRT engine(s))");
}

}  // namespace
}  // namespace stator
