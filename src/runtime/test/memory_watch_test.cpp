// SPDX-License-Identifier: Apache-2.0
#include "runtime/memory_watch.h"

#include <gtest/gtest.h>

namespace stator {
namespace {

TEST(MemoryWatch, ReadsAllOfWhatIsSmall) {
  std::vector<char> a(kWatchedWhole), b(3);
  const MemoryWatch watch({{a.data(), kWatchedWhole}, {b.data(), 3}, {nullptr, 0}});
  EXPECT_FALSE(watch.any_changed());
  for (const size_t i : {size_t{0}, size_t{77}, a.size() - 1}) {
    a[i] = 1;
    EXPECT_TRUE(watch.any_changed());
    a[i] = 0;
  }
  b[2] = 1;
  EXPECT_EQ(watch.changed(), (std::vector<int64_t>{1}));
}

TEST(MemoryWatch, SamplesEveryPartOfWhatIsLarge) {
  for (const int64_t bytes : {kWatchedWhole + 1, kWatchedWhole * 3 + 5, int64_t{1} << 20}) {
    std::vector<char> a(static_cast<size_t>(bytes));
    const MemoryWatch watch({{a.data(), bytes}});
    const auto part = static_cast<size_t>(bytes / kSampledLines);
    for (size_t begin = 0; begin + part <= a.size(); begin += part) {
      std::fill_n(a.begin() + static_cast<std::ptrdiff_t>(begin), part, char{1});
      EXPECT_TRUE(watch.any_changed()) << bytes << " " << begin;
      std::fill_n(a.begin() + static_cast<std::ptrdiff_t>(begin), part, char{0});
    }
    EXPECT_FALSE(watch.any_changed());
    a.front() = 1;
    EXPECT_TRUE(watch.any_changed());
    a.front() = 0;
    a.back() = 1;
    EXPECT_TRUE(watch.any_changed());
  }
}

}  // namespace
}  // namespace stator
