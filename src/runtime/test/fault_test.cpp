// SPDX-License-Identifier: Apache-2.0
#include "runtime/fault.h"

#include <gtest/gtest.h>

#include <thread>

#include "layer/fault_site.h"

namespace stator {
namespace {

Plan plan_of_two_steps() {
  Plan plan;
  plan.steps.resize(2);
  plan.steps[0].name = "first";
  plan.steps[1].name = "second";
  plan.steps[1].provenance = {{"index_3", "aten.index.Tensor", {"model.py", 7, "forward", "", ""}}};
  return plan;
}

Error error_of(const FaultSite& site, int64_t value, int64_t limit) {
  FaultRecord record{};
  report_fault({nullptr, nullptr, &record, 1}, site.code(), value, limit);
  return fault_error(plan_of_two_steps(), record);
}

TEST(Fault, SaysWhatPyTorchSaysAndWhere) {
  const Error error = error_of({DataError::kIndex, 2, true}, -3, 5);
  EXPECT_EQ(error.code, ErrorCode::kOutOfRange);
  EXPECT_EQ(error.message,
            "index -8 is out of bounds for dimension 2 with size 5\nin step 1 \"second\"\n"
            "  node index_3 (aten.index.Tensor) at model.py:7 in forward");
}

TEST(Fault, CountsNegativeIndicesFromTheEndOnlyWhereTheyWrap) {
  EXPECT_TRUE(error_of({DataError::kElement, 1, false}, -3, 5)
                  .message.starts_with("index -3 is out of bounds for dimension 1 with size 5\n"));
  EXPECT_TRUE(error_of({DataError::kIndex, 0, true}, 7, 5).message.starts_with("index 7 is out"));
}

TEST(Fault, HasPyTorchsClassOfException) {
  for (const DataError error : {DataError::kIndex, DataError::kRow, DataError::kPlace,
                                DataError::kTarget, DataError::kEmptyDim}) {
    EXPECT_EQ(error_of({error, 0, false}, 9, 5).code, ErrorCode::kOutOfRange);
  }
  for (const DataError error : {DataError::kElement, DataError::kClass, DataError::kDivision,
                                DataError::kEmpty, DataError::kProbability}) {
    EXPECT_EQ(error_of({error, 0, false}, 9, 5).code, ErrorCode::kInvalidData);
  }
}

TEST(Fault, TheFirstOneWins) {
  FaultRecord record{};
  const FaultSite site{DataError::kRow, 0, false};
  report_fault({nullptr, nullptr, &record, 0}, site.code(), 7, 5);
  report_fault({nullptr, nullptr, &record, 1}, kDivisionSite.code(), 0, 0);
  EXPECT_TRUE(fault_error(plan_of_two_steps(), record)
                  .message.starts_with("index out of range in self: index 7 of 5 rows\nin step 0"));
}

TEST(Fault, OneOfManyThreadsWinsWhole) {
  for (int round = 0; round < 50; ++round) {
    FaultRecord record{};
    std::vector<std::thread> threads;
    for (int64_t i = 1; i <= 4; ++i) {
      threads.emplace_back([&record, i] {
        const FaultSite site{DataError::kIndex, i, false};
        report_fault({nullptr, nullptr, &record, i}, site.code(), 10 * i, 100 * i);
      });
    }
    for (std::thread& thread : threads) thread.join();
    const int64_t winner = record.code >> kFaultStepShift;
    EXPECT_EQ(record.value, 10 * winner);
    EXPECT_EQ(record.limit, 100 * winner);
    EXPECT_EQ(FaultSite::of(record.code & 0xffffffff).dim, winner);
  }
}

}  // namespace
}  // namespace stator
