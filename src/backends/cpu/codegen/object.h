// SPDX-License-Identifier: Apache-2.0
//
// LLVM modules → objects → one position-independent image that refers to nothing outside itself.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/codegen/target.h"
#include "stator/result.h"

namespace stator::cpu {

/// Optimizes the module and gives its object file's bytes.
Result<std::string> compile_module(llvm::Module& module, llvm::TargetMachine& machine);

struct CodeImage {
  std::string bytes;
  std::map<std::string, int64_t> entries;  // symbol → offset
};

/// Lays the code and constants of ELF objects out one after another and resolves what they refer to
/// among themselves. kInternal names a symbol that none of them defines. Relocation types: System V
/// ABI, AMD64 supplement 1.0, table 4.9; ELF for the Arm 64-bit architecture.
Result<CodeImage> link_objects(const std::vector<std::string>& objects);

}  // namespace stator::cpu
