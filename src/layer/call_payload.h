// SPDX-License-Identifier: Apache-2.0
//
// A layer as the payload of a kernel that the reference backend's executor runs: how many inputs
// and outputs it has, its kind and attributes. "2 1 gather {axis = 0, wrap = false}".
#pragma once

#include <string>

#include "stator/layer.h"

namespace stator {

struct CallPayload {
  int64_t inputs = 0, outputs = 0;
  LayerAttributes attributes;
};

std::string print_call_payload(const CallPayload& payload);
/// kInvalidFile when the text is none.
Result<CallPayload> parse_call_payload(const std::string& text);

}  // namespace stator
