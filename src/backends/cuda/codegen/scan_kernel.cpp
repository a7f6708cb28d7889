// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/kernel_frame.h"
#include "backends/cuda/codegen/whole_kernels.h"
#include "base/check.h"
#include "base/float_element.h"
#include "layer/scan_places.h"

namespace stator::cuda {
namespace {

constexpr int kScanThreads = 256;
constexpr int kItems = 4;  // neighbours that a thread of a row takes

// Before them stand LENGTH, INNER, COLUMNS, THREADS, ITEMS; the type V of what is carried along,
// neutral(), load(i), combine(earlier, later), store(i, V).
const char* const kRowBody = R"(
  __shared__ V totals[THREADS];
  const int t = (int)threadIdx.x;
  const i64 row = (i64)blockIdx.x * LENGTH;
  V carry = neutral();
  for (i64 begin = 0; begin < LENGTH; begin += THREADS * ITEMS) {
    V mine[ITEMS];
    V total = neutral();
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
      const i64 i = begin + (i64)t * ITEMS + k;
      total = i < LENGTH ? combine(total, load(row + i, i)) : total;
      mine[k] = total;
    }
    totals[t] = total;
    __syncthreads();
    for (int d = 1; d < THREADS; d *= 2) {
      const V before = t >= d ? totals[t - d] : neutral();
      __syncthreads();
      totals[t] = combine(before, totals[t]);
      __syncthreads();
    }
    const V before = t > 0 ? combine(carry, totals[t - 1]) : carry;
#pragma unroll
    for (int k = 0; k < ITEMS; ++k) {
      const i64 i = begin + (i64)t * ITEMS + k;
      if (i < LENGTH) store(row + i, combine(before, mine[k]));
    }
    carry = combine(carry, totals[THREADS - 1]);
    __syncthreads();
  }
}
)";

const char* const kColumnBody = R"(
  const i64 column = (i64)blockIdx.x * THREADS + threadIdx.x;
  if (column >= COLUMNS) return;
  i64 at = column / INNER * LENGTH * INNER + column % INNER;
  V total = neutral();
  for (i64 i = 0; i < LENGTH; ++i, at += INNER) {
    total = combine(total, load(at, i));
    store(at, total);
  }
}
)";

/// What sums and products are carried in: PyTorch's GPU kernels add halves up in float, too.
std::string sum_type(DType dtype) {
  return is_floating_point(dtype) ? register_type(dtype) : "unsigned long long";
}

std::string print_sum(const ScanRegion& scan) {
  const bool product = scan.op == ScanOp::kProd;
  const std::string type = register_type(scan.dtype);
  std::string s = "  typedef " + sum_type(scan.dtype) + " V;\n";
  s += std::string("  const auto neutral = [] { return V(") + (product ? "1" : "0") + "); };\n";
  s += "  const auto load = [&](i64 at, i64) { return V(" + from_memory(scan.dtype, "b0[at]") +
       "); };\n";
  s += std::string("  const auto combine = [](V a, V b) { return a ") + (product ? "*" : "+") +
       " b; };\n";
  s += "  const auto store = [&](i64 at, V v) { b1[at] = " +
       to_memory(scan.dtype, "(" + type + ")v") + "; };\n";
  return s;
}

/// Of two equal infinities the difference is none; NaN is neither less nor more and stays.
std::string print_log_sum_exp(const ScanRegion& scan) {
  const std::string type = register_type(scan.dtype);
  const bool wide = scan.dtype == DType::kFloat64;
  const std::string infinity =
      wide ? "__longlong_as_double(0xfff0000000000000ll)" : "__int_as_float(0xff800000)";
  const std::string suffix = wide ? "" : "f";
  std::string s = "  typedef " + type + " V;\n";
  s += "  const auto neutral = [] { return " + infinity + "; };\n";
  s += "  const auto load = [&](i64 at, i64) { return V(" + from_memory(scan.dtype, "b0[at]") +
       "); };\n";
  s += "  const auto combine = [](V a, V b) -> V {\n    if (a == b && isinf(a)) return a;\n"
       "    const V least = b < a ? b : a, most = b < a ? a : b;\n    return log1p" +
       suffix + "(exp" + suffix + "(least - most)) + most;\n  };\n";
  s += "  const auto store = [&](i64 at, V v) { b1[at] = " + to_memory(scan.dtype, "v") + "; };\n";
  return s;
}

/// NaN stays, and what comes last wins among equals. No element is no place.
std::string print_extreme(const ScanRegion& scan) {
  const std::string type = register_type(scan.dtype);
  const std::string memory = memory_type(scan.dtype);
  const auto value = [&](const char* name) {
    return from_memory(scan.dtype, std::string(name) + ".value");
  };
  std::string s = "  struct V { i64 place; " + memory + " value; };\n";
  s += "  const auto neutral = [] { return V{-1, 0}; };\n";
  s += "  const auto load = [&](i64 at, i64 i) { return V{i, b0[at]}; };\n";
  s += "  const auto combine = [](V a, V b) {\n    if (a.place < 0) return b;\n";
  s += "    if (b.place < 0) return a;\n";
  s += "    const " + type + " x = " + value("a") + ", y = " + value("b") + ";\n";
  s += std::string("    return y != y || (x == x && y ") + (scan.op == ScanOp::kMax ? ">=" : "<=") +
       " x) ? b : a;\n  };\n";
  s += "  const auto store = [&](i64 at, V v) { b1[at] = v.value; b2[at] = v.place; };\n";
  return s;
}

}  // namespace

std::string whole_head(const LoopRequest& request, int threads,
                       const std::vector<std::pair<std::string, Expr>>& constants) {
  const KernelScope scope = make_scope(request);
  SourceWriter unused;
  const OpPrinter printer(scope, unused, "");
  std::string s = kernel_head(request, scope, std::to_string(threads));
  s += "  constexpr int THREADS = " + std::to_string(threads) + ";\n";
  for (const auto& [name, value] : constants) {
    const std::string type = value.is_constant() ? "constexpr i64 " : "const i64 ";
    s += "  " + type + name + " = " + printer.index(value, PrintPoint{}, "") + ";\n";
  }
  return s;
}

GeneratedKernel generate_scan(const ScanRegion& scan, const LoopRequest& request) {
  const bool rows = scan.inner.is_constant(1);
  const Expr columns = scan.outer * scan.inner;
  std::string s =
      whole_head(request, kScanThreads,
                 {{"LENGTH", scan.length}, {"INNER", scan.inner}, {"COLUMNS", columns}});
  s += "  constexpr int ITEMS = " + std::to_string(kItems) + ";\n";
  s += has_places(scan.op)             ? print_extreme(scan)
       : scan.op == ScanOp::kLogSumExp ? print_log_sum_exp(scan)
                                       : print_sum(scan);
  s += rows ? kRowBody : kColumnBody;
  return finish_kernel(request, s, kScanThreads, 0,
                       rows ? columns : ceil_div(columns, Expr(kScanThreads)));
}

}  // namespace stator::cuda
