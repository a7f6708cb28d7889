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

TEST(FloatElement, KeepsEveryHalf) {
  for (const DType dtype : {DType::kFloat16, DType::kBFloat16}) {
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      const auto half = static_cast<uint16_t>(bits);
      const float value = load_float(&half, dtype, 0);
      uint16_t again = 0xffff;
      store_float(&again, dtype, 0, value);
      if (!std::isnan(value)) {
        ASSERT_EQ(again, half) << dtype_name(dtype) << " " << value;
      }
    }
  }
}

TEST(FloatElement, RoundsBetweenHalvesToTheEvenOne) {
  for (uint16_t half = 0; half < 0x7bff; ++half) {  // 0 to the greatest
    const auto next = static_cast<uint16_t>(half + 1);
    const float low = load_float(&half, DType::kFloat16, 0);
    const float high = load_float(&next, DType::kFloat16, 0);
    const float middle = low / 2 + high / 2;
    uint16_t got[3];
    store_float(got, DType::kFloat16, 0, std::nextafter(middle, low));
    store_float(got, DType::kFloat16, 1, middle);
    store_float(got, DType::kFloat16, 2, -std::nextafter(middle, high));
    ASSERT_EQ(got[0], half);
    ASSERT_EQ(got[1], half % 2 == 0 ? half : next);
    ASSERT_EQ(got[2], next | 0x8000);
  }
}

}  // namespace
}  // namespace stator
