// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/wgmma.h"

#include "backends/cuda/codegen/source_text.h"

namespace stator::cuda {
namespace {

/// "%first, %first+1, …"
std::string operands(int first, int count) {
  std::string s;
  for (int i = 0; i < count; ++i) s += (i == 0 ? "%" : ", %") + num(first + i);
  return s;
}

}  // namespace

const char* const kWgmmaFunctions = R"(
typedef unsigned long long u64;
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int N> __device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory");
}
__device__ __forceinline__ u64 panel(unsigned address, unsigned next) {
  return (1ull << 62) | (u64(1024 >> 4) << 32) | (u64((next & 0x3ffff) >> 4) << 16) |
         u64((address & 0x3ffff) >> 4);
}
__device__ __forceinline__ void barrier_init(unsigned at, int count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(at), "r"(count));
}
__device__ __forceinline__ void barrier_expect(unsigned at, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" :: "r"(at), "r"(bytes) : "memory");
}
__device__ __forceinline__ void barrier_arrive(unsigned at) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(at) : "memory");
}
__device__ __forceinline__ void barrier_wait(unsigned at, int parity) {
  asm volatile("{.reg .pred p;\n"
               "again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n"
               "@!p bra again;}" :: "r"(at), "r"(parity) : "memory");
}
__device__ __forceinline__ void copy_box(unsigned to, const TensorMap& map, unsigned barrier, int c0,
                                         int c1, int c2, int c3) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
               "[%0], [%1, {%3, %4, %5, %6}], [%2];"
               :: "r"(to), "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3) : "memory");
}
)";

std::string wgmma_function(const std::string& name, const WgmmaShape& shape) {
  const int registers = shape.n / 2, a = shape.a_in_registers ? 4 : 1;
  const bool bytes = is_byte(shape.dtype);
  const std::string types = shape.dtype == DType::kBFloat16  ? "k16.f32.bf16.bf16"
                            : shape.dtype == DType::kFloat16 ? "k16.f32.f16.f16"
                            : shape.dtype == DType::kUInt8   ? "k32.s32.u8.s8"
                                                             : "k32.s32.s8.s8";
  std::string s = "__device__ __forceinline__ void " + name + "(" + (bytes ? "int" : "float") +
                  " (&d)[" + num(registers) + "], " +
                  (shape.a_in_registers ? "const unsigned (&a)[4]" : "u64 a") +
                  ", u64 b, int accumulate) {\n";
  s += "  asm volatile(\"{.reg .pred p; setp.ne.b32 p, %" + num(registers + a + 1) + ", 0;\\n\"\n";
  s += "    \"wgmma.mma_async.sync.aligned.m64n" + num(shape.n) + types + " {" +
       operands(0, registers) + "}, ";
  s += shape.a_in_registers ? "{" + operands(registers, 4) + "}" : operands(registers, 1);
  s += ", " + operands(registers + a, 1) + ", p";
  if (!bytes) {
    s += std::string(", 1, 1") + (shape.a_in_registers ? "" : ", 0");
    s += shape.b_transposed ? ", 1" : ", 0";
  }
  s += ";}\\n\"\n    : ";
  for (int i = 0; i < registers; ++i) {
    s += std::string(i == 0 ? "" : ", ") + (bytes ? "\"+r\"" : "\"+f\"") + "(d[" + num(i) + "])";
  }
  s += "\n    : ";
  if (shape.a_in_registers) {
    s += "\"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3])";
  } else {
    s += "\"l\"(a)";
  }
  return s + ", \"l\"(b), \"r\"(accumulate));\n}\n";
}

}  // namespace stator::cuda
