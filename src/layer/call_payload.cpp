// SPDX-License-Identifier: Apache-2.0
#include "layer/call_payload.h"

#include <sstream>

namespace stator {

std::string print_call_payload(const CallPayload& payload) {
  return std::to_string(payload.inputs) + " " + std::to_string(payload.outputs) + " " +
         layer_kind_name(payload.attributes) + " " + print_attributes(payload.attributes);
}

Result<CallPayload> parse_call_payload(const std::string& text) {
  CallPayload payload;
  std::istringstream stream(text);
  std::string kind, attributes;
  stream >> payload.inputs >> payload.outputs >> kind;
  std::getline(stream, attributes);
  if (stream.fail() || payload.inputs < 0 || payload.outputs < 1) {
    return Error{ErrorCode::kInvalidFile, "'" + text + "' is no call of a layer"};
  }
  STATOR_TRY(payload.attributes, parse_attributes(kind, attributes));
  return payload;
}

}  // namespace stator
