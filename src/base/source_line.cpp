// SPDX-License-Identifier: Apache-2.0
#include "stator/source_line.h"

namespace stator {

std::string SourceLine::str() const {
  if (file.empty()) {
    return "";
  }
  std::string s = file + ":" + std::to_string(line);
  if (!function.empty()) {
    s += " in " + function;
  }
  if (!text.empty()) {
    s += ":  " + text;
  }
  return s;
}

}  // namespace stator
