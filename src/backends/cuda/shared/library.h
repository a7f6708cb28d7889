// SPDX-License-Identifier: Apache-2.0
//
// NVIDIA's libraries, opened when first needed: one build works with and without them. Looked for
// among the libraries that the process has already loaded (PyTorch brings its own), then by the
// dynamic linker, then in pip's packages beside this program or in $VIRTUAL_ENV, then in
// /usr/local/cuda.
#pragma once

#include <string>
#include <vector>

#include "stator/result.h"

namespace stator::cuda {

/// `names`: sonames, the preferred first. kUnsupported says where it was looked for.
Result<void*> open_library(const std::vector<std::string>& names);
/// A function of an open library.
Result<void*> find_symbol(void* library, const char* name);

/// Fills `*slot` with the function of that name.
template <typename Function>
Status bind_symbol(void* library, const char* name, Function* slot) {
  Result<void*> symbol = find_symbol(library, name);
  if (!symbol.ok()) {
    return symbol.error();
  }
  *slot = reinterpret_cast<Function>(*symbol);
  return {};
}

}  // namespace stator::cuda
