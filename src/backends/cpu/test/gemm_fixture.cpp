// SPDX-License-Identifier: Apache-2.0
#include "gemm_fixture.h"

#include <gtest/gtest.h>
#include <llvm/ExecutionEngine/Orc/LLJIT.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/TargetSelect.h>
#include <llvm/TargetParser/Host.h>

#include <cmath>
#include <limits>

#include "backend/executor.h"

namespace stator::cpu::test {
namespace {

const float kGuardValue = std::numeric_limits<float>::quiet_NaN();

const char* cpu_of(const VectorUnit& unit) {
  return unit.lanes == 16 ? "x86-64-v4" : unit.lanes == 8 ? "x86-64-v3" : "x86-64";
}

llvm::Value* emit_size(llvm::IRBuilder<>& builder, const Expr& e,
                       const std::map<std::string, llvm::Value*>& symbols) {
  if (e.is_constant()) return builder.getInt64(static_cast<uint64_t>(e.constant()));
  if (e.is_symbol()) return symbols.at(e.symbol_name());
  llvm::Value* value = emit_size(builder, e.operands()[0], symbols);
  for (size_t k = 1; k < e.operands().size(); ++k) {
    llvm::Value* other = emit_size(builder, e.operands()[k], symbols);
    switch (e.kind()) {
      case ExprKind::kAdd:
        value = builder.CreateAdd(value, other);
        break;
      case ExprKind::kMul:
        value = builder.CreateMul(value, other);
        break;
      case ExprKind::kFloorDiv:
        value = builder.CreateSDiv(value, other);
        break;  // not negative
      case ExprKind::kMod:
        value = builder.CreateSRem(value, other);
        break;
      case ExprKind::kMin:
        value = builder.CreateBinaryIntrinsic(llvm::Intrinsic::smin, value, other);
        break;
      case ExprKind::kMax:
        value = builder.CreateBinaryIntrinsic(llvm::Intrinsic::smax, value, other);
        break;
      default:
        ADD_FAILURE() << "unexpected expression " << e.str();
    }
  }
  return value;
}

/// result[flat index] = accumulator + bias[last index].
void emit_epilogue(const KernelHost& host, const EpiloguePoint& point,
                   const std::vector<Expr>& extents) {
  Emit e(host.builder);
  llvm::Value* flat = e.num(0);
  for (size_t d = 0; d < extents.size(); ++d)
    flat = e.add(e.mul(flat, host.size(extents[d])), point.index[d]);
  llvm::Value* bias_at = e.address(host.buffer(kBias), e.mul(point.index.back(), 4));
  llvm::Value* result_at = e.address(host.buffer(kResult), e.mul(flat, 4));
  if (point.lanes == 0) {
    llvm::Value* bias = host.builder.CreateLoad(host.builder.getFloatTy(), bias_at);
    host.builder.CreateStore(host.builder.CreateFAdd(point.accumulator, bias), result_at);
    return;
  }
  auto* type = e.floats(point.lanes);
  llvm::Value* mask =
      point.mask != nullptr ? point.mask : e.lane_mask(point.lanes, e.num(point.lanes));
  llvm::Value* bias = host.builder.CreateMaskedLoad(type, bias_at, llvm::Align(4), mask,
                                                    llvm::Constant::getNullValue(type));
  host.builder.CreateMaskedStore(host.builder.CreateFAdd(point.accumulator, bias), result_at,
                                 llvm::Align(4), mask);
}

std::unique_ptr<llvm::orc::LLJIT> make_jit(const VectorUnit& unit) {
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  llvm::orc::JITTargetMachineBuilder target{llvm::Triple(llvm::sys::getProcessTriple())};
  target.setCPU(cpu_of(unit));
  return llvm::cantFail(llvm::orc::LLJITBuilder().setJITTargetMachineBuilder(target).create());
}

llvm::orc::ThreadSafeModule emit_module(const PreparedContraction& prepared, const VectorUnit& unit,
                                        const SymbolValues& symbols,
                                        const std::vector<Expr>& extents) {
  auto context = std::make_unique<llvm::LLVMContext>();
  auto module = std::make_unique<llvm::Module>("kernel", *context);
  auto* pointer = llvm::PointerType::get(*context, 0);
  auto* i64 = llvm::Type::getInt64Ty(*context);
  auto* type =
      llvm::FunctionType::get(llvm::Type::getVoidTy(*context), {pointer, i64, i64, pointer}, false);
  auto* function =
      llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, "kernel", *module);
  llvm::IRBuilder<> builder(llvm::BasicBlock::Create(*context, "entry", function));
  auto field = [&](llvm::Value* base, int64_t k, llvm::Type* of) {
    return builder.CreateLoad(
        of, builder.CreateGEP(of, base, builder.getInt64(static_cast<uint64_t>(k))));
  };
  llvm::Value* buffers = field(function->getArg(0), 0, pointer);
  llvm::Value* sizes = field(function->getArg(0), 1, pointer);
  std::map<std::string, llvm::Value*> values;
  for (const auto& [name, value] : symbols) {
    auto position = static_cast<int64_t>(values.size());
    values[name] = field(sizes, position, i64);
  }
  std::vector<llvm::Value*> addresses;
  for (int64_t k = 0; k <= kResult; ++k) addresses.push_back(field(buffers, k, pointer));
  KernelHost host{*module,
                  function,
                  builder,
                  unit,
                  function->getArg(1),
                  function->getArg(2),
                  function->getArg(3),
                  [&](int32_t k) { return addresses[static_cast<size_t>(k)]; },
                  [&](const Expr& e) { return emit_size(builder, e, values); },
                  nullptr};
  host.epilogue = [&](const EpiloguePoint& point) { emit_epilogue(host, point, extents); };
  prepared.emit(host);
  builder.CreateRetVoid();
  EXPECT_FALSE(llvm::verifyModule(*module, &llvm::errs()));
  return {std::move(module), std::move(context)};
}

}  // namespace

std::vector<VectorUnit> runnable_units() {
  auto features = llvm::sys::getHostCPUFeatures();
  std::vector<VectorUnit> units;
  if (features.lookup("avx512f") && features.lookup("avx512vl")) units.push_back({16, 32});
  if (features.lookup("avx2") && features.lookup("fma")) units.push_back({8, 16});
  units.push_back({4, 16});
  return units;
}

Guarded::Guarded(int64_t count, float value)
    : memory_(static_cast<size_t>(count + 2 * kGuard), kGuardValue) {
  std::fill(data(), data() + count, value);
}

bool Guarded::intact() const {
  for (int64_t k = 0; k < kGuard; ++k)
    if (!std::isnan(data()[-1 - k]) || !std::isnan(data()[size() + k])) return false;
  return true;
}

void Guarded::fill_random(std::mt19937& random) {
  std::uniform_real_distribution<float> any(-1, 1);
  for (int64_t k = 0; k < size(); ++k) data()[k] = any(random);
}

void run_kernel(const PreparedContraction& prepared, const VectorUnit& unit,
                const SymbolValues& symbols, const std::vector<Expr>& result_extents,
                std::vector<void*> buffers) {
  auto jit = make_jit(unit);
  auto module = emit_module(prepared, unit, symbols, result_extents);
  module.withModuleDo([&](llvm::Module& m) { m.setDataLayout(jit->getDataLayout()); });
  llvm::cantFail(jit->addIRModule(std::move(module)));
  auto kernel = llvm::cantFail(jit->lookup("kernel")).toPtr<CpuKernel>();
  std::vector<int64_t> sizes;
  for (const auto& [name, value] : symbols) sizes.push_back(value);
  KernelLaunch launch = prepared.launch();
  int64_t tasks = launch.task_count.evaluate(symbols).value();
  int64_t scratch_bytes = launch.scratch_bytes.evaluate(symbols).value();
  void* scratch = nullptr;
  TensorData memory = TensorData::allocate(scratch_bytes + 64, &scratch);
  // What a kernel reads of its scratch it must have written; what lies behind it stays.
  std::fill_n(static_cast<unsigned char*>(scratch), scratch_bytes + 64, 0xff);
  buffers.resize(kResult + 1);
  FaultRecord fault{};
  KernelArgs args{buffers.data(), sizes.data(), &fault, 0};
  kernel(&args, 0, tasks / 2, scratch);
  kernel(&args, tasks / 2, tasks, scratch);
  for (int64_t k = 0; k < 64; ++k)
    ASSERT_EQ(static_cast<unsigned char*>(scratch)[scratch_bytes + k], 0xff) << "past the scratch";
}

TensorData packed_input(const PreparedContraction& prepared, int32_t input, const Guarded& source) {
  for (const PackedInput& packed : prepared.launch().packed) {
    if (packed.input != input) continue;
    TensorData data;
    data.data = source.data();
    data.size_bytes = source.size() * 4;
    Result<TensorData> result = pack_contraction_input(packed.recipe, data);
    EXPECT_TRUE(result.ok()) << (result.ok() ? "" : result.error().message);
    if (!result.ok()) return {};
    EXPECT_EQ(result->size_bytes, packed.size_bytes);
    return *result;
  }
  return {};
}

std::string difference(const Guarded& got, const std::vector<float>& want, double tolerance) {
  if (got.size() != static_cast<int64_t>(want.size())) return "sizes differ";
  if (!got.intact()) return "written past the result";
  for (int64_t k = 0; k < got.size(); ++k) {
    double expected = want[static_cast<size_t>(k)];
    // Written so that NaN differs from everything.
    if (!(std::abs(got[k] - expected) <= tolerance * (1 + std::abs(expected))))
      return "element " + std::to_string(k) + ": got " + std::to_string(got[k]) + ", want " +
             std::to_string(expected);
  }
  return "";
}

}  // namespace stator::cpu::test
