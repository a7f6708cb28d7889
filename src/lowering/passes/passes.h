// SPDX-License-Identifier: Apache-2.0
//
// The passes of the pipeline. Each says how often it fired; a node of torch_executed_ops is left as
// it is. A replaced node keeps its source lines and its original name.
#pragma once

#include "lowering/pipeline.h"

namespace stator {

/// Makes operators that write their argument functional.
///   %y = aten.relu_.default(%x)          becomes   %y = aten.relu.default(%x)
///   (later uses of %x)                             (later uses of %y)
/// Requires: the argument is no input, constant or view of another value, and has no view that is
/// read later. What is written otherwise stays and runs in PyTorch. Exact.
int functionalize(Graph& graph, const LoweringOptions& options);

/// Removes what changes nothing: dropout outside training, alias, detach, contiguous, clone, casts
/// to the same type, expands and views to the same shape, assertions that do not depend on data.
///   %b = aten.dropout.default(%a, 0.1, False)     every use of %b becomes %a
///   %b = aten.contiguous.default(%a)              every use of %b becomes %a as contiguous_format
/// Requires: nobody can tell a copy from its argument by writing to one of them; what leaves the
/// graph keeps its strides. Exact.
int remove_no_ops(Graph& graph, const LoweringOptions& options);

/// Gives equal nodes one value: the same operator on the same arguments.
/// Requires: pure operators, whose results do not both leave the graph. Exact.
int share_common_nodes(Graph& graph, const LoweringOptions& options);

/// Computes nodes whose tensor arguments are all constants.
/// Requires: the result is not larger than what it comes from, plus a mebibyte, so that weights do
/// not grow. Exact: the reference backend computes it.
int fold_constants(Graph& graph, const LoweringOptions& options);

/// Recognizes attention that is written out.
///   %s = aten.matmul(%q, transpose(%k)) [* or / scale] [+ mask];  %p = softmax(%s, -1)
///   %o = aten.matmul(%p, %v)
/// becomes
///   %o = aten.scaled_dot_product_attention.default(%q, %k, %v, mask, scale=…)
/// Requires: four axes, a constant scale, nobody else reads what lies between. Differs by rounding.
int recognize_attention(Graph& graph, const LoweringOptions& options);

/// Recognizes RMSNorm that is written out.
///   %v = mean(pow(%x, 2), -1, keepdim);  %y = %x * rsqrt(%v + eps) [* weight]
/// becomes aten.rms_norm.default(%x, [size], weight, eps). Differs by rounding.
int recognize_rms_norm(Graph& graph, const LoweringOptions& options);

/// Recognizes activations that are written out: GELU by tanh, SiLU.
///   0.5 * %x * (1 + tanh(0.79788 * (%x + 0.044715 * %x^3)))   aten.gelu.default(%x, "tanh")
///   %x * sigmoid(%x)                                          aten.silu.default(%x)
/// Differs by rounding.
int recognize_activations(Graph& graph, const LoweringOptions& options);

}  // namespace stator
