// SPDX-License-Identifier: Apache-2.0
//
// Each pass on text: what it makes, and where it must not fire.
#include "lowering/passes/passes.h"

#include <gtest/gtest.h>

namespace stator {
namespace {

/// The body of the graph after one pass, with how often it fired in front.
std::string after(int (*pass)(Graph&, const LoweringOptions&), const std::string& text,
                  const LoweringOptions& options = {}) {
  Result<Graph> graph = parse_graph(text);
  if (!graph.ok()) {
    return graph.error().message;
  }
  const int fired = pass(*graph, options);
  graph->remove_dead_nodes();
  if (const Status status = verify_graph(*graph); !status.ok()) {
    return status.error().message;
  }
  const std::string printed = print_graph(*graph);
  return "fires " + std::to_string(fired) + printed.substr(printed.find("):\n") + 2);
}

TEST(Functionalize, RenamesLaterUses) {
  EXPECT_EQ(after(functionalize, R"(graph g(%x: f32[4]):
  %a: f32[4] = aten.add.Tensor(%x, 1)
  %r: f32[4] = aten.relu_.default(%a)
  %b: f32[4] = aten.mul.Tensor(%a, %r)
  return %b
)"),
            R"(fires 1
  %a: f32[4] = aten.add.Tensor(self=%x, other=1, alpha=1)
  %r: f32[4] = aten.relu.default(self=%a)
  %b: f32[4] = aten.mul.Tensor(self=%r, other=%r)
  return %b
)");
}

TEST(Functionalize, LeavesInputsAndViewsAlone) {
  const char* input = R"(graph g(%x: f32[4]):
  %r: f32[4] = aten.relu_.default(%x)
  return %r
)";
  EXPECT_EQ(after(functionalize, input),
            "fires 0\n  %r: f32[4] = aten.relu_.default(self=%x)\n  return %r\n");
  const char* view = R"(graph g(%x: f32[4]):
  %a: f32[4] = aten.add.Tensor(%x, 1)
  %v: f32[2, 2] = aten.view.default(%a, [2, 2])
  %r: f32[2, 2] = aten.relu_.default(%v)
  return %a
)";
  EXPECT_TRUE(after(functionalize, view).starts_with("fires 0"));
}

TEST(Functionalize, KnowsThatADropoutOutsideTrainingIsItsArgument) {
  EXPECT_TRUE(after(functionalize, R"(graph g(%x: f32[4]):
  %a: f32[4] = aten.add.Tensor(%x, 1)
  %d: f32[4] = aten.dropout.default(%a, 0.5, False)
  %r: f32[4] = aten.relu_.default(%d)
  return %a, %r
)")
                  .starts_with("fires 0"));
}

TEST(RemoveNoOps, KeepsAssertionsOnData) {
  const char* text = R"(graph g(%x: f32[s0]) where s0 in [1, 8]:
  %c: bool[s0] = aten.gt.Scalar(%x, 0)
  %a: bool[] = aten.all.default(%c)
  aten._assert_async.msg(%a, "all must be positive")
  return %x
)";
  EXPECT_TRUE(after(remove_no_ops, text).starts_with("fires 0")) << after(remove_no_ops, text);
}

TEST(RemoveNoOps, TakesOutWhatChangesNothing) {
  EXPECT_EQ(after(remove_no_ops, R"(graph g(%x: f32[2, 3]):
  %d: f32[2, 3] = aten.dropout.default(%x, 0.5, False)
  %c: f32[2, 3] = aten.contiguous.default(%d)
  %v: f32[2, 3] = aten.view.default(%c, [2, 3])
  %y: f32[2, 3] = aten.relu.default(%v)
  return %y
)"),
            "fires 3\n  %y: f32[2, 3] = aten.relu.default(self=%x)\n  return %y\n");
}

TEST(RemoveNoOps, LeavesTheOrderInMemoryToUsers) {
  EXPECT_EQ(after(remove_no_ops, R"(graph g(%x: f32[3, 4] strides [1, 3]):
  %c: f32[3, 4] = aten.contiguous.default(%x)
  %v: f32[12] = aten.view.default(%c, [12])
  %y: f32[12] = aten.relu.default(%v)
  return %y
)"),
            R"(fires 1
  %v: f32[12] = aten.view.default(self=%x as contiguous_format, size=[12])
  %y: f32[12] = aten.relu.default(self=%v)
  return %y
)");
}

TEST(RemoveNoOps, KeepsWhatACallerCanTellFromItsArgument) {
  for (const char* text : {
           "graph g(%x: f32[3]):\n  %c: f32[3] = aten.clone.default(%x)\n  return %c",
           "graph g(%x: f32[3]):\n  %y: f32[3] = aten.relu.default(%x)\n"
           "  %c: f32[3] = aten.clone.default(%y)\n  return %y, %c",
           "graph g(%x: f32[3, 4] strides [1, 3]):\n"
           "  %y: f32[3, 4] strides [1, 3] = aten.relu.default(%x)\n"
           "  %c: f32[3, 4] = aten.contiguous.default(%y)\n  return %c",
       }) {
    EXPECT_TRUE(after(remove_no_ops, text).starts_with("fires 0")) << text;
  }
  const char* own =
      "graph g(%x: f32[3]):\n  %y: f32[3] = aten.relu.default(%x)\n"
      "  %c: f32[3] = aten.clone.default(%y)\n  return %c";
  EXPECT_TRUE(after(remove_no_ops, own).starts_with("fires 1"));
}

TEST(ShareCommonNodes, GivesTheCallerTwoTensors) {
  const char* text = R"(graph g(%x: f32[4]):
  %a: f32[4] = aten.relu.default(%x)
  %b: f32[4] = aten.relu.default(%x)
  return %a, %b
)";
  EXPECT_TRUE(after(share_common_nodes, text).starts_with("fires 0"));
}

TEST(RemoveNoOps, KeepsTrainingDropoutCastsAndTheUsersChoice) {
  const char* text = R"(graph g(%x: f32[2, 3]):
  %d: f32[2, 3] = aten.dropout.default(%x, 0.5, True)
  %c: f64[2, 3] = aten._to_copy.default(%d, dtype=dtype.f64)
  return %c
)";
  EXPECT_TRUE(after(remove_no_ops, text).starts_with("fires 0"));
  LoweringOptions options;
  options.torch_executed_ops = {"aten.contiguous"};
  EXPECT_TRUE(after(remove_no_ops, R"(graph g(%x: f32[2]):
  %c: f32[2] = aten.contiguous.default(%x)
  return %c
)",
                    options)
                  .starts_with("fires 0"));
}

TEST(ShareCommonNodes, TellsArgumentsApart) {
  EXPECT_EQ(after(share_common_nodes, R"(graph g(%x: f32[2], %y: f32[2]):
  %a: f32[2] = aten.sub.Tensor(%x, %y)
  %b: f32[2] = aten.sub.Tensor(%x, %y)
  %c: f32[2] = aten.sub.Tensor(%y, %x)
  %d: f32[2] = aten.mul.Tensor(%a, %b)
  return %d, %c
)"),
            R"(fires 1
  %a: f32[2] = aten.sub.Tensor(self=%x, other=%y, alpha=1)
  %c: f32[2] = aten.sub.Tensor(self=%y, other=%x, alpha=1)
  %d: f32[2] = aten.mul.Tensor(self=%a, other=%a)
  return %d, %c
)");
  EXPECT_TRUE(after(share_common_nodes, R"(graph g(%x: f32[2]):
  %a: f32[2] = aten.rand_like.default(%x)
  %b: f32[2] = aten.rand_like.default(%x)
  return %a, %b
)")
                  .starts_with("fires 0"));
}

constexpr const char* kAttention =
    R"(graph g(%q: f32[2, 4, s0, 8], %k: f32[2, 4, s0, 8], %v: f32[2, 4, s0, 8], %m: f32[s0, s0]):
  %t: f32[2, 4, 8, s0] = aten.transpose.int(%k, -1, -2)
  %s: f32[2, 4, s0, s0] = aten.matmul.default(%q, %t)
  %d: f32[2, 4, s0, s0] = aten.div.Tensor(%s, 4.0)
  %a: f32[2, 4, s0, s0] = aten.add.Tensor(%d, %m)
  %p: f32[2, 4, s0, s0] = aten.softmax.int(%a, -1)
  %o: f32[2, 4, s0, 8] = aten.matmul.default(%p, %v)
)";

TEST(RecognizeAttention, TakesScaleAndMask) {
  EXPECT_EQ(after(recognize_attention, std::string(kAttention) + "  return %o\n"),
            R"(fires 1
  %o_1: f32[2, 4, s0, 8] = aten.scaled_dot_product_attention.default(query=%q, key=%k, value=%v, attn_mask=%m, dropout_p=0.0, is_causal=False, scale=0.25, enable_gqa=False)
  return %o_1
)");
}

TEST(RecognizeAttention, LeavesWeightsThatAreReadElsewhere) {
  EXPECT_TRUE(after(recognize_attention, std::string(kAttention) + "  return %o, %p\n")
                  .starts_with("fires 0"));
}

TEST(RecognizeRmsNorm, TakesWeightAndEpsilon) {
  const std::string body = R"(graph g(%x: f32[s0, 16], %w: f32[16] = parameter "w"):
  %p: f32[s0, 16] = aten.pow.Tensor_Scalar(%x, 2)
  %m: f32[s0, 1] = aten.mean.dim(%p, [-1], True)
  %e: f32[s0, 1] = aten.add.Tensor(%m, 1e-06)
  %r: f32[s0, 1] = aten.rsqrt.default(%e)
  %n: f32[s0, 16] = aten.mul.Tensor(%x, %r)
  %y: f32[s0, 16] = aten.mul.Tensor(%w, %n)
)";
  EXPECT_EQ(after(recognize_rms_norm, body + "  return %y\n"),
            R"(fires 1
  %y_1: f32[s0, 16] = aten.rms_norm.default(input=%x, normalized_shape=[16], weight=%w, eps=1e-06)
  return %y_1
)");
  EXPECT_TRUE(after(recognize_rms_norm, body + "  return %y, %n\n").starts_with("fires 0"));
}

TEST(RecognizeActivations, SiluAndNotItsLookalike) {
  EXPECT_EQ(after(recognize_activations, R"(graph g(%x: f32[4]):
  %s: f32[4] = aten.sigmoid.default(%x)
  %y: f32[4] = aten.mul.Tensor(%x, %s)
  return %y
)"),
            "fires 1\n  %y_1: f32[4] = aten.silu.default(self=%x)\n  return %y_1\n");
  EXPECT_TRUE(after(recognize_activations, R"(graph g(%x: f32[4], %z: f32[4]):
  %s: f32[4] = aten.sigmoid.default(%x)
  %y: f32[4] = aten.mul.Tensor(%z, %s)
  return %y
)")
                  .starts_with("fires 0"));
}

TEST(Pipeline, DisabledPassesDoNotRun) {
  Graph graph = std::move(parse_graph(R"(graph g(%x: f32[2]):
  %c: f32[2] = aten.contiguous.default(%x)
  return %c
)"))
                    .value();
  LoweringOptions options;
  options.disabled_passes = {"remove_no_ops", "remove_no_ops_again"};
  ASSERT_TRUE(lower(graph, options).ok());
  EXPECT_EQ(graph.order().size(), 1u);
}

}  // namespace
}  // namespace stator
