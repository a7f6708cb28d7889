// SPDX-License-Identifier: Apache-2.0
//
// Networks as text, built for the reference backend and run: values, dynamic shapes, messages to
// the letter, threads.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "builder/build.h"
#include "optimizer/optimizer.h"
#include "plan/engine_file.h"
#include "stator/network.h"
#include "stator/runtime.h"

namespace stator {
namespace {

Plan plan_of(const std::string& text) {
  Result<Network> network = parse_network(text);
  EXPECT_TRUE(network.ok()) << (network.ok() ? "" : network.error().message);
  CompilerBackend& backend = oracle_backend();
  OptimizerOptions options;
  options.traits = backend.traits();
  Result<RegionGraph> regions = fuse(*network, options);
  EXPECT_TRUE(regions.ok()) << (regions.ok() ? "" : regions.error().message);
  Result<Plan> plan = build(*regions, backend, {}, nullptr);
  EXPECT_TRUE(plan.ok()) << (plan.ok() ? "" : plan.error().message);
  return std::move(plan).value();
}

std::shared_ptr<const Engine> engine_of(const std::string& text) {
  Result<std::shared_ptr<const Engine>> engine = Engine::from_plan(plan_of(text));
  EXPECT_TRUE(engine.ok()) << (engine.ok() ? "" : engine.error().message);
  return *engine;
}

std::string message_of(const Status& status) {
  return status.ok() ? "no error" : status.error().message;
}

/// y = relu(x) + x, z = transpose(x): an arena buffer, two outputs.
constexpr const char* kDynamic = R"(network dynamic where s0 in [0, 64], s1 in [1, 16]:
  input %x: f32[s0, s1]
  input %b: f32[s1]
  %r: f32[s0, s1] = unary(%x) {op = relu}
  %y: f32[s0, s1] = elementwise(%r, %b) {op = add}
  %z: f32[s1, s0] = transpose(%x) {permutation = [1, 0]}
  return %y, %z
)";

std::vector<float> numbers(int64_t count, float scale) {
  std::vector<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = scale * (static_cast<float>((i * 7) % 13) - 6.0f);
  }
  return values;
}

void expect_dynamic(ExecutionContext& context, int64_t rows, int64_t columns, float scale) {
  const std::vector<float> x = numbers(rows * columns, scale), b = numbers(columns, 0.5f);
  ASSERT_EQ(message_of(context.set_shapes({{rows, columns}, {columns}})), "no error");
  ASSERT_TRUE(context.set_input(0, x.empty() ? nullptr : x.data()).ok());
  ASSERT_TRUE(context.set_input(1, b.data()).ok());
  ASSERT_EQ(message_of(context.run()), "no error");
  const TensorView y = context.output(0), z = context.output(1);
  ASSERT_EQ(y.shape, (std::vector<int64_t>{rows, columns}));
  ASSERT_EQ(z.shape, (std::vector<int64_t>{columns, rows}));
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) {
      const float value = x[static_cast<size_t>(i * columns + j)];
      ASSERT_EQ(static_cast<const float*>(y.data)[i * columns + j],
                std::max(value, 0.0f) + b[static_cast<size_t>(j)]);
      ASSERT_EQ(static_cast<const float*>(z.data)[j * rows + i], value);
    }
  }
}

TEST(ExecutionContext, TakesAndGivesTensorsInTheirOrder) {
  Result<Network> network = parse_network(R"(network turned where s0 in [0, 64]:
  input %x: f32[3, s0]
  %y: f32[3, s0] = unary(%x) {op = neg}
  return %y
)");
  ASSERT_TRUE(network.ok());
  CompilerBackend& backend = oracle_backend();
  OptimizerOptions options;
  options.traits = backend.traits();
  BuilderOptions builder;
  builder.input_orders = {{1, 0}};
  builder.output_orders = {{1, 0}};
  Result<Plan> plan = build(*fuse(*network, options), backend, builder, nullptr);
  ASSERT_TRUE(plan.ok());
  Result<std::string> bytes = engine_bytes(*plan);
  ASSERT_TRUE(bytes.ok());
  void* writable = nullptr;
  TensorData data = TensorData::allocate(static_cast<int64_t>(bytes->size()), &writable);
  std::memcpy(writable, bytes->data(), bytes->size());
  Result<std::shared_ptr<const Engine>> engine = Engine::from_bytes(std::move(data), "turned");
  ASSERT_TRUE(engine.ok());
  const TensorInfo& info = (*engine)->inputs()[0];
  EXPECT_EQ(info.order, (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(info.symbolic_shape, (std::vector<std::string>{"s0", "3"}));
  ExecutionContext context(*engine);
  EXPECT_EQ(message_of(context.set_shapes({{2, 4}})),
            "dimension 1 of input 0 \"x\" is 4, expected 3");
  EXPECT_EQ(message_of(context.set_shapes({{65, 3}})),
            "dimension 0 of input 0 \"x\" (s0) is 65, allowed: 0..64");
  ASSERT_EQ(message_of(context.set_shapes({{2, 3}})), "no error");
  const std::vector<float> x = {0, 1, 2, 3, 4, 5};  // [2, 3] as it lies: column by column
  ASSERT_TRUE(context.set_input(0, x.data()).ok());
  ASSERT_EQ(message_of(context.run()), "no error");
  const TensorView y = context.output(0);
  EXPECT_EQ(y.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(y.strides(), (std::vector<int64_t>{1, 2}));
  std::vector<float> rows(6);
  copy_in_order(y, {}, rows.data());
  EXPECT_EQ(rows, (std::vector<float>{0, -2, -4, -1, -3, -5}));
}

TEST(ExecutionContext, RunsAtEveryShape) {
  ExecutionContext context(engine_of(kDynamic));
  // Larger and smaller, seen before and not, empty, and more than are remembered.
  for (int64_t rows : {3, 1, 0, 64, 3, 2, 0, 64}) {
    for (int64_t columns : {1, 16, 5}) {
      expect_dynamic(context, rows, columns, 1.0f);
    }
  }
  for (int64_t rows = 0; rows <= 64; ++rows) {
    expect_dynamic(context, rows, 2, 2.0f);
    expect_dynamic(context, 64 - rows, 7, 3.0f);
  }
}

TEST(ExecutionContext, WritesWhereTheCallerSays) {
  ExecutionContext context(engine_of(kDynamic));
  ASSERT_TRUE(context.set_shapes({{2, 3}, {3}}).ok());
  const std::vector<float> x = {-1, 2, -3, 4, -5, 6}, b = {10, 20, 30};
  std::vector<float> y(7, 99.0f), z(7, 99.0f);
  ASSERT_TRUE(context.set_input(0, x.data()).ok());
  ASSERT_TRUE(context.set_input(1, b.data()).ok());
  ASSERT_TRUE(context.set_output(0, y.data()).ok());
  ASSERT_TRUE(context.set_output(1, z.data()).ok());
  ASSERT_EQ(message_of(context.run()), "no error");
  EXPECT_EQ(y, (std::vector<float>{10, 22, 30, 14, 20, 36, 99}));
  EXPECT_EQ(z, (std::vector<float>{-1, 4, 2, -5, -3, 6, 99}));
  EXPECT_EQ(context.output(0).data, y.data());
  // Back to the context's own memory: the caller's stays as it was.
  ASSERT_TRUE(context.set_output(0, nullptr).ok());
  y.assign(7, 99.0f);
  ASSERT_EQ(message_of(context.run()), "no error");
  EXPECT_EQ(y, std::vector<float>(7, 99.0f));
  EXPECT_EQ(static_cast<const float*>(context.output(0).data)[1], 22.0f);
}

TEST(ExecutionContext, SaysWhichShapeIsWrong) {
  ExecutionContext context(engine_of(kDynamic));
  EXPECT_EQ(message_of(context.run()), "no shapes are set; call set_shapes before run");
  EXPECT_EQ(message_of(context.set_shapes({{2, 3}})),
            "the engine takes 2 inputs (\"x\", \"b\"), got 1");
  EXPECT_EQ(message_of(context.set_shapes({{2, 3, 4}, {3}})),
            "input 0 \"x\" has 3 dimensions, expected 2: [s0, s1]");
  EXPECT_EQ(message_of(context.set_shapes({{65, 3}, {3}})),
            "dimension 0 of input 0 \"x\" (s0) is 65, allowed: 0..64");
  EXPECT_EQ(message_of(context.set_shapes({{2, 0}, {0}})),
            "dimension 1 of input 0 \"x\" (s1) is 0, allowed: 1..16");
  EXPECT_EQ(message_of(context.set_shapes({{-1, 3}, {3}})),
            "dimension 0 of input 0 \"x\" (s0) is -1, allowed: 0..64");
  EXPECT_EQ(message_of(context.set_shapes({{2, 3}, {4}})),
            "dimension 0 of input 1 \"b\" is 4, expected 3 (s1: dimension 1 of input 0 \"x\")");
  EXPECT_EQ(message_of(context.set_shapes({{2, 3}, {3}}, {1})),
            "the engine takes 0 scalar inputs, got 1");
  const int64_t sizes[] = {2, 3};
  EXPECT_EQ(message_of(context.set_shapes(sizes, 2, nullptr, 0)),
            "expected 3 sizes for the 2 inputs (\"x\", \"b\"), got 2");
  EXPECT_EQ(message_of(context.set_input(2, sizes)),
            "input 2 does not exist; the engine has 2 inputs");
  EXPECT_EQ(message_of(context.set_output(-1, nullptr)),
            "output -1 does not exist; the engine has 2 outputs");
  ASSERT_TRUE(context.set_shapes({{2, 3}, {3}}).ok());
  EXPECT_EQ(message_of(context.run()), "input 0 \"x\" has no data; call set_input before run");
}

TEST(ExecutionContext, HugeSizesAreErrors) {
  ExecutionContext context(engine_of(R"(network huge where s0 in [0, inf]:
  input %x: f32[s0, s0]
  %y: f32[s0, s0] = unary(%x) {op = exp}
  return %y
)"));
  const std::string too_much = "these input sizes lead to sizes that do not fit 64 bits";
  EXPECT_EQ(message_of(context.set_shapes({{INT64_MAX, INT64_MAX}})), too_much);
  EXPECT_EQ(message_of(context.set_shapes({{int64_t{1} << 30, int64_t{1} << 30}})),
            "these input sizes need more memory for the tensor \"x\" than there can be");
}

TEST(ExecutionContext, FaultsAreReportedOnceWithTheirPlace) {
  ExecutionContext context(engine_of(R"(network faults:
  input %x: f32[4]
  input %i: i64[2]
  %y: f32[2] = gather(%x, %i) {axis = 0, wrap = false, error = index}
  return %y
)"));
  const float x[] = {1, 2, 3, 4};
  int64_t indices[] = {3, 4};
  ASSERT_TRUE(context.set_input(0, x).ok());
  ASSERT_TRUE(context.set_input(1, indices).ok());
  const Status failed = context.run();
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().code, ErrorCode::kOutOfRange);
  EXPECT_TRUE(failed.error().message.starts_with(
      "index 4 is out of bounds for dimension 0 with size 4\nin step 0 \""))
      << failed.error().message;
  indices[1] = 0;
  EXPECT_EQ(message_of(context.run()), "no error");
  const auto* y = static_cast<const float*>(context.output(0).data);
  EXPECT_EQ(y[0], 4.0f);
  EXPECT_EQ(y[1], 1.0f);
}

TEST(ExecutionContext, ScalarInputsAreSizes) {
  ExecutionContext context(engine_of(R"(network scalars where s0 in [1, 8], s1 in [2, 4]:
  input %x: f32[s0]
  scalar s1
  %r: f32[1, s0] = reshape(%x) {shape = [1, s0]}
  %y: f32[s1, s0] = expand(%r) {shape = [s1, s0]}
  return %y
)"));
  EXPECT_EQ(message_of(context.set_shapes({{3}}, {5})), "scalar input 0 (s1) is 5, allowed: 2..4");
  EXPECT_EQ(message_of(context.set_shapes({{3}})), "the engine takes 1 scalar inputs, got 0");
  for (int64_t copies : {2, 4, 3}) {
    ASSERT_EQ(message_of(context.set_shapes({{3}}, {copies})), "no error");
    const float x[] = {1, 2, 3};
    ASSERT_TRUE(context.set_input(0, x).ok());
    ASSERT_EQ(message_of(context.run()), "no error");
    ASSERT_EQ(context.output(0).shape, (std::vector<int64_t>{copies, 3}));
    for (int64_t i = 0; i < copies * 3; ++i) {
      EXPECT_EQ(static_cast<const float*>(context.output(0).data)[i], x[i % 3]);
    }
  }
}

TEST(Engine, DescribesItsInterface) {
  const auto engine = engine_of(kDynamic);
  ASSERT_EQ(engine->inputs().size(), 2u);
  EXPECT_EQ(engine->inputs()[0].name, "x");
  EXPECT_EQ(engine->inputs()[0].shape, (std::vector<int64_t>{-1, -1}));
  EXPECT_EQ(engine->inputs()[0].symbolic_shape, (std::vector<std::string>{"s0", "s1"}));
  EXPECT_EQ(engine->inputs()[0].least, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(engine->inputs()[0].greatest, (std::vector<int64_t>{64, 16}));
  EXPECT_EQ(engine->outputs()[1].symbolic_shape, (std::vector<std::string>{"s1", "s0"}));
}

TEST(Engine, RunsTheSameFromItsBytes) {
  const std::string bytes = engine_of(kDynamic)->bytes().value();
  Result<std::shared_ptr<const Engine>> again =
      Engine::from_bytes({bytes.data(), static_cast<int64_t>(bytes.size()), nullptr}, "bytes");
  ASSERT_TRUE(again.ok()) << again.error().message;
  ExecutionContext context(*again);
  expect_dynamic(context, 5, 3, 1.0f);
}

TEST(Engine, NamesTheBackendItLacks) {
  Plan plan = plan_of(kDynamic);
  plan.kernels[0].executor = "abacus";
  const Result<std::shared_ptr<const Engine>> engine = Engine::from_plan(std::move(plan));
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ErrorCode::kIncompatible);
  EXPECT_EQ(engine.error().message,
            "this engine needs the backend \"abacus\", which this build of Stator lacks (it has: "
            "reference)");
}

TEST(Engine, StepsAreProvedAtEachShape) {
  struct Forgery {
    const char* what;
    void (*change)(Plan&);
  };
  const Forgery forgeries[] = {
      {"the number of tasks is 5, the kernel takes 1",
       [](Plan& p) {
         p.steps[0].task_count = p.buffers[static_cast<size_t>(p.inputs[0])].shape[0];
       }},
      {"has in dimension 0 3, the kernel takes 5",
       [](Plan& p) {
         PlanBuffer& x = p.buffers[static_cast<size_t>(p.steps[0].buffers.back())];
         std::swap(x.shape[0], x.shape[1]);
       }},
      {"is 5, the kernel was made for 0..4",
       [](Plan& p) {
         for (PlanKernel& kernel : p.kernels) {
           for (auto& range : kernel.contract.ranges) range = {0, 4};
         }
       }},
      {"bytes by its shape, the engine counts",
       [](Plan& p) {
         PlanBuffer& y = p.buffers[static_cast<size_t>(p.outputs[0])];
         y.size_bytes = p.sizes.add(Expr(4096));
       }},
  };
  for (const Forgery& forgery : forgeries) {
    Plan plan = plan_of(kDynamic);
    forgery.change(plan);
    Result<std::shared_ptr<const Engine>> engine = Engine::from_plan(std::move(plan));
    ASSERT_TRUE(engine.ok()) << engine.error().message;
    ExecutionContext context(*engine);
    const Status status = context.set_shapes({{5, 3}, {3}});
    ASSERT_FALSE(status.ok()) << forgery.what;
    EXPECT_EQ(status.error().code, ErrorCode::kInvalidFile);
    EXPECT_NE(status.error().message.find(forgery.what), std::string::npos)
        << status.error().message;
  }
}

TEST(Engine, FixedSizesAreProvedWhenItIsLoaded) {
  Plan plan = plan_of(R"(network fixed:
  input %x: f32[4, 8]
  %y: f32[4, 8] = unary(%x) {op = relu}
  return %y
)");
  ASSERT_TRUE(Engine::from_plan(plan).ok());
  plan.steps[0].task_count = plan.sizes.add(Expr(7));
  const Result<std::shared_ptr<const Engine>> engine = Engine::from_plan(std::move(plan));
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.error().code, ErrorCode::kInvalidFile);
  EXPECT_NE(engine.error().message.find("the number of tasks is 7, the kernel takes 1"),
            std::string::npos)
      << engine.error().message;
}

TEST(Engine, IsSharedByThreads) {
  const auto engine = engine_of(kDynamic);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&engine, t] {
      ExecutionContext context(engine);
      for (int64_t i = 0; i < 50; ++i) {
        expect_dynamic(context, (i * 5 + t) % 20, 1 + (i + t) % 9, static_cast<float>(t + 1));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
}

}  // namespace
}  // namespace stator
