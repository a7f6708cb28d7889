// SPDX-License-Identifier: Apache-2.0
//
// Log lines go to one sink that the embedding program may replace: Python routes them to the logger
// "torch_tensorrt", the command line prints them to stderr. Levels have Python's meaning. Cheap
// when a level is off.
#pragma once

#include <functional>
#include <string>

namespace stator {

enum class LogLevel { kDebug = 10, kInfo = 20, kWarning = 30, kError = 40 };
using LogSink = std::function<void(LogLevel, const std::string&)>;

/// Replaces the sink (default: warnings and errors to stderr). Thread-safe.
void set_log_sink(LogSink sink);
void set_log_level(LogLevel least);
bool log_enabled(LogLevel level);
void log(LogLevel level, const std::string& message);

}  // namespace stator

/// Formats only when the level is on: STATOR_LOG(kDebug, "built " + name).
#define STATOR_LOG(level, message)                          \
  do {                                                      \
    if (::stator::log_enabled(::stator::LogLevel::level)) { \
      ::stator::log(::stator::LogLevel::level, (message));  \
    }                                                       \
  } while (false)
