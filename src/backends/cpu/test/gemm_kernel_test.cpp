// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/gemm_kernel.h"

#include <gtest/gtest.h>

#include "gemm_fixture.h"

namespace stator::cpu::test {
namespace {

struct GemmCase {
  int64_t batch, m, n, k;
  bool b_constant, a_transposed, b_transposed, dynamic;
};

class Matmul {
 public:
  explicit Matmul(const GemmCase& c) : c_(c) {
    auto size = [&](const char* name, int64_t value) {
      if (!c.dynamic) return Expr(value);
      symbols_[name] = value;
      bounds_.set(name, 0);
      return Expr::symbol(name);
    };
    MatmulContraction matmul;
    matmul.batch = {size("s0", c.batch)};
    matmul.m = size("s1", c.m);
    matmul.n = c.b_constant ? Expr(c.n) : size("s2", c.n);
    matmul.k = c.b_constant ? Expr(c.k) : size("s3", c.k);
    const Expr &m = matmul.m, &n = matmul.n, &k = matmul.k;
    matmul.a = {0, 0, {m * k, c.a_transposed ? Expr(1) : k, c.a_transposed ? m : Expr(1)}};
    Expr shared = c.b_constant ? Expr(0) : n * k;
    matmul.b = {1, 0, {shared, c.b_transposed ? Expr(1) : n, c.b_transposed ? k : Expr(1)}};
    matmul.b_constant = c.b_constant;
    extents_ = {matmul.batch[0], m, n};
    region_.body = std::move(matmul);
  }

  void check(const VectorUnit& unit, int level) {
    std::mt19937 random(7);
    Guarded a(c_.batch * c_.m * c_.k), b((c_.b_constant ? 1 : c_.batch) * c_.n * c_.k), bias(c_.n);
    for (Guarded* data : {&a, &b, &bias}) data->fill_random(random);
    std::vector<float> want = expected(a, b, bias);
    for (const Tactic& tactic : contraction_tactics(region_, bounds_, unit, 2, level)) {
      SCOPED_TRACE(tactic.name);
      auto prepared = prepare_contraction(region_, tactic.name);
      ASSERT_NE(prepared, nullptr);
      TensorData packed = packed_input(*prepared, 1, b);
      EXPECT_EQ(packed.data != nullptr, c_.b_constant);
      void* b_buffer = packed.data ? const_cast<void*>(packed.data) : b.data();
      Guarded result(c_.batch * c_.m * c_.n, -1e9F);
      run_kernel(*prepared, unit, symbols_, extents_,
                 {a.data(), b_buffer, nullptr, nullptr, bias.data(), result.data()});
      // Rounding errors of a sum grow with its length.
      double tolerance = 1e-5 * std::max(1.0, static_cast<double>(c_.k) / 200);
      EXPECT_EQ(difference(result, want, tolerance), "");
    }
  }

 private:
  std::vector<float> expected(const Guarded& a, const Guarded& b, const Guarded& bias) const {
    std::vector<float> want;
    for (int64_t i = 0; i < c_.batch * c_.m; ++i)
      for (int64_t j = 0; j < c_.n; ++j) {
        int64_t batch = i / c_.m, row = i % c_.m;
        double sum = bias[j];
        for (int64_t k = 0; k < c_.k; ++k) {
          int64_t a_at = batch * c_.m * c_.k + (c_.a_transposed ? k * c_.m + row : row * c_.k + k);
          int64_t b_at = (c_.b_constant ? 0 : batch * c_.n * c_.k) +
                         (c_.b_transposed ? j * c_.k + k : k * c_.n + j);
          sum += static_cast<double>(a[a_at]) * b[b_at];
        }
        want.push_back(static_cast<float>(sum));
      }
    return want;
  }

  GemmCase c_;
  Region region_;
  Bounds bounds_;
  SymbolValues symbols_;
  std::vector<Expr> extents_;
};

TEST(GemmKernel, AgreesWithPlainSums) {
  const GemmCase cases[] = {
      {1, 48, 64, 40, true, false, false, false},   // whole tiles
      {1, 37, 77, 33, true, false, true, false},    // tails in every direction
      {2, 13, 10, 9, true, false, false, false},    // narrower than a vector
      {3, 65, 50, 21, false, false, false, false},  // B packed at run time
      {3, 31, 50, 21, false, true, true, false},    // both transposed
      {1, 1, 200, 70, true, false, true, false},    // one row
      {1, 20, 40, 1500, true, false, false, false}  // k in blocks
  };
  for (const VectorUnit& unit : runnable_units())
    for (const GemmCase& c : cases) {
      SCOPED_TRACE(testing::Message()
                   << c.m << "x" << c.n << "x" << c.k << " lanes " << unit.lanes);
      Matmul(c).check(unit, 5);
    }
}

TEST(GemmKernel, TakesOpenSizes) {
  const GemmCase cases[] = {
      {1, 29, 40, 17, true, false, false, true}, {4, 5, 19, 33, false, false, true, true},
      {2, 0, 8, 5, true, false, false, true},    {0, 3, 8, 5, false, false, false, true},
      {1, 3, 0, 5, false, false, false, true},   {2, 7, 9, 0, false, false, false, true},
      {1, 3, 9, 0, true, false, false, true},    {1, 1, 1, 1, false, true, false, true},
  };
  for (const VectorUnit& unit : runnable_units())
    for (const GemmCase& c : cases) {
      SCOPED_TRACE(testing::Message()
                   << c.m << "x" << c.n << "x" << c.k << " lanes " << unit.lanes);
      Matmul(c).check(unit, 0);
    }
}

TEST(GemmKernel, PlainKernelTakesEveryStride) {
  MatmulContraction matmul;
  matmul.m = 3;
  matmul.n = 4;
  matmul.k = 5;
  matmul.a = {0, 1, {2, 7}};
  matmul.b = {1, 2, {3, 20}};
  Region region;
  region.body = matmul;
  auto prepared = prepare_contraction(region, "plain");
  ASSERT_NE(prepared, nullptr);
  std::mt19937 random(1);
  Guarded a(40), b(80), bias(4), result(12);
  for (Guarded* data : {&a, &b, &bias}) data->fill_random(random);
  std::vector<float> want;
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t j = 0; j < 4; ++j) {
      double sum = bias[j];
      for (int64_t k = 0; k < 5; ++k)
        sum += static_cast<double>(a[1 + 2 * i + 7 * k]) * b[2 + 3 * k + 20 * j];
      want.push_back(static_cast<float>(sum));
    }
  run_kernel(*prepared, {4, 16}, {}, {3, 4},
             {a.data(), b.data(), nullptr, nullptr, bias.data(), result.data()});
  EXPECT_EQ(difference(result, want, 1e-6), "");
}

TEST(GemmTactic, NamesSayEverything) {
  GemmTactic tactic;
  tactic.tile = {6, 4, 16};
  tactic.k_block = 512;
  tactic.row_block = 48;
  tactic.column_block = 128;
  EXPECT_EQ(tactic.name(), "gemm m6 n64 l16 kb512 mb48 nb128 a0");
  auto parsed = GemmTactic::parse(tactic.name());
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->name(), tactic.name());
  for (const char* wrong :
       {"", "gemm", "gemm m6 n64 l16 kb512 mb48 nb100 a0", "gemm m0 n64 l16 kb0 mb1 nb64 a0",
        "gemm m6 n64 l16 kb512 mb48 nb128 a0 x", "conv m6 n64 l16 rb1 nb64 sb0"})
    EXPECT_FALSE(GemmTactic::parse(wrong).has_value()) << wrong;
}

}  // namespace
}  // namespace stator::cpu::test
