// SPDX-License-Identifier: Apache-2.0
#include "base/check.h"

#include <cstring>

namespace stator {

void check_failed(const char* condition, const char* file, int line, const std::string& message) {
  const char* src = std::strstr(file, "src/");
  throw InternalError(message + " [" + condition + " failed at " + (src != nullptr ? src : file) +
                      ":" + std::to_string(line) +
                      "; this is a defect of Stator, please report it]");
}

}  // namespace stator
