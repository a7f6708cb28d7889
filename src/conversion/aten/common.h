// SPDX-License-Identifier: Apache-2.0
//
// What converters of several families share: PyTorch's type promotion, the dtype to compute in,
// and checks that support() functions are made of.
#pragma once

#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "conversion/conversion.h"

namespace stator::aten {

using Shape = std::vector<Expr>;
using Names = std::initializer_list<std::string_view>;

/// float16 and bfloat16 are computed in float32 and rounded once, as PyTorch's CPU kernels do.
DType compute_dtype(DType dtype);
/// The same for sums of products; integers of 8 bits are summed as int64.
DType sum_dtype(DType dtype);
/// float32 for integers and bool (PyTorch's default dtype), else the dtype itself.
DType floating_dtype(DType dtype);
/// torch.result_type of the named arguments: tensors with axes before 0-d tensors before Python
/// scalars, a later class counting only where its category (bool, integer, float) is higher.
DType result_type(const Graph& graph, const Node& node, Names args);

/// The tensor argument in the dtype to compute in; integers and bool become float32.
TensorId floating_operand(Conversion& c, const Node& node, std::string_view arg);

/// An operand as PyTorch's kernels read it: of the promoted dtype first, so that a scalar, or a 0-d
/// tensor of a wider dtype, is rounded to the half precision of the tensor beside it; then in the
/// dtype to compute in. Exceptions, which keep such an operand as it is: wide_operand.
TensorId promoted_operand(Conversion& c, const Node& node, std::string_view arg, DType promoted);
/// The same for the operands that PyTorch's kernel takes apart and keeps in float32: factors and
/// divisors, where they are scalars or, on the CPU, 0-d tensors.
TensorId wide_operand(Conversion& c, const Node& node, std::string_view arg, DType promoted);
/// A GPU's kernels of sums keep scalars in float32 too; the CPU's round them.
bool on_gpu(const Graph& graph);

/// Operands in braces are made from left to right, in whatever order a compiler takes arguments:
/// the layers then stand in one order.
struct Pair {
  TensorId a, b;
};
TensorId elementwise(Conversion& c, Pair operands, ElementwiseOp op);
struct Choice {
  TensorId condition, a, b;
};
TensorId choose(Conversion& c, Choice operands);

/// 0-d immediates of `dtype`.
TensorId real(Conversion& c, double value, DType dtype);
TensorId whole(Conversion& c, int64_t value, DType dtype);

/// A constant tensor of int64.
TensorId int64_table(Conversion& c, const std::vector<int64_t>& values, const Shape& shape);

/// start, start + step, … (int64), `length` of them, along `axis` of a tensor of `rank` axes whose
/// others have one element.
TensorId iota_along(Conversion& c, const Expr& length, const Expr& start, const Expr& step,
                    size_t axis, size_t rank);

/// Axes of `arg` (an int or a list) normalized against `rank`; all axes for None or [].
std::vector<int64_t> axes_of(const Node& node, std::string_view arg, int64_t rank);
/// The ints of `arg`, given as one or as a list; [] for None. All constant.
std::vector<int64_t> ints_of(const Node& node, std::string_view arg);
/// The int list repeated to `count` entries when it holds one ("stride" = [2] for two axes).
std::vector<int64_t> spread(std::vector<int64_t> values, size_t count);

/// True when the argument is a tensor (not None, not a scalar).
bool has_tensor(const Node& node, std::string_view arg);
/// The scalar argument as a number, or nullopt when it is None, a tensor, or symbolic.
std::optional<double> constant_number(const Node& node, std::string_view arg);

/// No where one of the named arguments is a symbolic size (or a list with one).
Support constant_arguments(const Node& node, Names args);
/// No unless the tensor argument is of a floating point dtype.
Support floating_point_argument(const SupportContext& c, const Node& node, std::string_view arg);
/// No on a GPU, where one block of threads takes a row, for rows that are known to be (or may get)
/// longer than `most`: PyTorch's kernels share them among all blocks.
Support rows_for_one_block(const SupportContext& c, const Expr& length, int64_t most);
/// No where the tensor argument has fewer axes than the operator is defined for.
Support at_least_axes(const SupportContext& c, const Node& node, std::string_view arg, int least);
/// Yes where all are; else the first no.
Support all_of(std::initializer_list<Support> supports);

/// A converter whose function returns the tensor of output 0.
using Compute = std::function<TensorId(Conversion&, const Node&)>;
using Validate = std::function<Support(const SupportContext&, const Node&)>;
/// That of floating_point_argument.
Validate floats(const char* arg);
Converter single(Compute compute, Validate support = {});
/// A converter whose function returns the tensors of the outputs in order; -1: not made (unused).
using ComputeAll = std::function<std::vector<TensorId>(Conversion&, const Node&)>;
Converter several(ComputeAll compute, Validate support = {});
/// No when an output from `first` on has users or leaves the graph: the converter does not make it.
Support only_outputs_before(const SupportContext& c, const Node& node, size_t first);

}  // namespace stator::aten
