// SPDX-License-Identifier: Apache-2.0
//
// Contraction regions through the backend as the builder uses it: candidates, launch, pack,
// compile, load, run, with epilogues that the optimizer writes.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "backend/compiler.h"
#include "backends/cpu/codegen/register.h"
#include "gemm_fixture.h"

namespace stator::cpu::test {
namespace {

LoopOp accumulator() {
  LoopOp op;
  op.kind = LoopOpKind::kAccumulator;
  return op;
}
LoopOp load(int32_t buffer, const Expr& index) {
  LoopOp op;
  op.kind = LoopOpKind::kLoad;
  op.buffer = buffer;
  op.index = index;
  return op;
}
LoopOp add(OpId a, OpId b) {
  LoopOp op;
  op.kind = LoopOpKind::kElementwise;
  op.a = a;
  op.b = b;
  return op;
}
LoopOp unary(UnaryOp which, OpId a) {
  LoopOp op;
  op.kind = LoopOpKind::kUnary;
  op.unary = which;
  op.a = a;
  return op;
}
Expr index(int k) { return Expr::symbol(index_symbol(k)); }

/// One region whose tensors are its buffers, in order.
class OneRegion {
 public:
  int32_t tensor(std::vector<Expr> shape, RegionTensorRole role) {
    RegionTensor t;
    t.name = "t" + std::to_string(graph.tensors.size());
    t.type.shape = std::move(shape);
    t.role = role;
    graph.tensors.push_back(std::move(t));
    return static_cast<int32_t>(graph.tensors.size()) - 1;
  }

  /// Runs every candidate; `buffers` as the region numbers them, `packs` the constant one (or -1).
  void run(RegionBody body, const SymbolValues& symbols, const std::vector<Guarded*>& buffers,
           const std::function<void(const std::string&)>& check) {
    graph.name = "one";
    for (const auto& [name, value] : symbols) graph.bounds.set(name, 0, 1000);
    Region region;
    region.body = std::move(body);
    region.name = "region";
    for (size_t k = 0; k < graph.tensors.size(); ++k)
      (graph.tensors[k].role == RegionTensorRole::kOutput ? region.outputs : region.inputs)
          .push_back(static_cast<int32_t>(k));
    graph.regions = {region};
    CompilerBackend& backend = cpu_backend();
    ASSERT_TRUE(backend.supports(graph, region).ok()) << backend.supports(graph, region).reason();
    BuildOptions options;
    std::vector<KernelRequest> requests;
    for (const Tactic& tactic : backend.candidates(graph, region, options))
      requests.push_back(
          {&graph, &graph.regions[0], tactic, "k" + std::to_string(requests.size()), "k"});
    ASSERT_FALSE(requests.empty());
    Result<CompiledCode> code = backend.compile(requests, options);
    ASSERT_TRUE(code.ok()) << code.error().message;
    auto loaded = backend.executor().load(code->kernels, {code->variant});
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    for (size_t k = 0; k < requests.size(); ++k) {
      run_one(backend, **loaded, requests[k], static_cast<int32_t>(k), symbols, buffers);
      check(requests[k].tactic.name);
    }
  }

  RegionGraph graph;

 private:
  static void run_one(CompilerBackend& backend, const LoadedCode& loaded,
                      const KernelRequest& request, int32_t kernel, const SymbolValues& symbols,
                      const std::vector<Guarded*>& buffers) {
    KernelLaunch launch = backend.launch(*request.graph, *request.region, request.tactic);
    std::vector<void*> addresses;
    for (Guarded* buffer : buffers) addresses.push_back(buffer->data());
    std::vector<TensorData> packed;
    for (const PackedInput& input : launch.packed) {
      TensorData source;
      source.data = addresses[static_cast<size_t>(input.input)];
      source.size_bytes = buffers[static_cast<size_t>(input.input)]->size() * 4;
      auto bytes = backend.pack(input.recipe, source);
      ASSERT_TRUE(bytes.ok());
      packed.push_back(*bytes);
      addresses[static_cast<size_t>(input.input)] = const_cast<void*>(packed.back().data);
    }
    std::vector<int64_t> sizes;
    for (const Expr& size : launch.sizes) sizes.push_back(size.evaluate(symbols).value());
    FaultRecord fault{};
    KernelArgs args{addresses.data(), sizes.data(), &fault, 0};
    BoundStep step;
    step.kernel = kernel;
    step.args = &args;
    step.task_count = launch.task_count.evaluate(symbols).value();
    step.scratch_bytes = launch.scratch_bytes.evaluate(symbols).value();
    int64_t per_thread = (step.scratch_bytes + 63) / 64 * 64;
    void* scratch = nullptr;
    TensorData memory = TensorData::allocate(
        std::max<int64_t>(64, per_thread * backend.executor().thread_count()), &scratch);
    ASSERT_TRUE(loaded.run(&step, 1, RunOptions{scratch, per_thread}).ok());
    EXPECT_EQ(fault.code, 0);
  }
};

TEST(ContractionBackend, LinearWithBiasAndGelu) {
  constexpr int64_t kRows = 150, kColumns = 200, kDepth = 96;
  Expr rows = Expr::symbol("s0");
  MatmulContraction matmul;
  matmul.m = rows;
  matmul.n = kColumns;
  matmul.k = kDepth;
  matmul.a = {0, 0, {kDepth, 1}};
  matmul.b = {1, 0, {1, kDepth}};  // a linear layer's weight [out, in]
  matmul.b_constant = true;
  matmul.epilogue.dims = {{rows}, {kColumns}};
  matmul.epilogue.ops = {accumulator(), load(2, index(1)), add(0, 1), unary(UnaryOp::kGelu, 2)};
  matmul.epilogue.stores = {{3, index(0) * kColumns + index(1), 3}};
  OneRegion one;
  one.tensor({rows, kDepth}, RegionTensorRole::kInput);
  one.tensor({kColumns, kDepth}, RegionTensorRole::kConstant);
  one.tensor({kColumns}, RegionTensorRole::kConstant);
  one.tensor({rows, kColumns}, RegionTensorRole::kOutput);
  std::mt19937 random(3);
  Guarded a(kRows * kDepth), w(kColumns * kDepth), bias(kColumns), y(kRows * kColumns, -9);
  for (Guarded* data : {&a, &w, &bias}) data->fill_random(random);
  std::vector<float> want;
  for (int64_t i = 0; i < kRows; ++i)
    for (int64_t j = 0; j < kColumns; ++j) {
      double x = bias[j];
      for (int64_t k = 0; k < kDepth; ++k)
        x += static_cast<double>(a[i * kDepth + k]) * w[j * kDepth + k];
      want.push_back(static_cast<float>(x * 0.5 * (1 + std::erf(x / std::sqrt(2.0)))));
    }
  one.run(matmul, {{"s0", kRows}}, {&a, &w, &bias, &y}, [&](const std::string& tactic) {
    EXPECT_EQ(difference(y, want, 1e-5), "") << tactic;
    std::fill(y.data(), y.data() + y.size(), -9.0F);
  });
}

/// x [n, 7, 9, 24] with w [40, 24, kernel, kernel], bias, a residual of the result's shape and
/// relu.
void check_convolution(int64_t kernel) {
  constexpr int64_t kBatch = 3, kHeight = 7, kWidth = 9, kIn = 24, kOut = 40;
  int64_t pad = kernel / 2;
  Expr n = Expr::symbol("s0");
  ConvolutionContraction conv;
  conv.attributes.stride = conv.attributes.dilation = {1, 1};
  conv.attributes.pad_before = conv.attributes.pad_after = {pad, pad};
  conv.attributes.channels_last = true;
  conv.x_shape = {n, kHeight, kWidth, kIn};
  conv.w_shape = {kOut, kIn, kernel, kernel};
  conv.y_shape = {n, kHeight, kWidth, kOut};
  for (const Expr& extent : conv.y_shape) conv.epilogue.dims.push_back({extent});
  Expr flat = ((index(0) * kHeight + index(1)) * kWidth + index(2)) * kOut + index(3);
  conv.epilogue.ops = {accumulator(), load(2, index(3)), add(0, 1),
                       load(3, flat), add(2, 3),         unary(UnaryOp::kRelu, 4)};
  conv.epilogue.stores = {{4, flat, 5}};
  OneRegion one;
  one.tensor(conv.x_shape, RegionTensorRole::kInput);
  one.tensor(conv.w_shape, RegionTensorRole::kConstant);
  one.tensor({kOut}, RegionTensorRole::kConstant);
  one.tensor(conv.y_shape, RegionTensorRole::kInput);
  one.tensor(conv.y_shape, RegionTensorRole::kOutput);
  std::mt19937 random(4);
  constexpr int64_t kPixels = kBatch * kHeight * kWidth;
  Guarded x(kPixels * kIn), w(kOut * kIn * kernel * kernel), bias(kOut), residual(kPixels * kOut);
  Guarded y(kPixels * kOut, -9);
  for (Guarded* data : {&x, &w, &bias, &residual}) data->fill_random(random);
  std::vector<float> want;
  for (int64_t p = 0; p < kPixels; ++p)
    for (int64_t o = 0; o < kOut; ++o) {
      double sum = bias[o] + residual[p * kOut + o];
      for (int64_t i = 0; i < kernel; ++i)
        for (int64_t j = 0; j < kernel; ++j) {
          int64_t row = p / kWidth % kHeight + i - pad, column = p % kWidth + j - pad;
          if (row < 0 || row >= kHeight || column < 0 || column >= kWidth) continue;
          int64_t from = (p / (kWidth * kHeight) * kHeight + row) * kWidth + column;
          for (int64_t c = 0; c < kIn; ++c)
            sum += static_cast<double>(x[from * kIn + c]) *
                   w[((o * kIn + c) * kernel + i) * kernel + j];
        }
      want.push_back(static_cast<float>(std::max(sum, 0.0)));
    }
  one.run(conv, {{"s0", kBatch}}, {&x, &w, &bias, &residual, &y}, [&](const std::string& tactic) {
    EXPECT_EQ(difference(y, want, 1e-5), "") << tactic;
    std::fill(y.data(), y.data() + y.size(), -9.0F);
  });
}

TEST(ContractionBackend, ConvolutionWithResidualAndRelu) { check_convolution(3); }
TEST(ContractionBackend, PointwiseConvolutionWithResidualAndRelu) { check_convolution(1); }

TEST(ContractionBackend, CausalAttentionWithAMaskOverKeys) {
  constexpr int64_t kBatch = 2, kHeads = 3, kLength = 41, kSize = 16;
  Expr length = Expr::symbol("s0");
  AttentionRegion attention;
  attention.batch = kBatch;
  attention.heads = attention.kv_heads = kHeads;
  attention.q_length = attention.kv_length = length;
  attention.qk_dim = attention.v_dim = kSize;
  attention.scale = 0.25;
  attention.causal = true;
  attention.has_mask = true;
  std::vector<Expr> strides = {length * (kHeads * kSize), kSize, kHeads * kSize, 1};
  attention.q = {0, 0, strides};
  attention.k = {1, 0, strides};
  attention.v = {2, 0, strides};
  attention.mask = {3, 0, {length, 0, 0, 1}};
  attention.out = {4, 0, strides};
  OneRegion one;
  for (int k = 0; k < 3; ++k) one.tensor({kBatch, length, kHeads, kSize}, RegionTensorRole::kInput);
  one.tensor({kBatch, length}, RegionTensorRole::kInput);
  one.tensor({kBatch, length, kHeads, kSize}, RegionTensorRole::kOutput);
  std::mt19937 random(6);
  constexpr int64_t kElements = kBatch * kLength * kHeads * kSize;
  Guarded q(kElements), k(kElements), v(kElements), mask(kBatch * kLength), out(kElements, -9);
  for (Guarded* data : {&q, &k, &v, &mask}) data->fill_random(random);
  std::vector<float> want(kElements);
  for (int64_t b = 0; b < kBatch; ++b)
    for (int64_t h = 0; h < kHeads; ++h)
      for (int64_t i = 0; i < kLength; ++i) {
        auto at = [&](int64_t position, int64_t c) {
          return ((b * kLength + position) * kHeads + h) * kSize + c;
        };
        std::vector<double> sums(kSize);
        double total = 0;
        for (int64_t j = 0; j <= i; ++j) {
          double score = 0;
          for (int64_t c = 0; c < kSize; ++c)
            score += static_cast<double>(q[at(i, c)]) * k[at(j, c)];
          double weight = std::exp(score * 0.25 + mask[b * kLength + j]);
          total += weight;
          for (int64_t c = 0; c < kSize; ++c) sums[static_cast<size_t>(c)] += weight * v[at(j, c)];
        }
        for (int64_t c = 0; c < kSize; ++c)
          want[static_cast<size_t>(at(i, c))] =
              static_cast<float>(sums[static_cast<size_t>(c)] / total);
      }
  one.run(attention, {{"s0", kLength}}, {&q, &k, &v, &mask, &out}, [&](const std::string& tactic) {
    EXPECT_EQ(difference(out, want, 5e-6), "") << tactic;
    std::fill(out.data(), out.data() + out.size(), -9.0F);
  });
}

TEST(ContractionBackend, RefusesDtypesWithoutAKernel) {
  OneRegion one;
  one.tensor({2, 2}, RegionTensorRole::kInput);
  Region region;
  MatmulContraction matmul;
  matmul.dtype = DType::kFloat16;
  matmul.a = matmul.b = {0, 0, {2, 1}};
  matmul.m = matmul.n = matmul.k = 2;
  region.body = matmul;
  EXPECT_EQ(cpu_backend().supports(one.graph, region).reason(),
            "contractions of f16 have no kernel on the CPU");
}

}  // namespace
}  // namespace stator::cpu::test
