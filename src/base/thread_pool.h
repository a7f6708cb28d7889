// SPDX-License-Identifier: Apache-2.0
//
// A fork-join pool for any number of callers. parallel_for splits [0, count) into chunks that the
// calling thread and whichever workers come take from one counter; it returns when all are done.
// Nobody waits for a worker that has not begun: where another process has its core, the caller does
// the work itself. Workers look out for the next job for a moment and then sleep, so that the steps
// of one engine follow each other without a system call.
//
// Own code, because a fork costs about a microsecond here and a wheel must carry it: the packaged
// pthreadpool is a shared library that a wheel cannot bring along.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

namespace stator {

class ThreadPool {
 public:
  /// What runs: tasks begin … end-1 on thread `thread` (0: the caller).
  using Task = void (*)(void* context, int64_t begin, int64_t end, int thread);

  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int thread_count() const { return thread_count_; }
  /// Threads that take part, at most thread_count().
  int active_threads() const { return active_threads_.load(std::memory_order_relaxed); }
  void set_active_threads(int threads);
  /// Runs task over [0, count) in chunks of about count / (threads * 4), each of at most
  /// active_threads() / callers threads, which are numbered from the caller's 0. Allocates nothing.
  void parallel_for(int64_t count, Task task, void* context);

  /// A thread that is about to call parallel_for, again and again, until this goes: the callers of
  /// one time share the threads, so that each has its own core where there are as many.
  class Caller {
   public:
    explicit Caller(ThreadPool& pool) : pool_(pool) { pool_.callers_.fetch_add(1); }
    ~Caller() { pool_.callers_.fetch_sub(1); }
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;

   private:
    ThreadPool& pool_;
  };

  /// The pool of this process, made at first use with STATOR_NUM_THREADS or the number of available
  /// cores.
  static ThreadPool& global();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  int thread_count_;
  std::atomic<int> active_threads_;
  std::atomic<int> callers_{0};
};

}  // namespace stator
