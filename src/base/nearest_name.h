// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

namespace stator {

/// The candidate with the least edit distance to `name`, for "did you mean"; "" when there is none.
std::string nearest_name(const std::string& name, const std::vector<std::string>& candidates);

}  // namespace stator
