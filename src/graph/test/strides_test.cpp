// SPDX-License-Identifier: Apache-2.0
#include "graph/strides.h"

#include <gtest/gtest.h>

namespace stator {
namespace {

/// The graph of one input whose type stands in the text: "f32[2, 3] strides [1, 2]".
Graph graph_of(const std::string& type, const std::string& nodes = "", const char* result = "%x") {
  const std::string head = "graph g(%x: " + type + ") where s0 in [0, 64]:\n";
  Result<Graph> graph = parse_graph(head + nodes + "  return " + result);
  EXPECT_TRUE(graph.ok()) << (graph.ok() ? "" : graph.error().message);
  return std::move(graph).value();
}

/// "0 2 3 1", with "~" behind where an axis of one element has another stride; "none".
std::string order_of(const std::string& type) {
  const Graph graph = graph_of(type);
  const auto order = dense_order(graph.value(0).tensor, graph.bounds);
  if (!order) return "none";
  std::string text;
  for (const int64_t axis : order->axes) {
    text += (text.empty() ? "" : " ") + std::to_string(axis);
  }
  return text + (order->exact ? "" : " ~");
}

TEST(DenseOrder, ReadsPermutations) {
  EXPECT_EQ(order_of("f32[2, 3, 4]"), "0 1 2");
  EXPECT_EQ(order_of("f32[2, 3, 4, 5] strides [60, 1, 15, 3]"), "0 2 3 1");
  EXPECT_EQ(order_of("f32[3, 4] strides [1, 3]"), "1 0");
  EXPECT_EQ(order_of("f32[]"), "");
}

TEST(DenseOrder, RefusesGapsAndOverlaps) {
  EXPECT_EQ(order_of("f32[3, 4] strides [8, 1]"), "none");
  EXPECT_EQ(order_of("f32[3, 4] strides [0, 1]"), "none");
  EXPECT_EQ(order_of("f32[3, 4] strides [4, 2]"), "none");
  EXPECT_EQ(order_of("f32[3, 3] strides [1, 1]"), "none");
}

TEST(DenseOrder, TakesSizesOfOneAsTheyAre) {
  EXPECT_EQ(order_of("f32[2, 1, 4, 5] strides [20, 1, 5, 1]"), "0 2 3 1");
  EXPECT_EQ(order_of("f32[2, 1, 4, 5] strides [20, 20, 5, 1]"), "0 1 2 3");
  EXPECT_EQ(order_of("f32[1, 3] strides [77, 1]"), "0 1 ~");
  EXPECT_EQ(order_of("f32[0, 3] strides [5, 9]"), "0 1 ~");
}

TEST(DenseOrder, ReadsSymbols) {
  EXPECT_EQ(order_of("f32[s0, 3, 4, s0] strides [12*s0, 1, 3*s0, 3]"), "0 2 3 1");
  EXPECT_EQ(order_of("f32[s0, 3] strides [1, s0]"), "1 0");
  EXPECT_EQ(order_of("f32[s0, 3] strides [6, 1]"), "none");
}

bool aliases(const std::string& type, const std::string& node) {
  const Graph graph = graph_of(type, "  %y: " + node + "\n", "%y");
  return is_alias(graph, graph.node(graph.order()[0]));
}

TEST(Alias, ReshapesWhereTheyNeedNotCopy) {
  EXPECT_TRUE(aliases("f32[3, 4]", "f32[12] = aten.reshape.default(%x, [12])"));
  EXPECT_FALSE(aliases("f32[3, 4] strides [1, 3]", "f32[12] = aten.reshape.default(%x, [12])"));
  EXPECT_TRUE(aliases("f32[2, 3, 4] strides [24, 4, 1]",
                      "f32[2, 12] strides [24, 1] = aten.reshape.default(%x, [2, 12])"));
  EXPECT_FALSE(
      aliases("f32[2, 3, 4] strides [24, 4, 1]", "f32[24] = aten.reshape.default(%x, [24])"));
  EXPECT_TRUE(aliases("f32[4, 6] strides [1, 4]",
                      "f32[4, 2, 3] strides [1, 12, 4] = aten.reshape.default(%x, [4, 2, 3])"));
  EXPECT_TRUE(
      aliases("f32[3, 1, 4] strides [4, 9, 1]", "f32[12] = aten.reshape.default(%x, [12])"));
  EXPECT_TRUE(aliases("f32[s0, 4]", "f32[4*s0] = aten.reshape.default(%x, [-1])"));
}

TEST(Alias, KnowsCopies) {
  EXPECT_FALSE(aliases("f32[3]", "f32[3] = aten.clone.default(%x)"));
  EXPECT_TRUE(aliases("f32[3]", "f32[3] = aten.contiguous.default(%x)"));
  EXPECT_FALSE(aliases("f32[3, 4] strides [1, 3]", "f32[3, 4] = aten.contiguous.default(%x)"));
  EXPECT_TRUE(aliases("f32[3]", "f32[3] = aten.to.dtype(%x, dtype.f32)"));
  EXPECT_FALSE(aliases("f32[3]", "f64[3] = aten.to.dtype(%x, dtype.f64)"));
  EXPECT_TRUE(aliases("f32[3]", "f32[3] = aten.dropout.default(%x, 0.5, False)"));
  EXPECT_FALSE(aliases("f32[3]", "f32[3] = aten.relu.default(%x)"));
  EXPECT_FALSE(aliases("f32[3, 4] strides [1, 3]",
                       "f32[12] = aten.view.default(%x as contiguous_format, [12])"));
}

TEST(Memory, JoinsViewsAndCountsOutputs) {
  const Graph graph = graph_of("f32[3, 4]",
                               "  %a: f32[3, 4] = aten.relu.default(%x)\n"
                               "  %b: f32[4, 3] strides [1, 4] = aten.t.default(%a)\n"
                               "  %c: f32[4, 3] strides [1, 4] = aten.t.default(%x)\n",
                               "%a, %b, %c");
  const Memory memory(graph);
  const auto id = [&](const char* name) { return *graph.find_value(name); };
  EXPECT_EQ(memory.root(id("b")), id("a"));
  EXPECT_EQ(memory.root(id("c")), id("x"));
  EXPECT_EQ(memory.outputs(id("a")), 2);
  EXPECT_EQ(memory.outputs(id("x")), 1);
}

TEST(Strides, ArePrintedAndRead) {
  const std::string text = R"(graph g(
    %x: f32[3, 4] strides [1, 3],
):
  %a: f32[12] = aten.view.default(self=%x as contiguous_format, size=[12])
  return %a
)";
  Result<Graph> graph = parse_graph(text);
  ASSERT_TRUE(graph.ok());
  EXPECT_EQ(print_graph(*graph), text);
}

}  // namespace
}  // namespace stator
