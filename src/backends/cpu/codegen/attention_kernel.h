// SPDX-License-Identifier: Apache-2.0
//
// Attention in tiles, f32. A task is a block of q rows of one head. Its scores are computed turned:
// kv positions are the microkernel's rows (K is read where it lies), the q rows its columns (Q is
// packed once a task). So the softmax over kv positions needs no sums across lanes, and the turned
// probabilities are the columns of A in the second product, whose B is V where it lies. Blocks of
// kv positions follow one another with the running maximum and sum of the online softmax.
#pragma once

#include "backend/compiler.h"
#include "backends/cpu/codegen/gemm_host.h"
#include "backends/cpu/codegen/gemm_microkernel.h"

namespace stator::cpu {

struct AttentionTactic {
  TileShape scores;  // rows: kv positions, columns: the q rows of a task
  TileShape values;  // rows: q rows, columns: channels of v
  int64_t kv_block = 128;

  /// "attention s6x64 v6x64 l16 kb128"
  std::string name() const;
  static std::optional<AttentionTactic> parse(std::string_view text);
};

/// f32, and sizes of heads that are known.
Support attention_supports(const AttentionRegion& region);
std::vector<AttentionTactic> attention_tactics(const AttentionRegion& region, const Bounds& bounds,
                                               int lanes, int registers, int level);
KernelLaunch attention_launch(const AttentionRegion& region, const AttentionTactic& tactic);
/// The host's epilogue is not used.
void emit_attention(KernelHost& host, const AttentionRegion& region, const AttentionTactic& tactic);

}  // namespace stator::cpu
