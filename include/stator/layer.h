// SPDX-License-Identifier: Apache-2.0
//
// What one layer computes: its kind and attributes, as the network, call regions, plan steps and
// the reference kernels all know it. Open to every folder, like base and symbolic: it knows no
// form.
//
// Conventions: tensors are dense and row-major in their logical shape; axes are normalized (0 <=
// axis < rank); elementwise layers broadcast by NumPy's rule; the dtype of a result is stated with
// each kind. Sizes in attributes are Expr.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "stator/dtype.h"
#include "stator/expr.h"
#include "stator/result.h"

namespace stator {

enum class ElementwiseOp : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,  // kDiv: true division, floating point
  kFloorDiv,
  kTruncDiv,
  kMod,  // kMod: Python's remainder (sign of the divisor)
  kFmod,
  kPow,
  kMin,
  kMax,  // kMin, kMax: NaN wins, as torch.minimum / maximum
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,  // bool result
  kAnd,
  kOr,
  kXor,  // bool or integer
  kShiftLeft,
  kShiftRight,
  kAtan2,
};

enum class UnaryOp : uint8_t {
  kNeg,
  kAbs,
  kSign,
  kExp,
  kExp2,
  kExpm1,
  kLog,
  kLog2,
  kLog10,
  kLog1p,
  kSqrt,
  kRsqrt,
  kReciprocal,
  kSin,
  kCos,
  kTan,
  kAsin,
  kAcos,
  kAtan,
  kSinh,
  kCosh,
  kTanh,
  kAsinh,
  kAcosh,
  kAtanh,
  kErf,
  kFloor,
  kCeil,
  kRound,
  kTrunc,  // kRound: half to even
  kNot,    // logical for bool, bitwise for integers
  kIsNan,
  kIsInf,    // bool result
  kSignBit,  // bool result: of -0.0 and of NaN too
  kRelu,
  kSigmoid,
  kGelu,
  kGeluTanh,
  kSilu,
  kMish,
  kSoftplus,
  kHardSigmoid,
  kHardSwish,
  kLogSigmoid,
};

enum class ReduceOp : uint8_t { kSum, kMean, kMax, kMin, kProd, kAny, kAll, kArgMax, kArgMin };
enum class PoolOp : uint8_t { kMax, kAverage };
enum class PadMode : uint8_t { kConstant, kReflect, kReplicate, kCircular };
enum class ResizeMode : uint8_t { kNearest, kNearestExact, kLinear, kCubic };
enum class ScanOp : uint8_t { kSum, kProd, kMax, kMin, kLogSumExp };
/// What an update makes of the element where it goes; of kMax and kMin NaN wins.
enum class ScatterOp : uint8_t { kPut, kAdd, kMul, kMax, kMin };
/// What a run may find wrong with its data; eager PyTorch raises a certain error for each.
enum class DataError : uint8_t {
  kNone,
  kIndex,         // IndexError: an index tensor of x[…], index_put and such, with the dimension
  kElement,       // RuntimeError: gather, scatter, index_add, with the dimension
  kRow,           // IndexError: embedding, index_select
  kPlace,         // IndexError: take and put, places in the flattened tensor
  kTarget,        // IndexError: the class of a loss
  kMarginTarget,  // RuntimeError: the class of a margin loss
  kClass,         // RuntimeError: one_hot
  kDivision,      // RuntimeError: an integer division by zero
  kEmptyDim,      // IndexError: an extreme along a dimension without elements
  kEmpty,         // RuntimeError: an extreme of a tensor without elements
  kEmptyPlace,    // IndexError: the place of the extreme of a tensor without elements
  kEmptyNorm,     // RuntimeError: an infinite norm of no elements
  kRank,          // RuntimeError: more elements wanted of a dimension than it has (topk)
  kProbability,   // RuntimeError: a probability outside of 0 … 1
  kBagOffset,     // RuntimeError: offsets of bags that do not begin at 0 or lie past the end
  kMaskElement,   // RuntimeError: masked_scatter's source has fewer elements than the mask has ones
};
/// A scalar immediate in the dtype of its use: integers stay exact.
struct Scalar {
  double real = 0;
  int64_t integer = 0;
  bool is_integer = false;
  static Scalar of(double v) { return {v, static_cast<int64_t>(v), false}; }
  static Scalar of(int64_t v) { return {static_cast<double>(v), v, true}; }
  friend bool operator==(const Scalar&, const Scalar&) = default;
};

// Attributes, one struct a kind. Inputs and results are in the comment. `visit(v)` names each field
// once, for printing, parsing, hashing and storing.

/// a, b (same dtype) → broadcast shape.
struct Elementwise {
  ElementwiseOp op = ElementwiseOp::kAdd;
  template <class V>
  void visit(V& v) {
    v("op", op);
  }
};
/// x → same shape; kIsNan, kIsInf, kSignBit give bool. alpha, beta: unused by the listed ops.
struct Unary {
  UnaryOp op = UnaryOp::kNeg;
  template <class V>
  void visit(V& v) {
    v("op", op);
  }
};
/// x → `to`. Float to integer truncates; to bool is != 0.
struct Cast {
  DType to = DType::kFloat32;
  template <class V>
  void visit(V& v) {
    v("to", to);
  }
};
/// condition (bool), a, b → broadcast shape.
struct Select {
  template <class V>
  void visit(V&) {}
};
/// () → shape filled with value.
struct Fill {
  std::vector<Expr> shape;
  DType dtype = DType::kFloat32;
  Scalar value;
  template <class V>
  void visit(V& v) {
    v("shape", shape);
    v("dtype", dtype);
    v("value", value);
  }
};
/// () → [length]: start + step * i, integer dtype (floating point through a Cast) .
struct Iota {
  Expr length, start, step;
  DType dtype = DType::kInt64;
  template <class V>
  void visit(V& v) {
    v("length", length);
    v("start", start);
    v("step", step);
    v("dtype", dtype);
  }
};
/// () → 0-d int64 holding the value of a size expression.
struct SizeValue {
  Expr value;
  template <class V>
  void visit(V& v) {
    v("value", value);
  }
};
/// x → out[i...] with out.shape[k] = x.shape[permutation[k]].
struct Transpose {
  std::vector<int64_t> permutation;
  template <class V>
  void visit(V& v) {
    v("permutation", permutation);
  }
};
/// x → shape, same number of elements, row-major order kept.
struct Reshape {
  std::vector<Expr> shape;
  template <class V>
  void visit(V& v) {
    v("shape", shape);
  }
};
/// x → shape by NumPy broadcasting (new leading axes allowed).
struct Expand {
  std::vector<Expr> shape;
  template <class V>
  void visit(V& v) {
    v("shape", shape);
  }
};
/// x → x[start_k + step_k * i], sizes given; step may be negative. One entry for every axis.
struct Slice {
  std::vector<Expr> start, size;
  std::vector<int64_t> step;
  template <class V>
  void visit(V& v) {
    v("start", start);
    v("size", size);
    v("step", step);
  }
};
/// x0, x1, … → joined along axis.
struct Concat {
  int64_t axis = 0;
  template <class V>
  void visit(V& v) {
    v("axis", axis);
  }
};
/// x → padded; before/after per axis may be negative (crop) for kConstant.
struct Pad {
  std::vector<Expr> before, after;
  PadMode mode = PadMode::kConstant;
  Scalar value;
  template <class V>
  void visit(V& v) {
    v("before", before);
    v("after", after);
    v("mode", mode);
    v("value", value);
  }
};
/// a [..., M, K], b [..., K, N], leading axes broadcast → [..., M, N]. transpose_x: the last two
/// axes are swapped. Optional third input bias [N], of the result's type. Accumulates in f32 (f64
/// for f64, i64 for integers). Operands of 8 bits, i8 or u8 each, give their sums: i32.
struct MatrixMultiply {
  bool transpose_a = false, transpose_b = false;
  template <class V>
  void visit(V& v) {
    v("transpose_a", transpose_a);
    v("transpose_b", transpose_b);
  }
};
/// x [N, C, spatial...], w [O, C/groups, kernel...] (transposed: [C, O/groups, kernel...]),
/// optional bias [O]. channels_last: x and result are [N, spatial..., C]; w stays as above. 1 to 3
/// spatial axes. Types as for products.
struct Convolution {
  std::vector<int64_t> stride, dilation, pad_before, pad_after, output_padding;
  int64_t groups = 1;
  bool transposed = false;
  bool channels_last = false;
  template <class V>
  void visit(V& v) {
    v("stride", stride);
    v("dilation", dilation);
    v("pad_before", pad_before);
    v("pad_after", pad_after);
    v("output_padding", output_padding);
    v("groups", groups);
    v("transposed", transposed);
    v("channels_last", channels_last);
  }
};
/// x [N, C, spatial...] (channels_last as above) → pooled. Average: divisor 0 means the window's
/// size, padding counted or not. The output's spatial sizes are explicit, so that ceil_mode needs
/// no rule here.
struct Pooling {
  PoolOp op = PoolOp::kMax;
  std::vector<int64_t> kernel, stride, dilation, pad_before;
  std::vector<Expr> output_size;
  std::vector<int64_t> pad_after;  // padding that counts for count_include_pad
  bool count_include_pad = true;
  int64_t divisor = 0;
  bool channels_last = false;
  template <class V>
  void visit(V& v) {
    v("op", op);
    v("kernel", kernel);
    v("stride", stride);
    v("dilation", dilation);
    v("pad_before", pad_before);
    v("output_size", output_size);
    v("pad_after", pad_after);
    v("count_include_pad", count_include_pad);
    v("divisor", divisor);
    v("channels_last", channels_last);
  }
};
/// x [N, C, spatial...] → [N, C, output_size...]; window of output i: floor(i*in/out) ..
/// ceil((i+1)*in/out).
struct AdaptivePooling {
  PoolOp op = PoolOp::kAverage;
  std::vector<Expr> output_size;
  bool channels_last = false;
  template <class V>
  void visit(V& v) {
    v("op", op);
    v("output_size", output_size);
    v("channels_last", channels_last);
  }
};
/// x → reduced over axes (kept as size 1 or removed). kArgMax / kArgMin: one axis, int64 result,
/// first winner, NaN wins. kMean: floating point. kAny/kAll: bool. Sum and prod of integers: int64
/// input expected.
struct Reduce {
  ReduceOp op = ReduceOp::kSum;
  std::vector<int64_t> axes;
  bool keep_dims = false;
  template <class V>
  void visit(V& v) {
    v("op", op);
    v("axes", axes);
    v("keep_dims", keep_dims);
  }
};
/// x → softmax or log-softmax along axis.
struct Softmax {
  int64_t axis = 0;
  bool log = false;
  template <class V>
  void visit(V& v) {
    v("axis", axis);
    v("log", log);
  }
};
/// x, optional scale, optional bias (shape of the normalized axes) → (x - mean)/sqrt(var +
/// eps)*scale + bias over `axes` (trailing). rms: no mean is subtracted, and none of the bias.
/// Which optional inputs are there: flags.
struct Normalization {
  std::vector<int64_t> axes;
  double epsilon = 1e-5;
  bool rms = false;
  bool has_scale = false, has_bias = false;
  template <class V>
  void visit(V& v) {
    v("axes", axes);
    v("epsilon", epsilon);
    v("rms", rms);
    v("has_scale", has_scale);
    v("has_bias", has_bias);
  }
};
/// q [B, H, S, D], k [B, G, T, D], v [B, G, T, E], optional mask (bool: true takes part; or float,
/// added) that broadcasts to [B, H, S, T] → [B, H, S, E]. H is a multiple of G (grouped heads).
/// causal: row i sees columns j <= i (PyTorch's upper-left rule). A row without any admitted column
/// (all scores -inf, by either kind of mask) gives 0, as in PyTorch.
struct Attention {
  double scale = 1.0;
  bool causal = false;
  bool has_mask = false;
  template <class V>
  void visit(V& v) {
    v("scale", scale);
    v("causal", causal);
    v("has_mask", has_mask);
  }
};
/// A value (i64), or x and a value that broadcasts to it → the first of them, as it is where 0 <=
/// value < limit. Elsewhere the run ends in `error`, and the result is 0. A negative value counts
/// from the end where `wrap`. `dim`: for the message.
struct Check {
  DataError error = DataError::kNone;
  Expr limit;
  bool wrap = false;
  int64_t dim = 0;
  template <class V>
  void visit(V& v) {
    v("error", error);
    v("limit", limit);
    v("wrap", wrap);
    v("dim", dim);
  }
};
/// x, indices (integer, any rank) → x.shape[:axis] + indices.shape + x.shape[axis+1:]. Negative
/// indices count from the end where `wrap`; what is out of range is an error at run time.
struct Gather {
  int64_t axis = 0;
  bool wrap = false;
  DataError error = DataError::kIndex;
  template <class V>
  void visit(V& v) {
    v("axis", axis);
    v("wrap", wrap);
    v("error", error);
  }
};
/// x, indices (same rank) → x[..., indices[...], ...] along axis: torch.gather.
struct GatherElements {
  int64_t axis = 0;
  DataError error = DataError::kElement;
  template <class V>
  void visit(V& v) {
    v("axis", axis);
    v("error", error);
  }
};
/// x, indices…: torch's advanced indexing on adjacent axes first_axis .. first_axis + n - 1; the
/// index tensors broadcast together; the result's index axes stand at first_axis.
struct IndexTensors {
  int64_t first_axis = 0;
  template <class V>
  void visit(V& v) {
    v("first_axis", first_axis);
  }
};
/// x, indices, updates (ranks equal) → x with updates put (or added, …) at indices along axis:
/// torch.scatter, torch.scatter_reduce. Truth values have no sums and products.
struct ScatterElements {
  int64_t axis = 0;
  ScatterOp op = ScatterOp::kPut;
  DataError error = DataError::kElement;
  template <class V>
  void visit(V& v) {
    v("axis", axis);
    v("op", op);
    v("error", error);
  }
};
/// x, src → x with the slice (start, step, size) along axis replaced by src: torch.slice_scatter.
struct SliceScatter {
  int64_t axis = 0;
  Expr start;
  int64_t step = 1;
  template <class V>
  void visit(V& v) {
    v("axis", axis);
    v("start", start);
    v("step", step);
  }
};
/// x → values, indices (int64) of the k largest (smallest) along axis, NaN the greatest. stable:
/// in order, first index first among equals. Else which of equals are taken, and their order, is
/// what the C++ library's partial_sort (64 k <= elements) or nth_element and sort (where `sorted`)
/// leave over the elements in order: PyTorch's CPU kernel.
struct TopK {
  int64_t axis = 0;
  Expr k;
  bool largest = true;
  bool stable = true;
  bool sorted = true;
  template <class V>
  void visit(V& v) {
    v("axis", axis);
    v("k", k);
    v("largest", largest);
    v("stable", stable);
    v("sorted", sorted);
  }
};
/// x → values, indices, NaN the greatest; equals in the order of the C++ library's sort where not
/// stable, as in PyTorch's CPU kernel.
struct Sort {
  int64_t axis = 0;
  bool descending = false;
  bool stable = true;
  template <class V>
  void visit(V& v) {
    v("axis", axis);
    v("descending", descending);
    v("stable", stable);
  }
};
/// x → inclusive scan along axis; of kMax, kMin also the places (int64): torch.cummax, cummin.
/// kLogSumExp is of floats.
struct Scan {
  ScanOp op = ScanOp::kSum;
  int64_t axis = 0;
  template <class V>
  void visit(V& v) {
    v("op", op);
    v("axis", axis);
  }
};
/// x [N, C, spatial...] → [N, C, size...]. scale: input step per output step (0: derived from the
/// sizes).
struct Resize {
  ResizeMode mode = ResizeMode::kNearest;
  std::vector<Expr> size;
  bool align_corners = false;
  std::vector<double> scale;
  bool channels_last = false;
  template <class V>
  void visit(V& v) {
    v("mode", mode);
    v("size", size);
    v("align_corners", align_corners);
    v("scale", scale);
    v("channels_last", channels_last);
  }
};

using LayerAttributes =
    std::variant<Elementwise, Unary, Cast, Select, Fill, Iota, SizeValue, Transpose, Reshape,
                 Expand, Slice, Concat, Pad, MatrixMultiply, Convolution, Pooling, AdaptivePooling,
                 Reduce, Softmax, Normalization, Attention, Gather, GatherElements, IndexTensors,
                 ScatterElements, SliceScatter, TopK, Sort, Scan, Resize, Check>;

/// "elementwise", "matrix_multiply", …: the name of the alternative.
const char* layer_kind_name(const LayerAttributes& attributes);

/// dtype and shape of one tensor as layers see it.
struct TensorType {
  DType dtype = DType::kFloat32;
  std::vector<Expr> shape;
  int rank() const { return static_cast<int>(shape.size()); }
  friend bool operator==(const TensorType&, const TensorType&) = default;
};
std::string print_type(const TensorType& type);  // "f32[s0, 768]"
/// Row-major strides in elements.
std::vector<Expr> contiguous_strides(const std::vector<Expr>& shape);

/// The types of a layer's results, or why the inputs do not fit. One rule a family:
/// layer/shape_rules/*.cpp. Sizes that must agree and cannot be proved equal under `bounds` are
/// taken as equal (PyTorch has checked them).
Result<std::vector<TensorType>> infer_types(const LayerAttributes& attributes,
                                            const std::vector<TensorType>& inputs,
                                            const Bounds& bounds);

/// "{op = add}" and back; the text is canonical, so it also serves as a key.
std::string print_attributes(const LayerAttributes& attributes);
Result<LayerAttributes> parse_attributes(std::string_view kind, std::string_view text);

/// Ops whose result is bool whatever the operand is.
inline bool gives_truth(UnaryOp op) {
  return op == UnaryOp::kIsNan || op == UnaryOp::kIsInf || op == UnaryOp::kSignBit;
}

const char* name_of(ElementwiseOp op);
const char* name_of(UnaryOp op);
const char* name_of(ReduceOp op);
const char* name_of(PoolOp op);
const char* name_of(PadMode mode);
const char* name_of(ResizeMode mode);
const char* name_of(ScanOp op);
const char* name_of(ScatterOp op);
const char* name_of(DataError error);

}  // namespace stator
