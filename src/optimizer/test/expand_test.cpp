// SPDX-License-Identifier: Apache-2.0
//
// Networks in text, and what the pass expand_into_loops writes in place of their layers.
#include <gtest/gtest.h>

#include "optimizer/passes/passes.h"

namespace stator {
namespace {

/// The layers of the network after the pass, one a line, without types; "as it was" where the pass
/// did nothing.
std::string expanded(const std::string& text) {
  Result<Network> network = parse_network(text);
  if (!network.ok()) {
    return network.error().message;
  }
  OptimizerOptions options;
  options.traits.name = "test";
  if (expand_into_loops(*network, options) == 0) {
    return "as it was";
  }
  if (const Status status = verify_network(*network); !status.ok()) {
    return status.error().message;
  }
  std::string s;
  for (const NetworkLayer& layer : network->layers) {
    s += std::string(s.empty() ? "" : " ") + layer_kind_name(layer.attributes);
  }
  return s;
}

std::string resized(const std::string& attributes, const std::string& input,
                    const std::string& result, const std::string& where = "") {
  return expanded("network n" + where + ":\n  input %x: " + input + "\n  %y: " + result +
                  " = resize(%x) {" + attributes + "}\n  return %y\n");
}

TEST(Expand, WholeFactorsOfNearestAreViews) {
  EXPECT_EQ(resized("mode = nearest, size = [6, 10], align_corners = false, scale = [0.5, 0.5], "
                    "channels_last = false",
                    "f32[1, 2, 3, 5]", "f32[1, 2, 6, 10]"),
            "reshape expand reshape");
  EXPECT_EQ(
      resized("mode = nearest, size = [2*s0, 2*s1], align_corners = false, scale = [0, 0], "
              "channels_last = true",
              "f32[1, s0, s1, 2]", "f32[1, 2*s0, 2*s1, 2]", " where s0 in [1, 64], s1 in [1, 64]"),
      "reshape expand reshape");
}

TEST(Expand, OtherSizesAreReadByTheirPlaces) {
  EXPECT_EQ(resized("mode = nearest, size = [7, 10], align_corners = false, scale = [0, 0], "
                    "channels_last = false",
                    "f32[1, 2, 3, 5]", "f32[1, 2, 7, 10]"),
            "index_tensors");
  EXPECT_EQ(resized("mode = linear, size = [9], align_corners = false, scale = [0], "
                    "channels_last = false",
                    "f32[1, 2, 5]", "f32[1, 2, 9]"),
            "index_tensors elementwise index_tensors elementwise elementwise");
}

TEST(Expand, BytesAreNotBlended) {
  EXPECT_EQ(resized("mode = linear, size = [9], align_corners = false, scale = [0], "
                    "channels_last = false",
                    "u8[1, 2, 5]", "u8[1, 2, 9]"),
            "as it was");
}

}  // namespace
}  // namespace stator
