// SPDX-License-Identifier: Apache-2.0
//
// quantized_products: which products run on integers, and what is left around them.
#include <gtest/gtest.h>

#include "optimizer/optimizer.h"
#include "optimizer/passes/passes.h"

namespace stator {
namespace {

bool takes_u8(DType a, int64_t, int64_t) { return a == DType::kUInt8; }
bool takes_i8(DType a, int64_t, int64_t) { return a == DType::kInt8; }
bool convolves_u8(const Convolution&, const TensorType& x, const TensorType& w) {
  return x.dtype == DType::kUInt8 && w.shape[1].constant() % 4 == 0;
}

/// The network as text after the pass; "" when it did nothing.
std::string quantized(const std::string& text, bool (*takes)(DType, int64_t, int64_t) = takes_u8) {
  Result<Network> network = parse_network(text);
  EXPECT_TRUE(network.ok()) << network.error().message;
  if (!network.ok()) return "";
  OptimizerOptions options;
  options.traits.byte_product = takes;
  options.traits.byte_convolution = convolves_u8;
  if (quantized_products(*network, options) == 0) return "";
  const Status valid = verify_network(*network);
  EXPECT_TRUE(valid.ok()) << valid.error().message;
  return print_network(*network);
}

bool has(const std::string& text, const std::string& what) {
  return text.find(what) != std::string::npos;
}

/// x of zero point 0 by weights of no zero point.
std::string linear(const std::string& x_type, int64_t k, const std::string& b_scale = "f32[]") {
  const std::string size = std::to_string(k);
  return "network n where s0 in [1, 64]:\n  input %q: " + x_type + "[s0, " + size + "]\n" +
         "  constant %w: i8[8, " + size + "] \"w\" digest 0\n" +
         "  constant %s: f32[] \"s\" digest 0\n  constant %t: " + b_scale + " \"t\" digest 0\n" +
         "  %x: f32[s0, " + size + "] = cast(%q) {to = f32}\n" + "  %a: f32[s0, " + size +
         "] = elementwise(%x, %s) {op = mul}\n" + "  %c: f32[8, " + size +
         "] = cast(%w) {to = f32}\n" + "  %b: f32[8, " + size +
         "] = elementwise(%c, %t) {op = mul}\n" +
         "  %y: f32[s0, 8] = matrix_multiply(%a, %b) {transpose_a = false, transpose_b = true}\n" +
         "  return %y\n";
}

TEST(QuantizedProducts, OnTheIntegersAsTheyAre) {
  const std::string text = quantized(linear("u8", 16));
  EXPECT_TRUE(has(text, ": i32[s0, 8] = matrix_multiply(%q, %w)")) << text;
  EXPECT_FALSE(has(text, "op = xor")) << text;
  EXPECT_FALSE(has(text, "op = sub")) << text;  // no zero point, no correction
}

TEST(QuantizedProducts, InTheTypeThatTheBackendTakes) {
  const std::string shifted = quantized(linear("i8", 16));
  EXPECT_TRUE(has(shifted, "op = xor")) << shifted;
  EXPECT_TRUE(has(shifted, "op = sub")) << shifted;  // 128 times the column sums
  EXPECT_TRUE(has(shifted, "i32[1, 8] = matrix_multiply")) << shifted;
  EXPECT_FALSE(has(quantized(linear("i8", 16), takes_i8), "op = xor"));
}

TEST(QuantizedProducts, RowsThatAreNoMultipleOfFourArePadded) {
  EXPECT_TRUE(has(quantized(linear("u8", 15)), "u8[s0, 16] = pad")) << quantized(linear("u8", 15));
}

TEST(QuantizedProducts, ScalesMayVaryByColumnAndNotAlongTheSum) {
  EXPECT_NE(quantized(linear("u8", 16, "f32[8, 1]")), "");
  EXPECT_EQ(quantized(linear("u8", 16, "f32[1, 16]")), "");
}

TEST(QuantizedProducts, NothingWithoutABackendForIt) {
  EXPECT_EQ(quantized(linear("u8", 16), nullptr), "");
}

TEST(QuantizedProducts, DoublesStay) {
  std::string text = linear("u8", 16);
  for (size_t at = text.find("f32"); at != std::string::npos; at = text.find("f32", at)) {
    text.replace(at, 3, "f64");
  }
  EXPECT_EQ(quantized(text), "");
}

TEST(QuantizedProducts, SumsThatCouldOverflowStay) {
  EXPECT_NE(quantized(linear("u8", 65536)), "");
  EXPECT_EQ(quantized(linear("u8", 65540)), "");
}

const char* const kFaked = R"(network n:
  input %x: f32[4, 16]
  constant %w: i8[8, 16] "w" digest 0
  constant %s: f32[] "s" digest 0
  constant %t: f32[] "t" digest 0
  %low: f32[] = fill() {shape = [], dtype = f32, value = LOW}
  %high: f32[] = fill() {shape = [], dtype = f32, value = 127.0}
  %m: f32[4, 16] = elementwise(%x, %s) {op = mul}
  %r: f32[4, 16] = unary(%m) {op = WHOLE}
  %l: f32[4, 16] = elementwise(%r, %low) {op = max}
  %q: f32[4, 16] = elementwise(%l, %high) {op = min}
  %a: f32[4, 16] = elementwise(%q, %s) {op = div}
  %c: f32[8, 16] = cast(%w) {to = f32}
  %b: f32[8, 16] = elementwise(%c, %t) {op = mul}
  %y: f32[4, 8] = matrix_multiply(%a, %b) {transpose_a = false, transpose_b = true}
  return %y, %q
)";

std::string faked(const std::string& low, const std::string& whole) {
  std::string text = kFaked;
  text.replace(text.find("LOW"), 3, low);
  text.replace(text.find("WHOLE"), 5, whole);
  return quantized(text, takes_i8);
}

TEST(QuantizedProducts, WholeNumbersBetweenBoundsAreQuantized) {
  const std::string text = faked("-128.0", "round");
  EXPECT_TRUE(has(text, "i8[4, 16] = cast(")) << text;
  EXPECT_TRUE(has(text, "op = reciprocal")) << text;  // divided by the scale
  EXPECT_TRUE(has(text, "= cast(") && has(text, "to = f32")) << text;
  EXPECT_EQ(faked("-128.5", "round"), "");
  EXPECT_EQ(faked("-129.0", "round"), "");
  EXPECT_EQ(faked("-128.0", "tanh"), "");
}

/// An image of zero point 7 with a margin of `pad`.
std::string convolution(int64_t pad, int64_t groups) {
  const std::string p = "[" + std::to_string(pad) + ", " + std::to_string(pad) + "]";
  const std::string in = std::to_string(8 / groups), out = std::to_string(6 + 2 * pad);
  return "network n:\n  input %q: u8[1, 8, 8, 8]\n  constant %w: i8[16, " + in +
         ", 3, 3] \"w\" digest 0\n  constant %s: f32[] \"s\" digest 0\n" +
         "  constant %t: f32[16, 1, 1, 1] \"t\" digest 0\n" +
         "  %z: f32[] = fill() {shape = [], dtype = f32, value = 7.0}\n" +
         "  %x: f32[1, 8, 8, 8] = cast(%q) {to = f32}\n" +
         "  %d: f32[1, 8, 8, 8] = elementwise(%x, %z) {op = sub}\n" +
         "  %a: f32[1, 8, 8, 8] = elementwise(%d, %s) {op = mul}\n" + "  %c: f32[16, " + in +
         ", 3, 3] = cast(%w) {to = f32}\n" + "  %b: f32[16, " + in +
         ", 3, 3] = elementwise(%c, %t) {op = mul}\n" + "  %y: f32[1, 16, " + out + ", " + out +
         "] = convolution(%a, %b) {stride = [1, 1], " + "dilation = [1, 1], pad_before = " + p +
         ", pad_after = " + p + ", output_padding = [0, 0], groups = " + std::to_string(groups) +
         ", transposed = false, channels_last = false}\n  return %y\n";
}

TEST(QuantizedProducts, MarginsOfConvolutionsHoldTheZeroPoint) {
  const std::string text = quantized(convolution(1, 1));
  EXPECT_TRUE(has(text, "u8[1, 8, 10, 10] = pad")) << text;
  EXPECT_TRUE(has(text, "value = 7")) << text;
  EXPECT_TRUE(has(text, "i32[1, 16, 8, 8] = convolution")) << text;
  EXPECT_FALSE(has(quantized(convolution(0, 1)), "= pad("));
}

TEST(QuantizedProducts, GroupsOfFewerChannelsThanFourStay) {
  EXPECT_NE(quantized(convolution(0, 2)), "");
  EXPECT_EQ(quantized(convolution(0, 4)), "");
}

}  // namespace
}  // namespace stator
