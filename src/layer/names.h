// SPDX-License-Identifier: Apache-2.0
//
// The reverse of name_of in stator/layer.h. Each gives false for a name that is not in its table.
#pragma once

#include <string_view>

#include "stator/layer.h"

namespace stator {

bool parse_name(std::string_view name, ElementwiseOp* op);
bool parse_name(std::string_view name, UnaryOp* op);
bool parse_name(std::string_view name, ReduceOp* op);
bool parse_name(std::string_view name, PoolOp* op);
bool parse_name(std::string_view name, PadMode* mode);
bool parse_name(std::string_view name, ResizeMode* mode);
bool parse_name(std::string_view name, ScanOp* op);
bool parse_name(std::string_view name, ScatterOp* op);
bool parse_name(std::string_view name, DataError* error);

/// The alternative of this kind with default attributes.
bool default_attributes(std::string_view kind, LayerAttributes* attributes);

}  // namespace stator
