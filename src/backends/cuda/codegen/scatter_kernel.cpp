// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/kernel_frame.h"
#include "backends/cuda/codegen/whole_kernels.h"
#include "layer/fault_site.h"

namespace stator::cuda {
namespace {

constexpr int kScatterThreads = 256;

// Sums of elements that the hardware adds up itself, and of smaller ones: by exchanging the word
// that they lie in.
const char* const kWordSum = R"(
  const auto add = [&](M* to, R value) {
    unsigned* word = (unsigned*)((unsigned long long)to & ~3ull);
    const unsigned shift = ((unsigned)(unsigned long long)to & 3) * 8;
    const unsigned mask = (sizeof(M) == 1 ? 0xffu : 0xffffu) << shift;
    unsigned seen = *(volatile unsigned*)word, old;
    do {
      old = seen;
      const R sum = (R)(from_memory((M)(old >> shift)) + value);
      const unsigned next = (old & ~mask) | (((unsigned)to_memory(sum) << shift) & mask);
      seen = atomicCAS(word, old, next);
    } while (seen != old);
  };
)";

std::string print_sum(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
    case DType::kFloat64:
    case DType::kInt32:
      return "  const auto add = [](M* to, R value) { atomicAdd(to, value); };\n";
    case DType::kInt64:
      return "  const auto add = [](M* to, R value) {\n"
             "    atomicAdd((unsigned long long*)to, (unsigned long long)value);\n  };\n";
    default:
      return "  const auto from_memory = [](M m) -> R { return " + from_memory(dtype, "m") +
             "; };\n  const auto to_memory = [](R r) -> M { return (M)" + to_memory(dtype, "r") +
             "; };\n" + kWordSum;
  }
}

std::string name(const char* what, size_t dim) { return what + std::to_string(dim); }

}  // namespace

GeneratedKernel generate_scatter(const ScatterRegion& scatter, const LoopRequest& request) {
  const size_t rank = scatter.extents.size();
  const auto axis = static_cast<size_t>(scatter.axis);
  const Expr total = product(scatter.extents);
  std::vector<std::pair<std::string, Expr>> constants = {{"TOTAL", total},
                                                         {"LIMIT", scatter.limit},
                                                         {"I", scatter.indices.offset},
                                                         {"U", scatter.updates.offset},
                                                         {"Y", scatter.y.offset}};
  for (size_t d = 0; d < rank; ++d) {
    constants.emplace_back(name("N", d), scatter.extents[d]);
    constants.emplace_back(name("I", d), scatter.indices.strides[d]);
    constants.emplace_back(name("U", d), scatter.updates.strides[d]);
    constants.emplace_back(name("Y", d), scatter.y.strides[d]);
  }
  const FaultSite site{scatter.error, scatter.dim, false};
  std::string s = whole_head(request, kScatterThreads, constants);
  s += std::string("  typedef ") + memory_type(scatter.dtype) + " M;\n  typedef " +
       register_type(scatter.dtype) + " R;\n";
  if (scatter.accumulate) s += print_sum(scatter.dtype);
  s += "  i64 rest = (i64)blockIdx.x * THREADS + threadIdx.x;\n  if (rest >= TOTAL) return;\n"
       "  i64 index = I, update = U, to = Y;\n";
  for (size_t d = rank; d-- > 0;) {
    const std::string at = d == 0 ? "rest" : "rest % " + name("N", d);
    s += "  { const i64 at = " + at + "; index += at * " + name("I", d) + "; update += at * " +
         name("U", d) + ";" + (d == axis ? "" : " to += at * " + name("Y", d) + ";") + " }\n";
    if (d > 0) s += "  rest /= " + name("N", d) + ";\n";
  }
  s += "  const i64 place = b1[index];\n"
       "  if ((unsigned long long)place >= (unsigned long long)LIMIT) {\n    report(fault, " +
       std::to_string(site.code()) + "ll, place, LIMIT);\n    return;\n  }\n";
  s += "  to += place * " + name("Y", axis) + ";\n";
  s += scatter.accumulate ? "  add(b3 + to, (R)" + from_memory(scatter.dtype, "b2[update]") + ");\n"
                          : "  b3[to] = b2[update];\n";
  return finish_kernel(request, s + "}\n", kScatterThreads, 0,
                       ceil_div(total, Expr(kScatterThreads)));
}

}  // namespace stator::cuda
