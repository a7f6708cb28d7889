// SPDX-License-Identifier: Apache-2.0
//
// How a kernel of a CUDA engine is launched, as JSON in PlanKernel::payload: written by the code
// generator, read by the executor.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "stator/dtype.h"
#include "stator/result.h"

namespace stator::cuda {

/// A tensor map of four dims with 128-byte swizzle, out of range 0 (CUDA driver API,
/// cuTensorMapEncodeTiled).
struct TensorMapPayload {
  int buffer = 0;
  DType dtype = DType::kFloat16;
  std::vector<int> box;                   // fastest dim first
  std::vector<int> steps = {1, 1, 1, 1};  // between elements of the box that are taken
};
inline constexpr int kMapSizes = 8;  // offset, four extents, three strides, fastest first

/// A generated kernel. Its one argument is a struct: the tensor maps, the buffers' addresses, the
/// sizes, the fault record's address, the step. The grid is the step's task count, in one
/// dimension. The step has kMapSizes more sizes for each map, in elements.
struct KernelPayload {
  std::string function;
  int module = 0;  // which of the image's cubins holds it
  int threads = 256;
  int shared_bytes = 0;  // dynamic
  int buffers = 0, sizes = 0;
  std::vector<TensorMapPayload> maps;
  bool overlaps = false;  // it waits itself for the kernel before it, and may be launched early
};

/// D = activation(alpha A B + bias + residual), row-major, batched with strides. The step's sizes:
/// m, n, k, batch, then offset, leading dimension and batch stride of a, b and d; then those of the
/// epilogue kernel, its grid first. With one, D is a temporary in scratch memory, dense, and the
/// kernel's last buffer.
struct GemmPayload {
  DType dtype = DType::kFloat32, out = DType::kFloat32;
  bool a_transposed = false, b_transposed = false;    // stored [k, m], [n, k]
  int a = 0, b = 1, d = 2, bias = -1, residual = -1;  // buffers
  std::string activation;                             // "", "relu", "gelu_tanh"
  double alpha = 1;
  bool tf32 = false;
  bool sparse = false;         // of b's four neighbours along k two are zero: cuSPARSELt
  int index = 0;               // which of the algorithms that the heuristic proposes …
  std::vector<int64_t> tuned;  // … at these m, n, k, batch; the first at others
  int buffers = 0;
  std::optional<KernelPayload> epilogue;
};
inline constexpr int kGemmSizes = 13;

/// Channels-last convolution with a filter [O, kernel…, C/groups]. The step's sizes: x's shape, y's
/// shape; then those of the epilogue kernel as above.
struct ConvolutionPayload {
  DType dtype = DType::kFloat32;
  std::vector<int64_t> filter, stride, dilation, pad_before, pad_after;
  int64_t groups = 1;
  int x = 0, w = 1, y = 2, bias = -1, residual = -1;
  bool relu = false;
  bool tf32 = false;
  int index = 0;
  std::vector<int64_t> tuned;  // x's shape
  int buffers = 0;
  std::optional<KernelPayload> epilogue;
};

/// cuDNN's attention. The step's sizes: batch, heads, kv_heads, q_length, kv_length, qk_dim, v_dim;
/// then of q, k, v and out: offset and the strides of batch, head, position (channels are dense).
struct AttentionPayload {
  DType dtype = DType::kFloat16;
  int q = 0, k = 1, v = 2, out = 3;
  double scale = 1;
  int buffers = 0;
};
inline constexpr int kAttentionSizes = 23;

/// A layer that the reference backend computes on the host: the bytes travel there and back.
struct HostPayload {
  std::string call;  // layer/call_payload.h
};

using Payload =
    std::variant<KernelPayload, GemmPayload, ConvolutionPayload, AttentionPayload, HostPayload>;

/// Several cubins as one image: their number, where each begins and how long it is (64-bit words),
/// then the cubins at multiples of 64 bytes.
std::string join_cubins(const std::vector<std::string>& cubins);
/// kInvalidFile when the image is none.
Result<std::vector<std::string_view>> split_cubins(std::string_view image);

/// Scratch memory that library calls may use; a temporary result follows it.
inline constexpr int64_t kLibraryWorkspace = int64_t{32} << 20;

std::string print_payload(const Payload& payload);
/// kInvalidFile when the text is none.
Result<Payload> parse_payload(const std::string& text);

}  // namespace stator::cuda
