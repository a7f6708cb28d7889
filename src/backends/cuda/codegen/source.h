// SPDX-License-Identifier: Apache-2.0
//
// CUDA C++ as text: the writer, and what every translation unit begins with.
#pragma once

#include <string>

#include "stator/dtype.h"

namespace stator::cuda {

/// Lines with indentation that follows the braces.
class SourceWriter {
 public:
  void line(const std::string& text);
  const std::string& text() const { return text_; }

 private:
  std::string text_;
  int depth_ = 0;
};

/// Conversions, vectors, reductions over a group of threads, and functions that CUDA lacks. No
/// header is included: that alone would cost a quarter of a second for each unit.
extern const char* const kPrelude;

/// "float", "unsigned short" (both halves), …: an element in memory.
const char* memory_type(DType dtype);
/// In registers: halves are floats.
const char* register_type(DType dtype);
/// Memory → register and back, of an expression.
std::string from_memory(DType dtype, const std::string& value);
std::string to_memory(DType dtype, const std::string& value);

}  // namespace stator::cuda
