// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/depthwise_kernel.h"

#include "backends/cuda/codegen/kernel_frame.h"
#include "backends/cuda/codegen/source_text.h"
#include "base/check.h"

namespace stator::cuda {
namespace {

constexpr int kDepthwiseThreads = 128;

/// Results of a strip: a divisor of the width where there is a good one.
int strip_length(const ConvolutionContraction& c, int channels) {
  const Expr& width = c.y_shape[2];
  const int most = channels >= 8 ? 4 : 8;  // registers
  if (width.is_constant()) {
    for (int length = most; length >= most / 2; --length) {
      if (width.constant() % length == 0) return length;
    }
  }
  return 4;
}

// Before it stand C, KH, KW, SH, SW, DH, DW, PH, PW, V (channels), STRIP, H, W, OH, OW, N, the
// pointers x and w, T (in memory), to_float(T).
const char* const kDepthwiseBody = R"(
  const int strips = (OW + STRIP - 1) / STRIP;
  const i64 t = (i64)blockIdx.x * blockDim.x + threadIdx.x;
  if (t >= (i64)N * OH * strips * (C / V)) return;
  const int channel = (int)(t % (C / V)) * V;
  i64 rest = t / (C / V);
  const int first = (int)(rest % strips) * STRIP;
  rest /= strips;
  const int oy = (int)(rest % OH), n = (int)(rest / OH);
  float acc[STRIP][V];
#pragma unroll
  for (int o = 0; o < STRIP; ++o) {
#pragma unroll
    for (int v = 0; v < V; ++v) acc[o][v] = 0.0f;
  }
#pragma unroll 1
  for (int ky = 0; ky < KH; ++ky) {
    const int iy = oy * SH - PH + ky * DH;
    if (iy < 0 || iy >= H) continue;
    float weight[KW][V];
#pragma unroll
    for (int kx = 0; kx < KW; ++kx) {
      const Vec<T, V> k = *(const Vec<T, V>*)(w + (ky * KW + kx) * C + channel);
#pragma unroll
      for (int v = 0; v < V; ++v) weight[kx][v] = to_float(k.e[v]);
    }
    const T* row = x + (((i64)n * H + iy) * W) * C + channel;
#pragma unroll
    for (int i = 0; i < (STRIP - 1) * SW + (KW - 1) * DW + 1; ++i) {
      const int ix = first * SW - PW + i;
      Vec<T, V> value = {};
      if (ix >= 0 && ix < W) value = *(const Vec<T, V>*)(row + ix * C);
#pragma unroll
      for (int kx = 0; kx < KW; ++kx) {
        const int from = i - kx * DW;
        if (from < 0 || from % SW != 0 || from / SW >= STRIP) continue;
#pragma unroll
        for (int v = 0; v < V; ++v)
          acc[from / SW][v] = fmaf(to_float(value.e[v]), weight[kx][v], acc[from / SW][v]);
      }
    }
  }
)";

std::string print_epilogue(const LoopRequest& request, const KernelScope& scope, int channels) {
  SourceWriter out;
  out.line("#pragma unroll");
  out.line("for (int o = 0; o < STRIP; ++o) {");
  out.line("const " + scope.index_type + " ox = first + o;");
  out.line("if (ox >= OW) break;");
  PrintPoint point;
  point.index = {"n", "oy", "ox", "channel"};
  point.lane_dim = 3;
  point.lanes = channels;
  OpPrinter ops(scope, out, "v");
  ops.set_accumulators({channels > 1 ? "acc[o]" : "acc[o][0]", channels > 1});
  for (const LoopStore& store : request.program->stores) ops.store(store, point);
  out.line("}");
  return out.text();
}

}  // namespace

bool is_depthwise_image(const ConvolutionContraction& c) {
  const bool real =
      c.dtype == DType::kFloat32 || c.dtype == DType::kFloat16 || c.dtype == DType::kBFloat16;
  return real && c.attributes.stride.size() == 2 && c.w_shape[1].is_constant(1) &&
         c.w_shape[0].is_constant(c.attributes.groups) && c.w_shape[3].constant() <= 16;
}

GeneratedKernel generate_depthwise(const ConvolutionContraction& c, const LoopRequest& request,
                                   int channels) {
  STATOR_CHECK(is_depthwise_image(c), request.name + " is no depthwise convolution of images");
  const KernelScope scope = make_scope(request);
  const int strip = strip_length(c, channels);
  SourceWriter unused;
  const auto size = [&](const Expr& e) {
    return "(int)(" + OpPrinter(scope, unused, "").index(e, PrintPoint{}, "") + ")";
  };
  const Convolution& a = c.attributes;
  std::string s = kernel_head(request, scope, num(kDepthwiseThreads));
  s += "  constexpr int C = " + num(c.w_shape[0].constant()) +
       ", KH = " + num(c.w_shape[2].constant()) + ", KW = " + num(c.w_shape[3].constant()) +
       ", SH = " + num(a.stride[0]) + ", SW = " + num(a.stride[1]) +
       ", DH = " + num(a.dilation[0]) + ", DW = " + num(a.dilation[1]) +
       ", PH = " + num(a.pad_before[0]) + ", PW = " + num(a.pad_before[1]) +
       ", V = " + num(channels) + ", STRIP = " + num(strip) + ";\n";
  s += "  const int N = " + size(c.y_shape[0]) + ", H = " + size(c.x_shape[1]) +
       ", W = " + size(c.x_shape[2]) + ", OH = " + size(c.y_shape[1]) +
       ", OW = " + size(c.y_shape[2]) + ";\n";
  const std::string type = memory_type(c.dtype);
  s += "  typedef " + type + " T;\n  const T* x = b" + num(c.x) + ";\n  const T* w = b" + num(c.w) +
       ";\n";
  s += "  const auto to_float = [](T h) { return float(" + from_memory(c.dtype, "h") + "); };\n";
  s += kDepthwiseBody + print_epilogue(request, scope, channels) + "}\n";
  const Expr points = c.y_shape[0] * c.y_shape[1] * ceil_div(c.y_shape[2], Expr(strip)) *
                      Expr(c.w_shape[0].constant() / channels);
  return finish_kernel(request, s, kDepthwiseThreads, 0, ceil_div(points, Expr(kDepthwiseThreads)));
}

}  // namespace stator::cuda
