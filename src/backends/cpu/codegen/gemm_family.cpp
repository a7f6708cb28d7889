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

/// Elements of four bytes, as the microkernels take them: f32, or four u8 that are neighbours along
/// k, and i8 to match. Nullopt where there are no such groups.
std::optional<MatmulContraction> grouped(const MatmulContraction& matmul) {
  if (matmul.dtype == DType::kFloat32) return matmul;
  MatmulContraction groups = matmul;
  bool fits =
      matmul.dtype == DType::kUInt8 && matmul.b_constant && matmul.a.strides.back().is_constant(1);
  auto divide = [&fits](Expr& e) {
    fits = fits && mod(e, 4).is_constant(0);
    e = floor_div(e, 4);
  };
  divide(groups.k);
  divide(groups.a.offset);
  for (size_t d = 0; d + 1 < groups.a.strides.size(); ++d) divide(groups.a.strides[d]);
  return fits && gemm_recipe(groups, 1) ? std::optional(groups) : std::nullopt;
}
std::optional<ConvolutionContraction> grouped(const ConvolutionContraction& conv) {
  if (!conv.w_constant || conv.attributes.transposed) return std::nullopt;
  if (conv.dtype == DType::kFloat32) return conv;
  if (conv.dtype != DType::kUInt8 || !mod(conv.w_shape[1], 4).is_constant(0)) return std::nullopt;
  ConvolutionContraction groups = conv;
  groups.x_shape.back() = floor_div(conv.x_shape.back(), 4);
  groups.w_shape[1] = floor_div(conv.w_shape[1], 4);
  return groups;
}

bool has_multiply_add(DType dtype, const VectorUnit& unit) {
  return dtype == DType::kFloat32 || unit.byte_products;
}

/// Whether a tile works on what the contraction holds.
bool suits(const TileShape& tile, DType dtype) { return tile.bytes == (dtype == DType::kUInt8); }

template <typename KernelTactic>
void add_names(const std::vector<KernelTactic>& from, std::vector<Tactic>& to) {
  for (const KernelTactic& tactic : from) to.push_back({tactic.name()});
}

std::vector<Tactic> conv_names(const ConvolutionContraction& region, const Bounds& bounds,
                               const VectorUnit& unit, int threads, int level) {
  std::vector<Tactic> names;
  std::optional<ConvolutionContraction> conv = grouped(region);
  if (!conv || !has_multiply_add(region.dtype, unit)) return {{kPlain}};
  ConvShape shape(*conv);
  if (shape.depthwise()) {
    add_names(depthwise_tactics(shape, bounds, unit.lanes, unit.registers, threads, level), names);
  } else if (std::optional<MatmulContraction> matmul = conv_as_matmul(*conv)) {
    add_names(gemm_tactics(*matmul, bounds, unit.lanes, unit.registers, threads, level), names);
  } else {
    add_names(conv_tactics(shape, bounds, unit.lanes, unit.registers, threads, level), names);
  }
  return names;
}

std::unique_ptr<PreparedContraction> prepare_conv(const ConvolutionContraction& region,
                                                  std::string_view text) {
  if (text == kPlain) return std::make_unique<PreparedPlainConv>(region);
  std::optional<ConvolutionContraction> conv = grouped(region);
  if (!conv) return nullptr;
  if (auto tactic = DepthwiseTactic::parse(text); tactic && ConvShape(*conv).depthwise())
    return std::make_unique<PreparedDepthwise>(std::move(*conv), *tactic);
  if (auto tactic = ConvTactic::parse(text); tactic && suits(tactic->tile, conv->dtype))
    return std::make_unique<PreparedConv>(std::move(*conv), *tactic);
  if (auto tactic = GemmTactic::parse(text); tactic && suits(tactic->tile, conv->dtype))
    if (std::optional<MatmulContraction> matmul = conv_as_matmul(*conv))
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
    std::optional<MatmulContraction> groups = grouped(*matmul);
    if (!groups || !has_multiply_add(matmul->dtype, unit)) return {{kPlain}};
    add_names(gemm_tactics(*groups, bounds, unit.lanes, unit.registers, threads, level), names);
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
    std::optional<MatmulContraction> groups = grouped(*matmul);
    if (!parsed || !groups || !suits(parsed->tile, matmul->dtype)) return nullptr;
    return std::make_unique<PreparedGemm>(std::move(*groups), *parsed);
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
