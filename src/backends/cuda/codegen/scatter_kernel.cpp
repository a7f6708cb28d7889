// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/kernel_frame.h"
#include "backends/cuda/codegen/whole_kernels.h"
#include "layer/fault_site.h"

namespace stator::cuda {
namespace {

constexpr int kScatterThreads = 256;

// Before them stand the types M in memory and R in registers, and combine(R, R). What the hardware
// does not do itself exchanges the word that the element lies in, until nobody else has changed it
// in between; W is that word, as wide as the element or of 32 bits.
const char* const kExchange = R"(
  const auto write = [&](M* to, R value) {
    W* word = (W*)((unsigned long long)to & ~(unsigned long long)(sizeof(W) - 1));
    const unsigned shift = ((unsigned)(unsigned long long)to & (sizeof(W) - 1)) * 8;
    const W mask = (~(W)0 >> (8 * (sizeof(W) - sizeof(M)))) << shift;
    W seen = *(volatile W*)word, old;
    do {
      old = seen;
      const W next = (old & ~mask) | (bits_of(combine(value_of((old & mask) >> shift), value)) << shift);
      if (next == old) return;
      seen = atomicCAS(word, old, next);
    } while (seen != old);
  };
)";

/// combine(old, update): NaN wins over what is greater or less.
std::string print_combine(ScatterOp op, DType dtype) {
  const std::string head = "  const auto combine = [](R old, R update) -> R { return ";
  switch (op) {
    case ScatterOp::kAdd:
      return head + "(R)(old + update); };\n";
    case ScatterOp::kMul:
      return head +
             (is_integral(dtype) ? "(R)((unsigned long long)old * (unsigned long long)update)"
                                 : "old * update") +
             "; };\n";
    case ScatterOp::kMax:
      return head + "update != update || old < update ? update : old; };\n";
    default:
      return head + "update != update || update < old ? update : old; };\n";
  }
}

/// value_of(W) and bits_of(R): an element in the low bits of a word.
std::string print_word(DType dtype) {
  const bool wide = dtype_bytes(dtype) == 8;
  std::string s = std::string("  typedef unsigned ") + (wide ? "long long" : "int") + " W;\n";
  if (dtype == DType::kFloat32) {
    s += "  const auto value_of = [](W w) -> R { return __uint_as_float(w); };\n"
         "  const auto bits_of = [](R r) -> W { return __float_as_uint(r); };\n";
  } else if (dtype == DType::kFloat64) {
    s += "  const auto value_of = [](W w) -> R { return __longlong_as_double((i64)w); };\n"
         "  const auto bits_of = [](R r) -> W { return (W)__double_as_longlong(r); };\n";
  } else {
    const int bytes = static_cast<int>(dtype_bytes(dtype));
    const std::string mask = bytes == 1 ? " & 0xffu" : bytes == 2 ? " & 0xffffu" : "";
    s += "  const auto value_of = [](W w) -> R { const M m = (M)w; return " +
         from_memory(dtype, "m") + "; };\n  const auto bits_of = [](R r) -> W { return (W)(M)" +
         to_memory(dtype, "r") + mask + "; };\n";
  }
  return s;
}

/// write(M*, R) of updates that are not put.
std::string print_write(ScatterOp op, DType dtype) {
  const bool native_sum =
      op == ScatterOp::kAdd && (dtype == DType::kFloat32 || dtype == DType::kFloat64 ||
                                dtype == DType::kInt32 || dtype == DType::kInt64);
  const bool native_extreme = (op == ScatterOp::kMax || op == ScatterOp::kMin) &&
                              (dtype == DType::kInt32 || dtype == DType::kInt64);
  if (!native_sum && !native_extreme)
    return print_combine(op, dtype) + print_word(dtype) + kExchange;
  const char* function = native_sum              ? "atomicAdd"
                         : op == ScatterOp::kMax ? "atomicMax"
                                                 : "atomicMin";
  // Sums of two's complement are the same with and without signs; extremes are not.
  const std::string type = dtype != DType::kInt64 ? "R" : native_sum ? "unsigned long long" : "i64";
  return "  const auto write = [](M* to, R value) { " + std::string(function) + "((" + type +
         "*)to, (" + type + ")value); };\n";
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
  const bool puts = scatter.op == ScatterOp::kPut;
  if (!puts) s += print_write(scatter.op, scatter.dtype);
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
  s += puts ? "  b3[to] = b2[update];\n"
            : "  write(b3 + to, (R)" + from_memory(scatter.dtype, "b2[update]") + ");\n";
  return finish_kernel(request, s + "}\n", kScatterThreads, 0,
                       ceil_div(total, Expr(kScatterThreads)));
}

}  // namespace stator::cuda
