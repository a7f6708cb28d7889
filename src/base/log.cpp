// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <atomic>
#include <cstdio>
#include <memory>
#include <mutex>
#include <utility>

namespace stator {
namespace {

std::atomic<int> least_level{static_cast<int>(LogLevel::kWarning)};

struct SinkHolder {
  std::mutex mutex;
  LogSink sink = [](LogLevel level, const std::string& message) {
    std::fprintf(stderr, "stator: %s%s\n",
                 level == LogLevel::kWarning ? "warning: "
                 : level == LogLevel::kError ? "error: "
                                             : "",
                 message.c_str());
  };
};

SinkHolder& holder() {
  static SinkHolder instance;
  return instance;
}

}  // namespace

void set_log_sink(LogSink sink) {
  const std::lock_guard lock(holder().mutex);
  holder().sink = std::move(sink);
}

void set_log_level(LogLevel least) { least_level = static_cast<int>(least); }

bool log_enabled(LogLevel level) {
  return static_cast<int>(level) >= least_level.load(std::memory_order_relaxed);
}

void log(LogLevel level, const std::string& message) {
  if (!log_enabled(level)) {
    return;
  }
  // Called outside the lock, so that a sink may log.
  LogSink sink;
  {
    const std::lock_guard lock(holder().mutex);
    sink = holder().sink;
  }
  if (sink) {
    sink(level, message);
  }
}

}  // namespace stator
