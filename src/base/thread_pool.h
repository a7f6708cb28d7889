// SPDX-License-Identifier: Apache-2.0
//
// A fork-join pool. parallel_for splits [0, count) into chunks that the calling thread and the
// workers take from one counter; it returns when all are done. Workers spin for a few microseconds
// between jobs and then sleep, so that the steps of one engine follow each other without a system
// call.
//
// Own code, because a fork costs about a microsecond here and a wheel must carry it: the packaged
// pthreadpool is a shared library that a wheel cannot bring along.
#pragma once

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
  int active_threads() const { return active_threads_; }
  void set_active_threads(int threads);
  /// Runs task over [0, count) in chunks of about count / (threads * 4). Allocates nothing. When
  /// another thread is inside, or there is one thread only, the whole range runs on the caller, as
  /// thread 0.
  void parallel_for(int64_t count, Task task, void* context);

  /// The pool of this process, made at first use with STATOR_NUM_THREADS or the number of available
  /// cores.
  static ThreadPool& global();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  int thread_count_;
  int active_threads_;
};

}  // namespace stator
