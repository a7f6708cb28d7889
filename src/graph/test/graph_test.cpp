// SPDX-License-Identifier: Apache-2.0
#include "stator/graph.h"

#include <gtest/gtest.h>

#include <cmath>

#include "graph/schema.h"

namespace stator {
namespace {

constexpr const char* kText = R"(graph main(
    %w: f32[8, 8] = parameter "0.weight",
    %x: f32[s0, 8],
    %n: SymInt(s1),
) where s0 in [1, 64], s1 in [0, inf]:
  %linear: f32[s0, 8] = aten.linear.default(input=%x, weight=%w, bias=None)  # m.py:3 in forward:  y = self.l(x)
  %add: f32[s0, 8] = aten.add.Tensor(self=%linear, other=2.5, alpha=1)
  %a: f32[s0, 4], %b: f32[s0, 4] = aten.split.Tensor(self=%add, split_size=4, dim=1)
  %cat: f32[s0, 8] = aten.cat.default(tensors=tensors[%b, %a], dim=-1)
  %view: f32[2*s0, 4] = aten.view.default(self=%cat, size=[2*s0, 4])
  %cast: f64[2*s0, 4] = aten._to_copy.default(self=%view, dtype=dtype.f64, layout=None, device=device("cpu"), pin_memory=None, non_blocking=False, memory_format=None)
  return %cast, %x, None, 3, buffer "n" <- %add
)";

TEST(GraphText, PrintsWhatItParsed) {
  Result<Graph> graph = parse_graph(kText);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_TRUE(verify_graph(*graph).ok());
  EXPECT_EQ(print_graph(*graph), kText);
}

TEST(GraphText, FillsDefaultsAndTakesPositions) {
  Result<Graph> graph =
      parse_graph("graph g(%x: f32[2]):\n  %y: f32[2] = aten.add.Tensor(%x, 1)\n  return %y\n");
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const Node& node = graph->node(graph->order()[0]);
  EXPECT_EQ(node.tensor("self"), *graph->find_value("x"));
  EXPECT_EQ(node.integer("other"), 1);
  EXPECT_EQ(node.integer("alpha"), 1);
}

TEST(GraphText, TellsNumbersFromSizes) {
  const std::string text = R"(graph g(
    %x: f32[2],
    %m: bool[2],
):
  %a: f32[2] = aten.masked_fill.Scalar(self=%x, mask=%m, value=-inf)
  %b: f32[2] = aten.masked_fill.Scalar(self=%x, mask=%m, value=nan)
  %c: f32[2] = aten.masked_fill.Scalar(self=%x, mask=%m, value=-2.0)
  %d: f32[2] = aten.masked_fill.Scalar(self=%x, mask=%m, value=1e-05)
  %e: f32[2] = aten.masked_fill.Scalar(self=%x, mask=%m, value=-2)
  return %a
)";
  Result<Graph> graph = parse_graph(text);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const auto value = [&graph](size_t i) { return *graph->node(graph->order()[i]).find("value"); };
  EXPECT_EQ(value(0), Argument(-std::numeric_limits<double>::infinity()));
  EXPECT_TRUE(std::isnan(std::get<double>(value(1))));
  EXPECT_EQ(value(2), Argument(-2.0));
  EXPECT_EQ(value(3), Argument(1e-5));
  EXPECT_EQ(value(4), Argument(Expr(-2)));
  EXPECT_EQ(print_graph(*graph), text);
}

TEST(GraphText, KeepsTextAndLinesAsTheyAre) {
  const std::string text = R"(graph g(
    %x: f32[2],
):
  %a: f32[2] = mylib.op.default(%x, "two\nlines, \"quoted\" \\ and all")  # m.py:3:  outside = 1
  return %a
)";
  Result<Graph> graph = parse_graph(text);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const Node& node = graph->node(graph->order()[0]);
  EXPECT_EQ(std::get<std::string>(node.args[1].value), "two\nlines, \"quoted\" \\ and all");
  EXPECT_EQ(node.source().text, "outside = 1");
  EXPECT_EQ(print_graph(*graph), text);
}

TEST(GraphText, NamesTheLineOfAnError) {
  const auto message = [](const char* text) {
    Result<Graph> graph = parse_graph(text);
    return graph.ok() ? std::string("no error") : graph.error().message;
  };
  EXPECT_EQ(message("graph g():\n  return %x\n"), "line 2: %x is used before it is defined");
  EXPECT_EQ(message("graph g(%x: q7[2]):\n  return %x\n"), "line 1: unknown type 'q7'");
  EXPECT_EQ(message("graph g(%x: f32[2]):\n  %x: f32[2] = aten.relu.default(%x)\n return %x"),
            "line 2: %x is defined twice");
  EXPECT_EQ(message("graph g(%x: f32[2]):\n  %y: f32[2] = aten.relu.default(%x, 1)\n return %y"),
            "line 2: aten.relu.default: too many arguments");
  EXPECT_EQ(message("graph g(%x: f32[2]):\n  %y: f32[2] = aten.mm.default(%x)\n return %y"),
            "line 2: aten.mm.default: argument 'mat2' is missing");
  EXPECT_EQ(
      message("graph g(%x: f32[2]):\n  %y: f32[2] = aten.mm.default(%x, self=%x)\n return %y"),
      "line 2: aten.mm.default: argument 'self' is given twice");
}

TEST(Graph, ReplacesUsesAndRemovesDeadNodes) {
  Graph graph = std::move(parse_graph(R"(graph g(%x: f32[2], %c: f32[2] = constant "c"):
  %a: f32[2] = aten.relu.default(%x)
  %b: f32[2] = aten.add.Tensor(%a, %c)
  %r: f32[2] = aten.rand_like.default(%x)
  return %b
)"))
                    .value();
  EXPECT_EQ(graph.users()[static_cast<size_t>(*graph.find_value("a"))].size(), 1u);
  graph.replace_uses(*graph.find_value("b"), *graph.find_value("a"));
  graph.remove_dead_nodes();
  EXPECT_EQ(graph.order().size(), 2u);  // relu, and the random one stays
  EXPECT_EQ(graph.inputs.size(), 1u);   // the constant has no user any more
}

// What Python alone understands still says what it reads of the graph.
constexpr const char* kOpaque = R"text(graph g(
    %x: f32[s0],
    %s: Opaque("a sparse_coo tensor", [s0, 4]),
):
  %y: f32[s0] = aten.relu.default(self=%x)
  %z: f32[s0] = mylib.call.default(opaque(0, "(y, s0)", tensors[%y], [s0]), %s)
  return %z
)text";

TEST(Graph, ObjectsUseWhatTheyReferTo) {
  Result<Graph> graph = parse_graph(kOpaque);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_TRUE(verify_graph(*graph).ok());
  EXPECT_EQ(print_graph(*graph), kOpaque);
  graph->remove_dead_nodes();
  EXPECT_EQ(graph->order().size(), 2u);
  graph->replace_uses(*graph->find_value("y"), *graph->find_value("x"));
  EXPECT_NE(print_graph(*graph).find("tensors[%x], [s0]"), std::string::npos);
}

TEST(Graph, KeepsWhoMakesASizeThatIsUsed) {
  const auto count = [](const std::string& result) {
    Result<Graph> graph = parse_graph(
        "graph g(%x: i64[3]):\n"
        "  %a: i64[] = aten.sum.default(%x)\n"
        "  %n: SymInt(u0) = aten._local_scalar_dense.default(%a)\n"
        "  %c: SymBool = _operator.ge(u0, 0)\n"
        "  %f: f32[u0] = aten.zeros.default([u0])\n"
        "  return " +
        result + "\n");
    EXPECT_TRUE(graph.ok());
    graph->remove_dead_nodes();
    return graph->order().size();
  };
  EXPECT_EQ(count("%x"), 0u);    // the comparison of an assertion that is gone, too
  EXPECT_EQ(count("2*u0"), 2u);  // the number itself
  EXPECT_EQ(count("%f"), 3u);    // a size of a tensor
}

TEST(Graph, MakesNamesUnique) {
  Graph graph;
  const ValueId a = graph.add_input(InputKind::kUserInput, "x", TensorMeta{});
  const ValueId b = graph.add_input(InputKind::kUserInput, "x", TensorMeta{});
  EXPECT_EQ(graph.value(a).name, "x");
  EXPECT_EQ(graph.value(b).name, "x_1");
}

TEST(Schema, KnowsDefaultsTypesAndTraits) {
  const Schema* sdpa = find_schema("aten.scaled_dot_product_attention.default");
  ASSERT_NE(sdpa, nullptr);
  EXPECT_EQ(sdpa->arguments.size(), 8u);
  EXPECT_EQ(std::get<double>(sdpa->arguments[4].default_value), 0.0);
  EXPECT_TRUE(sdpa->arguments[7].keyword_only);
  EXPECT_TRUE(find_schema("aten.relu_.default")->is_mutating);
  EXPECT_TRUE(find_schema("aten.view.default")->is_view);
  EXPECT_EQ(find_schema("aten.native_layer_norm.default")->output_count, 3);
  EXPECT_EQ(find_schema("aten.split.Tensor")->output_count, -1);
  EXPECT_EQ(find_schema("mylib.op.default"), nullptr);
  const Schema* pool = find_schema("aten.max_pool2d.default");
  EXPECT_EQ(std::get<std::vector<Expr>>(pool->arguments[3].default_value),
            std::vector<Expr>{Expr(0)});
}

TEST(Schema, TakesIntegersWhereFloatsAreWanted) {
  Result<Graph> graph = parse_graph(R"(graph g(%x: f32[1, 1, 2, 2]):
  %a: f32[1, 1, 4, 4] = aten.upsample_nearest2d.vec(%x, None, [2, 2])
  %b: f32[1, 1, 2, 2] = aten.leaky_relu.default(%x, 1)
  %c: f32[1, 1, 2, 2] = aten.dropout.default(%x, 0, False)
  return %a
)");
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const auto arg = [&graph](size_t i, const char* name) {
    return *graph->node(graph->order()[i]).find(name);
  };
  EXPECT_EQ(arg(0, "scale_factors"), Argument(std::vector<double>{2, 2}));
  EXPECT_EQ(arg(1, "negative_slope"), Argument(Expr(1)));  // a Scalar keeps its form
  EXPECT_EQ(arg(2, "p"), Argument(0.0));
}

}  // namespace
}  // namespace stator
