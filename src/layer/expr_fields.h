// SPDX-License-Identifier: Apache-2.0
//
// The sizes among a layer's attributes: what a kernel gets as numbers at run time.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "stator/layer.h"

namespace stator {

/// Every Expr in the order of visit(), lists flattened.
std::vector<Expr> expr_fields(const LayerAttributes& attributes);
/// The same attributes with those fields set to `values`, which holds one for each.
LayerAttributes with_sizes(const LayerAttributes& attributes, const int64_t* values);
/// The same attributes with symbols replaced.
LayerAttributes substitute(const LayerAttributes& attributes,
                           const std::map<std::string, Expr>& values);

}  // namespace stator
