// SPDX-License-Identifier: Apache-2.0
//
// One 64-bit word, `ticket_`, announces a job: its upper bits count jobs, its low byte says how
// many threads take part. A worker that takes part counts down `pending_` when it finds no more
// chunks; the caller waits for zero, so the job's fields are never rewritten under a worker that
// reads them. Workers that do not take part read nothing but the ticket.
#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <thread>
#include <vector>

namespace stator {
namespace {

constexpr int kMaxThreads = 255;          // fits the ticket's low byte
constexpr int kSpinsBeforeSleep = 20000;  // some tens of microseconds

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    return std::max(1, CPU_COUNT(&set));
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int default_threads() {
  if (const char* text = std::getenv("STATOR_NUM_THREADS")) {
    const int threads = std::atoi(text);
    if (threads > 0) {
      return std::min(threads, kMaxThreads);
    }
  }
  return std::min(available_cores(), kMaxThreads);
}

}  // namespace

struct ThreadPool::Impl {
  // Each on its own cache line: the counters are written by all threads.
  alignas(64) std::atomic<uint64_t> ticket{0};
  alignas(64) std::atomic<int64_t> next{0};
  alignas(64) std::atomic<int> pending{0};
  alignas(64) std::atomic<int> sleepers{0};
  std::atomic<bool> busy{false};
  std::atomic<bool> stopping{false};
  Task task = nullptr;
  void* context = nullptr;
  int64_t count = 0;
  int64_t chunk = 1;
  std::vector<std::thread> workers;

  void take_chunks(int thread) {
    for (;;) {
      const int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
      if (begin >= count) {
        return;
      }
      task(context, begin, std::min(begin + chunk, count), thread);
    }
  }

  uint64_t wait_for_change(uint64_t seen) {
    for (int spin = 0; spin < kSpinsBeforeSleep; ++spin) {
      const uint64_t now = ticket.load(std::memory_order_acquire);
      if (now != seen) {
        return now;
      }
      pause_cpu();
    }
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    ticket.wait(seen, std::memory_order_seq_cst);
    sleepers.fetch_sub(1, std::memory_order_relaxed);
    return ticket.load(std::memory_order_acquire);
  }

  void work(int thread) {
    uint64_t seen = 0;
    for (;;) {
      const uint64_t now = wait_for_change(seen);
      if (stopping.load(std::memory_order_acquire)) {
        return;
      }
      if (now == seen) {
        continue;  // woken without a job
      }
      seen = now;
      if (thread < static_cast<int>(now & 0xff)) {
        take_chunks(thread);
        pending.fetch_sub(1, std::memory_order_release);
      }
    }
  }

  void announce(int threads) {
    const uint64_t now = ticket.load(std::memory_order_relaxed);
    ticket.store(((now >> 8) + 1) << 8 | static_cast<uint64_t>(threads), std::memory_order_seq_cst);
    if (sleepers.load(std::memory_order_seq_cst) > 0) {
      ticket.notify_all();
    }
  }
};

ThreadPool::ThreadPool(int threads)
    : impl_(std::make_unique<Impl>()),
      thread_count_(std::clamp(threads, 1, kMaxThreads)),
      active_threads_(thread_count_) {
  for (int i = 1; i < thread_count_; ++i) {
    impl_->workers.emplace_back([this, i] { impl_->work(i); });
  }
}

ThreadPool::~ThreadPool() {
  impl_->stopping.store(true, std::memory_order_release);
  impl_->announce(0);
  impl_->ticket.notify_all();
  for (std::thread& worker : impl_->workers) {
    worker.join();
  }
}

void ThreadPool::set_active_threads(int threads) {
  active_threads_ = std::clamp(threads, 1, thread_count_);
}

void ThreadPool::parallel_for(int64_t count, Task task, void* context) {
  if (count <= 0) {
    return;
  }
  const int threads = static_cast<int>(std::min<int64_t>(active_threads_, count));
  if (threads == 1 || impl_->busy.exchange(true, std::memory_order_acquire)) {
    task(context, 0, count, 0);
    return;
  }
  impl_->task = task;
  impl_->context = context;
  impl_->count = count;
  impl_->chunk = std::max<int64_t>(1, count / (static_cast<int64_t>(threads) * 4));
  impl_->next.store(0, std::memory_order_relaxed);
  impl_->pending.store(threads - 1, std::memory_order_relaxed);
  impl_->announce(threads);
  impl_->take_chunks(0);
  while (impl_->pending.load(std::memory_order_acquire) != 0) {
    pause_cpu();
  }
  impl_->busy.store(false, std::memory_order_release);
}

ThreadPool& ThreadPool::global() {
  // Never destroyed: engines may run in other static destructors, and joining at exit can hang
  // after a fork.
  static auto* pool = new ThreadPool(default_threads());
  return *pool;
}

}  // namespace stator
