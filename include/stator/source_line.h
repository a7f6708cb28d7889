// SPDX-License-Identifier: Apache-2.0
//
// Where in the user's model an operation stands, for messages, reports and profiles.
#pragma once

#include <string>

namespace stator {

struct SourceLine {
  std::string file;  // "model.py"
  int line = 0;
  std::string function;  // "forward"
  std::string text;      // "x = self.conv1(x)"; may be empty
  std::string module;    // module path: "encoder.layers.0.attention"; may be empty
  /// "model.py:57 in forward:  x = self.conv1(x)", or "" when unknown.
  std::string str() const;
};

/// Which ATen node something came from.
struct Provenance {
  std::string node;    // "conv2d_7"
  std::string target;  // "aten.convolution.default"
  SourceLine source;
};

}  // namespace stator
