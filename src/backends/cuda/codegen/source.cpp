// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/source.h"

#include "base/check.h"
#include "layer/fault_site.h"

namespace stator::cuda {

void SourceWriter::line(const std::string& text) {
  if (!text.empty() && text.front() == '}') --depth_;
  text_ += std::string(static_cast<size_t>(2 * depth_), ' ') + text + "\n";
  if (!text.empty() && text.back() == '{') ++depth_;
}

static_assert(kDivisionSite.code() == 8, "the prelude says so too");
const char* const kPrelude = R"(typedef long long i64;
typedef signed char i8;
typedef unsigned char u8;
#define INFINITY __int_as_float(0x7f800000)
#define NAN __int_as_float(0x7fffffff)
template <typename T, int N> struct alignas(sizeof(T) * N) Vec { T e[N]; };
// Programmatic dependent launch (compute capability 9.0), KernelPayload::overlaps: waits for the
// kernel before this one; lets the next one's blocks come.
__device__ __forceinline__ void wait_for_previous() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ __forceinline__ void let_next_come() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
__device__ __forceinline__ void begin_kernel() {
  let_next_come();
  wait_for_previous();
}
struct alignas(64) TensorMap { unsigned long long words[16]; };
__device__ __forceinline__ float bf16_to_f32(unsigned short h) {
  return __uint_as_float(static_cast<unsigned>(h) << 16);
}
__device__ __forceinline__ unsigned short f32_to_bf16(float f) {
  unsigned short h;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(h) : "f"(f));
  return h;
}
__device__ __forceinline__ float f16_to_f32(unsigned short h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h));
  return f;
}
__device__ __forceinline__ unsigned short f32_to_f16(float f) {
  unsigned short h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(f));
  return h;
}
template <typename T> __device__ __forceinline__ bool is_nan(T x) { return x != x; }
template <typename T> __device__ __forceinline__ T nan_max(T a, T b) {
  return is_nan(a) || a > b ? a : b;
}
template <typename T> __device__ __forceinline__ T nan_min(T a, T b) {
  return is_nan(a) || a < b ? a : b;
}
template <> __device__ __forceinline__ float nan_max(float a, float b) {
  float r;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
template <> __device__ __forceinline__ float nan_min(float a, float b) {
  float r;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
__device__ __forceinline__ float sigmoid_of(float x) { return 1.0f / (1.0f + expf(-x)); }
__device__ __forceinline__ double sigmoid_of(double x) { return 1.0 / (1.0 + exp(-x)); }
__device__ __forceinline__ float fast_sigmoid(float x) {
  return __fdividef(1.0f, 1.0f + __expf(-x));
}
__device__ __forceinline__ float fast_tanh(float x) {
  return 1.0f - __fdividef(2.0f, 1.0f + __expf(2.0f * x));
}
// x Phi(x) = max(x, 0) - |x| erfc(|x| / sqrt 2) / 2, for results that are rounded to a half: erfc is
// exp(-z z) times a polynomial of 1 / (1 + 0.415 z), fitted to 1.3e-4 of relative error everywhere.
// Infinity and NaN come out as the definition gives them.
__device__ __forceinline__ float fast_gelu(float x) {
  float size = fabsf(x), a = fminf(size, 100.0f);
  float t = __fdividef(1.0f, fmaf(0.293449314f, a, 1.0f));
  float p = fmaf(t, 0.240208045f, -0.004091425f);
  p = fmaf(t, p, 0.150484465f);
  p = fmaf(t, p, 0.11346224f) * t;
  float e;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(a * a * -0.72134752f));
  return fmaf(-a, p * e, fmaf(0.5f, x, 0.5f * size));
}
template <typename T> __device__ __forceinline__ T softplus_of(T x) {
  return x > T(20) ? x : log1p(exp(x));
}
template <typename T> __device__ __forceinline__ T real_mod(T a, T b) {
  T m = fmod(a, b);
  return m != T(0) && (b < T(0)) != (m < T(0)) ? m + b : m;
}
template <typename T> __device__ __forceinline__ T real_floor_div(T a, T b) {
  if (b == T(0)) return a / b;
  T m = fmod(a, b), d = (a - m) / b;
  if (m != T(0) && (b < T(0)) != (m < T(0))) d -= T(1);
  if (d == T(0)) return copysign(T(0), a / b);
  T f = floor(d);
  return d - f > T(0.5) ? f + T(1) : f;
}
constexpr i64 kDivision = 8;
struct Fault { i64* record; i64 step; };
__device__ __noinline__ void report(Fault at, i64 code, i64 value, i64 limit) {
  if (atomicCAS((unsigned long long*)(at.record + 3), 0ull, 1ull) != 0) return;
  volatile i64* record = at.record;
  record[1] = value;
  record[2] = limit;
  __threadfence_system();
  record[0] = code | at.step << 32;
}
template <typename T>
__device__ __forceinline__ T checked(i64 x, i64 limit, T y, bool wanted, i64 code,
                                     Fault fault) {
  if ((unsigned long long)x < (unsigned long long)limit) return y;
  if (wanted) report(fault, code, x, limit);
  return T(0);
}
// -1, by which the least number has no quotient; of unsigned numbers it is the greatest.
template <typename T> __device__ __forceinline__ bool is_minus_one(T b) {
  return T(-1) < T(0) && b == T(-1);
}
template <typename T> __device__ __forceinline__ T whole_div(T a, T b, Fault fault) {
  if (b == T(0)) { report(fault, kDivision, 0, 0); return T(0); }
  return is_minus_one(b) ? T(T(0) - a) : T(a / b);
}
template <typename T> __device__ __forceinline__ T whole_floor_div(T a, T b, Fault fault) {
  T q = whole_div(a, b, fault);
  return b != T(0) && !is_minus_one(b) && a % b != T(0) && (a < T(0)) != (b < T(0)) ? T(q - 1) : q;
}
template <typename T> __device__ __forceinline__ T whole_fmod(T a, T b, Fault fault) {
  if (b == T(0)) { report(fault, kDivision, 0, 0); return T(0); }
  return is_minus_one(b) ? T(0) : T(a % b);
}
template <typename T> __device__ __forceinline__ T whole_mod(T a, T b, Fault fault) {
  T m = whole_fmod(a, b, fault);
  return m != T(0) && (m < T(0)) != (b < T(0)) ? T(m + b) : m;
}
// By a number that is negative or not below the width, C++ leaves a shift undefined.
template <typename T> __device__ __forceinline__ T shifted_left(T a, T b) {
  return b < T(0) || b >= T(8 * sizeof(T)) ? T(0) : T((unsigned long long)a << b);
}
template <typename T> __device__ __forceinline__ T shifted_right(T a, T b) {
  return b < T(0) || b >= T(8 * sizeof(T)) ? T(a < T(0) ? -1 : 0) : T(a >> b);
}
template <typename T> __device__ __forceinline__ T whole_pow(T a, T b) {
  if (b < T(0)) return a == T(1) ? T(1) : is_minus_one(a) ? T(b % 2 == 0 ? 1 : -1) : T(0);
  T r = 1;
  for (; b > T(0); b = T(b / 2), a = T(a * a)) if (b % 2 != 0) r = T(r * a);
  return r;
}
template <typename To, typename From> __device__ __forceinline__ To real_to_whole(From x) {
  if (!(x >= From(-9223372036854775808.0) && x < From(9223372036854775808.0)))
    return To(i64(1) << 63);
  return To(static_cast<i64>(x));
}
struct Sum { template <typename T> static __device__ T of(T a, T b) { return T(a + b); } };
struct Prod { template <typename T> static __device__ T of(T a, T b) { return T(a * b); } };
struct Max { template <typename T> static __device__ T of(T a, T b) { return nan_max(a, b); } };
struct Min { template <typename T> static __device__ T of(T a, T b) { return nan_min(a, b); } };
struct Any { template <typename T> static __device__ T of(T a, T b) { return T(a | b); } };
struct All { template <typename T> static __device__ T of(T a, T b) { return T(a & b); } };
template <typename T> __device__ __forceinline__ T shuffle_xor(T v, int mask) {
  return __shfl_xor_sync(0xffffffffu, v, mask);
}
template <> __device__ __forceinline__ bool shuffle_xor(bool v, int mask) {
  return __shfl_xor_sync(0xffffffffu, int(v), mask) != 0;
}
template <> __device__ __forceinline__ short shuffle_xor(short v, int mask) {
  return short(__shfl_xor_sync(0xffffffffu, int(v), mask));
}
template <> __device__ __forceinline__ signed char shuffle_xor(signed char v, int mask) {
  return (signed char)(__shfl_xor_sync(0xffffffffu, int(v), mask));
}
template <> __device__ __forceinline__ unsigned char shuffle_xor(unsigned char v, int mask) {
  return (unsigned char)(__shfl_xor_sync(0xffffffffu, int(v), mask));
}
// Folds `v` over GROUP neighbouring threads; all of them get the result.
template <typename Op, int GROUP, typename T> __device__ __forceinline__ T fold(T v) {
#pragma unroll
  for (int mask = (GROUP < 32 ? GROUP : 32) / 2; mask > 0; mask /= 2)
    v = Op::of(v, shuffle_xor(v, mask));
  if (GROUP > 32) {
    __shared__ T parts[32];
    __syncthreads();
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = v;
    __syncthreads();
    v = parts[0];
    for (int i = 1; i < GROUP / 32; ++i) v = Op::of(v, parts[i]);
  }
  return v;
}
// Folds `v` over the SLICES threads that are ACROSS apart; all of them get the result.
template <typename Op, int ACROSS, int SLICES, int N, typename T>
__device__ __forceinline__ void fold_slices(T (&v)[N]) {
  __shared__ T parts[ACROSS * SLICES * N];
  T* mine = parts + threadIdx.x * N;
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; ++i) mine[i] = v[i];
#pragma unroll
  for (int apart = SLICES / 2; apart > 0; apart /= 2) {
    __syncthreads();
    if (threadIdx.x < apart * ACROSS) {
#pragma unroll
      for (int i = 0; i < N; ++i) mine[i] = Op::of(mine[i], mine[i + apart * ACROSS * N]);
    }
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < N; ++i) v[i] = parts[threadIdx.x % ACROSS * N + i];
}
template <typename Op, int ACROSS, int SLICES, typename T>
__device__ __forceinline__ void fold_slices(T& v) {
  T one[1] = {v};
  fold_slices<Op, ACROSS, SLICES, 1, T>(one);
  v = one[0];
}
)";

const char* memory_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat16:
    case DType::kBFloat16:
      return "unsigned short";
    case DType::kBool:
      return "unsigned char";
    default:
      return register_type(dtype);
  }
}

const char* register_type(DType dtype) {
  switch (dtype) {
    case DType::kFloat16:
    case DType::kBFloat16:
    case DType::kFloat32:
      return "float";
    case DType::kFloat64:
      return "double";
    case DType::kInt8:
      return "i8";
    case DType::kUInt8:
      return "u8";
    case DType::kInt16:
      return "short";
    case DType::kInt32:
      return "int";
    case DType::kInt64:
      return "i64";
    case DType::kBool:
      return "bool";
    default:
      STATOR_CHECK(false, std::string(dtype_name(dtype)) + " is not generated");
  }
}

std::string from_memory(DType dtype, const std::string& value) {
  switch (dtype) {
    case DType::kFloat16:
      return "f16_to_f32(" + value + ")";
    case DType::kBFloat16:
      return "bf16_to_f32(" + value + ")";
    case DType::kBool:
      return "(" + value + " != 0)";
    default:
      return value;
  }
}

std::string to_memory(DType dtype, const std::string& value) {
  switch (dtype) {
    case DType::kFloat16:
      return "f32_to_f16(" + value + ")";
    case DType::kBFloat16:
      return "f32_to_bf16(" + value + ")";
    case DType::kBool:
      return "(unsigned char)(" + value + ")";
    default:
      return value;
  }
}

}  // namespace stator::cuda
