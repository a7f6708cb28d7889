// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/run/features.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace stator {
namespace {

#if defined(__x86_64__)

/// Whether the operating system saves the given XCR0 state (bit 1, 2: AVX; 5, 6, 7: AVX-512).
bool saves_state(uint64_t mask) {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid(1, &a, &b, &c, &d) == 0 || (c & (1u << 27)) == 0) {
    return false;
  }
  unsigned low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (low & mask) == mask;
}

struct Feature {
  const char* name;
  unsigned leaf, subleaf;
  int reg;  // 0 eax, 1 ebx, 2 ecx, 3 edx
  int bit;
  uint64_t state;
};

constexpr uint64_t kAvx = 0x6, kAvx512 = 0xe6;
// Intel SDM volume 2, CPUID.
constexpr Feature kFeatures[] = {
    {"sse2", 1, 0, 3, 26, 0},           {"sse3", 1, 0, 2, 0, 0},
    {"ssse3", 1, 0, 2, 9, 0},           {"sse4.1", 1, 0, 2, 19, 0},
    {"sse4.2", 1, 0, 2, 20, 0},         {"popcnt", 1, 0, 2, 23, 0},
    {"avx", 1, 0, 2, 28, kAvx},         {"f16c", 1, 0, 2, 29, kAvx},
    {"fma", 1, 0, 2, 12, kAvx},         {"bmi", 7, 0, 1, 3, 0},
    {"avx2", 7, 0, 1, 5, kAvx},         {"bmi2", 7, 0, 1, 8, 0},
    {"avx512f", 7, 0, 1, 16, kAvx512},  {"avx512dq", 7, 0, 1, 17, kAvx512},
    {"avx512cd", 7, 0, 1, 28, kAvx512}, {"avx512bw", 7, 0, 1, 30, kAvx512},
    {"avx512vl", 7, 0, 1, 31, kAvx512}, {"avx512vnni", 7, 0, 2, 11, kAvx512},
    {"avxvnni", 7, 1, 0, 4, kAvx},      {"avx512bf16", 7, 1, 0, 5, kAvx512},
};

bool has(const std::string& name) {
  for (const Feature& feature : kFeatures) {
    if (name == feature.name) {
      unsigned regs[4] = {0, 0, 0, 0};
      return __get_cpuid_count(feature.leaf, feature.subleaf, &regs[0], &regs[1], &regs[2],
                               &regs[3]) != 0 &&
             (regs[feature.reg] & (1u << feature.bit)) != 0 &&
             (feature.state == 0 || saves_state(feature.state));
    }
  }
  return false;
}

#else

/// AArch64 code is generated for its baseline, which every machine has.
bool has(const std::string& name) { return name == "neon" || name == "fp-armv8"; }

#endif

}  // namespace

std::vector<std::string> missing_cpu_features(const std::vector<std::string>& needed) {
  std::vector<std::string> missing;
  for (const std::string& name : needed) {
    if (!has(name)) {
      missing.push_back(name);
    }
  }
  return missing;
}

}  // namespace stator
