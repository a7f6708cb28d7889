// SPDX-License-Identifier: Apache-2.0
//
// Recipes by which constants are packed when an engine is built or refitted: a strided view of f32
// data becomes panels of columns, [batch…][panel][k…][columns], the last panel filled with zeros.
// Or of bytes: an element of a panel then is four of them, neighbours along k.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "stator/result.h"
#include "stator/tensor_data.h"

namespace stator::cpu {

struct PackedDim {
  int64_t extent = 1;
  int64_t stride = 0;  // elements of the source
  friend bool operator==(const PackedDim&, const PackedDim&) = default;
};

struct PanelRecipe {
  int64_t columns = 32;          // of a panel
  PackedDim n;                   // what is cut into panels
  std::vector<PackedDim> k;      // what runs inside a panel, slowest first
  std::vector<PackedDim> batch;  // slowest first
  int64_t offset = 0;            // elements
  int64_t byte_stride = 0;       // of bytes: between the four of an element; 0: of f32

  int64_t panel_count() const { return (n.extent + columns - 1) / columns; }
  /// Makes one of bytes of it: the strides are in bytes from now on; the last dim of k, of that
  /// stride, counts groups of four.
  void group_bytes(int64_t stride);
  int64_t k_extent() const;
  int64_t batch_extent() const;
  int64_t size_bytes() const;
  /// "panels 32 n 64:576 k 3:3,3:1,64:9 batch - offset 0", and " bytes 9" behind it
  std::string str() const;
  static Result<PanelRecipe> parse(std::string_view text);
  friend bool operator==(const PanelRecipe&, const PanelRecipe&) = default;
};

/// The packed bytes; an error when the recipe reads past `source`.
Result<TensorData> pack_panels(const PanelRecipe& recipe, const TensorData& source);

}  // namespace stator::cpu
