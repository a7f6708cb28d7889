// SPDX-License-Identifier: Apache-2.0
//
// Kernels for channels-last convolutions, over the GEMM microkernel: the rows of A are pixels of
// the input where they lie (or in a copy with its padding, made for a task's rows in scratch), a
// step of the microkernel is a row of the kernel, the panels of B are the weights.
#pragma once

#include "backend/compiler.h"
#include "backends/cpu/codegen/conv_tactic.h"
#include "backends/cpu/codegen/gemm_host.h"

namespace stator::cpu {

/// Tasks, scratch and packed inputs. f32, constant weights, not transposed.
KernelLaunch conv_launch(const ConvolutionContraction& conv, const ConvTactic& tactic);
void emit_conv(KernelHost& host, const ConvolutionContraction& conv, const ConvTactic& tactic);

/// Any dtype, weights as they are: a task is a row of output pixels. Slow.
KernelLaunch plain_conv_launch(const ConvolutionContraction& conv);
void emit_plain_conv(KernelHost& host, const ConvolutionContraction& conv);

}  // namespace stator::cpu
