// SPDX-License-Identifier: Apache-2.0
//
// Networks in text and the regions that fusion makes of them: kinds, and what each holds.
#include <gtest/gtest.h>

#include "optimizer/optimizer.h"

namespace stator {
namespace {

/// "matmul[linear], loop[…]": kinds of the regions in order, with the number of their inputs.
std::string kinds(const std::string& text, const BackendTraits& traits = {}) {
  Result<Network> network = parse_network(text);
  if (!network.ok()) {
    return network.error().message;
  }
  OptimizerOptions options;
  options.traits = traits;
  options.traits.name = "test";
  if (const Status status = optimize(*network, options); !status.ok()) {
    return status.error().message;
  }
  Result<RegionGraph> regions = fuse(*network, options);
  if (!regions.ok()) {
    return regions.error().message;
  }
  // Whatever fusion makes prints as text that reads back as the same.
  const std::string printed = print_regions(*regions);
  Result<RegionGraph> again = parse_regions(printed);
  if (!again.ok()) {
    return again.error().message + "\n" + printed;
  }
  EXPECT_EQ(print_regions(*again), printed);
  EXPECT_TRUE(verify_regions(*again).ok());
  std::string s;
  for (const Region& region : regions->regions) {
    s += (s.empty() ? "" : " ") + std::string(region_kind_name(region.body)) + "/" +
         std::to_string(region.inputs.size());
  }
  return s;
}

TEST(Fusion, PointwiseLayersAndViewsAreOneLoop) {
  EXPECT_EQ(kinds(R"(network n where s0 in [1, 64]:
  input %x: f32[s0, 4, 8]
  input %y: f32[s0, 8, 4]
  %t: f32[s0, 4, 8] = transpose(%y) {permutation = [0, 2, 1]}
  %a: f32[s0, 4, 8] = elementwise(%x, %t) {op = add}
  %g: f32[s0, 4, 8] = unary(%a) {op = gelu}
  %r: f32[s0, 32] = reshape(%g) {shape = [s0, 32]}
  return %r
)"),
            "loop/2");
}

TEST(Fusion, ProductsTakeBiasActivationAndResidual) {
  EXPECT_EQ(kinds(R"(network n where s0 in [1, 64], s1 in [1, 128]:
  input %x: f32[s0, s1, 8]
  constant %w: f32[8, 8] "w" digest 0
  constant %b: f32[8] "b" digest 0
  %m: f32[s0, s1, 8] = matrix_multiply(%x, %w, %b) {transpose_a = false, transpose_b = true}
  %g: f32[s0, s1, 8] = unary(%m) {op = relu}
  %y: f32[s0, s1, 8] = elementwise(%g, %x) {op = add}
  return %y
)"),
            "matmul/3");
}

TEST(Fusion, TwoReadersKeepAResultInMemory) {
  EXPECT_EQ(kinds(R"(network n:
  input %x: f32[4, 8]
  constant %w: f32[8, 8] "w" digest 0
  %m: f32[4, 8] = matrix_multiply(%x, %w) {transpose_a = false, transpose_b = false}
  %a: f32[4, 8] = unary(%m) {op = relu}
  %b: f32[4, 8] = unary(%m) {op = neg}
  return %a, %b
)"),
            "matmul/2 loop/1 loop/1");
}

TEST(Fusion, AnEpilogueEndsWhereItsIndicesCannotBeProved) {
  EXPECT_EQ(kinds(R"(network n where s0 in [0, 64], s1 in [0, 64]:
  input %x: f32[s0, 4]
  input %w: f32[4, s0*s1]
  %m: f32[s0, s0*s1] = matrix_multiply(%x, %w) {transpose_a = false, transpose_b = false}
  %v: f32[s0, s1, s0] = reshape(%m) {shape = [s0, s1, s0]}
  %y: f32[s0, s1, s0] = unary(%v) {op = relu}
  return %y
)"),
            "matmul/2 loop/1");
}

TEST(Fusion, AttentionReadsHeadsWhereTheyLie) {
  EXPECT_EQ(kinds(R"(network n where s0 in [1, 64], s1 in [1, 128]:
  input %q: f32[s0, s1, 32]
  input %k: f32[s0, s1, 32]
  input %v: f32[s0, s1, 32]
  %q1: f32[s0, s1, 4, 8] = reshape(%q) {shape = [s0, s1, 4, 8]}
  %q2: f32[s0, 4, s1, 8] = transpose(%q1) {permutation = [0, 2, 1, 3]}
  %k1: f32[s0, s1, 4, 8] = reshape(%k) {shape = [s0, s1, 4, 8]}
  %k2: f32[s0, 4, s1, 8] = transpose(%k1) {permutation = [0, 2, 1, 3]}
  %v1: f32[s0, s1, 4, 8] = reshape(%v) {shape = [s0, s1, 4, 8]}
  %v2: f32[s0, 4, s1, 8] = transpose(%v1) {permutation = [0, 2, 1, 3]}
  %o: f32[s0, 4, s1, 8] = attention(%q2, %k2, %v2) {scale = 0.35, causal = false, has_mask = false}
  %t: f32[s0, s1, 4, 8] = transpose(%o) {permutation = [0, 2, 1, 3]}
  %y: f32[s0, s1, 32] = reshape(%t) {shape = [s0, s1, 32]}
  %z: f32[s0, s1, 32] = unary(%y) {op = relu}
  return %z
)"),
            "attention/3 loop/1");
}

TEST(Fusion, ConvolutionsRunChannelsLast) {
  EXPECT_EQ(kinds(R"(network n where s0 in [1, 64]:
  input %x: f32[s0, 3, 8, 8]
  constant %w: f32[4, 3, 3, 3] "w" digest 0
  constant %v: f32[4, 4, 1, 1] "v" digest 0
  %a: f32[s0, 4, 8, 8] = convolution(%x, %w) {stride = [1, 1], dilation = [1, 1], pad_before = [1, 1], pad_after = [1, 1], output_padding = [0, 0], groups = 1, transposed = false, channels_last = false}
  %r: f32[s0, 4, 8, 8] = unary(%a) {op = relu}
  %b: f32[s0, 4, 8, 8] = convolution(%r, %v) {stride = [1, 1], dilation = [1, 1], pad_before = [0, 0], pad_after = [0, 0], output_padding = [0, 0], groups = 1, transposed = false, channels_last = false}
  %s: f32[s0, 4, 8, 8] = elementwise(%b, %r) {op = add}
  return %s
)"),
            "loop/1 convolution/2 convolution/2");  // the last transpose is the store's index map
}

TEST(Fusion, SoftmaxHoldsWhatComesBefore) {
  EXPECT_EQ(kinds(R"(network n:
  input %x: f32[4, 8]
  input %m: f32[8]
  %a: f32[4, 8] = elementwise(%x, %m) {op = add}
  %s: f32[4, 8] = softmax(%a) {axis = 1, log = false}
  return %s
)"),
            "loop/2");
}

TEST(Fusion, GathersReadWhereTheirTableLies) {
  EXPECT_EQ(kinds(R"(network n:
  input %x: i32[8, 4]
  input %i: i64[3, 4]
  input %j: i32[3, 1]
  %t: i32[4, 8] = transpose(%x) {permutation = [1, 0]}
  %s: i32[4, 7] = slice(%t) {start = [0, 1], size = [4, 7], step = [1, 1]}
  %w: f32[4, 7] = cast(%s) {to = f32}
  %a: f32[3, 4] = index_tensors(%w, %j, %i) {first_axis = 0}
  %b: f32[3, 4] = gather_elements(%w, %i) {axis = 1, error = element}
  %y: f32[3, 4] = elementwise(%a, %b) {op = add}
  return %y
)"),
            "loop/3");
}

TEST(Fusion, PaddingWithOwnElementsIsAView) {
  EXPECT_EQ(kinds(R"(network n where s0 in [2, 64]:
  input %x: f32[s0, 8]
  %a: f32[s0, 8] = unary(%x) {op = relu}
  %p: f32[s0 + 2, 11] = pad(%a) {before = [1, 1], after = [1, 2], mode = reflect, value = 0}
  %q: f32[s0 + 2, 13] = pad(%p) {before = [0, 1], after = [0, 1], mode = circular, value = 0}
  %y: f32[s0 + 2, 13] = unary(%q) {op = neg}
  return %y
)"),
            "loop/1");
}

TEST(Fusion, ASliceIsSetInOneLoop) {
  EXPECT_EQ(kinds(R"(network n:
  input %x: f32[4, 8]
  input %s: f32[4, 3]
  %a: f32[4, 3] = unary(%s) {op = relu}
  %y: f32[4, 8] = slice_scatter(%x, %a) {axis = 1, start = 1, step = 2}
  return %y
)"),
            "loop/2");
}

TEST(Fusion, OutputsThatAreInputsAreCopied) {
  EXPECT_EQ(kinds("network n:\n  input %x: f32[4]\n  return %x, %x\n"), "call/1 call/1");
}

constexpr const char* kWholeLayers = R"(network n where s0 in [1, 64]:
  input %x: f32[s0, 4, 8]
  input %i: i64[4]
  %e: f32[s0, 4, 8] = unary(%x) {op = exp}
  %s: f32[s0, 4, 8] = scan(%e) {op = sum, axis = 1}
  %v: f32[s0, 3, 8], %p: i64[s0, 3, 8] = top_k(%s) {axis = 1, k = 3, largest = true, stable = true, sorted = true}
  %r: i64[1, 4, 1] = reshape(%i) {shape = [1, 4, 1]}
  %j: i64[s0, 4, 8] = expand(%r) {shape = [s0, 4, 8]}
  %z: f32[s0, 4, 8] = unary(%s) {op = neg}
  %y: f32[s0, 4, 8] = scatter_elements(%z, %j, %x) {axis = 1, op = add, error = element}
  return %v, %p, %y
)";

TEST(Fusion, WholeLayersAreRegionsWhereTheBackendHasKernels) {
  EXPECT_EQ(kinds(kWholeLayers), "loop/1 call/1 call/1 loop/1 loop/1 call/3");
  BackendTraits traits;
  traits.runs_whole = [](const LayerAttributes& layer, DType) {
    return std::holds_alternative<Scan>(layer) || std::holds_alternative<TopK>(layer) ||
           std::holds_alternative<ScatterElements>(layer);
  };
  // The loop before the scatter computes what it writes into; the index is read as it lies.
  EXPECT_EQ(kinds(kWholeLayers, traits), "loop/1 scan/1 order/1 loop/1 scatter/3");
}

TEST(Fusion, ScattersWriteIntoWhatTheOneBeforeHasWritten) {
  BackendTraits traits;
  traits.runs_whole = [](const LayerAttributes& layer, DType) {
    return std::holds_alternative<ScatterElements>(layer);
  };
  const std::string text = R"(network n:
  input %x: f32[4, 8]
  input %i: i64[4, 8]
  %a: f32[4, 8] = scatter_elements(%x, %i, %x) {axis = 0, op = put, error = element}
  %b: f32[4, 8] = scatter_elements(%a, %i, %x) {axis = 0, op = max, error = element}
  %c: f32[4, 8] = scatter_elements(%b, %i, %x) {axis = 0, op = mul, error = element}
  return %c
)";
  EXPECT_EQ(kinds(text, traits), "loop/1 scatter/3 scatter/3 scatter/3");
  // What somebody else reads as well is kept.
  std::string kept = text;
  kept.replace(kept.find("return %c"), 9, "return %c, %b");
  EXPECT_EQ(kinds(kept, traits), "loop/1 scatter/3 scatter/3 loop/1 scatter/3");
}

}  // namespace
}  // namespace stator
