// SPDX-License-Identifier: Apache-2.0
//
// The library's kernels: what a file may say of them, and what they give.
#include <gtest/gtest.h>

#include "backends/cpu/run/register.h"
#include "backends/cpu/shared/library_kernel.h"
#include "plan/test/contracts.h"
#include "stator/runtime.h"

namespace stator::cpu {
namespace {

TEST(LibraryKernel, PrintsWhatItParsed) {
  for (const char* text :
       {"scan sum f32", "scan max bool", "order bf16", "order i64", "scatter f16 put 1",
        "scatter i32 add 8", "scatter bool max 2", "scan log_sum_exp bf16"}) {
    Result<LibraryKernel> kernel = parse_library_kernel(text);
    ASSERT_TRUE(kernel.ok()) << text;
    EXPECT_EQ(print_library_kernel(*kernel), text);
  }
  for (const char* text : {"",
                           "scan",
                           "scan f32",
                           "scan sum",
                           "scan sum f99",
                           "scan sum c64",
                           "scan sum f32 f32",
                           "order",
                           "order f8e4m3",
                           "order f32 stable",
                           "scatter f32",
                           "scatter f32 add",
                           "scatter f32 add 0",
                           "scatter f32 add 9",
                           "scatter f32 add 99999999999",
                           "scatter f32 set 1",
                           "scatter bool mul 1",
                           "scan log_sum_exp i32",
                           "sort f32",
                           "scan  sum f32"}) {
    Result<LibraryKernel> kernel = parse_library_kernel(text);
    ASSERT_FALSE(kernel.ok()) << text;
    EXPECT_EQ(kernel.error().code, ErrorCode::kInvalidFile);
    EXPECT_EQ(kernel.error().message, "the library has no kernel \"" + std::string(text) + "\"");
  }
}

/// A plan of one step that runs a library kernel on an input and gives outputs, all of one shape.
struct Step {
  std::string payload;
  std::vector<int64_t> shape = {4, 6};
  std::vector<DType> outputs = {DType::kFloat32};
  std::vector<int64_t> sizes;
  int64_t tasks = 1, scratch = 0;

  Result<std::shared_ptr<const Engine>> engine() const {
    Plan plan;
    plan.device = "cpu";
    const auto slots = [&plan](const std::vector<int64_t>& values) {
      std::vector<SizeSlot> result;
      for (const int64_t value : values) result.push_back(plan.sizes.add(Expr(value)));
      return result;
    };
    PlanStep step{0,
                  {0},
                  slots(sizes),
                  plan.sizes.add(Expr(tasks)),
                  plan.sizes.add(Expr(scratch)),
                  "step",
                  {},
                  -1,
                  0,
                  {}};
    const auto add = [&](BufferRole role, DType dtype, int32_t index) {
      const int64_t bytes = shape[0] * shape[1] * dtype_bytes(dtype);
      plan.buffers.push_back(
          {"t", role, dtype, slots(shape), plan.sizes.add(Expr(bytes)), index, -1, 0, 0, -1});
    };
    add(BufferRole::kInput, DType::kFloat32, 0);
    for (size_t i = 0; i < outputs.size(); ++i) {
      add(BufferRole::kOutput, outputs[i], static_cast<int32_t>(i));
      step.buffers.push_back(static_cast<BufferId>(i + 1));
      plan.outputs.push_back(static_cast<BufferId>(i + 1));
    }
    plan.inputs = {0};
    plan.kernels = {{"cpu", "kernel", payload, {}}};
    plan.steps = {step};
    make_contracts(&plan);
    plan.kernels[0].contract.outputs = static_cast<int32_t>(outputs.size());
    return Engine::from_plan(std::move(plan));
  }

  /// "" when it loads and runs.
  std::string complaint() const {
    Result<std::shared_ptr<const Engine>> made = engine();
    if (!made.ok()) return made.error().message;
    ExecutionContext context(*made);
    const std::vector<float> x(24, 1);
    Status status = context.set_input(0, x.data());
    if (status.ok()) status = context.run();
    return status.ok() ? "" : status.error().message;
  }
};

TEST(LibraryKernel, RunsWhatFitsItsBuffers) {
  EXPECT_EQ((Step{"scan sum f32", {4, 6}, {DType::kFloat32}, {4, 6, 1}, 4}.complaint()), "");
  EXPECT_EQ((Step{"scan sum f32", {4, 6}, {DType::kFloat32}, {1, 4, 6}, 1}.complaint()), "");
  EXPECT_EQ((Step{"order f32", {4, 6}, {DType::kFloat32, DType::kInt64}, {4, 6, 1, 6, 8}, 4, 160}
                 .complaint()),
            "");
}

TEST(LibraryKernel, RefusesStepsWithOtherBuffers) {
  const auto expect = [](const Step& step) {
    EXPECT_EQ(step.complaint(),
              "step 0: a step does not have the buffers and sizes of \"" + step.payload + "\"");
  };
  expect({"scan sum f32", {4, 6}, {DType::kFloat32}, {4, 6}, 4});
  expect({"scan sum f64", {4, 6}, {DType::kFloat32}, {4, 6, 1}, 4});
  expect({"scan max f32", {4, 6}, {DType::kFloat32}, {4, 6, 1}, 4});
  expect({"scan max f32", {4, 6}, {DType::kFloat32, DType::kInt32}, {4, 6, 1}, 4});
  expect({"order f32", {4, 6}, {DType::kFloat32, DType::kInt64}, {4, 6, 1, 6}, 4, 160});
  expect({"scatter f32 add 2", {4, 6}, {DType::kFloat32}, {}, 1});
}

TEST(LibraryKernel, RefusesSizesPastTheBuffers) {
  const auto expect = [](const Step& step) {
    EXPECT_EQ(step.complaint(),
              "a step would take \"" + step.payload + "\" past the end of its buffers");
  };
  const std::vector<DType> ordered = {DType::kFloat32, DType::kInt64};
  expect({"scan sum f32", {4, 6}, {DType::kFloat32}, {4, 7, 1}, 4});
  expect({"scan sum f32", {4, 6}, {DType::kFloat32}, {4, 6, 1}, 5});
  expect({"scan sum f32", {4, 6}, {DType::kFloat32}, {-4, -6, 1}, 0});
  expect({"scan sum f32", {4, 6}, {DType::kFloat32}, {int64_t{1} << 62, 4, 24}, 1});
  expect({"order f32", {4, 6}, ordered, {4, 6, 1, 5, 8}, 4, 160});
  expect({"order f32", {4, 6}, ordered, {4, 6, 1, 6, 8}, 4, 150});
  expect({"order f32", {4, 6}, ordered, {4, 6, 1, 6, 8}, 5, 160});
}

}  // namespace
}  // namespace stator::cpu
