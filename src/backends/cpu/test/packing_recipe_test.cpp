// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/packing_recipe.h"

#include <gtest/gtest.h>

#include <numeric>

namespace stator::cpu {
namespace {

TensorData data_of(const std::vector<float>& values) {
  TensorData data;
  data.data = values.data();
  data.size_bytes = static_cast<int64_t>(values.size()) * 4;
  return data;
}

TEST(PackingRecipe, TextAndBack) {
  PanelRecipe recipe;
  recipe.columns = 32;
  recipe.n = {64, 576};
  recipe.k = {{9, 1}, {64, 9}};
  recipe.offset = 3;
  EXPECT_EQ(recipe.str(), "panels 32 n 64:576 k 9:1,64:9 batch - offset 3");
  auto parsed = PanelRecipe::parse(recipe.str());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, recipe);
  for (const char* wrong :
       {"", "panels", "panels 0 n 1:1 k - batch - offset 0",
        "panels 4 n 1:1,2:2 k - batch - offset 0", "panels 4 n 1:1 k 1 batch - offset 0",
        "panels 4 n 1:1 k - batch - offset 0 ", "panels 4 n 1:1 k - batch - offset 0 bytes 0",
        "panels 4 n 1:1 k - batch - offset 0 bytes"})
    EXPECT_FALSE(PanelRecipe::parse(wrong).ok()) << wrong;
}

TEST(PackingRecipe, PanelsRunThroughKAndEndInZeros) {
  std::vector<float> source(6);
  std::iota(source.begin(), source.end(), 1.0F);  // [n = 3][k = 2]
  PanelRecipe recipe;
  recipe.columns = 2;
  recipe.n = {3, 2};
  recipe.k = {{2, 1}};
  auto packed = pack_panels(recipe, data_of(source));
  ASSERT_TRUE(packed.ok());
  ASSERT_EQ(packed->size_bytes, 8 * 4);
  // Panel 0: k = 0: n 0, 1; k = 1: n 0, 1; panel 1: n 2 and nothing.
  const float want[] = {1, 3, 2, 4, 5, 0, 6, 0};
  for (int i = 0; i < 8; ++i) EXPECT_EQ(packed->as<float>()[i], want[i]) << i;
}

TEST(PackingRecipe, BytesGoFourByFour) {
  std::vector<uint8_t> source(16);
  std::iota(source.begin(), source.end(), uint8_t{0});  // [k = 8][n = 2]
  PanelRecipe recipe;
  recipe.columns = 2;
  recipe.n = {2, 1};
  recipe.k = {{2, 2}};
  recipe.group_bytes(2);
  EXPECT_EQ(recipe.str(), "panels 2 n 2:1 k 2:8 batch - offset 0 bytes 2");
  auto parsed = PanelRecipe::parse(recipe.str());
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed, recipe);
  TensorData data;
  data.data = source.data();
  data.size_bytes = 16;
  auto packed = pack_panels(recipe, data);
  ASSERT_TRUE(packed.ok());
  ASSERT_EQ(packed->size_bytes, 16);
  const uint8_t want[] = {0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15};
  for (int i = 0; i < 16; ++i) EXPECT_EQ(packed->as<uint8_t>()[i], want[i]) << i;
  data.size_bytes = 15;
  EXPECT_FALSE(pack_panels(recipe, data).ok());
}

TEST(PackingRecipe, RefusesAWeightThatIsTooSmall) {
  std::vector<float> source(5);
  PanelRecipe recipe;
  recipe.n = {3, 2};
  recipe.k = {{2, 1}};
  auto packed = pack_panels(recipe, data_of(source));
  ASSERT_FALSE(packed.ok());
  EXPECT_EQ(packed.error().message,
            "packing recipe 'panels 32 n 3:2 k 2:1 batch - offset 0' reads past a weight of 20 "
            "bytes; give a weight of the same shape");
}

}  // namespace
}  // namespace stator::cpu
