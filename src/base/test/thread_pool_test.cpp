// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <memory>
#include <optional>
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

/// One job: what its tasks wait for, and which threads are in it.
struct Gathering {
  std::atomic<bool> open{false};
  std::atomic<int> waiting{0};
  std::array<std::atomic<int>, 8> inside{};
  std::atomic<bool> twice{false};

  static void wait(void* context, int64_t, int64_t, int thread) {
    auto& gathering = *static_cast<Gathering*>(context);
    std::atomic<int>& here = gathering.inside[static_cast<size_t>(thread)];
    if (here.fetch_add(1) != 0) gathering.twice = true;
    gathering.waiting.fetch_add(1);
    while (!gathering.open) std::this_thread::yield();
    here.fetch_sub(1);
  }
};

TEST(ThreadPool, EachThreadOfAJobHasItsNumber) {
  ThreadPool pool(4);
  for (int round = 0; round < 50; ++round) {
    Gathering gathering;
    std::thread caller([&] { pool.parallel_for(64, Gathering::wait, &gathering); });
    while (gathering.waiting < 4) std::this_thread::yield();
    gathering.open = true;
    caller.join();
    EXPECT_FALSE(gathering.twice);
  }
}

TEST(ThreadPool, WorkersThatAreBusyElsewhereAreNotWaitedFor) {
  ThreadPool pool(2);
  Gathering slow;
  std::thread other([&] { pool.parallel_for(2, Gathering::wait, &slow); });
  while (slow.waiting < 2) std::this_thread::yield();  // its caller, and the only worker
  std::vector<std::atomic<int>> hits(100);
  pool.parallel_for(100, count_each, &hits);
  for (const auto& hit : hits) {
    EXPECT_EQ(hit.load(), 1);
  }
  slow.open = true;
  other.join();
}

TEST(ThreadPool, MoreJobsAtATimeThanItHoldsRunOnTheirCallers) {
  ThreadPool pool(2);
  std::vector<std::unique_ptr<Gathering>> jobs;
  std::vector<std::thread> callers;
  for (int i = 0; i < 20; ++i) {
    Gathering& job = *jobs.emplace_back(std::make_unique<Gathering>());
    callers.emplace_back([&] { pool.parallel_for(8, Gathering::wait, &job); });
  }
  for (const auto& job : jobs) {
    while (job->waiting < 1) std::this_thread::yield();
  }
  for (const auto& job : jobs) job->open = true;
  for (std::thread& caller : callers) caller.join();
}

TEST(ThreadPool, CallersOfOneTimeShareTheThreads) {
  ThreadPool pool(2);
  const ThreadPool::Caller one(pool);
  std::optional<ThreadPool::Caller> another(std::in_place, pool);
  Gathering alone;
  alone.open = true;
  pool.parallel_for(2, Gathering::wait, &alone);
  EXPECT_EQ(alone.waiting, 1);  // both tasks at once, on the caller
  another.reset();
  Gathering shared;
  std::thread caller([&] { pool.parallel_for(2, Gathering::wait, &shared); });
  while (shared.waiting < 2) std::this_thread::yield();  // the worker has one of them
  shared.open = true;
  caller.join();
}

}  // namespace
}  // namespace stator
