// SPDX-License-Identifier: Apache-2.0
//
// JSON from files that may hold anything. The parser itself does not recurse, but printing,
// comparing and copying a value do: nesting is bounded before a text is parsed at all.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "stator/result.h"

namespace stator {

/// Deeper than anything that Stator or torch.export writes, and shallow enough for any stack.
inline constexpr int kMostJsonNesting = 200;

/// Whether lists and objects stand in one another at most kMostJsonNesting deep.
bool json_nesting_is_bounded(std::string_view text);
/// kInvalidFile where the text is no JSON or is nested too deep: "is no JSON (byte 17)", a clause
/// that follows the name of what was read.
Result<nlohmann::json> parse_json(std::string_view text);

}  // namespace stator
