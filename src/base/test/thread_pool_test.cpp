// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace stator {
namespace {

void count_each(void* context, int64_t begin, int64_t end, int) {
  auto& hits = *static_cast<std::vector<std::atomic<int>>*>(context);
  for (int64_t i = begin; i < end; ++i) {
    hits[static_cast<size_t>(i)].fetch_add(1);
  }
}

TEST(ThreadPool, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (const int64_t count : {0, 1, 2, 7, 64, 1000}) {
      for (int round = 0; round < 20; ++round) {
        std::vector<std::atomic<int>> hits(static_cast<size_t>(count));
        pool.parallel_for(count, count_each, &hits);
        for (const auto& hit : hits) {
          ASSERT_EQ(hit.load(), 1);
        }
      }
    }
  }
}

TEST(ThreadPool, SeveralCallersShareIt) {
  ThreadPool pool(3);
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&pool] {
      for (int round = 0; round < 200; ++round) {
        std::vector<std::atomic<int>> hits(100);
        pool.parallel_for(100, count_each, &hits);
        for (const auto& hit : hits) {
          ASSERT_EQ(hit.load(), 1);
        }
      }
    });
  }
  for (std::thread& caller : callers) {
    caller.join();
  }
}

TEST(ThreadPool, TakesPartWithFewerThreads) {
  ThreadPool pool(4);
  pool.set_active_threads(2);
  std::atomic<int> highest{0};
  for (int round = 0; round < 100; ++round) {
    pool.parallel_for(
        64,
        [](void* context, int64_t, int64_t, int thread) {
          auto& top = *static_cast<std::atomic<int>*>(context);
          int seen = top.load();
          while (thread > seen && !top.compare_exchange_weak(seen, thread)) {
          }
        },
        &highest);
  }
  EXPECT_LT(highest.load(), 2);
}

}  // namespace
}  // namespace stator
