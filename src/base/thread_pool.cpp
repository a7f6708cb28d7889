// SPDX-License-Identifier: Apache-2.0
//
// Each job of a caller stands in a slot, whose gate is one word: whether it is open, how many
// threads may join, how many have, and how many of these are inside. A worker joins by counting
// itself in while the gate is open, and reads the job's fields only then; the caller shuts the gate
// when it finds no more chunks and waits for those inside, so that fields are never rewritten under
// a worker. `ticket_` counts jobs: workers that find no open gate wait for it to change.
#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <vector>

namespace stator {
namespace {

constexpr int kMaxThreads = 255;  // fits a gate's bytes
constexpr int kSlots = 16;        // jobs at one time; the callers of more do theirs alone
constexpr std::chrono::microseconds kLookout{100};  // for the next job, before sleeping
constexpr std::chrono::microseconds kPatience{20};  // for others' last chunks, before yielding

constexpr uint64_t kInside = 1, kJoined = 1 << 8, kLimit = 1 << 16, kOpen = 1 << 24;

int inside(uint64_t gate) { return static_cast<int>(gate & 0xff); }
int joined(uint64_t gate) { return static_cast<int>(gate >> 8 & 0xff); }
bool lets_in(uint64_t gate) {
  return (gate & kOpen) != 0 && joined(gate) < static_cast<int>(gate >> 16 & 0xff);
}

void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Looks until `done` or the time is over; whether it is done.
template <typename Done>
bool look_out(std::chrono::microseconds time, Done done) {
  if (done()) return true;
  const auto end = std::chrono::steady_clock::now() + time;
  do {
    for (int spin = 0; spin < 16; ++spin) {
      if (done()) return true;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
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
  /// Counters that several threads write have their own cache lines.
  struct Job {
    alignas(64) std::atomic<uint64_t> gate{0};
    alignas(64) std::atomic<int64_t> next{0};
    alignas(64) std::atomic<bool> taken{false};
    Task task = nullptr;
    void* context = nullptr;
    int64_t count = 0;
    int64_t chunk = 1;

    void take_chunks(int thread) {
      for (;;) {
        const int64_t begin = next.fetch_add(chunk, std::memory_order_relaxed);
        if (begin >= count) return;
        task(context, begin, std::min(begin + chunk, count), thread);
      }
    }

    /// Takes part, where that is still wanted.
    bool help() {
      uint64_t seen = gate.load(std::memory_order_relaxed);
      while (lets_in(seen)) {
        if (gate.compare_exchange_weak(seen, seen + kJoined + kInside, std::memory_order_acquire,
                                       std::memory_order_relaxed)) {
          take_chunks(joined(seen));
          gate.fetch_sub(kInside, std::memory_order_release);
          return true;
        }
      }
      return false;
    }
  };

  std::array<Job, kSlots> jobs;
  alignas(64) std::atomic<int> ticket{0};  // an int: what the operating system waits for itself
  alignas(64) std::atomic<int> sleepers{0};
  std::atomic<bool> stopping{false};
  std::vector<std::thread> workers;

  bool help_any() {
    bool helped = false;
    for (Job& job : jobs) helped |= job.help();
    return helped;
  }

  void wait_for_change(int seen) {
    if (look_out(kLookout, [&] { return ticket.load(std::memory_order_acquire) != seen; })) return;
    sleepers.fetch_add(1, std::memory_order_seq_cst);
    ticket.wait(seen, std::memory_order_seq_cst);
    sleepers.fetch_sub(1, std::memory_order_relaxed);
  }

  void work() {
    while (!stopping.load(std::memory_order_acquire)) {
      const int seen = ticket.load(std::memory_order_acquire);
      if (!help_any() && !stopping.load(std::memory_order_acquire)) wait_for_change(seen);
    }
  }

  void announce(int helpers) {
    ticket.fetch_add(1, std::memory_order_seq_cst);
    const int asleep = sleepers.load(std::memory_order_seq_cst);
    if (asleep > helpers) {
      for (int i = 0; i < helpers; ++i) ticket.notify_one();
    } else if (asleep > 0) {
      ticket.notify_all();
    }
  }

  Job* free_job() {
    for (Job& job : jobs) {
      if (!job.taken.load(std::memory_order_relaxed) &&
          !job.taken.exchange(true, std::memory_order_acquire)) {
        return &job;
      }
    }
    return nullptr;
  }
};

ThreadPool::ThreadPool(int threads)
    : impl_(std::make_unique<Impl>()),
      thread_count_(std::clamp(threads, 1, kMaxThreads)),
      active_threads_(thread_count_) {
  for (int i = 1; i < thread_count_; ++i) {
    impl_->workers.emplace_back([this] { impl_->work(); });
  }
}

ThreadPool::~ThreadPool() {
  impl_->stopping.store(true, std::memory_order_release);
  impl_->announce(thread_count_);
  for (std::thread& worker : impl_->workers) {
    worker.join();
  }
}

void ThreadPool::set_active_threads(int threads) {
  active_threads_.store(std::clamp(threads, 1, thread_count_), std::memory_order_relaxed);
}

void ThreadPool::parallel_for(int64_t count, Task task, void* context) {
  if (count <= 0) {
    return;
  }
  const int callers = std::max(1, callers_.load(std::memory_order_relaxed));
  const auto threads = static_cast<int>(std::min<int64_t>(active_threads() / callers, count));
  Impl::Job* job = threads > 1 ? impl_->free_job() : nullptr;
  if (job == nullptr) {
    task(context, 0, count, 0);
    return;
  }
  job->task = task;
  job->context = context;
  job->count = count;
  job->chunk = std::max<int64_t>(1, count / (static_cast<int64_t>(threads) * 4));
  job->next.store(0, std::memory_order_relaxed);
  // The caller has joined as the first; it is not counted as inside, since it waits for those.
  job->gate.store(kOpen + static_cast<uint64_t>(threads) * kLimit + kJoined,
                  std::memory_order_release);
  impl_->announce(threads - 1);
  job->take_chunks(0);
  job->gate.fetch_and(~kOpen, std::memory_order_relaxed);
  const auto left = [job] { return inside(job->gate.load(std::memory_order_acquire)) == 0; };
  while (!look_out(kPatience, left)) {
    std::this_thread::yield();  // one of them may wait for this very core
  }
  job->taken.store(false, std::memory_order_release);
}

ThreadPool& ThreadPool::global() {
  // Never destroyed: engines may run in other static destructors, and joining at exit can hang
  // after a fork.
  static auto* pool = new ThreadPool(default_threads());
  return *pool;
}

}  // namespace stator
