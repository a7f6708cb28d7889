// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/conv_kernel.h"

#include <gtest/gtest.h>

#include "backends/cpu/codegen/depthwise_kernel.h"
#include "gemm_fixture.h"

namespace stator::cpu::test {
namespace {

struct ConvCase {
  int64_t batch;
  std::vector<int64_t> in, kernel, stride, dilation, pad_before, pad_after;
  int64_t channels, out_channels, groups;
  bool dynamic;
};

class Conv {
 public:
  explicit Conv(const ConvCase& c) : c_(c) {
    auto size = [&](int64_t value) {
      if (!c.dynamic) return Expr(value);
      std::string name = "s" + std::to_string(symbols_.size());
      symbols_[name] = value;
      bounds_.set(name, 0);
      return Expr::symbol(name);
    };
    ConvolutionContraction conv;
    conv.attributes.stride = c.stride;
    conv.attributes.dilation = c.dilation;
    conv.attributes.pad_before = c.pad_before;
    conv.attributes.pad_after = c.pad_after;
    conv.attributes.groups = c.groups;
    conv.attributes.channels_last = true;
    conv.x_shape = {size(c.batch)};
    conv.y_shape = {conv.x_shape[0]};
    conv.w_shape = {c.out_channels, c.channels / c.groups};
    for (size_t d = 0; d < c.in.size(); ++d) {
      Expr in = size(c.in[d]);
      int64_t around = c.pad_before[d] + c.pad_after[d] - c.dilation[d] * (c.kernel[d] - 1) - 1;
      conv.x_shape.push_back(in);
      conv.y_shape.push_back(floor_div(in + around, c.stride[d]) + 1);
      conv.w_shape.push_back(c.kernel[d]);
      out_.push_back((c.in[d] + around) / c.stride[d] + 1);
    }
    conv.x_shape.push_back(c.channels);
    conv.y_shape.push_back(c.out_channels);
    // As the optimizer writes it: stored row-major over the result's dims.
    Expr flat = 0;
    for (size_t d = 0; d < conv.y_shape.size(); ++d) {
      conv.epilogue.dims.push_back({conv.y_shape[d]});
      flat = flat * conv.y_shape[d] + Expr::symbol(index_symbol(static_cast<int>(d)));
    }
    LoopOp accumulator;
    accumulator.kind = LoopOpKind::kAccumulator;
    conv.epilogue.ops = {accumulator};
    conv.epilogue.stores = {{2, flat, 0}};
    region_.body = std::move(conv);
  }

  std::vector<Tactic> tactics(const VectorUnit& unit, int level) const {
    return contraction_tactics(region_, bounds_, unit, 2, level);
  }

  void check(const VectorUnit& unit, int level) {
    std::vector<Tactic> all = tactics(unit, level);
    all.push_back({"plain"});
    for (const Tactic& tactic : all) {
      SCOPED_TRACE(tactic.name + " lanes " + std::to_string(unit.lanes));
      check_tactic(unit, tactic.name);
    }
  }

 private:
  void check_tactic(const VectorUnit& unit, const std::string& tactic) {
    std::mt19937 random(11);
    int64_t pixels = c_.batch, outputs = c_.batch;
    for (size_t d = 0; d < c_.in.size(); ++d) {
      pixels *= c_.in[d];
      outputs *= out_[d];
    }
    Guarded x(pixels * c_.channels), w(c_.out_channels * depth()), bias(c_.out_channels);
    for (Guarded* data : {&x, &w, &bias}) data->fill_random(random);
    auto prepared = prepare_contraction(region_, tactic);
    ASSERT_NE(prepared, nullptr);
    TensorData packed = packed_input(*prepared, 1, w);
    void* weights = packed.data ? const_cast<void*>(packed.data) : w.data();
    Guarded result(outputs * c_.out_channels, -1e9F);
    std::vector<Expr> extents;
    for (const LoopDim& dim : prepared->epilogue()->dims) extents.push_back(dim.extent);
    run_kernel(*prepared, unit, symbols_, extents,
               {x.data(), weights, nullptr, nullptr, bias.data(), result.data()});
    EXPECT_EQ(difference(result, expected(x, w, bias), 1e-5), "");
  }

  int64_t depth() const { return c_.channels / c_.groups * positions(); }
  int64_t positions() const {
    int64_t product = 1;
    for (int64_t k : c_.kernel) product *= k;
    return product;
  }

  /// The definition, over any number of spatial axes.
  std::vector<float> expected(const Guarded& x, const Guarded& w, const Guarded& bias) const {
    std::vector<float> want;
    int64_t pixels = 1;
    for (int64_t o : out_) pixels *= o;
    int64_t group_in = c_.channels / c_.groups, group_out = c_.out_channels / c_.groups;
    for (int64_t n = 0; n < c_.batch; ++n)
      for (int64_t pixel = 0; pixel < pixels; ++pixel)
        for (int64_t o = 0; o < c_.out_channels; ++o) {
          double sum = bias[o];
          for (int64_t k = 0; k < positions(); ++k) {
            int64_t at = place(n, pixel, k);
            if (at < 0) continue;
            for (int64_t c = 0; c < group_in; ++c)
              sum += static_cast<double>(x[at * c_.channels + o / group_out * group_in + c]) *
                     w[(o * group_in + c) * positions() + k];
          }
          want.push_back(static_cast<float>(sum));
        }
    return want;
  }
  /// The input pixel (flat, over all images) under kernel position k of an output, or -1.
  int64_t place(int64_t n, int64_t pixel, int64_t k) const {
    int64_t flat = 0, step = 1;
    for (size_t d = c_.in.size(); d-- > 0;) {
      int64_t i =
          pixel % out_[d] * c_.stride[d] - c_.pad_before[d] + k % c_.kernel[d] * c_.dilation[d];
      pixel /= out_[d];
      k /= c_.kernel[d];
      if (i < 0 || i >= c_.in[d]) return -1;
      flat += i * step;
      step *= c_.in[d];
    }
    return flat + n * step;
  }

  ConvCase c_;
  std::vector<int64_t> out_;
  Region region_;
  Bounds bounds_;
  SymbolValues symbols_;
};

ConvCase square(int64_t size, int64_t channels, int64_t out_channels, int64_t kernel,
                int64_t stride, int64_t pad, int64_t groups = 1, int64_t dilation = 1,
                bool dynamic = false) {
  return {2,          {size, size + 1}, {kernel, kernel}, {stride, stride}, {dilation, dilation},
          {pad, pad}, {pad, pad},       channels,         out_channels,     groups,
          dynamic};
}

TEST(ConvKernel, AgreesWithTheDefinition) {
  const ConvCase cases[] = {
      square(9, 16, 32, 3, 1, 1),
      square(11, 3, 20, 7, 2, 3),
      square(8, 24, 50, 1, 2, 0),
      square(6, 8, 9, 3, 1, 0),
      square(7, 12, 20, 3, 1, 1, 4),
      square(9, 6, 4, 3, 2, 2, 2, 2),
      square(5, 130, 40, 3, 1, 1),
      {1, {6, 7}, {3, 2}, {1, 1}, {1, 1}, {0, 0}, {1, 2}, 5, 17, 1, false},
      {2, {40}, {5}, {3}, {2}, {4}, {1}, 6, 33, 1, false},
      {1, {3, 4, 5}, {2, 3, 2}, {1, 2, 1}, {1, 1, 2}, {1, 0, 1}, {0, 1, 1}, 4, 19, 1, false},
  };
  for (const VectorUnit& unit : runnable_units())
    for (const ConvCase& c : cases) Conv(c).check(unit, 5);
}

TEST(ConvKernel, TakesOpenSizes) {
  const ConvCase cases[] = {
      square(9, 8, 24, 3, 1, 1, 1, 1, true),
      square(1, 8, 24, 3, 1, 1, 1, 1, true),
      {0, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 4, 8, 1, true},
      {1, {2, 0}, {1, 1}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 4, 8, 1, true},
  };
  for (const VectorUnit& unit : runnable_units())
    for (const ConvCase& c : cases) Conv(c).check(unit, 0);
}

TEST(ConvKernel, Depthwise) {
  const ConvCase cases[] = {
      square(10, 16, 16, 3, 1, 1, 16),
      square(13, 24, 24, 5, 2, 2, 24),
      square(4, 40, 40, 7, 1, 3, 40),
      square(9, 6, 6, 3, 1, 2, 6, 2, true),
      square(6, 5, 5, 2, 3, 0, 5, 1, true),
      square(0, 8, 8, 3, 1, 1, 8, 1, true),
      {2, {30}, {3}, {1}, {1}, {2}, {0}, 7, 7, 7, false},
      {1, {3, 4, 5}, {2, 3, 3}, {1, 2, 1}, {1, 1, 1}, {1, 0, 1}, {1, 0, 1}, 8, 8, 8, true},
  };
  for (const VectorUnit& unit : runnable_units())
    for (const ConvCase& c : cases) {
      Conv conv(c);
      EXPECT_EQ(conv.tactics(unit, 0).front().name.substr(0, 9), "depthwise");
      conv.check(unit, 5);
    }
}

TEST(ConvKernel, PointwiseIsAProductOverPixels) {
  for (bool dynamic : {false, true}) {
    Conv conv(square(7, 20, 36, 1, 1, 0, 1, 1, dynamic));
    EXPECT_EQ(conv.tactics({4, 16}, 0).front().name.substr(0, 5), "gemm ");
    for (const VectorUnit& unit : runnable_units()) conv.check(unit, 3);
  }
}

ConvolutionContraction pointwise(const std::vector<Expr>& pixels, const Expr& stored) {
  ConvolutionContraction conv;
  conv.attributes.stride = conv.attributes.dilation = {1, 1};
  conv.attributes.pad_before = conv.attributes.pad_after = {0, 0};
  conv.attributes.channels_last = true;
  conv.x_shape = {pixels[0], pixels[1], pixels[2], 4};
  conv.y_shape = {pixels[0], pixels[1], pixels[2], 8};
  conv.w_shape = {8, 4, 1, 1};
  for (const Expr& extent : conv.y_shape) conv.epilogue.dims.push_back({extent});
  conv.epilogue.stores = {{2, stored, 0}};
  return conv;
}

TEST(ConvAsMatmul, NeedsAnEpilogueOverFlatPixels) {
  Expr n = Expr::symbol("$0"), h = Expr::symbol("$1"), w = Expr::symbol("$2"),
       o = Expr::symbol("$3");
  Expr s = Expr::symbol("s0");
  auto flat = conv_as_matmul(pointwise({s, 5, 6}, n * 240 + h * 48 + w * 8 + o));
  ASSERT_TRUE(flat.has_value());
  EXPECT_EQ(flat->m.str(), (s * 30).str());
  EXPECT_EQ(flat->epilogue.dims.size(), 2U);
  EXPECT_EQ(flat->epilogue.stores[0].index.str(),
            (Expr::symbol("$0") * 8 + Expr::symbol("$1")).str());
  // Stored channels first: still flat within an image, but images lie apart.
  EXPECT_FALSE(conv_as_matmul(pointwise({s, 5, 6}, n * 240 + o * 30 + h * 6 + w)).has_value());
  EXPECT_TRUE(conv_as_matmul(pointwise({1, 5, 6}, o * 30 + h * 6 + w)).has_value());
  // Pixels of extent 1 have no place to be wrong in.
  EXPECT_TRUE(conv_as_matmul(pointwise({s, 1, 1}, n * 8 + o)).has_value());
  // Turned in the plane.
  EXPECT_FALSE(conv_as_matmul(pointwise({1, 5, 6}, h * 8 + w * 40 + o)).has_value());
}

TEST(ConvTactic, NamesSayEverything) {
  for (const char* name : {"conv m14 n32 l16 rb4 nb64 sb1", "conv m6 n16 l8 rb1 nb16 sb0"}) {
    auto tactic = ConvTactic::parse(name);
    ASSERT_TRUE(tactic.has_value()) << name;
    EXPECT_EQ(tactic->name(), name);
  }
  for (const char* wrong :
       {"conv m14 n32 l16 rb0 nb64 sb1", "conv m14 n32 l16 rb4 nb65 sb1", "conv"})
    EXPECT_FALSE(ConvTactic::parse(wrong).has_value()) << wrong;
  ASSERT_TRUE(DepthwiseTactic::parse("depthwise l8 p4 rb2").has_value());
  EXPECT_FALSE(DepthwiseTactic::parse("depthwise l8 p400 rb2").has_value());
}

}  // namespace
}  // namespace stator::cpu::test
