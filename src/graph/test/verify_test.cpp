// SPDX-License-Identifier: Apache-2.0
//
// What the verifier says of graphs that a parser would not let through, word for word.
#include <gtest/gtest.h>

#include <string>

#include "stator/graph.h"

namespace stator {
namespace {

Graph parsed(const std::string& text) {
  Result<Graph> graph = parse_graph(text);
  EXPECT_TRUE(graph.ok()) << graph.error().message;
  return std::move(graph).value();
}

Graph small() {
  return parsed(R"(graph g(%x: f32[2]):
  %a: f32[2] = aten.relu.default(%x)
  %b: f32[2] = aten.add.Tensor(%a, %x)
  return %b
)");
}

std::string complaint(const Graph& graph) {
  const Status status = verify_graph(graph);
  if (status.ok()) {
    return "";
  }
  EXPECT_EQ(status.error().code, ErrorCode::kInvalidFile);
  const std::string start = "the graph is not well formed: ";
  EXPECT_TRUE(status.error().message.starts_with(start)) << status.error().message;
  return status.error().message.substr(start.size());
}

/// The complaint when argument `name` of the second node is `value`.
std::string complaint_about(const std::string& name, Argument value) {
  Graph graph = small();
  graph.node(graph.order()[1]).set(name, std::move(value));
  return complaint(graph);
}

TEST(Verify, TakesWhatIsWellFormed) { EXPECT_EQ(complaint(small()), ""); }

TEST(Verify, NamesUsesThatNothingDefines) {
  EXPECT_EQ(complaint_about("self", ValueUse{2}),
            "aten.add.Tensor (b) uses %b before it is defined");
  EXPECT_EQ(complaint_about("self", ValueUse{99}),
            "aten.add.Tensor (b) uses a value that is not there");
  Graph graph = small();
  graph.outputs[0].value = ValueUse{-1};
  EXPECT_EQ(complaint(graph), "the graph's outputs uses a value that is not there");
}

TEST(Verify, NamesValuesThatAreDefinedOrCalledTwice) {
  Graph twice = small();
  twice.node(twice.order()[1]).outputs[0] = 1;
  EXPECT_EQ(complaint(twice), "%a is defined twice");
  Graph called = small();
  called.value(2).name = "a";
  EXPECT_EQ(complaint(called), "two values are called %a");
}

TEST(Verify, NamesValuesThatDoNotKnowTheirNode) {
  Graph graph = small();
  graph.value(2).producer = 0;
  EXPECT_EQ(complaint(graph), "%b does not know that aten.add.Tensor (b) makes it");
}

TEST(Verify, ComparesArgumentsWithTheSchema) {
  EXPECT_EQ(complaint_about("more", Expr(1)), "aten.add.Tensor (b) has 4 arguments, its schema 3");
  Graph graph = small();
  graph.node(graph.order()[1]).args[2].name = "beta";
  EXPECT_EQ(complaint(graph),
            "aten.add.Tensor (b): argument 2 is called 'beta', by the schema 'alpha'");
}

TEST(Verify, ComparesTheFormsOfArgumentsWithTheSchema) {
  EXPECT_EQ(complaint_about("self", std::string("x")),
            "aten.add.Tensor (b): argument 'self' is no Tensor");
  EXPECT_EQ(complaint_about("self", None{}), "aten.add.Tensor (b): argument 'self' is no Tensor");
  EXPECT_EQ(complaint_about("alpha", std::vector<Expr>{1}),
            "aten.add.Tensor (b): argument 'alpha' is no Scalar");
  EXPECT_EQ(complaint_about("other", 2.5), "");  // a number where a tensor may stand
  Graph cat = parsed(
      "graph g(%x: f32[2]):\n  %c: f32[4] = aten.cat.default(tensors[%x, %x])\n"
      "  return %c\n");
  cat.node(cat.order()[0]).set("tensors", ValueUse{0});
  EXPECT_EQ(complaint(cat), "aten.cat.default (c): argument 'tensors' is no Tensor[]");
  Graph view = parsed(
      "graph g(%x: f32[2]):\n  %v: f32[2, 1] = aten.view.default(%x, [2, 1])\n"
      "  return %v\n");
  view.node(view.order()[0]).set("size", std::string("2"));
  EXPECT_EQ(complaint(view), "aten.view.default (v): argument 'size' is no SymInt[]");
}

TEST(Verify, RefusesNegativeSizes) {
  Graph graph = small();
  graph.value(1).tensor.shape = {Expr(-2)};
  EXPECT_EQ(complaint(graph), "%a has a negative size: f32[-2]");
}

}  // namespace
}  // namespace stator
