// SPDX-License-Identifier: Apache-2.0
//
// The run half alone, on a code image written by hand: y[i] = x[i] for the tasks given.
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <new>
#include <numeric>

#include "backends/cpu/run/features.h"
#include "backends/cpu/run/register.h"
#include "plan/test/contracts.h"
#include "stator/runtime.h"

namespace {

thread_local int64_t allocations = 0;

void* counted(size_t size) {
  ++allocations;
  void* memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}

}  // namespace

// Counts what this thread allocates, so that a test can say that run() allocates nothing.
void* operator new(size_t size) { return counted(size); }
void* operator new[](size_t size) { return counted(size); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace stator {
namespace {

#if defined(__x86_64__)

constexpr int64_t kEntry = 64;

TensorData copy_image() {
  // rdi: args, rsi: begin, rdx: end.
  static constexpr uint8_t kCode[] = {
      0x48, 0x8b, 0x07,        //       mov rax, [rdi]         buffers
      0x4c, 0x8b, 0x00,        //       mov r8, [rax]          x
      0x4c, 0x8b, 0x48, 0x08,  //       mov r9, [rax + 8]      y
      0x48, 0x39, 0xd6,        // next: cmp rsi, rdx
      0x7d, 0x0d,              //       jge done
      0x4d, 0x8b, 0x14, 0xf0,  //       mov r10, [r8 + rsi*8]
      0x4d, 0x89, 0x14, 0xf1,  //       mov [r9 + rsi*8], r10
      0x48, 0xff, 0xc6,        //       inc rsi
      0xeb, 0xee,              //       jmp next
      0xc3,                    // done: ret
  };
  void* writable = nullptr;
  TensorData image = TensorData::allocate(128, &writable);
  std::memset(writable, 0xcc, 128);
  std::memcpy(static_cast<char*>(writable) + kEntry, kCode, sizeof kCode);
  return image;
}

Result<std::unique_ptr<LoadedCode>> load(const std::string& payload,
                                         const std::vector<std::string>& features = {}) {
  return cpu_executor().load({{"cpu", "copy", payload, {}}},
                             {{"cpu", "x86-64 test", features, copy_image()}});
}

/// Two copies of i64[s0] through the arena, a task an element.
Plan copy_plan() {
  Plan plan;
  plan.device = "cpu";
  plan.sizes.symbols = {"s0"};
  const Expr s = Expr::symbol("s0");
  const SizeSlot s0 = plan.sizes.add(s), bytes = plan.sizes.add(s * 8), zero = plan.sizes.add(0);
  plan.symbols = {{"s0", 0, 0, -1, 0, 100000}};
  plan.buffers = {{"x", BufferRole::kInput, DType::kInt64, {s0}, bytes, 0, -1, 0, 0, -1},
                  {"t", BufferRole::kArena, DType::kInt64, {s0}, bytes, -1, -1, 0, 1, -1},
                  {"y", BufferRole::kOutput, DType::kInt64, {s0}, bytes, 0, -1, 0, 0, -1}};
  plan.kernels = {{"cpu", "copy", std::to_string(kEntry), {}}};
  plan.code = {{"cpu", "x86-64 test", {}, copy_image()}};
  plan.steps = {{0, {0, 1}, {}, s0, zero, "one", {}, -1, 0, {}},
                {0, {1, 2}, {}, s0, zero, "two", {}, -1, 0, {}}};
  plan.inputs = {0};
  plan.outputs = {2};
  make_contracts(&plan);
  return plan;
}

TEST(CpuExecutor, RunsEveryTask) {
  Result<std::shared_ptr<const Engine>> engine = Engine::from_plan(copy_plan());
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  ExecutionContext context(*engine);
  for (int64_t count : {0, 1, 2, 3, 17, 1000, 100000, 5}) {
    std::vector<int64_t> x(static_cast<size_t>(count));
    std::iota(x.begin(), x.end(), count);
    std::vector<int64_t> y(x.size() + 1, -1);
    ASSERT_TRUE(context.set_shapes({{count}}).ok());
    ASSERT_TRUE(context.set_input(0, x.data()).ok());
    ASSERT_TRUE(context.set_output(0, y.data()).ok());
    const Status ran = context.run();
    ASSERT_TRUE(ran.ok()) << ran.error().message;
    EXPECT_EQ(y.back(), -1) << "past the end";
    y.pop_back();
    ASSERT_EQ(y, x);
  }
}

TEST(CpuExecutor, RunAllocatesNothingAfterTheFirst) {
  Result<std::shared_ptr<const Engine>> engine = Engine::from_plan(copy_plan());
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  ExecutionContext context(*engine);
  std::vector<int64_t> x(5000, 7), other(5000, 8);
  const int64_t sizes[] = {5000}, fewer[] = {10};
  for (const int64_t* shape : {sizes, fewer}) {
    ASSERT_TRUE(context.set_shapes(shape, 1, nullptr, 0).ok());
    ASSERT_TRUE(context.set_input(0, x.data()).ok());
    ASSERT_TRUE(context.run().ok());
  }
  const int64_t before = allocations;
  bool all = true;
  for (int i = 0; i < 100; ++i) {
    all = context.set_shapes(i % 2 == 0 ? sizes : fewer, 1, nullptr, 0).ok() && all;
    all = context.set_input(0, i % 3 == 0 ? x.data() : other.data()).ok() && all;
    all = context.run().ok() && all;
  }
  const int64_t after = allocations;
  EXPECT_TRUE(all);
  EXPECT_EQ(after, before);
  EXPECT_EQ(*static_cast<const int64_t*>(context.output(0).data), 7);
}

TEST(CpuExecutor, ProfileTimesEveryStep) {
  ExecutionContext context(Engine::from_plan(copy_plan()).value());
  const std::vector<int64_t> x(100, 3);
  ASSERT_TRUE(context.set_shapes({{100}}).ok());
  ASSERT_TRUE(context.set_input(0, x.data()).ok());
  Result<std::vector<StepTime>> times = context.profile();
  ASSERT_TRUE(times.ok());
  ASSERT_EQ(times->size(), 2u);
  EXPECT_EQ((*times)[0].name, "one");
  EXPECT_EQ((*times)[1].kernel, "cpu.copy");
  EXPECT_GE((*times)[0].ns, 0);
}

TEST(CpuExecutor, EntriesMustLieInsideTheImage) {
  EXPECT_TRUE(load("64").ok());
  EXPECT_TRUE(load("127").ok());
  for (const char* payload :
       {"128", "-1", "", "x", "64x", " 64", "99999999999999999999", "9223372036854775807"}) {
    const auto loaded = load(payload);
    ASSERT_FALSE(loaded.ok()) << payload;
    EXPECT_EQ(loaded.error().code, ErrorCode::kInvalidFile);
    EXPECT_EQ(loaded.error().message, "kernel copy begins outside the machine code");
  }
  EXPECT_FALSE(cpu_executor().load({{"cpu", "copy", "0", {}}}, {}).ok()) << "no image at all";
}

TEST(CpuExecutor, NamesMissingInstructions) {
  EXPECT_TRUE(load("64", {"sse2"}).ok());
  const auto loaded = load("64", {"sse2", "abacus", "astrolabe"});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().code, ErrorCode::kIncompatible);
  EXPECT_EQ(loaded.error().message,
            "the engine was built for instructions that this CPU lacks: x86-64 test needs abacus, "
            "astrolabe. Build it on this machine, or with hardware_compatible");
}

TEST(CpuExecutor, TakesTheBestVariantThatRuns) {
  // The better one of two that run; one that cannot run is passed over.
  TensorData broken = copy_image();
  const auto loaded = cpu_executor().load(
      {{"cpu", "copy", "100", {}}},
      {{"cpu", "small", {}, {broken.data, 64, broken.owner}},
       {"cpu", "large", {"sse2"}, broken},
       {"cpu", "other machine", {"sse2", "abacus"}, {broken.data, 64, broken.owner}}});
  EXPECT_TRUE(loaded.ok()) << "100 lies only inside the image of \"large\"";
}

TEST(CpuFeatures, AgreeWithTheCompilersOwnDetection) {
  const auto has = [](const char* name) { return missing_cpu_features({name}).empty(); };
  EXPECT_EQ(has("avx2"), __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(has("fma"), __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(has("sse4.1"), __builtin_cpu_supports("sse4.1") != 0);
  EXPECT_EQ(has("avx512f"), __builtin_cpu_supports("avx512f") != 0);
  EXPECT_EQ(has("avx512bw"), __builtin_cpu_supports("avx512bw") != 0);
  EXPECT_EQ(has("avx512vl"), __builtin_cpu_supports("avx512vl") != 0);
  EXPECT_EQ(has("avx512dq"), __builtin_cpu_supports("avx512dq") != 0);
  EXPECT_EQ(has("avx512bf16"), __builtin_cpu_supports("avx512bf16") != 0);
  EXPECT_FALSE(has("abacus"));
}

#endif

}  // namespace
}  // namespace stator
