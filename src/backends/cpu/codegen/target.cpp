// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/target.h"

#include <llvm/MC/TargetRegistry.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/Target/TargetMachine.h>
#include <llvm/TargetParser/Host.h>
#include <llvm/TargetParser/Triple.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "base/check.h"

extern "C" {
void LLVMInitializeX86Target();
void LLVMInitializeX86TargetInfo();
void LLVMInitializeX86TargetMC();
void LLVMInitializeX86AsmPrinter();
void LLVMInitializeAArch64Target();
void LLVMInitializeAArch64TargetInfo();
void LLVMInitializeAArch64TargetMC();
void LLVMInitializeAArch64AsmPrinter();
}

namespace stator::cpu {
namespace {

void initialize_targets() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeAArch64TargetInfo();
    LLVMInitializeAArch64Target();
    LLVMInitializeAArch64TargetMC();
    LLVMInitializeAArch64AsmPrinter();
  });
}

struct Level {
  const char* name;
  const char* features;
  std::vector<std::string> needs;
  VectorUnit unit;
};

const Level& x86_level(const std::string& name) {
  static const auto& levels = *new std::vector<Level>{
      {"avx512",
       "+avx512f,+avx512dq,+avx512bw,+avx512vl,+avx512cd,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt",
       {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd", "avx2", "fma", "f16c", "bmi",
        "bmi2"},
       {16, 32}},
      {"avx2",
       "+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt",
       {"avx2", "fma", "f16c", "bmi", "bmi2"},
       {8, 16}},
      // Rounding needs SSE4.1: there is no library to call it from.
      {"sse4.1", "+sse4.1", {"sse4.1"}, {4, 16}},
  };
  for (const Level& level : levels) {
    if (name == level.name) {
      return level;
    }
  }
  return levels.back();
}

bool has_all(const llvm::StringMap<bool>& features, const std::vector<std::string>& needs) {
  for (const std::string& need : needs) {
    if (!features.lookup(need)) {
      return false;
    }
  }
  return true;
}

}  // namespace

CpuTarget CpuTarget::host(bool hardware_compatible) {
  initialize_targets();
  CpuTarget target;
  target.triple = llvm::sys::getDefaultTargetTriple();
  if (!llvm::Triple(target.triple).isX86()) {
    target.cpu = "generic";
    target.name = "aarch64 neon";
    target.unit = {4, 32};
    return target;
  }
  const llvm::StringMap<bool> features = llvm::sys::getHostCPUFeatures();
  std::string level = "sse4.1";
  if (has_all(features, x86_level("avx2").needs)) {
    level = "avx2";
  }
  if (!hardware_compatible && has_all(features, x86_level("avx512").needs)) {
    level = "avx512";
  }
  if (const char* wanted = std::getenv("STATOR_CPU_ISA"); wanted != nullptr) {
    const int order = std::string(wanted) == "sse4.1" ? 0 : std::string(wanted) == "avx2" ? 1 : 2;
    const int have = level == "sse4.1" ? 0 : level == "avx2" ? 1 : 2;
    level = order < have ? wanted : level;
  }
  const Level& chosen = x86_level(level);
  target.features = chosen.features;
  target.needs = chosen.needs;
  target.unit = chosen.unit;
  target.name = "x86-64 " + level;
  const std::string sums = level == "avx512" ? "avx512vnni" : level == "avx2" ? "avxvnni" : "";
  if (!hardware_compatible && features.lookup(sums)) {
    target.features += ",+" + sums;
    target.needs.push_back(sums);
    target.unit.byte_products = true;
    target.name += " vnni";
  }
  if (level == "avx512") {
    target.features += ",-prefer-256-bit";
  }
  target.cpu = hardware_compatible || level == "sse4.1" ? "x86-64"
               : level == "avx512"                      ? "x86-64-v4"
                                                        : "x86-64-v3";
  return target;
}

std::string host_model() {
  const long l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
  return llvm::sys::getHostCPUName().str() + " l2 " + std::to_string(std::max(l2, 0L) / 1024) +
         " KiB";
}

std::unique_ptr<llvm::TargetMachine> CpuTarget::machine() const {
  initialize_targets();
  std::string error;
  const llvm::Target* found = llvm::TargetRegistry::lookupTarget(triple, error);
  STATOR_CHECK(found != nullptr, "LLVM has no target for " + triple + ": " + error);
  llvm::TargetOptions options;
  options.AllowFPOpFusion = llvm::FPOpFusion::Standard;
  return std::unique_ptr<llvm::TargetMachine>(
      found->createTargetMachine(triple, cpu, features, options, llvm::Reloc::PIC_,
                                 llvm::CodeModel::Small, llvm::CodeGenOptLevel::Default));
}

}  // namespace stator::cpu
