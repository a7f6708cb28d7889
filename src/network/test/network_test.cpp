// SPDX-License-Identifier: Apache-2.0
#include "stator/network.h"

#include <gtest/gtest.h>

namespace stator {
namespace {

constexpr const char* kText = R"(network main where s0 in [1, 64], s1 in [0, inf]:
  input %x: f32[s0, 8]
  input %i: i64[s0]
  scalar s1
  constant %w: f32[4, 8] "0.weight" digest 83f1a74fa5a8d745
  %m: f32[s0, 4] = matrix_multiply(%x, %w) {transpose_a = false, transpose_b = true}
  %g: f32[s0, 4] = unary(%m) {op = gelu}
  %r: f32[2*s0, 2] = reshape(%g) {shape = [2*s0, 2]}
  %v: f32[2*s0, 1], %k: i64[2*s0, 1] = top_k(%r) {axis = 1, k = 1, largest = true, stable = true, sorted = true}
  return %v, %k
)";

TEST(NetworkText, PrintsWhatItParsed) {
  Result<Network> network = parse_network(kText);
  ASSERT_TRUE(network.ok()) << network.error().message;
  EXPECT_TRUE(verify_network(*network).ok());
  Result<Network> again = parse_network(print_network(*network));
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(print_network(*again), print_network(*network));
  std::string text = kText;
  const size_t digest = text.find("83f1a74fa5a8d745");
  text.replace(digest, 16, print_network(*network).substr(digest, 16));
  EXPECT_EQ(print_network(*network), text);
}

TEST(NetworkText, NamesTheLineOfAnError) {
  const auto message = [](const std::string& body) {
    Result<Network> network = parse_network("network n:\n  input %x: f32[2, 3]\n" + body);
    return network.ok() ? std::string("no error") : network.error().message;
  };
  EXPECT_EQ(message("  %y: f32[2, 3] = unary(%z) {op = exp}\n"),
            "line 3: %z is used before it is defined");
  EXPECT_EQ(message("  %y: f32[2, 3] = unary(%x) {op = expo}\n"),
            "line 3: layer 'unary': cannot read 'op = expo'");
  EXPECT_EQ(message("  %x: f32[2, 3] = unary(%x) {op = exp}\n"), "line 3: %x is defined twice");
  EXPECT_EQ(message("  %y: f32[4] = reshape(%x) {shape = [4]}\n"),
            "line 3: reshape of (f32[2, 3]): 6 elements do not become 4");
}

TEST(Network, VerifierFindsWrongTypes) {
  Result<Network> network = parse_network(
      "network n:\n  input %x: f32[2, 3]\n  %y: f32[2, 3] = unary(%x) {op = exp}\n  return %y\n");
  ASSERT_TRUE(network.ok());
  network->tensor(1).type.shape[1] = 4;
  EXPECT_EQ(verify_network(*network).error().message,
            "the network is not well formed: %y is f32[2, 4], its layer makes f32[2, 3]");
}

TEST(Network, ConvenienceCallsSkipWhatChangesNothing) {
  Network network;
  const TensorId x = network.add_input("x", {DType::kFloat32, {2, 3}});
  EXPECT_EQ(network.add_cast(x, DType::kFloat32), x);
  EXPECT_EQ(network.add_reshape(x, {2, 3}), x);
  EXPECT_EQ(network.add_concatenation({x}, 0), x);
  EXPECT_TRUE(network.layers.empty());
}

}  // namespace
}  // namespace stator
