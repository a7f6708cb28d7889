// SPDX-License-Identifier: Apache-2.0
#include "stator/layer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "layer/expr_fields.h"

namespace stator {
namespace {

Expr s(const char* name) { return Expr::symbol(name); }

std::string types_of(const LayerAttributes& layer, const std::vector<TensorType>& inputs) {
  Bounds bounds;
  bounds.set("s0", 1, 64);
  Result<std::vector<TensorType>> types = infer_types(layer, inputs, bounds);
  if (!types.ok()) {
    return types.error().message;
  }
  std::string text;
  for (const TensorType& type : *types) {
    text += (text.empty() ? "" : ", ") + print_type(type);
  }
  return text;
}

TensorType f32(std::vector<Expr> shape) { return {DType::kFloat32, std::move(shape)}; }

TEST(Attributes, PrintAndParseAreInverse) {
  const std::vector<LayerAttributes> layers = {
      Elementwise{ElementwiseOp::kFloorDiv},
      Unary{UnaryOp::kGeluTanh},
      Cast{DType::kBFloat16},
      Select{},
      Fill{{s("s0"), 4}, DType::kFloat32, Scalar::of(0.1)},
      Fill{{}, DType::kInt64, Scalar::of(int64_t{9007199254740993})},
      Iota{s("s0"), 1, -2, DType::kInt32},
      SizeValue{s("s0") * Expr(2) + Expr(1)},
      Slice{{0, floor_div(s("s0"), 2)}, {3, s("s0")}, {1, -1}},
      Pad{{1, 0}, {0, 2}, PadMode::kReflect, Scalar::of(-INFINITY)},
      Convolution{{2, 2}, {1, 1}, {3, 3}, {3, 3}, {0, 0}, 4, false, true},
      Normalization{{1, 2}, 1e-5, true, true, false},
      Attention{0.125, true, false},
      TopK{1, max(s("s0"), 4), false},
      Resize{ResizeMode::kLinear, {8, 8}, true, {0.5, 0.25}, false},
  };
  for (const LayerAttributes& layer : layers) {
    const std::string text = print_attributes(layer);
    Result<LayerAttributes> again = parse_attributes(layer_kind_name(layer), text);
    ASSERT_TRUE(again.ok()) << again.error().message;
    EXPECT_EQ(print_attributes(*again), text);
    EXPECT_EQ(again->index(), layer.index());
  }
}

TEST(Attributes, ErrorsSayWhatIsWrong) {
  const auto message = [](const char* kind, const char* text) {
    return parse_attributes(kind, text).error().message;
  };
  EXPECT_EQ(message("nothing", "{}"), "there is no layer 'nothing'");
  EXPECT_EQ(message("unary", "{op = sine}"), "layer 'unary': cannot read 'op = sine'");
  EXPECT_EQ(message("unary", "{}"), "layer 'unary': 'op' is missing");
  EXPECT_EQ(message("unary", "{op = sin, x = 1}"), "layer 'unary': 'x = 1' is too much");
}

TEST(Attributes, SizesAreTakenOutAndPutBack) {
  const LayerAttributes fill = Fill{{s("s0"), 4}, DType::kFloat32, Scalar::of(1.0)};
  EXPECT_EQ(expr_fields(fill), (std::vector<Expr>{s("s0"), 4}));
  const int64_t values[] = {7, 4};
  EXPECT_EQ(print_attributes(with_sizes(fill, values)),
            "{shape = [7, 4], dtype = f32, value = 1.0}");
}

TEST(ShapeRules, Elementwise) {
  const LayerAttributes add = Elementwise{ElementwiseOp::kAdd};
  EXPECT_EQ(types_of(add, {f32({s("s0"), 1, 4}), f32({3, 1})}), "f32[s0, 3, 4]");
  EXPECT_EQ(types_of(Elementwise{ElementwiseOp::kLess}, {f32({2}), f32({})}), "bool[2]");
  EXPECT_EQ(types_of(add, {f32({2}), f32({3})}),
            "elementwise of (f32[2], f32[3]): sizes 2 and 3 do not broadcast");
}

TEST(ShapeRules, Movement) {
  EXPECT_EQ(types_of(Transpose{{2, 0, 1}}, {f32({2, s("s0"), 4})}), "f32[4, 2, s0]");
  EXPECT_EQ(types_of(Reshape{{s("s0") * Expr(2), 2}}, {f32({s("s0"), 4})}), "f32[2*s0, 2]");
  EXPECT_EQ(types_of(Reshape{{5}}, {f32({2, 2})}),
            "reshape of (f32[2, 2]): 4 elements do not become 5");
  EXPECT_EQ(types_of(Concat{1}, {f32({2, 3}), f32({2, s("s0")})}), "f32[2, s0 + 3]");
}

TEST(ShapeRules, Windows) {
  const Convolution conv{{2, 2}, {1, 1}, {3, 3}, {3, 3}, {0, 0}, 1, false, false};
  EXPECT_EQ(types_of(conv, {f32({s("s0"), 3, 224, 224}), f32({64, 3, 7, 7})}),
            "f32[s0, 64, 112, 112]");
  EXPECT_EQ(types_of(conv, {f32({1, 4, 9, 9}), f32({64, 3, 7, 7})}),
            "convolution of (f32[1, 4, 9, 9], f32[64, 3, 7, 7]): weight expects 3 input channels, "
            "input has 4");
  EXPECT_EQ(types_of(MatrixMultiply{false, true}, {f32({s("s0"), 5, 8}), f32({16, 8}), f32({16})}),
            "f32[s0, 5, 16]");
}

TEST(ShapeRules, ReduceAndIndex) {
  EXPECT_EQ(types_of(Reduce{ReduceOp::kSum, {0, 2}, false}, {f32({2, s("s0"), 4})}), "f32[s0]");
  EXPECT_EQ(types_of(Reduce{ReduceOp::kArgMax, {1}, true}, {f32({2, 3})}), "i64[2, 1]");
  EXPECT_EQ(types_of(Gather{0, false}, {f32({9, 4}), {DType::kInt64, {s("s0"), 5}}}),
            "f32[s0, 5, 4]");
  EXPECT_EQ(types_of(TopK{1, 2, true}, {f32({3, 9})}), "f32[3, 2], i64[3, 2]");
}

}  // namespace
}  // namespace stator
