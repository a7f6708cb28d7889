// SPDX-License-Identifier: Apache-2.0
//
// split_reductions: which reductions become two, and how.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "optimizer/optimizer.h"
#include "optimizer/passes/passes.h"

namespace stator {
namespace {

/// The lines of the network's reductions once the pass has run, in order; each as printed.
std::string reductions(const std::string& input, const std::string& reduce,
                       const std::string& result) {
  Result<Network> network =
      parse_network("network n where s0 in [1, 100000], s1 in [0, 9]:\n  input %x: " + input +
                    "\n  %y: " + result + " = reduce(%x) {" + reduce + "}\n  return %y\n");
  EXPECT_TRUE(network.ok()) << network.error().message;
  if (!network.ok()) return "";
  OptimizerOptions options;
  options.traits.few_results = 8;
  options.traits.long_reduction = 65536;
  split_reductions(*network, options);
  const Status valid = verify_network(*network);
  EXPECT_TRUE(valid.ok()) << valid.error().message;
  std::string found;
  for (const NetworkLayer& layer : network->layers) {
    const auto* r = std::get_if<Reduce>(&layer.attributes);
    if (r == nullptr) continue;
    found += found.empty() ? "" : " ";
    for (const int64_t axis : r->axes) found += std::to_string(axis);
    found += r->keep_dims ? "k" : "";
  }
  return found;
}

TEST(SplitReductions, TheFirstAxesAreTheSecondStep) {
  EXPECT_EQ(reductions("f32[512, 1024]", "op = sum, axes = [0, 1], keep_dims = false", "f32[]"),
            "1k 0k");
  EXPECT_EQ(
      reductions("f32[8, 64, 56, 56]", "op = max, axes = [0, 1, 2, 3], keep_dims = false", "f32[]"),
      "23k 01k");
  EXPECT_EQ(
      reductions("f32[512, 4, 1024]", "op = mean, axes = [0, 2], keep_dims = true", "f32[1, 4, 1]"),
      "2k 0k");
}

TEST(SplitReductions, AnAxisByItsDivisor) {
  EXPECT_EQ(reductions("f32[1048576]", "op = sum, axes = [0], keep_dims = false", "f32[]"), "1 0k");
  EXPECT_EQ(reductions("f32[4, 1048576]", "op = sum, axes = [1], keep_dims = true", "f32[4, 1]"),
            "2 1k");
  EXPECT_EQ(reductions("f32[1048573]", "op = sum, axes = [0], keep_dims = false", "f32[]"),
            "0");  // a prime
}

TEST(SplitReductions, TheLastAxisByItsDivisorWhereTheFirstAreFew) {
  EXPECT_EQ(reductions("f32[4, 262144]", "op = sum, axes = [0, 1], keep_dims = false", "f32[]"),
            "2 01k");
  EXPECT_EQ(reductions("f32[3, 5, 65536]", "op = sum, axes = [0, 2], keep_dims = false", "f32[5]"),
            "3 02k");
}

TEST(SplitReductions, HalvesAreRoundedOnce) {
  Result<Network> network = parse_network(
      "network n:\n  input %x: bf16[512, 1024]\n  %y: bf16[] = reduce(%x) {op = sum, axes = [0, "
      "1], keep_dims = false}\n"
      "  return %y\n");
  ASSERT_TRUE(network.ok()) << network.error().message;
  OptimizerOptions options;
  options.traits.few_results = 8;
  options.traits.long_reduction = 65536;
  EXPECT_EQ(split_reductions(*network, options), 1);
  for (const NetworkLayer& layer : network->layers) {
    if (std::holds_alternative<Reduce>(layer.attributes)) {
      EXPECT_EQ(network->type(layer.outputs[0]).dtype, DType::kFloat32);
    }
  }
  EXPECT_EQ(network->type(network->outputs[0]).dtype, DType::kBFloat16);
}

TEST(SplitReductions, VaryingSizes) {
  EXPECT_EQ(reductions("f32[s0, 1024]", "op = mean, axes = [0, 1], keep_dims = false", "f32[]"),
            "1k 0k");
  EXPECT_EQ(reductions("f32[s1, 100000]", "op = sum, axes = [0, 1], keep_dims = false", "f32[]"),
            "2 01k");
  // The greatest of nothing is an error that the whole reduction tells.
  EXPECT_EQ(
      reductions("f32[512, s1, 1024]", "op = max, axes = [0, 1, 2], keep_dims = false", "f32[]"),
      "012");
}

TEST(SplitReductions, OthersStay) {
  EXPECT_EQ(reductions("f32[16, 32]", "op = sum, axes = [0, 1], keep_dims = false", "f32[]"), "01");
  EXPECT_EQ(reductions("f32[512, 9, 1024]", "op = sum, axes = [0, 2], keep_dims = false", "f32[9]"),
            "02");
  EXPECT_EQ(
      reductions("f32[s0, 512, 1024]", "op = sum, axes = [1, 2], keep_dims = false", "f32[s0]"),
      "12");
}

}  // namespace
}  // namespace stator
