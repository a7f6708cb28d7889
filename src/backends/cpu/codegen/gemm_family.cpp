// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/gemm_family.h"

#include "backends/cpu/codegen/attention_kernel.h"
#include "backends/cpu/codegen/conv_kernel.h"
#include "backends/cpu/codegen/depthwise_kernel.h"
#include "backends/cpu/codegen/gemm_kernel.h"

namespace stator::cpu {
namespace {

constexpr const char* kPlain = "plain";

/// A kernel of a contraction and a tactic, both kept; `Launch` and `Emit` are the kernel's
/// functions.
template <typename Contraction, typename KernelTactic, auto Launch, auto EmitKernel>
class Prepared final : public PreparedContraction {
 public:
  Prepared(Contraction contraction, KernelTactic tactic)
      : contraction_(std::move(contraction)), tactic_(std::move(tactic)) {}
  const LoopProgram* epilogue() const override {
    if constexpr (requires { contraction_.epilogue; }) {
      return &contraction_.epilogue;
    } else {
      return nullptr;
    }
  }
  KernelLaunch launch() const override { return Launch(contraction_, tactic_); }
  void emit(KernelHost& host) const override { EmitKernel(host, contraction_, tactic_); }

 private:
  Contraction contraction_;
  KernelTactic tactic_;
};

/// The same without a tactic.
template <typename Contraction, auto Launch, auto EmitKernel>
class PreparedPlain final : public PreparedContraction {
 public:
  explicit PreparedPlain(Contraction contraction) : contraction_(std::move(contraction)) {}
  const LoopProgram* epilogue() const override { return &contraction_.epilogue; }
  KernelLaunch launch() const override { return Launch(contraction_); }
  void emit(KernelHost& host) const override { EmitKernel(host, contraction_); }

 private:
  Contraction contraction_;
};

using PreparedGemm = Prepared<MatmulContraction, GemmTactic, gemm_launch, emit_gemm>;
using PreparedConv = Prepared<ConvolutionContraction, ConvTactic, conv_launch, emit_conv>;
using PreparedDepthwise =
    Prepared<ConvolutionContraction, DepthwiseTactic, depthwise_launch, emit_depthwise>;
using PreparedAttention =
    Prepared<AttentionRegion, AttentionTactic, attention_launch, emit_attention>;
using PreparedPlainMatmul =
    PreparedPlain<MatmulContraction, plain_matmul_launch, emit_plain_matmul>;
using PreparedPlainConv = PreparedPlain<ConvolutionContraction, plain_conv_launch, emit_plain_conv>;

/// Whether sums may be taken of this dtype by the plain kernels.
Support plain_supports(DType dtype) {
  if (dtype == DType::kFloat16 || is_complex(dtype) || dtype == DType::kFloat8E4M3 ||
      dtype == DType::kFloat8E5M2)
    return Support::no("contractions of " + std::string(dtype_name(dtype)) +
                       " have no kernel on the CPU");
  return Support::yes();
}

bool by_microkernel(const ConvolutionContraction& conv) {
  return conv.dtype == DType::kFloat32 && conv.w_constant;
}

template <typename KernelTactic>
void add_names(const std::vector<KernelTactic>& from, std::vector<Tactic>& to) {
  for (const KernelTactic& tactic : from) to.push_back({tactic.name()});
}

std::vector<Tactic> conv_names(const ConvolutionContraction& conv, const Bounds& bounds,
                               const VectorUnit& unit, int threads, int level) {
  std::vector<Tactic> names;
  if (!by_microkernel(conv)) return {{kPlain}};
  ConvShape shape(conv);
  if (shape.depthwise()) {
    add_names(depthwise_tactics(shape, bounds, unit.lanes, unit.registers, threads, level), names);
  } else if (std::optional<MatmulContraction> matmul = conv_as_matmul(conv)) {
    add_names(gemm_tactics(*matmul, bounds, unit.lanes, unit.registers, threads, level), names);
  } else {
    add_names(conv_tactics(shape, bounds, unit.lanes, unit.registers, threads, level), names);
  }
  return names;
}

std::unique_ptr<PreparedContraction> prepare_conv(const ConvolutionContraction& conv,
                                                  std::string_view text) {
  if (text == kPlain) return std::make_unique<PreparedPlainConv>(conv);
  if (!by_microkernel(conv)) return nullptr;
  if (auto tactic = DepthwiseTactic::parse(text); tactic && ConvShape(conv).depthwise())
    return std::make_unique<PreparedDepthwise>(conv, *tactic);
  if (auto tactic = ConvTactic::parse(text)) return std::make_unique<PreparedConv>(conv, *tactic);
  if (auto tactic = GemmTactic::parse(text))
    if (std::optional<MatmulContraction> matmul = conv_as_matmul(conv))
      return std::make_unique<PreparedGemm>(std::move(*matmul), *tactic);
  return nullptr;
}

}  // namespace

Support contraction_supports(const Region& region) {
  if (const auto* matmul = std::get_if<MatmulContraction>(&region.body))
    return plain_supports(matmul->dtype);
  if (const auto* conv = std::get_if<ConvolutionContraction>(&region.body)) {
    if (conv->attributes.transposed)
      return Support::no("transposed convolutions have no generated kernel on the CPU");
    if (!conv->attributes.channels_last)
      return Support::no("convolutions are generated for channels-last tensors only");
    return plain_supports(conv->dtype);
  }
  if (const auto* attention = std::get_if<AttentionRegion>(&region.body))
    return attention_supports(*attention);
  return Support::no("the region is no contraction");
}

std::vector<Tactic> contraction_tactics(const Region& region, const Bounds& bounds,
                                        const VectorUnit& unit, int threads, int level) {
  std::vector<Tactic> names;
  if (const auto* matmul = std::get_if<MatmulContraction>(&region.body)) {
    if (matmul->dtype != DType::kFloat32) return {{kPlain}};
    add_names(gemm_tactics(*matmul, bounds, unit.lanes, unit.registers, threads, level), names);
  } else if (const auto* conv = std::get_if<ConvolutionContraction>(&region.body)) {
    names = conv_names(*conv, bounds, unit, threads, level);
  } else if (const auto* attention = std::get_if<AttentionRegion>(&region.body)) {
    add_names(attention_tactics(*attention, bounds, unit.lanes, unit.registers, level), names);
  }
  return names;
}

std::unique_ptr<PreparedContraction> prepare_contraction(const Region& region,
                                                         std::string_view tactic) {
  if (const auto* matmul = std::get_if<MatmulContraction>(&region.body)) {
    if (tactic == kPlain) return std::make_unique<PreparedPlainMatmul>(*matmul);
    auto parsed = GemmTactic::parse(tactic);
    if (!parsed || matmul->dtype != DType::kFloat32) return nullptr;
    return std::make_unique<PreparedGemm>(*matmul, *parsed);
  }
  if (const auto* conv = std::get_if<ConvolutionContraction>(&region.body))
    return prepare_conv(*conv, tactic);
  if (const auto* attention = std::get_if<AttentionRegion>(&region.body))
    if (auto parsed = AttentionTactic::parse(tactic))
      return std::make_unique<PreparedAttention>(*attention, *parsed);
  return nullptr;
}

Result<TensorData> pack_contraction_input(const std::string& recipe, const TensorData& source) {
  STATOR_TRY(PanelRecipe parsed, PanelRecipe::parse(recipe));
  return pack_panels(parsed, source);
}

}  // namespace stator::cpu
