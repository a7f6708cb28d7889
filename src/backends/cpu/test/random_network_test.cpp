// SPDX-License-Identifier: Apache-2.0
//
// Random networks, optimized, fused and compiled for this CPU, against the reference backend on the
// network as it was written: whatever fusion, layout, tactics and code generation make of it, the
// numbers stay. STATOR_RANDOM_NETWORKS sets how many (200).
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <random>

#include "backends/cpu/codegen/register.h"
#include "engine_fixture.h"

namespace stator::cpu::test {
namespace {

using Sizes = std::map<std::string, int64_t>;

/// Grows a network layer by layer over a pool of f32 tensors whose values stay small.
class Writer {
 public:
  explicit Writer(uint32_t seed) : random_(seed) {
    network.name = "random_" + std::to_string(seed);
    network.bounds.set("s0", 1, 16);
    network.bounds.set("s1", 1, 48);
    const Expr batch = Expr::symbol("s0"), length = Expr::symbol("s1");
    input({batch, length, 8});
    input({batch, length, 8});
    input({length, 8});
    input({8});
    rows_ = network.add_input("rows", {DType::kInt64, {batch, 3}});
    const int layers = 4 + pick(12);
    for (int i = 0; i < layers; ++i) {
      grow();
    }
    const int outputs = 1 + pick(3);
    for (int i = 0; i < outputs; ++i) {
      network.mark_output(i == 0 ? pool_.back() : any());
    }
  }

  Network network;

 private:
  int pick(int count) { return static_cast<int>(random_() % static_cast<uint32_t>(count)); }
  TensorId any() { return pool_[static_cast<size_t>(pick(static_cast<int>(pool_.size())))]; }
  const std::vector<Expr>& shape(TensorId x) const { return network.type(x).shape; }
  int rank(TensorId x) const { return network.type(x).rank(); }
  void input(std::vector<Expr> shape) {
    pool_.push_back(
        network.add_input("x" + std::to_string(pool_.size()), {DType::kFloat32, std::move(shape)}));
  }
  TensorId weight(std::vector<Expr> shape) {
    int64_t count = 1;
    for (const Expr& e : shape) {
      count *= e.evaluate({}).value();
    }
    void* memory = nullptr;
    TensorData data = TensorData::allocate(count * 4, &memory);
    for (int64_t i = 0; i < count; ++i) {
      static_cast<float*>(memory)[i] = std::uniform_real_distribution<float>(-0.5, 0.5)(random_);
    }
    const std::string name = "w" + std::to_string(network.tensors.size());
    return network.add_constant(name, {DType::kFloat32, std::move(shape)}, data, {name});
  }

  void grow() {
    using Step = void (Writer::*)();
    static constexpr Step kSteps[] = {
        &Writer::unary,     &Writer::unary,   &Writer::elementwise, &Writer::elementwise,
        &Writer::linear,    &Writer::linear,  &Writer::product,     &Writer::transpose,
        &Writer::reshape,   &Writer::slice,   &Writer::concat,      &Writer::pad,
        &Writer::reduce,    &Writer::softmax, &Writer::normalize,   &Writer::gather,
        &Writer::attention, &Writer::choose,  &Writer::integers,    &Writer::convolution};
    (this->*kSteps[pick(static_cast<int>(std::size(kSteps)))])();
  }

  void unary() {
    static constexpr UnaryOp kOps[] = {UnaryOp::kTanh, UnaryOp::kRelu,    UnaryOp::kNeg,
                                       UnaryOp::kSin,  UnaryOp::kSigmoid, UnaryOp::kGelu,
                                       UnaryOp::kAbs,  UnaryOp::kErf,     UnaryOp::kSilu};
    pool_.push_back(network.add_unary(any(), kOps[pick(static_cast<int>(std::size(kOps)))]));
  }
  /// A partner that broadcasts with x: one of the pool, or a weight.
  TensorId partner(TensorId x) {
    for (int tries = 0; tries < 4; ++tries) {
      const TensorId y = any();
      const size_t common = std::min(shape(x).size(), shape(y).size());
      bool fits = true;
      for (size_t k = 1; k <= common; ++k) {
        const Expr& a = shape(x)[shape(x).size() - k];
        const Expr& b = shape(y)[shape(y).size() - k];
        fits = fits && (a == b || a.is_constant(1) || b.is_constant(1));
      }
      if (fits) {
        return y;
      }
    }
    return x;
  }
  void elementwise() {
    static constexpr ElementwiseOp kOps[] = {ElementwiseOp::kAdd, ElementwiseOp::kSub,
                                             ElementwiseOp::kMul, ElementwiseOp::kMax,
                                             ElementwiseOp::kMin};
    const TensorId x = any();
    const ElementwiseOp op = kOps[pick(static_cast<int>(std::size(kOps)))];
    pool_.push_back(network.add_elementwise(x, partner(x), op));
    if (op == ElementwiseOp::kMul) {  // products of products would grow without end
      pool_.back() = network.add_unary(pool_.back(), UnaryOp::kTanh);
    }
  }
  bool last_is_fixed(TensorId x) { return rank(x) >= 1 && shape(x).back().is_constant(); }
  void linear() {
    const TensorId x = any();
    if (rank(x) < 2 || !last_is_fixed(x)) {
      return;
    }
    const int64_t out = 1 + pick(40);
    const bool transposed = pick(2) == 0;
    const TensorId w = transposed ? weight({out, shape(x).back()}) : weight({shape(x).back(), out});
    const TensorId bias = pick(2) == 0 ? weight({out}) : -1;
    pool_.push_back(network.add_matrix_multiply(x, false, w, transposed, bias));
  }
  void product() {
    const TensorId x = any();
    if (rank(x) >= 2) {
      const bool first = pick(2) == 0;
      const TensorId p = network.add_matrix_multiply(x, first, x, !first);
      pool_.push_back(network.add_unary(p, UnaryOp::kTanh));
    }
  }
  void transpose() {
    const TensorId x = any();
    std::vector<int64_t> permutation(static_cast<size_t>(rank(x)));
    for (size_t k = 0; k < permutation.size(); ++k) {
      permutation[k] = static_cast<int64_t>(k);
    }
    std::shuffle(permutation.begin(), permutation.end(), random_);
    pool_.push_back(network.add_transpose(x, permutation));
  }
  /// Merges two neighbours, or splits an even fixed size.
  void reshape() {
    const TensorId x = any();
    if (rank(x) < 2) {
      return;
    }
    std::vector<Expr> to = shape(x);
    const size_t k = static_cast<size_t>(pick(rank(x) - 1));
    if (pick(2) == 0) {
      to[k] = to[k] * to[k + 1];
      to.erase(to.begin() + static_cast<ptrdiff_t>(k) + 1);
    } else if (to.back().is_constant() && to.back().constant() % 2 == 0 && to.size() < 5) {
      to.back() = to.back().constant() / 2;
      to.emplace_back(2);
    }
    pool_.push_back(network.add_reshape(x, to));
  }
  void slice() {
    const TensorId x = any();
    if (!last_is_fixed(x) || shape(x).back().constant() < 3) {
      return;
    }
    std::vector<Expr> start(shape(x).size(), 0), size = shape(x);
    std::vector<int64_t> step(shape(x).size(), 1);
    const int64_t extent = shape(x).back().constant();
    if (pick(3) == 0) {  // backwards
      start.back() = extent - 1;
      step.back() = -1;
    } else {
      start.back() = 1;
      step.back() = 1 + pick(2);
      size.back() = (extent - 2) / step.back() + 1;
    }
    pool_.push_back(network.add_slice(x, start, size, step));
  }
  void concat() {
    const TensorId x = any();
    if (rank(x) >= 1) {
      std::vector<TensorId> parts = {x, network.add_unary(x, UnaryOp::kNeg)};
      pool_.push_back(network.add_concatenation(parts, pick(rank(x))));
    }
  }
  void pad() {
    const TensorId x = any();
    if (rank(x) >= 1) {
      Pad attributes;
      attributes.before.assign(shape(x).size(), 0);
      attributes.after.assign(shape(x).size(), 0);
      attributes.before.back() = pick(3);
      attributes.after[static_cast<size_t>(pick(rank(x)))] = pick(3);
      attributes.value = Scalar::of(0.5);
      pool_.push_back(network.add_pad(x, attributes));
    }
  }
  void reduce() {
    static constexpr ReduceOp kOps[] = {ReduceOp::kMean, ReduceOp::kMax, ReduceOp::kMin};
    const TensorId x = any();
    if (rank(x) < 2) {
      return;
    }
    std::vector<int64_t> axes = {pick(rank(x))};
    if (pick(3) == 0 && axes[0] + 1 < rank(x)) {
      axes.push_back(axes[0] + 1);
    }
    const ReduceOp op = kOps[pick(static_cast<int>(std::size(kOps)))];
    pool_.push_back(network.add_reduce(x, op, axes, pick(2) == 0));
  }
  void softmax() {
    const TensorId x = any();
    if (rank(x) >= 1) {
      pool_.push_back(network.add_softmax(x, pick(rank(x)), pick(4) == 0));
    }
  }
  void normalize() {
    const TensorId x = any();
    if (last_is_fixed(x)) {
      const bool rms = pick(2) == 0;
      const TensorId scale = weight({shape(x).back()});
      const TensorId bias = rms ? -1 : weight({shape(x).back()});
      pool_.push_back(network.add_normalization(x, scale, bias, {rank(x) - 1}, 1e-3, rms));
    }
  }
  void gather() {
    const TensorId table = weight({11, 6});
    pool_.push_back(network.add_gather(table, rows_, 0, true));
  }
  void attention() {
    const TensorId x = any();
    if (rank(x) != 3 || !last_is_fixed(x) || shape(x).back().constant() % 2 != 0) {
      return;
    }
    const int64_t width = shape(x).back().constant() / 2;
    std::vector<TensorId> heads;
    for (int i = 0; i < 3; ++i) {
      const TensorId w = weight({2 * width, 2 * width});
      TensorId y = network.add_matrix_multiply(x, false, w, true);
      y = network.add_reshape(y, {shape(x)[0], shape(x)[1], 2, width});
      heads.push_back(network.add_transpose(y, {0, 2, 1, 3}));
    }
    TensorId o = network.add_attention(heads[0], heads[1], heads[2], -1, 0.3, pick(2) == 0);
    o = network.add_transpose(o, {0, 2, 1, 3});
    pool_.push_back(network.add_reshape(o, shape(x)));
  }
  void choose() {
    const TensorId x = any();
    const TensorId y = partner(x);
    const TensorId condition = network.add_elementwise(x, y, ElementwiseOp::kLess);
    pool_.push_back(network.add_select(condition, y, x));
  }
  void integers() {
    const TensorId scaled = network.add_elementwise(
        any(), network.add_scalar(Scalar::of(3.0), DType::kFloat32), ElementwiseOp::kMul);
    // Rounded values near a half may go either way after a fused sum: only the exact inputs.
    const TensorId x = pool_[static_cast<size_t>(pick(4))];
    const TensorId whole = network.add_cast(x, DType::kInt64);
    const TensorId back =
        network.add_cast(network.add_unary(whole, UnaryOp::kAbs), DType::kFloat32);
    pool_.push_back(back);
    pool_.push_back(network.add_unary(scaled, UnaryOp::kTanh));
  }
  void convolution() {
    const TensorId x = any();
    if (rank(x) != 3) {
      return;
    }
    // [N, 1, H, W]: the last two axes as an image, padded so that it never is empty.
    std::vector<Expr> image = {shape(x)[0], 1, shape(x)[1], shape(x)[2]};
    TensorId y = network.add_reshape(x, image);
    const int64_t channels = 1 + pick(20);
    for (int i = 0; i < 2; ++i) {
      Convolution c;
      c.stride = {1, 1 + pick(2)};
      c.dilation = {1, 1};
      c.pad_before = c.pad_after = {1, 1};
      c.output_padding = {0, 0};
      const bool depthwise = i == 1 && pick(2) == 0;
      c.groups = depthwise ? channels : 1;
      const int64_t fan_in = i == 0 ? 1 : (depthwise ? 1 : channels);
      y = network.add_convolution_nd(y, weight({channels, fan_in, 3, 3}), weight({channels}), c);
      y = network.add_unary(y, pick(2) == 0 ? UnaryOp::kRelu : UnaryOp::kHardSwish);
    }
    pool_.push_back(network.add_reduce(y, ReduceOp::kMean, {1}, false));
    pool_.push_back(network.add_unary(y, UnaryOp::kTanh));
  }

  std::mt19937 random_;
  std::vector<TensorId> pool_;
  TensorId rows_ = -1;
};

/// The inputs at given sizes: values of 1/8 steps in [-2, 2], rows of [-11, 10].
class Inputs {
 public:
  Inputs(const Network& network, const Sizes& sizes) {
    std::mt19937 random(7);
    for (const TensorId id : network.inputs) {
      const TensorType& type = network.type(id);
      std::vector<int64_t> shape;
      int64_t count = 1;
      for (const Expr& e : type.shape) {
        shape.push_back(e.evaluate(sizes).value());
        count *= shape.back();
      }
      std::vector<char> bytes(static_cast<size_t>(count * 8));
      for (int64_t i = 0; i < count; ++i) {
        if (type.dtype == DType::kInt64) {
          reinterpret_cast<int64_t*>(bytes.data())[i] = static_cast<int64_t>(random() % 22) - 11;
        } else {
          reinterpret_cast<float*>(bytes.data())[i] =
              static_cast<float>(static_cast<int>(random() % 33) - 16) / 8.0F;
        }
      }
      shapes.push_back(std::move(shape));
      data.push_back(std::move(bytes));
    }
  }
  std::vector<std::vector<int64_t>> shapes;
  std::vector<std::vector<char>> data;
};

/// "" or what went wrong; results as copies.
std::string run(ExecutionContext& context, const Inputs& inputs, size_t outputs,
                std::vector<std::vector<float>>& results) {
  if (const Status s = context.set_shapes(inputs.shapes); !s.ok()) {
    return s.error().message;
  }
  for (size_t i = 0; i < inputs.data.size(); ++i) {
    if (const Status s = context.set_input(static_cast<int>(i), inputs.data[i].data()); !s.ok()) {
      return s.error().message;
    }
  }
  if (const Status s = context.run(); !s.ok()) {
    return s.error().message;
  }
  results.clear();
  for (size_t i = 0; i < outputs; ++i) {
    const TensorView view = context.output(static_cast<int>(i));
    std::vector<float> values(static_cast<size_t>(view.size_bytes() / 4));
    if (!values.empty()) {
      std::memcpy(values.data(), view.data, values.size() * 4);
    }
    results.push_back(std::move(values));
  }
  return "";
}

std::string compare(const std::vector<float>& got, const std::vector<float>& want) {
  if (got.size() != want.size()) {
    return std::to_string(got.size()) + " elements for " + std::to_string(want.size());
  }
  for (size_t i = 0; i < got.size(); ++i) {
    const bool same = (std::isnan(got[i]) && std::isnan(want[i])) || got[i] == want[i] ||
                      std::abs(got[i] - want[i]) <= 2e-4F * (1 + std::abs(want[i]));
    if (!same) {
      return "element " + std::to_string(i) + " is " + std::to_string(got[i]) + ", should be " +
             std::to_string(want[i]);
    }
  }
  return "";
}

void check(uint32_t seed) {
  const Network network = Writer(seed).network;
  SCOPED_TRACE(print_network(network));
  ASSERT_TRUE(verify_network(network).ok()) << verify_network(network).error().message;
  auto oracle = engine_of(network, oracle_backend(), false, 0);
  ASSERT_TRUE(oracle.ok()) << oracle.error().message;
  auto engine = engine_of(network, cpu_backend(), true, static_cast<int>(seed % 2) * 3,
                          static_cast<int>(seed % 4) - 1);
  ASSERT_TRUE(engine.ok()) << engine.error().message;
  ExecutionContext want_context(*oracle), got_context(*engine);
  for (const Sizes& sizes : {Sizes{{"s0", 1}, {"s1", 1}}, Sizes{{"s0", 3}, {"s1", 5}},
                             Sizes{{"s0", 2}, {"s1", 33}}, Sizes{{"s0", 16}, {"s1", 16}}}) {
    SCOPED_TRACE("s0 = " + std::to_string(sizes.at("s0")) +
                 ", s1 = " + std::to_string(sizes.at("s1")));
    const Inputs inputs(network, sizes);
    std::vector<std::vector<float>> want, got;
    ASSERT_EQ(run(want_context, inputs, network.outputs.size(), want), "");
    ASSERT_EQ(run(got_context, inputs, network.outputs.size(), got), "");
    for (size_t i = 0; i < want.size(); ++i) {
      ASSERT_EQ(compare(got[i], want[i]), "") << "output " << i;
    }
  }
}

TEST(RandomNetworks, AgreeWithTheReference) {
  const char* wanted = std::getenv("STATOR_RANDOM_NETWORKS");
  const uint32_t count = wanted != nullptr ? static_cast<uint32_t>(std::atoi(wanted)) : 200;
  for (uint32_t seed = 0; seed < count; ++seed) {
    EXPECT_NO_THROW(check(seed)) << print_network(Writer(seed).network);
    if (HasFailure()) {
      return;
    }
  }
}

}  // namespace
}  // namespace stator::cpu::test
