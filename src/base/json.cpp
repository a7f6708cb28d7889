// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

namespace stator {

bool json_nesting_is_bounded(std::string_view text) {
  int depth = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c == '\\') ++i;
      if (c == '"') quoted = false;
    } else if (c == '"') {
      quoted = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMostJsonNesting) return false;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return true;
}

Result<nlohmann::json> parse_json(std::string_view text) {
  if (!json_nesting_is_bounded(text)) {
    return Error{ErrorCode::kInvalidFile,
                 "is nested more than " + std::to_string(kMostJsonNesting) + " levels deep"};
  }
  try {
    return nlohmann::json::parse(text.begin(), text.end());
  } catch (const nlohmann::json::parse_error& e) {
    return Error{ErrorCode::kInvalidFile, "is no JSON (byte " + std::to_string(e.byte) + ")"};
  }
}

}  // namespace stator
