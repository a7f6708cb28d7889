// SPDX-License-Identifier: Apache-2.0
//
// Products and convolutions of bytes: exactly the sums of the reference backend, over the whole
// range of the operands. On machines without instructions for them the plain kernels answer.
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "backends/cpu/codegen/register.h"
#include "engine_fixture.h"

namespace stator::cpu::test {
namespace {

TensorId weights(Network& network, std::vector<Expr> shape) {
  void* memory = nullptr;
  TensorData data = TensorData::allocate(product(shape).constant(), &memory);
  std::mt19937 random(3);
  for (int64_t i = 0; i < data.size_bytes; ++i) {
    static_cast<int8_t*>(memory)[i] =
        i % 7 == 0 ? int8_t{-128} : static_cast<int8_t>(random() % 256 - 128);
  }
  return network.add_constant("w", {DType::kInt8, std::move(shape)}, std::move(data));
}

/// The result for `shape`, of numbers that reach both ends of their range.
std::vector<int32_t> sums_of(const std::shared_ptr<const Engine>& engine,
                             const std::vector<int64_t>& shape) {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  std::vector<uint8_t> x(static_cast<size_t>(count));
  std::mt19937 random(5);
  for (uint8_t& v : x) v = static_cast<uint8_t>(random() % 3 == 0 ? 255 : random() % 256);
  ExecutionContext context(engine);
  EXPECT_TRUE(context.set_shapes({shape}).ok());
  EXPECT_TRUE(context.set_input(0, x.data()).ok());
  const Status done = context.run();
  EXPECT_TRUE(done.ok()) << done.error().message;
  const TensorView view = context.output(0);
  std::vector<int32_t> y(static_cast<size_t>(view.size_bytes() / 4));
  if (!y.empty()) std::memcpy(y.data(), view.data, y.size() * 4);
  return y;
}

void expect_exact(const Network& network, const std::vector<std::vector<int64_t>>& shapes) {
  for (const int level : {0, 3}) {
    auto mine = engine_of(network, cpu_backend(), true, level);
    auto reference = engine_of(network, oracle_backend(), false, level);
    ASSERT_TRUE(mine.ok()) << mine.error().message;
    ASSERT_TRUE(reference.ok()) << reference.error().message;
    for (const std::vector<int64_t>& shape : shapes) {
      EXPECT_EQ(sums_of(*mine, shape), sums_of(*reference, shape)) << print_network(network);
    }
  }
}

Network product_of(DType dtype, int64_t k, int64_t n, bool transposed) {
  Network network;
  network.name = "product";
  network.bounds.set("s0", 0, 100);
  const TensorId x = network.add_input("x", {dtype, {Expr::symbol("s0"), k}});
  const TensorId w =
      weights(network, transposed ? std::vector<Expr>{n, k} : std::vector<Expr>{k, n});
  network.mark_output(network.add_matrix_multiply(x, false, w, transposed));
  return network;
}

TEST(ByteProducts, OfMatrices) {
  for (const bool transposed : {false, true}) {
    for (const auto& [k, n] : {std::pair{4, 1}, {64, 40}, {516, 33}, {7, 5}}) {
      for (const DType dtype : {DType::kUInt8, DType::kInt8}) {
        const Network network = product_of(dtype, k, n, transposed);
        expect_exact(network, {{1, k}, {31, k}, {0, k}, {100, k}});
      }
    }
  }
}

TEST(ByteProducts, OfBatches) {
  Network network;
  network.name = "batches";
  network.bounds.set("s0", 1, 9);
  const TensorId x = network.add_input("x", {DType::kUInt8, {Expr::symbol("s0"), 5, 24}});
  network.mark_output(network.add_matrix_multiply(x, false, weights(network, {48, 24}), true));
  expect_exact(network, {{1, 5, 24}, {9, 5, 24}});
}

struct Window {
  int64_t kernel, stride, pad, groups, in, out;
};

TEST(ByteProducts, OfConvolutions) {
  for (const Window& w : {Window{3, 1, 1, 1, 8, 20},
                          {1, 1, 0, 1, 16, 33},
                          {3, 2, 1, 2, 16, 8},
                          {5, 1, 0, 1, 4, 64},
                          {1, 2, 0, 1, 8, 8},
                          {3, 1, 1, 1, 3, 4}}) {
    for (const DType dtype : {DType::kUInt8, DType::kInt8}) {
      Network network;
      network.name = "convolution";
      network.bounds.set("s0", 1, 3);
      const TensorId x = network.add_input("x", {dtype, {Expr::symbol("s0"), w.in, 11, 9}});
      Convolution c;
      c.stride = {w.stride, w.stride};
      c.dilation = {1, 1};
      c.pad_before = c.pad_after = {w.pad, w.pad};
      c.output_padding = {0, 0};
      c.groups = w.groups;
      const TensorId filter = weights(network, {w.out, w.in / w.groups, w.kernel, w.kernel});
      network.mark_output(network.add_convolution_nd(x, filter, -1, c));
      expect_exact(network, {{1, w.in, 11, 9}, {3, w.in, 11, 9}});
    }
  }
}

}  // namespace
}  // namespace stator::cpu::test
