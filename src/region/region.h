// SPDX-License-Identifier: Apache-2.0
//
// Regions: what the optimizer made of a Network, one future kernel each, with the tensors between
// them. What backends compile, without seeing the optimizer.
//
// Every tensor of a RegionGraph is dense and row-major in its logical shape; what is strided is a
// view inside a region's index maps. A tensor with `alias_of` shares the storage of another (a
// reshape).
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "region/loop_program.h"
#include "stator/guard.h"
#include "stator/layer.h"
#include "stator/source_line.h"
#include "stator/tensor_data.h"

namespace stator {

/// A strided view of one buffer: element offset = offset + sum(strides[k] * i_k).
struct StridedView {
  int32_t buffer = -1;
  Expr offset;
  std::vector<Expr> strides;
};

/// C[batch…, m, n] = sum over k of A[batch…, m, k] * B[batch…, k, n], then the epilogue.
/// The epilogue's dims are batch…, m, n; it has one kAccumulator (f32, or f64 / i64 / i32 for such
/// operands), loads of anything else, and the stores.
struct MatmulContraction {
  std::vector<Expr> batch;  // extents
  Expr m, n, k;
  DType dtype = DType::kFloat32;  // of a and b; i8, u8: of a, then b is i8 and constant
  StridedView a;                  // strides: batch…, m, k  (batch stride 0: broadcast)
  StridedView b;                  // strides: batch…, k, n
  bool b_constant = false;        // b is a constant input and may be packed at build time
  bool b_sparse = false;          // sparse kernels may use that it is 2:4 along k
  LoopProgram epilogue;
};

/// Channels-last convolution: x [N, spatial…, C], w [O, C/groups, kernel…] → dims n, spatial…, o of
/// the epilogue. Buffers: x, w. The bias is part of the epilogue.
struct ConvolutionContraction {
  Convolution attributes;         // channels_last is true
  DType dtype = DType::kFloat32;  // of x and w; i8, u8: of x, then w is i8
  int32_t x = 0, w = 1;           // buffers
  std::vector<Expr> x_shape;      // [N, spatial…, C]
  std::vector<Expr> w_shape;      // [O, C/groups, kernel…]; constants
  std::vector<Expr> y_shape;      // [N, spatial…, O]
  bool w_constant = true;
  LoopProgram epilogue;
};

/// out = softmax(scale * q kᵀ + mask) v, tiled; see the layer kind Attention for the meaning.
struct AttentionRegion {
  Expr batch, heads, kv_heads, q_length, kv_length, qk_dim, v_dim;
  DType dtype = DType::kFloat32;
  StridedView q;  // strides: batch, head, position, channel
  StridedView k;  // strides: batch, kv head, position, channel
  StridedView v;
  StridedView out;  // strides: batch, head, position, channel
  bool has_mask = false;
  DType mask_dtype = DType::kFloat32;  // bool, or float (added)
  StridedView mask;  // strides: batch, head, q position, kv position (0: broadcast)
  double scale = 1.0;
  bool causal = false;
};

/// y = the inclusive scan of x [outer, length, inner] along its middle axis. Buffers: x, y; of a
/// running extreme (max, min; NaN stays) also its places as i64, the last one among equals.
struct ScanRegion {
  ScanOp op = ScanOp::kSum;
  DType dtype = DType::kFloat32;  // of x and y; sums of f32 are kept in double where that is free
  Expr outer, length, inner;
};

/// The first `count` of every row of x [outer, length, inner] along its middle axis, in order, NaN
/// the greatest. Buffers: x, values, places (i64), both [outer, count, inner]. A row that has fewer
/// is wrong data (kRank).
struct OrderRegion {
  DType dtype = DType::kFloat32;
  Expr outer, length, inner, count;
  bool descending = false;
  /// Equals as they stood. Otherwise a backend that has the C++ library leaves them as its sort
  /// does, or where only the first are selected as the layer kind TopK says.
  bool stable = true;
  bool select = false;
  bool sorted = true;  // false: of selected ones only the last stands in its place
};

/// y[…, indices[i], …] = (or +=, …) updates[i]: dims `extents`, of which `axis` is the one along
/// which y is as long as `limit` and the index stands for the position. Works in place: y lies
/// where its operand x does, which a loop has filled. Updates of one place come in the order of the
/// axis. Buffers: x (the same memory as y), indices (i64), updates, y.
struct ScatterRegion {
  DType dtype = DType::kFloat32;  // of updates and y
  ScatterOp op = ScatterOp::kPut;
  DataError error = DataError::kElement;
  int64_t dim = 0;  // for the error's message
  std::vector<Expr> extents;
  int64_t axis = 0;
  Expr limit;
  StridedView indices;  // strides: by dim (0: broadcast)
  StridedView updates;
  StridedView y;
};

/// A layer run as it is, by a kernel for dense inputs and outputs: movement, library, plugin and
/// reference kernels.
struct CallRegion {
  LayerAttributes attributes;
};

using RegionBody =
    std::variant<LoopProgram, MatmulContraction, ConvolutionContraction, AttentionRegion,
                 ScanRegion, OrderRegion, ScatterRegion, CallRegion>;

const char* region_kind_name(const RegionBody& body);  // "loop", "matmul", …, "scatter", "call"

struct Region {
  RegionBody body;
  std::vector<int32_t> inputs;         // tensors: buffers 0 … inputs-1
  std::vector<int32_t> outputs;        // tensors: buffers inputs …
  std::vector<Provenance> provenance;  // every layer inside
  std::string name;                    // "layer_norm_3+linear_7": for profiles, unique in the graph
};

enum class RegionTensorRole : uint8_t { kIntermediate, kInput, kOutput, kConstant };

struct RegionTensor {
  std::string name;
  TensorType type;
  RegionTensorRole role = RegionTensorRole::kIntermediate;
  int32_t alias_of = -1;
  TensorData data;     // kConstant
  std::string origin;  // kConstant: state-dict name, or "" when computed
};

struct RegionGraph {
  std::string name;
  Bounds bounds;
  std::vector<Guard> guards;
  std::vector<RegionTensor> tensors;
  std::vector<Region> regions;  // in execution order
  std::vector<int32_t> inputs;  // tensors
  std::vector<Expr> scalar_inputs;
  std::vector<int32_t>
      outputs;  // tensors of role kOutput, each written by a region (never an input itself)
};

std::string print_regions(const RegionGraph& graph);
Result<RegionGraph> parse_regions(std::string_view text);
Status verify_regions(const RegionGraph& graph);

/// Canonical text of what a kernel for this region must do: body, dtypes and constness of the
/// tensors, static sizes; symbols are renamed in order of their first use. Equal signatures share
/// one kernel; also the timing cache's key. `symbols` receives the region's own symbols in the
/// renamed order ("s0" of the signature is symbols[0]).
std::string region_signature(const RegionGraph& graph, const Region& region,
                             std::vector<std::string>* symbols);

}  // namespace stator
