// SPDX-License-Identifier: Apache-2.0
#include "base/float_element.h"

#include <gtest/gtest.h>

#include <cmath>

namespace stator {
namespace {

TEST(FloatElement, RoundsToTheNearest) {
  uint16_t halves[6];
  const float values[] = {1.0F, -2.5F, 65504.0F, 1e6F, 6e-8F, 0.1F};
  for (int i = 0; i < 6; ++i) store_float(halves, DType::kFloat16, i, values[i]);
  EXPECT_EQ(load_float(halves, DType::kFloat16, 0), 1.0F);
  EXPECT_EQ(load_float(halves, DType::kFloat16, 1), -2.5F);
  EXPECT_EQ(load_float(halves, DType::kFloat16, 2), 65504.0F);
  EXPECT_EQ(load_float(halves, DType::kFloat16, 3), INFINITY);
  EXPECT_EQ(load_float(halves, DType::kFloat16, 4), 0x1p-24F);
  EXPECT_EQ(load_float(halves, DType::kFloat16, 5), 0.0999755859375F);
  store_float(halves, DType::kBFloat16, 0, 1.00390625F);  // a tie: to even
  EXPECT_EQ(load_float(halves, DType::kBFloat16, 0), 1.0F);
  store_float(halves, DType::kBFloat16, 0, NAN);
  EXPECT_TRUE(std::isnan(load_float(halves, DType::kBFloat16, 0)));
}

}  // namespace
}  // namespace stator
