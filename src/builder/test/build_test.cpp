// SPDX-License-Identifier: Apache-2.0
//
// Plans of small networks for the reference backend, and the timing cache's file.
#include "builder/build.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "builder/tactics.h"
#include "optimizer/optimizer.h"
#include "plan/engine_file.h"
#include "stator/network.h"

namespace stator {
namespace {

Result<Plan> plan_of(const std::string& text, BuildStats* stats = nullptr) {
  STATOR_TRY(Network network, parse_network(text));
  OptimizerOptions options;
  options.traits = oracle_backend().traits();
  STATOR_TRY(RegionGraph regions, fuse(network, options));
  BuilderOptions builder;
  builder.settings_json = "{\"level\": 3}";
  return build(regions, oracle_backend(), builder, stats);
}

constexpr const char* kChain = R"(network chain where s0 in [1, 64]:
  input %x: f32[s0, 8]
  %a: f32[s0, 8] = unary(%x) {op = exp}
  %b: f32[s0, 8] = unary(%a) {op = exp}
  %c: f32[s0, 8] = unary(%b) {op = tanh}
  %d: f32[s0, 8] = unary(%c) {op = exp}
  return %d
)";

TEST(Build, RegionsOfOneSignatureShareAKernel) {
  BuildStats stats;
  Result<Plan> plan = plan_of(kChain, &stats);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ASSERT_TRUE(validate_plan(*plan).ok()) << validate_plan(*plan).error().message;
  EXPECT_EQ(plan->steps.size(), 4u);
  EXPECT_EQ(plan->kernels.size(), 2u) << "exp and tanh";
  EXPECT_EQ(stats.kernels, 2);
  EXPECT_EQ(plan->steps[0].kernel, plan->steps[3].kernel);
  EXPECT_NE(plan->steps[0].kernel, plan->steps[2].kernel);
  EXPECT_EQ(plan->settings, "{\"level\": 3}");
}

TEST(Build, LivesEndWithTheLastReader) {
  Result<Plan> plan = plan_of(kChain);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  for (const PlanBuffer& buffer : plan->buffers) {
    if (buffer.role == BufferRole::kArena) {
      EXPECT_EQ(buffer.last_step, buffer.first_step + 1) << buffer.name;
    }
  }
}

TEST(Build, IsDeterministic) {
  EXPECT_EQ(engine_bytes(plan_of(kChain).value()).value(),
            engine_bytes(plan_of(kChain).value()).value());
}

TEST(Build, BindsSymbolsWithTheirRanges) {
  Result<Plan> plan = plan_of(kChain);
  ASSERT_TRUE(plan.ok()) << plan.error().message;
  ASSERT_EQ(plan->symbols.size(), 1u);
  EXPECT_EQ(plan->symbols[0].symbol, "s0");
  EXPECT_EQ(plan->symbols[0].input, 0);
  EXPECT_EQ(plan->symbols[0].dim, 0);
  EXPECT_EQ(plan->symbols[0].least, 1);
  EXPECT_EQ(plan->symbols[0].greatest, 64);
}

TEST(Build, RefusesSizesThatNoInputGives) {
  Result<Plan> plan = plan_of(R"(network open where s0 in [1, 64]:
  input %x: f32[2*s0, 8]
  %y: f32[2*s0, 8] = unary(%x) {op = exp}
  return %y
)");
  ASSERT_FALSE(plan.ok());
  EXPECT_EQ(plan.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(plan.error().message,
            "size 2*s0 depends on s0, which is no dimension of an input and no integer input");
}

TEST(TimingSizes, LieWithinTheRanges) {
  RegionGraph graph;
  graph.bounds.set("a", 1, 8);
  graph.bounds.set("b", 100, 200);
  graph.bounds.set("c", 1);
  graph.bounds.set("d", 1, 512);
  const std::map<std::string, int64_t> sizes = timing_sizes(graph.bounds, {{"d", 384}});
  EXPECT_EQ(sizes.at("a"), 8);
  EXPECT_EQ(sizes.at("b"), 100);
  EXPECT_EQ(sizes.at("c"), 32);
  EXPECT_EQ(sizes.at("d"), 384);
}

class TimingCacheFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("stator_timing_cache_" + std::to_string(std::random_device()()));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path() const { return (folder_ / "timing.json").string(); }
  std::filesystem::path folder_;
};

TEST_F(TimingCacheFile, KeepsWhatAllWritersFound) {
  std::string warning;
  TimingCache first = TimingCache::load(path(), &warning);
  TimingCache second = TimingCache::load(path(), &warning);
  EXPECT_EQ(warning, "") << "a missing file is no damage";
  first.put("cpu A", "region 1", "gemm m14", 3.5);
  first.put("cpu A", "region 2", "gemm m1", 1.0);
  second.put("cpu A", "region 2", "gemm m2", 0.5);
  second.put("cpu B", "region 1", "gemm m8", 9.0);
  EXPECT_TRUE(first.changed());
  ASSERT_TRUE(first.save(path()).ok());
  ASSERT_TRUE(second.save(path()).ok());
  const TimingCache merged = TimingCache::load(path(), &warning);
  EXPECT_EQ(warning, "");
  EXPECT_FALSE(merged.changed());
  const auto tactic = [&merged](const char* device, const char* region) {
    const auto entry = merged.find(device, region);
    return entry.has_value() ? entry->tactic : "none";
  };
  EXPECT_EQ(tactic("cpu A", "region 1"), "gemm m14");
  EXPECT_EQ(tactic("cpu A", "region 2"), "gemm m2") << "the later writer wins";
  EXPECT_EQ(tactic("cpu B", "region 1"), "gemm m8");
  EXPECT_EQ(tactic("cpu B", "region 2"), "none");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
}

TEST_F(TimingCacheFile, DamagedFilesAreIgnoredWithAWarning) {
  TimingCache cache;
  cache.put("cpu", "region", "tactic", 1.0);
  ASSERT_TRUE(cache.save(path()).ok());
  std::string whole;
  std::getline(std::ifstream(path()), whole, '\0');
  const auto damaged = [&](const std::string& text) {
    std::ofstream(path(), std::ios::trunc) << text;
    std::string warning;
    const TimingCache loaded = TimingCache::load(path(), &warning);
    return !warning.empty() && !loaded.find("cpu", "region").has_value();
  };
  EXPECT_FALSE(damaged(whole));
  for (const char* text : {"", "{", "[]", "17", "{}", R"({"format": 3, "devices": {}})",
                           R"({"format": "stator timing cache 1", "devices": []})",
                           R"({"format": "stator timing cache 1", "devices": {"cpu": 3}})",
                           R"({"format": "stator timing cache 1", "devices": {"cpu": {"r": 1}}})",
                           R"({"format": "another", "devices": {}})"}) {
    EXPECT_TRUE(damaged(text)) << text;
  }
  EXPECT_TRUE(damaged(whole.substr(0, whole.size() / 2)));
}

}  // namespace
}  // namespace stator
