// SPDX-License-Identifier: Apache-2.0
//
// What the tactics of each kind of region are made of.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/cuda/codegen/tactics.h"

namespace stator::cuda {

/// float32 and the halves: what cuBLASLt and cuDNN take.
bool is_library_dtype(DType dtype);
int buffer_count(const Region& region);
/// A kernel for `program` over the region's buffers.
LoopRequest loop_request(const RegionGraph& graph, const Region& region, const LoopProgram& program,
                         const std::string& name);
std::vector<Expr> symbol_sizes(const LoopRequest& request);
/// A region that is one generated kernel with these sizes.
PreparedRegion prepare_kernel(GeneratedKernel kernel, std::vector<Expr> sizes);
PreparedRegion prepare_kernel(GeneratedKernel kernel, const LoopRequest& request);
/// The place of a point of these dims in a dense tensor.
Expr dense_index(const std::vector<LoopDim>& dims);
PreparedRegion prepare_loop(const RegionGraph& graph, const Region& region,
                            const LoopProgram& program, const std::string& name);
void add_sizes(const std::vector<Expr>& more, std::vector<Expr>* sizes);
/// The first `count` sizes; empty when one of them is not constant.
std::vector<int64_t> constants(const std::vector<Expr>& sizes, size_t count);
/// How many of a library's proposals are timed.
int library_proposals(int optimization_level);
/// N of "cudnn N".
int trailing_number(const std::string& text);
const LoopProgram& epilogue_program(const Region& region);
/// Adds the kernel that reads the temporary result; its sizes follow the library call's.
void add_epilogue_kernel(const RegionGraph& graph, const Region& region, DType dtype,
                         const Expr& elements, const Expr& row_length, const std::string& name,
                         PreparedRegion* prepared, std::optional<KernelPayload>* payload);

/// The tensor of a region's buffer: its inputs, then its outputs.
const RegionTensor& buffer_tensor(const RegionGraph& graph, const Region& region, int buffer);

/// Whether product_tactics() gave this one: a convolution of single points is a product too.
bool is_product_tactic(const RegionGraph& graph, const Region& region, const std::string& tactic);
/// Empty when the region is no matrix product for the library or for tiles.
std::vector<Tactic> product_tactics(const RegionGraph& graph, const Region& region,
                                    const Target& target);
PreparedRegion prepare_product(const RegionGraph& graph, const Region& region,
                               const std::string& tactic, const std::string& name, bool tf32);

std::vector<Tactic> convolution_tactics(const ConvolutionContraction& c, const Target& target);
PreparedRegion prepare_convolution(const RegionGraph& graph, const Region& region,
                                   const ConvolutionContraction& c, const std::string& tactic,
                                   const std::string& name, bool tf32);

std::vector<Tactic> attention_tactics(const AttentionRegion& a, const Target& target);
PreparedRegion prepare_attention(const Region& region, const AttentionRegion& a,
                                 const std::string& tactic, const std::string& name, bool tf32);

}  // namespace stator::cuda
