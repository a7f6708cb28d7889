// SPDX-License-Identifier: Apache-2.0
#include "region/region.h"

#include <gtest/gtest.h>

namespace stator {
namespace {

constexpr const char* kLayerNorm = R"(dims $0 < s0, $1 < 768 reduction
%0 = load f32 b0[768*$0 + $1]
%1 = reduce.sum f32 %0
%2 = constant f32 0.00130208
%3 = mul f32 %1, %2
%4 = sub f32 %0, %3
%5 = mul f32 %4, %4
%6 = reduce.sum f32 %5
%7 = unary.rsqrt f32 %6
%8 = mul f32 %4, %7
store b1[768*$0 + $1] = %8
)";

TEST(LoopProgram, PrintsWhatItParsed) {
  Result<LoopProgram> program = parse_loop_program(kLayerNorm);
  ASSERT_TRUE(program.ok()) << program.error().message;
  EXPECT_EQ(print_loop_program(*program), kLayerNorm);
  EXPECT_TRUE(verify_loop_program(*program, 2).ok());
}

TEST(LoopProgram, PrintsChecks) {
  constexpr const char* kText = R"(dims $0 < s0
%0 = load i64 b0[$0]
%1 = constant bool 1
%2 = load f32 b1[$0] if %1
%3 = check i64 %0 < 2*s0 else index 1 wrapped if %1
%4 = check f32 %3 < 7 else probability 0 of %2
%5 = check i64 %0 < s0 else row 0
store b2[$0] = %4
)";
  Result<LoopProgram> program = parse_loop_program(kText);
  ASSERT_TRUE(program.ok()) << program.error().message;
  EXPECT_EQ(print_loop_program(*program), kText);
  EXPECT_TRUE(verify_loop_program(*program, 3).ok());
  EXPECT_EQ(program->ops[3].site.dim, 1);
  EXPECT_TRUE(program->ops[3].site.wrap);
  EXPECT_EQ(program->ops[4].b, 2);
}

TEST(LoopProgram, KnowsInnerValuesAndPasses) {
  Result<LoopProgram> program = parse_loop_program(kLayerNorm);
  ASSERT_TRUE(program.ok());
  EXPECT_EQ(program->outer_rank(), 1);
  EXPECT_EQ(program->inner_values(),
            (std::vector<bool>{true, false, false, false, true, true, false, false, true}));
  EXPECT_EQ(program->passes(), (std::vector<int>{0, 0, 0, 1, 1, 1, 1, 2, 2}));
}

TEST(LoopProgram, VerifierFindsWhatIsWrong) {
  const auto message = [](const char* text) {
    Result<LoopProgram> program = parse_loop_program(text);
    if (!program.ok()) {
      return program.error().message;
    }
    const Status status = verify_loop_program(*program, 1);
    return status.ok() ? std::string("no error") : status.error().message;
  };
  EXPECT_EQ(message("dims $0 < 4\n%0 = load f32 b3[$0]\n"),
            "op %0 loads from a buffer that is not there");
  EXPECT_EQ(message("dims $0 < 4\n%0 = add f32 %1, %1\n"),
            "line 2: expected an op before this one in '%1'");
  EXPECT_EQ(message("dims $0 < 4 reduction, $1 < 4\n"), "reduction dims come last");
}

constexpr const char* kWholeLayers = R"(regions main where s0 in [1, 64]:
  input %x: f32[s0, 8, 4]
  input %i: i64[s0]
  region running_sum scan (%x: f32[s0, 8, 4]) -> (%y: f32[s0, 8, 4]):
    scan sum f32 outer s0 length 8 inner 4
  region running_most scan (%y: f32[s0, 8, 4]) -> (%m: f32[s0, 8, 4], %p: i64[s0, 8, 4]):
    scan max f32 outer 8*s0 length 4 inner 1
  region first order (%m: f32[s0, 8, 4]) -> (%v: f32[s0, 3, 4], %w: i64[s0, 3, 4]):
    order f32 descending select unsorted outer s0 length 8 inner 4 count 3
  region all order (%v: f32[s0, 3, 4]) -> (%a: f32[s0, 3, 4], %b: i64[s0, 3, 4]):
    order f32 stable outer 3*s0 length 4 inner 1 count 4
  region add scatter (%a: f32[s0, 3, 4], %i: i64[s0], %m: f32[s0, 8, 4]) -> (%c: f32[s0, 3, 4] = %a):
    scatter f32 add element dim 1 axis 0 limit s0 extents [s0, 12]
    indices b1[0] strides [1, 0]
    updates b2[0] strides [32, 1]
    y b3[0] strides [12, 1]
  region most scatter (%a: f32[s0, 3, 4], %i: i64[s0], %m: f32[s0, 8, 4]) -> (%d: f32[s0, 3, 4] = %a):
    scatter f32 max row dim 0 axis 0 limit s0 extents [s0, 12]
    indices b1[0] strides [1, 0]
    updates b2[0] strides [32, 1]
    y b3[0] strides [12, 1]
  region last order (%c: f32[s0, 3, 4] = %a) -> (%r: f32[s0, 3, 4], %s: i64[s0, 3, 4]):
    order f32 descending outer 3*s0 length 4 inner 1 count 4
  return %r, %s
)";

TEST(WholeLayers, PrintWhatTheyParsed) {
  Result<RegionGraph> graph = parse_regions(kWholeLayers);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  EXPECT_EQ(print_regions(*graph), kWholeLayers);
  const Status status = verify_regions(*graph);
  EXPECT_TRUE(status.ok()) << status.error().message;
}

TEST(WholeLayers, VerifierFindsWhatIsWrong) {
  const auto message = [](const std::string& from, const std::string& to) {
    std::string text = kWholeLayers;
    text.replace(text.find(from), from.size(), to);
    Result<RegionGraph> graph = parse_regions(text);
    if (!graph.ok()) {
      return graph.error().message;
    }
    const Status status = verify_regions(*graph);
    return status.ok() ? std::string("no error") : status.error().message;
  };
  EXPECT_EQ(message("scan sum", "scan max"),
            "region running_sum: it has 1 inputs and 1 outputs, and takes 1 and 2");
  EXPECT_EQ(message("dim 1 axis 0", "dim 1 axis 2"), "region add: its axis is none of its dims");
  EXPECT_EQ(message("strides [32, 1]", "strides [32]"),
            "region add: a view needs one stride for each dim");
  EXPECT_EQ(message("y b3", "y b4"), "region add: a view looks into a buffer that is not there");
  EXPECT_EQ(message("scan sum", "scan median"), "line 4: unknown name 'median'");
  EXPECT_EQ(message("scatter f32 max", "scatter f32 most"), "line 17: unknown name 'most'");
  EXPECT_EQ(message("order f32 stable", "order f32 shuffled"),
            "line 10: expected 'outer ' before 'shuffled outer 3*s0 '");
}

TEST(Signature, RenamesSymbolsAndIgnoresNames) {
  RegionGraph graph;
  for (const char* symbol : {"s3", "s7"}) {
    graph.bounds.set(symbol, 1, 64);
    for (const char* name : {"x", "y"}) {
      RegionTensor t;
      t.name = std::string(name) + symbol;
      t.type = {DType::kFloat32, {Expr::symbol(symbol), 8}};
      graph.tensors.push_back(t);
    }
  }
  const auto region = [](const char* symbol, int32_t in, int32_t out) {
    Region r;
    r.body = CallRegion{Reshape{{Expr::symbol(symbol) * Expr(8)}}};
    r.inputs = {in};
    r.outputs = {out};
    r.name = symbol;
    return r;
  };
  std::vector<std::string> symbols;
  const std::string a = region_signature(graph, region("s3", 0, 1), nullptr);
  const std::string b = region_signature(graph, region("s7", 2, 3), &symbols);
  EXPECT_EQ(a, b);
  EXPECT_EQ(symbols, std::vector<std::string>{"s7"});
}

}  // namespace
}  // namespace stator
