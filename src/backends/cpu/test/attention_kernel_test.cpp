// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/attention_kernel.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "gemm_fixture.h"

namespace stator::cpu::test {
namespace {

enum class Mask { kNone, kBool, kFloat, kBoolKeys, kFloatKeys, kBoolTurned };

struct Case {
  int64_t batch, heads, kv_heads, q_length, kv_length, qk, channels;
  Mask mask;
  bool causal, dynamic, heads_inside;  // heads_inside: stored [batch, position, head, channel]
};

class Attend {
 public:
  explicit Attend(const Case& c) : c_(c) {
    auto size = [&](const char* name, int64_t value) {
      if (!c.dynamic) return Expr(value);
      symbols_[name] = value;
      bounds_.set(name, 0);
      return Expr::symbol(name);
    };
    r_.batch = size("s0", c.batch);
    r_.heads = c.heads;
    r_.kv_heads = c.kv_heads;
    r_.q_length = size("s1", c.q_length);
    r_.kv_length = size("s2", c.kv_length);
    r_.qk_dim = c.qk;
    r_.v_dim = c.channels;
    r_.scale = 0.31;
    r_.causal = c.causal;
    r_.q = view(0, r_.q_length, c.heads, c.qk);
    r_.k = view(1, r_.kv_length, c.kv_heads, c.qk);
    r_.v = view(2, r_.kv_length, c.kv_heads, c.channels);
    r_.out = view(5, r_.q_length, c.heads, c.channels);
    r_.has_mask = c.mask != Mask::kNone;
    bool boolean =
        c.mask == Mask::kBool || c.mask == Mask::kBoolKeys || c.mask == Mask::kBoolTurned;
    r_.mask_dtype = boolean ? DType::kBool : DType::kFloat32;
    Expr matrix = r_.q_length * r_.kv_length;
    r_.mask = {3, 0, {matrix, 0, r_.kv_length, 1}};
    if (c.mask == Mask::kBoolKeys || c.mask == Mask::kFloatKeys)
      r_.mask = {3, 0, {r_.kv_length, 0, 0, 1}};
    if (c.mask == Mask::kBoolTurned) r_.mask = {3, 0, {matrix, 0, 1, r_.q_length}};
    region_.body = r_;
  }

  void check(const VectorUnit& unit, int level) {
    std::mt19937 random(5);
    Guarded q(c_.batch * c_.heads * c_.q_length * c_.qk),
        k(c_.batch * c_.kv_heads * c_.kv_length * c_.qk);
    Guarded v(c_.batch * c_.kv_heads * c_.kv_length * c_.channels);
    Guarded floats(c_.batch * c_.q_length * c_.kv_length + c_.batch * c_.kv_length);
    for (Guarded* data : {&q, &k, &v, &floats}) data->fill_random(random);
    std::vector<unsigned char> bools(static_cast<size_t>(floats.size()) + 1);
    for (int64_t i = 0; i < floats.size(); ++i) {
      bools[static_cast<size_t>(i)] = random() % 3 != 0;
      if (random() % 4 == 0) floats[i] = -std::numeric_limits<float>::infinity();
      if (i < c_.kv_length) bools[static_cast<size_t>(i)] = 0;  // a row that sees nothing
    }
    bool boolean = r_.mask_dtype == DType::kBool;
    void* mask = boolean ? static_cast<void*>(bools.data()) : floats.data();
    std::vector<float> want = expected(q, k, v, bools, floats);
    for (const Tactic& tactic : contraction_tactics(region_, bounds_, unit, 2, level)) {
      SCOPED_TRACE(tactic.name);
      auto prepared = prepare_contraction(region_, tactic.name);
      ASSERT_NE(prepared, nullptr);
      EXPECT_EQ(prepared->epilogue(), nullptr);
      Guarded out(c_.batch * c_.heads * c_.q_length * c_.channels, -1e9F);
      run_kernel(*prepared, unit, symbols_, {},
                 {q.data(), k.data(), v.data(), mask, nullptr, out.data()});
      EXPECT_EQ(difference(out, want, 5e-6), "");
    }
  }

 private:
  StridedView view(int32_t buffer, const Expr& length, int64_t heads, int64_t channels) const {
    if (c_.heads_inside)
      return {buffer, 0, {length * (heads * channels), channels, heads * channels, 1}};
    return {buffer, 0, {length * (heads * channels), length * channels, channels, 1}};
  }
  int64_t at(const StridedView& v, int64_t b, int64_t h, int64_t i, int64_t j) const {
    int64_t offset = 0, k = 0;
    for (int64_t index : {b, h, i, j})
      offset += index * v.strides[static_cast<size_t>(k++)].evaluate(symbols_).value();
    return offset;
  }

  std::vector<float> expected(const Guarded& q, const Guarded& k, const Guarded& v,
                              const std::vector<unsigned char>& bools,
                              const Guarded& floats) const {
    std::vector<float> want(static_cast<size_t>(c_.batch * c_.heads * c_.q_length * c_.channels));
    for (int64_t b = 0; b < c_.batch; ++b)
      for (int64_t h = 0; h < c_.heads; ++h)
        for (int64_t i = 0; i < c_.q_length; ++i) {
          int64_t g = h / (c_.heads / c_.kv_heads);
          std::vector<double> weights;
          for (int64_t j = 0; j < c_.kv_length; ++j) {
            double score = 0;
            for (int64_t d = 0; d < c_.qk; ++d)
              score += static_cast<double>(q[at(r_.q, b, h, i, d)]) * k[at(r_.k, b, g, j, d)];
            score *= r_.scale;
            bool seen = !c_.causal || j <= i;
            if (r_.has_mask && r_.mask_dtype == DType::kBool)
              seen = seen && bools[static_cast<size_t>(at(r_.mask, b, h, i, j))];
            if (r_.has_mask && r_.mask_dtype == DType::kFloat32)
              score += floats[at(r_.mask, b, h, i, j)];
            weights.push_back(seen ? std::exp(score) : 0);
          }
          double sum = 0;
          for (double weight : weights) sum += weight;
          for (int64_t e = 0; e < c_.channels; ++e) {
            double value = 0;
            for (int64_t j = 0; j < c_.kv_length; ++j)
              value += weights[static_cast<size_t>(j)] * v[at(r_.v, b, g, j, e)];
            want[static_cast<size_t>(at(r_.out, b, h, i, e))] =
                sum == 0 ? 0 : static_cast<float>(value / sum);
          }
        }
    return want;
  }

  Case c_;
  AttentionRegion r_;
  Region region_;
  Bounds bounds_;
  SymbolValues symbols_;
};

void check_all(const std::vector<Case>& cases, int level) {
  for (const VectorUnit& unit : runnable_units())
    for (size_t k = 0; k < cases.size(); ++k) {
      SCOPED_TRACE("case " + std::to_string(k) + " lanes " + std::to_string(unit.lanes));
      Attend(cases[k]).check(unit, level);
    }
}

TEST(AttentionKernel, AgreesWithTheDefinition) {
  check_all({{1, 2, 2, 64, 128, 64, 64, Mask::kNone, false, false, true},
             {2, 2, 1, 37, 150, 20, 24, Mask::kNone, false, false, false},
             {1, 1, 1, 70, 300, 16, 80, Mask::kNone, true, false, false}},
            4);
}

TEST(AttentionKernel, Masks) {
  check_all({{2, 2, 2, 33, 45, 8, 16, Mask::kBool, false, false, true},
             {2, 2, 1, 20, 140, 8, 33, Mask::kFloat, true, false, false},
             {2, 1, 1, 19, 21, 7, 5, Mask::kBoolKeys, false, false, true},
             {2, 3, 1, 19, 130, 7, 5, Mask::kFloatKeys, true, false, false},
             {1, 2, 2, 18, 17, 9, 8, Mask::kBoolTurned, false, false, true}},
            0);
}

TEST(AttentionKernel, TakesOpenLengths) {
  check_all({{2, 4, 2, 50, 70, 16, 32, Mask::kNone, true, true, true},
             {1, 2, 2, 1, 200, 16, 16, Mask::kNone, false, true, false},
             {1, 1, 1, 1, 1, 4, 4, Mask::kNone, true, true, false},
             {1, 2, 2, 5, 0, 8, 8, Mask::kNone, false, true, false},
             {1, 2, 2, 0, 5, 8, 8, Mask::kBool, false, true, false},
             {0, 2, 2, 3, 5, 8, 8, Mask::kFloat, false, true, false}},
            0);
}

TEST(AttentionKernel, RefusesWhatItCannot) {
  AttentionRegion region;
  region.dtype = DType::kBFloat16;
  EXPECT_EQ(attention_supports(region).reason(), "attention is for f32 on the CPU");
  region.dtype = DType::kFloat32;
  region.qk_dim = Expr::symbol("s0");
  EXPECT_EQ(attention_supports(region).reason(),
            "the sizes of attention heads must be known when the engine is built");
}

TEST(AttentionTactic, NamesSayEverything) {
  auto tactic = AttentionTactic::parse("attention s6x64 v9x48 l16 kb128");
  ASSERT_TRUE(tactic.has_value());
  EXPECT_EQ(tactic->name(), "attention s6x64 v9x48 l16 kb128");
  EXPECT_FALSE(AttentionTactic::parse("attention s6x60 v9x48 l16 kb128").has_value());
  EXPECT_FALSE(AttentionTactic::parse("attention s6x64 v9x48 l0 kb128").has_value());
}

}  // namespace
}  // namespace stator::cpu::test
