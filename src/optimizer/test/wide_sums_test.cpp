// SPDX-License-Identifier: Apache-2.0
//
// keep_sums_wide: which sums between halves stay in float32.
#include <gtest/gtest.h>

#include "optimizer/optimizer.h"
#include "optimizer/passes/passes.h"

namespace stator {
namespace {

/// How many sums stay wide; the network is valid before and after.
int wide_sums(const std::string& layers, const std::string& returned, int64_t rows = 4) {
  const std::string r = std::to_string(rows);
  const auto sized = [&](std::string text) {
    for (size_t at = text.find('R'); at != std::string::npos; at = text.find('R')) {
      text.replace(at, 1, r);
    }
    return text;
  };
  Result<Network> network = parse_network(
      sized("network n where s0 in [1, 64]:\n  input %x: bf16[R, 8]\n  input %y: bf16[R, 8]\n"
            "  %xf: f32[R, 8] = cast(%x) {to = f32}\n  %yf: f32[R, 8] = cast(%y) {to = f32}\n"
            "  %a: f32[R, 8] = elementwise(%xf, %yf) {op = add}\n"
            "  %ah: bf16[R, 8] = cast(%a) {to = bf16}\n" +
            layers + "  return " + returned + "\n"));
  EXPECT_TRUE(network.ok()) << network.error().message;
  if (!network.ok()) return -1;
  OptimizerOptions options;
  options.traits.math_dtype = [](DType dtype) { return dtype == DType::kBFloat16; };
  const int fired = keep_sums_wide(*network, options);
  const Status valid = verify_network(*network);
  EXPECT_TRUE(valid.ok()) << valid.error().message;
  return fired;
}

// %a is widened again for a norm and for the next sum.
const char* const kNextSum = R"(  %n: f32[R, 8] = cast(%ah) {to = f32}
  %e: f32[R, 8] = unary(%n) {op = exp}
  %t: f32[R, 8] = cast(%ah) {to = f32}
  %b: f32[R, 8] = elementwise(%t, %e) {op = add}
  %bh: bf16[R, 8] = cast(%b) {to = bf16}
)";

TEST(WideSums, AStreamStaysInFloat32) {
  EXPECT_EQ(wide_sums(kNextSum, "%bh"), 1);
  // The last sum of a stream too, where only a norm reads it.
  EXPECT_EQ(wide_sums(std::string(kNextSum) + "  %l: f32[R, 8] = cast(%bh) {to = f32}\n"
                                              "  %o: f32[R, 8] = unary(%l) {op = tanh}\n",
                      "%o"),
            2);
}

TEST(WideSums, OthersAreRounded) {
  const std::string norm =
      "  %n: f32[R, 8] = cast(%ah) {to = f32}\n"
      "  %o: f32[R, 8] = unary(%n) {op = exp}\n";
  EXPECT_EQ(wide_sums(norm, "%o"), 0) << "a sum that no sum takes up";
  EXPECT_EQ(wide_sums(kNextSum, "%bh, %ah"), 0) << "a result of the model";
  EXPECT_EQ(
      wide_sums(std::string(kNextSum) + "  %u: bf16[R, 8] = elementwise(%ah, %x) {op = mul}\n",
                "%bh, %u"),
      0)
      << "a reader of halves";
  EXPECT_EQ(wide_sums(kNextSum, "%bh", 1 << 18), 1) << "8 MiB";
  EXPECT_EQ(wide_sums(kNextSum, "%bh", (1 << 18) + 1), 0) << "more than 8 MiB";
}

}  // namespace
}  // namespace stator
