// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

#include "stator/result.h"

namespace stator {

/// Raises the Python exception for an error: ValueError for a user's value, OSError, or StatorError
/// and its kinds.
[[noreturn]] void raise(const Error& error);

template <typename T>
T value_or_raise(Result<T> result) {
  if (!result.ok()) {
    raise(result.error());
  }
  return std::move(result).value();
}

inline void check_or_raise(const Status& status) {
  if (!status.ok()) {
    raise(status.error());
  }
}

void bind_errors(nanobind::module_& m);
void bind_graph(nanobind::module_& m);
void bind_compiler(nanobind::module_& m);
void bind_engine(nanobind::module_& m);
void bind_memory(nanobind::module_& m);

}  // namespace stator
