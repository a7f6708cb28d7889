// SPDX-License-Identifier: Apache-2.0
#include "lowering/output_views.h"

#include <gtest/gtest.h>

namespace stator {
namespace {

std::string after(const std::string& text) {
  Result<Graph> graph = parse_graph(text);
  if (!graph.ok()) return graph.error().message;
  take_output_views(*graph);
  const std::string printed = print_graph(*graph);
  return printed.substr(printed.find("):\n") + 2);
}

TEST(OutputViews, TakesViewsOfInputs) {
  EXPECT_EQ(after(R"(graph g(%x: f32[3, 4]):
  %v: f32[4, 3] strides [1, 4] = aten.t.default(%x)
  %w: f32[3, 3] strides [1, 4] = aten.slice.Tensor(%v, 0, 1)
  %y: f32[3, 4] = aten.relu.default(%x)
  return %w, %y
)"),
            R"(
  %y: f32[3, 4] = aten.relu.default(self=%x)
  return %x as %w, %y
  %v: f32[4, 3] strides [1, 4] = aten.t.default(self=%x)
  %w: f32[3, 3] strides [1, 4] = aten.slice.Tensor(self=%v, dim=0, start=1, end=None, step=1)
)");
}

TEST(OutputViews, LeavesAViewThatOthersRead) {
  EXPECT_EQ(after(R"(graph g(%x: f32[4, 4]):
  %v: f32[4, 4] strides [1, 4] = aten.t.default(%x)
  %y: f32[4, 4] = aten.mm.default(%x, %v)
  return %v, %y
)"),
            R"(
  %v: f32[4, 4] strides [1, 4] = aten.t.default(self=%x)
  %y: f32[4, 4] = aten.mm.default(self=%x, mat2=%v)
  return %x as %v, %y
  %v: f32[4, 4] strides [1, 4] = aten.t.default(self=%x)
)");
}

TEST(OutputViews, TakesGapsAndOverlaps) {
  EXPECT_EQ(after(R"(graph g(%x: f32[3, 4]):
  %y: f32[3, 4] = aten.relu.default(%x)
  %v: f32[3] strides [4] = aten.select.int(%y, 1, 0)
  return %v
)"),
            R"(
  %y: f32[3, 4] = aten.relu.default(self=%x)
  return %y as %v
  %v: f32[3] strides [4] = aten.select.int(self=%y, dim=1, index=0)
)");
}

TEST(OutputViews, LeavesDenseViewsOfResultsToTheEngine) {
  const char* text = R"(graph g(%x: f32[3, 4]):
  %y: f32[3, 4] = aten.relu.default(%x)
  %v: f32[4, 3] strides [1, 4] = aten.t.default(%y)
  return %v
)";
  EXPECT_TRUE(after(text).ends_with("return %v\n")) << after(text);
}

TEST(OutputViews, KeepsSharedMemoryShared) {
  EXPECT_EQ(after(R"(graph g(%x: f32[3, 4]):
  %y: f32[3, 4] = aten.relu.default(%x)
  %v: f32[4, 3] strides [1, 4] = aten.t.default(%y)
  return %y, %v
)"),
            R"(
  %y: f32[3, 4] = aten.relu.default(self=%x)
  return %y, %y as %v
  %v: f32[4, 3] strides [1, 4] = aten.t.default(self=%y)
)");
}

TEST(OutputViews, TakesTheNewValueOfAnInputForTheInput) {
  EXPECT_EQ(after(R"(graph g(%x: f32[3, 4]):
  %y: f32[3, 4] = aten.mul.Tensor(%x, 3)
  %v: f32[12] = aten.view.default(%y, [12])
  return input "x" <- %y, %v
)"),
            R"(
  %y: f32[3, 4] = aten.mul.Tensor(self=%x, other=3)
  return input "x" <- %y, %y as %v
  %v: f32[12] = aten.view.default(self=%y, size=[12])
)");
}

TEST(OutputViews, NeedsNoOtherTensor) {
  EXPECT_EQ(after(R"(graph g(%x: f32[3, 4], %o: f32[12]):
  %v: f32[12] = aten.view_as.default(%x, %o)
  return %v
)"),
            R"(
  return %x as %v
  %v: f32[12] = aten.view.default(self=%x, size=[12])
)");
}

}  // namespace
}  // namespace stator
