// SPDX-License-Identifier: Apache-2.0
//
// What is proved of sizes, and that nothing is that does not hold.
#include "graph/conditions.h"

#include <gtest/gtest.h>

#include "graph/input_check.h"

namespace stator {
namespace {

constexpr int64_t kMany = 100000;

bool proved(const char* text, int64_t least = 1, int64_t greatest = kMany) {
  Bounds bounds;
  bounds.set("n", least, greatest);
  bounds.set("b", 1, Bounds::kUnbounded);
  return holds_for_all(parse_expr(text).value(), bounds);
}

TEST(Conditions, PaddingAndChunksOfAnySize) {
  for (const char* text : {
           "16*(n // 16) <= n",
           "-(-n // 16) * 16 >= n",
           "16*CeilToInt(IntTrueDiv(n, 16)) >= n",
           "16*FloorToInt(IntTrueDiv(n, 16)) <= n",
           "CeilToInt(IntTrueDiv(n, 16)) >= 1",
           "TruncToInt(IntTrueDiv(n, 3)) <= n",
           "(n + PythonMod(-n, 16)) // 16 <= n",
           "Eq(Min(n, 256*((n + PythonMod(-n, 256)) // 256)), n)",
           "Eq(Mod(n + PythonMod(-n, 8), 8), 0)",
           "Eq(n + Mod(8 - Mod(n, 8), 8), 8*((n + Mod(8 - Mod(n, 8), 8)) // 8))",
           "Eq(b*(n + PythonMod(-n, 8)), 8*b*((n + PythonMod(-n, 8)) // 8))",
           "Eq(Mod(b*(n + Mod(16 - Mod(n, 16), 16)), 16*b), 0)",
           "Eq(b*(n + Mod(16 - Mod(n, 16), 16)), 16*b*((n + Mod(16 - Mod(n, 16), 16)) // 16))",
           "Eq(n // 4 // 8, n // 32)",
           "(n + 15) // 16 - n // 16 <= 1",
           "Ne(Mod(2*n + 1, 4), 2)",
       }) {
    EXPECT_TRUE(proved(text)) << text;
    EXPECT_TRUE(proved(text, 1, 300)) << text;
  }
}

TEST(Conditions, FloatsOfFewQuotients) {
  Bounds bounds;
  bounds.set("h", 32, 512);
  bounds.set("w", 32, 512);
  const auto holds = [&](const char* text) {
    return holds_for_all(parse_expr(text).value(), bounds);
  };
  const std::string places =
      "CeilToInt(FloatTrueDiv(ToFloat(h // 16) - 0.5, 1.0))*"
      "CeilToInt(FloatTrueDiv(ToFloat(w // 16) - 0.5, 1.0))";
  EXPECT_TRUE(holds(("(h // 16)*(w // 16) + 1 - " + places + " >= 0").c_str()));
  EXPECT_TRUE(holds(("Eq((h // 16)*(w // 16), " + places + ")").c_str()));
  EXPECT_FALSE(holds(("(h // 16)*(w // 16) - 1 - " + places + " >= 0").c_str()));
}

TEST(Conditions, WhatFailsSomewhereIsNotProved) {
  for (const char* text : {
           "16*(n // 16) < n",
           "CeilToInt(IntTrueDiv(n, 16)) >= 2",
           "(n + PythonMod(-n, 16)) // 16 < n",
           "Eq(PythonMod(-n, 16), 0)",
           "Eq(Mod(n, 2), 0)",
           "Eq(n // 16, CeilToInt(IntTrueDiv(n, 16)))",
           "(n + 15) // 16 - n // 16 < 1",
           "Ne(n // 16, 6249)",
           "n // 16 < 6250",
       }) {
    EXPECT_FALSE(proved(text)) << text;
  }
  EXPECT_TRUE(proved("n // 16 < 6250", 1, kMany - 1));
  EXPECT_TRUE(proved("Ne(n // 16, 6250)", 1, kMany - 1));
  EXPECT_TRUE(proved("Eq(Mod(n, 16), n)", 1, 15));
}

TEST(Conditions, NumbersThatAreNoSizes) {
  EXPECT_TRUE(proved("16*(n // 16) <= n", -kMany, kMany));
  EXPECT_TRUE(proved("16*(n // 16) <= n", INT64_MIN, Bounds::kUnbounded));
  EXPECT_TRUE(proved("16*CeilToInt(IntTrueDiv(n, 16)) >= n", -kMany, kMany));
  EXPECT_FALSE(proved("3*TruncToInt(IntTrueDiv(n, 3)) <= n", -kMany, kMany));
}

TEST(InputCheck, ARefusalNamesTheSizesOfItsConditionAlone) {
  const Expr n = Expr::symbol("n"), m = Expr::symbol("m");
  const std::vector<Guard> guards = {{Expr::equal(mod(n, 2), 0), "x.shape[1] % 2 == 0", "m.py:3"},
                                     {Expr::less(n, m), "x.shape[1] < y.shape[0]", ""}};
  const InputCheck check({{"x", true, true, {Expr::symbol("b"), n}}, {"y", true, true, {m}}}, {},
                         guards);
  EXPECT_TRUE(check.check({{true, {2, 4}}, {true, {9}}}).ok());
  EXPECT_EQ(check.check({{true, {2, 5}}, {true, {9}}}).error().message,
            "the model was compiled for sizes where x.shape[1] % 2 == 0 (m.py:3), which does not "
            "hold here: dimension 1 of argument 'x' is 5. Compile it again with an example of "
            "these sizes");
  EXPECT_EQ(check.check({{true, {2, 4}}, {true, {3}}}).error().message,
            "the model was compiled for sizes where x.shape[1] < y.shape[0], which does not hold "
            "here: dimension 1 of argument 'x' is 4, dimension 0 of argument 'y' is 3. Compile it "
            "again with an example of these sizes");
}

}  // namespace
}  // namespace stator
