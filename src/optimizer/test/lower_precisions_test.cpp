// SPDX-License-Identifier: Apache-2.0
//
// lower_precisions: which layers of float32 run in a half where that is allowed.
#include <gtest/gtest.h>

#include "optimizer/optimizer.h"
#include "optimizer/passes/passes.h"

namespace stator {
namespace {

bool is_half(DType dtype) { return dtype == DType::kFloat16 || dtype == DType::kBFloat16; }

/// The network as text after the pass; "" when it did nothing.
std::string lowered(const std::string& text, std::optional<DType> low, bool fast = true) {
  Result<Network> network = parse_network(text);
  EXPECT_TRUE(network.ok()) << network.error().message;
  if (!network.ok()) return "";
  OptimizerOptions options;
  options.low_precision = low;
  if (fast) options.traits.fast_product = is_half;
  if (lower_precisions(*network, options) == 0) return "";
  const Status valid = verify_network(*network);
  EXPECT_TRUE(valid.ok()) << valid.error().message;
  return print_network(*network);
}

int count(const std::string& text, const std::string& what) {
  int n = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

/// A timer under which float32 is faster where `whole_wins` says so, by the number of the product.
OutputTimer timer(std::vector<bool> whole_wins, std::string* pieces = nullptr) {
  return [whole_wins, pieces](Network network) -> Result<std::vector<double>> {
    EXPECT_TRUE(verify_network(network).ok());
    if (pieces != nullptr) *pieces = print_network(network);
    EXPECT_EQ(network.outputs.size(), 2 * whole_wins.size());
    std::vector<double> us;
    for (const bool whole : whole_wins) {
      us.push_back(whole ? 1.0 : 3.0);
      us.push_back(2.0);
    }
    return us;
  };
}

const char* const kTwoProducts = R"(network n where s0 in [1, 64]:
  input %x: f32[s0, 8]
  constant %w: f32[8, 8] "w" digest 0
  constant %b: f32[8] "b" digest 0
  %m: f32[s0, 8] = matrix_multiply(%x, %w, %b) {transpose_a = false, transpose_b = true}
  %n: f32[s0, 8] = matrix_multiply(%x, %w) {transpose_a = false, transpose_b = true}
  %s: f32[s0, 8] = elementwise(%m, %n) {op = add}
  return %s
)";

TEST(LowerPrecisions, ProductsAloneAndOneCastOfEachOperand) {
  const std::string text = lowered(kTwoProducts, DType::kBFloat16);
  EXPECT_EQ(count(text, "to = bf16"), 3) << text;  // x, w, b
  EXPECT_EQ(count(text, "to = f32"), 2) << text;
  EXPECT_NE(text.find("f32[s0, 8] = elementwise"), std::string::npos) << text;
  EXPECT_NE(lowered(kTwoProducts, DType::kFloat16).find("f16[s0, 8] = matrix_multiply"),
            std::string::npos);
}

/// Two kinds of products, one of them twice.
const char* const kTwoKinds = R"(network n where s0 in [1, 64]:
  input %x: f32[s0, 8]
  constant %w: f32[8, 8] "w" digest 0
  constant %v: f32[16, 8] "v" digest 0
  %m: f32[s0, 8] = matrix_multiply(%x, %w) {transpose_a = false, transpose_b = true}
  %n: f32[s0, 8] = matrix_multiply(%m, %w) {transpose_a = false, transpose_b = true}
  %o: f32[s0, 16] = matrix_multiply(%n, %v) {transpose_a = false, transpose_b = true}
  return %o
)";

std::string timed(std::vector<bool> whole_wins, std::string* pieces = nullptr) {
  Result<Network> network = parse_network(kTwoKinds);
  EXPECT_TRUE(network.ok()) << network.error().message;
  OptimizerOptions options;
  options.low_precision = DType::kFloat16;
  options.traits.fast_product = is_half;
  options.timing_sizes = {{"s0", 32}};
  options.time_outputs = timer(std::move(whole_wins), pieces);
  (void)lower_precisions(*network, options);
  EXPECT_TRUE(verify_network(*network).ok());
  return print_network(*network);
}

TEST(LowerPrecisions, TheFasterTypeWinsForEachKindOfProduct) {
  std::string pieces;
  EXPECT_EQ(count(timed({false, false}, &pieces), ": f16[s0, "), 3 + 3);  // products, operands
  EXPECT_EQ(count(pieces, "matrix_multiply"), 4) << pieces;  // each kind once, both ways
  EXPECT_EQ(count(pieces, "input %x0: f32[32, 8]"), 1) << pieces;
  EXPECT_EQ(count(pieces, "input %x1: f16[32, 8]"), 1) << pieces;
  EXPECT_EQ(count(timed({true, true}), "f16"), 0);
  const std::string mixed = timed({true, false});
  EXPECT_EQ(count(mixed, "f32[s0, 8] = matrix_multiply"), 2) << mixed;
  EXPECT_EQ(count(mixed, "f16[s0, 16] = matrix_multiply"), 1) << mixed;
}

TEST(LowerPrecisions, WhatCannotBeTimedIsLowered) {
  Result<Network> network = parse_network(kTwoKinds);
  OptimizerOptions options;
  options.low_precision = DType::kFloat16;
  options.traits.fast_product = is_half;
  options.time_outputs = [](Network) -> Result<std::vector<double>> {
    return Error{ErrorCode::kInternal, "no device"};
  };
  EXPECT_EQ(lower_precisions(*network, options), 3);
}

TEST(LowerPrecisions, NothingWhereItIsNotAllowedOrNotFaster) {
  EXPECT_EQ(lowered(kTwoProducts, std::nullopt), "");
  EXPECT_EQ(lowered(kTwoProducts, DType::kBFloat16, false), "");
  EXPECT_EQ(lowered(R"(network n:
  input %x: f64[4, 8]
  input %w: f64[8, 8]
  %m: f64[4, 8] = matrix_multiply(%x, %w) {transpose_a = false, transpose_b = true}
  return %m
)",
                    DType::kBFloat16),
            "")
      << "other types are not touched";
}

std::string attention(const std::string& mask_type) {
  return "network n:\n  input %q: f32[1, 2, 4, 16]\n  input %m: " + mask_type + "[1, 2, 4, 4]\n" +
         "  %a: f32[1, 2, 4, 16] = attention(%q, %q, %q, %m) "
         "{scale = 0.25, causal = false, has_mask = true}\n  return %a\n";
}

TEST(LowerPrecisions, AttentionButUnderAnAddedMask) {
  const std::string text = lowered(attention("bool"), DType::kFloat16);
  EXPECT_NE(text.find("f16[1, 2, 4, 16] = attention"), std::string::npos) << text;
  EXPECT_EQ(lowered(attention("f32"), DType::kFloat16), "");
}

}  // namespace
}  // namespace stator
