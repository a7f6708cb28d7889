// SPDX-License-Identifier: Apache-2.0
//
// The machine that code is generated for: instruction set, vector width, registers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backends/cpu/codegen/gemm_host.h"

namespace llvm {
class TargetMachine;
}

namespace stator::cpu {

struct CpuTarget {
  std::string triple, cpu, features;  // as LLVM writes them
  std::string name;                   // "x86-64 avx512"
  std::vector<std::string> needs;     // features that the machine must have to run the code
  VectorUnit unit;

  /// This machine, or the portable baseline (x86-64-v3, AArch64) where `hardware_compatible`.
  /// STATOR_CPU_ISA = avx512, avx2 or sse4.1 lowers it, for tests of the other widths.
  static CpuTarget host(bool hardware_compatible);
  /// A machine for one thread's use.
  std::unique_ptr<llvm::TargetMachine> machine() const;
};

/// The microarchitecture and its second-level cache: "sapphirerapids l2 2048 KiB". Timings of one
/// model say little about another.
std::string host_model();

}  // namespace stator::cpu
