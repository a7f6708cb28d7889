// SPDX-License-Identifier: Apache-2.0
//
// The CPU backend: which family makes a region's kernel, and the frame that every kernel stands in.
// A kernel's sizes are the symbols of its region in the order of its signature, so that regions of
// one signature share code; expressions over them are computed at the kernel's entry.
#include <llvm/IR/Module.h>
#include <llvm/Target/TargetMachine.h>

#include <algorithm>
#include <map>
#include <thread>

#include "backends/cpu/codegen/gemm_family.h"
#include "backends/cpu/codegen/library_tactic.h"
#include "backends/cpu/codegen/loop_kernel.h"
#include "backends/cpu/codegen/object.h"
#include "backends/cpu/codegen/op_emitter.h"
#include "backends/cpu/codegen/register.h"
#include "backends/cpu/codegen/tile_search.h"
#include "backends/cpu/codegen/vector_math.h"
#include "base/check.h"
#include "base/float_element.h"
#include "layer/call_payload.h"
#include "layer/expr_fields.h"
#include "layer/whole_layer.h"

namespace stator {
namespace {

using namespace cpu;  // NOLINT: this file is the family's door

const LoopProgram* epilogue_of(const RegionBody& body) {
  if (const auto* matmul = std::get_if<MatmulContraction>(&body)) {
    return &matmul->epilogue;
  }
  if (const auto* conv = std::get_if<ConvolutionContraction>(&body)) {
    return &conv->epilogue;
  }
  return std::get_if<LoopProgram>(&body);
}

/// Sizes as values at the kernel's entry, each computed once.
class SizeTable {
 public:
  SizeTable(llvm::IRBuilder<>& builder, llvm::Instruction* place, llvm::Value* sizes,
            const std::vector<std::string>& symbols)
      : builder_(builder), place_(place), sizes_(sizes), symbols_(symbols) {}

  llvm::Value* get(const Expr& e) {
    const auto found = values_.find(e);
    if (found != values_.end()) {
      return found->second;
    }
    llvm::IRBuilder<>::InsertPointGuard guard(builder_);
    builder_.SetInsertPoint(place_);
    llvm::Value* value = emit(e);
    values_[e] = value;
    return value;
  }

 private:
  llvm::Value* emit(const Expr& e) {
    if (e.is_constant()) {
      return builder_.getInt64(static_cast<uint64_t>(e.constant()));
    }
    if (e.is_symbol()) {
      const auto at = std::find(symbols_.begin(), symbols_.end(), e.symbol_name());
      STATOR_CHECK(at != symbols_.end(), "size " + e.str() + " is no symbol of the region");
      llvm::Value* address =
          builder_.CreateGEP(builder_.getInt64Ty(), sizes_,
                             builder_.getInt64(static_cast<uint64_t>(at - symbols_.begin())));
      return builder_.CreateLoad(builder_.getInt64Ty(), address);
    }
    llvm::Value* result = get(e.operands()[0]);
    for (size_t i = 1; i < e.operands().size(); ++i) {
      result = apply(e.kind(), result, get(e.operands()[i]));
    }
    return result;
  }

  llvm::Value* apply(ExprKind kind, llvm::Value* a, llvm::Value* b) {
    switch (kind) {
      case ExprKind::kAdd:
        return builder_.CreateAdd(a, b);
      case ExprKind::kMul:
        return builder_.CreateMul(a, b);
      case ExprKind::kMin:
        return builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smin, a, b);
      case ExprKind::kMax:
        return builder_.CreateBinaryIntrinsic(llvm::Intrinsic::smax, a, b);
      default:
        return floor_division(kind, a, b);
    }
  }

  /// Python's // and %: towards minus infinity; a divisor of 0 gives 0 where it cannot matter.
  llvm::Value* floor_division(ExprKind kind, llvm::Value* a, llvm::Value* b) {
    llvm::Value* zero = builder_.getInt64(0);
    llvm::Value* safe =
        builder_.CreateSelect(builder_.CreateICmpEQ(b, zero), builder_.getInt64(1), b);
    llvm::Value* q = builder_.CreateSDiv(a, safe);
    llvm::Value* r = builder_.CreateSRem(a, safe);
    llvm::Value* mixed = builder_.CreateAnd(
        builder_.CreateICmpNE(r, zero),
        builder_.CreateICmpNE(builder_.CreateICmpSLT(r, zero), builder_.CreateICmpSLT(safe, zero)));
    return kind == ExprKind::kFloorDiv
               ? builder_.CreateSub(q, builder_.CreateZExt(mixed, builder_.getInt64Ty()))
               : builder_.CreateSelect(mixed, builder_.CreateAdd(r, safe), r);
  }

  llvm::IRBuilder<>& builder_;
  llvm::Instruction* place_;
  llvm::Value* sizes_;
  std::vector<std::string> symbols_;
  std::map<Expr, llvm::Value*> values_;
};

std::vector<DType> buffer_dtypes(const RegionGraph& graph, const Region& region) {
  std::vector<DType> dtypes;
  for (const std::vector<int32_t>* list : {&region.inputs, &region.outputs}) {
    for (const int32_t id : *list) {
      dtypes.push_back(graph.tensors[static_cast<size_t>(id)].type.dtype);
    }
  }
  return dtypes;
}

/// Whether machine code is made for it.
bool has_code(const Region& region) {
  return !std::holds_alternative<CallRegion>(region.body) && !library_kernel(region).has_value();
}

std::vector<std::string> symbols_of(const RegionGraph& graph, const Region& region) {
  std::vector<std::string> symbols;
  (void)region_signature(graph, region, &symbols);
  return symbols;
}

/// The frame of one kernel: loads of its arguments, then the family's body.
class KernelFrame {
 public:
  KernelFrame(llvm::Module& module, const KernelRequest& request, VectorUnit unit)
      : module_(module),
        request_(request),
        unit_(unit),
        builder_(module.getContext()),
        dtypes_(buffer_dtypes(*request.graph, *request.region)) {}

  void emit() {
    llvm::Type* pointer = builder_.getPtrTy();
    llvm::Type* word = builder_.getInt64Ty();
    auto* type =
        llvm::FunctionType::get(builder_.getVoidTy(), {pointer, word, word, pointer}, false);
    auto* function =
        llvm::Function::Create(type, llvm::Function::ExternalLinkage, request_.symbol, module_);
    function->addFnAttr("no-builtins");
    function->addFnAttr("prefer-vector-width", "512");
    function->addFnAttr(llvm::Attribute::NoUnwind);
    function->addParamAttr(0, llvm::Attribute::NoAlias);
    function->addParamAttr(3, llvm::Attribute::NoAlias);
    auto* entry = llvm::BasicBlock::Create(builder_.getContext(), "entry", function);
    auto* body = llvm::BasicBlock::Create(builder_.getContext(), "body", function);
    builder_.SetInsertPoint(entry);
    llvm::Value* args = function->getArg(0);
    llvm::Value* buffers = field(args, 0);
    llvm::Value* sizes = field(args, 8);
    const size_t count = request_.region->inputs.size() + request_.region->outputs.size();
    for (size_t i = 0; i < count; ++i) {
      addresses_.push_back(field(buffers, static_cast<int64_t>(8 * i)));
    }
    llvm::Instruction* branch = builder_.CreateBr(body);
    SizeTable table(builder_, branch, sizes, symbols_of(*request_.graph, *request_.region));
    builder_.SetInsertPoint(body);
    KernelHost host{module_,
                    function,
                    builder_,
                    unit_,
                    function->getArg(1),
                    function->getArg(2),
                    function->getArg(3),
                    [this](int32_t k) { return addresses_[static_cast<size_t>(k)]; },
                    [&table](const Expr& e) { return table.get(e); },
                    {}};
    host.epilogue = [&, args](const EpiloguePoint& point) { emit_epilogue(host, point, args); };
    emit_body(host, args);
    builder_.CreateRetVoid();
  }

 private:
  llvm::Value* field(llvm::Value* base, int64_t offset) {
    llvm::Value* address = builder_.CreateGEP(builder_.getInt8Ty(), base,
                                              builder_.getInt64(static_cast<uint64_t>(offset)));
    return builder_.CreateLoad(builder_.getPtrTy(), address);
  }

  void emit_epilogue(KernelHost& host, const EpiloguePoint& at, llvm::Value* args) {
    const LoopProgram& program = *epilogue_;
    OpEmitter ops(builder_, program, host.buffer, host.size, args);
    Point point{at.index, at.lanes > 0 ? static_cast<int>(program.dims.size()) - 1 : -1, at.lanes,
                at.mask};
    for (size_t i = 0; i < program.ops.size(); ++i) {
      if (program.ops[i].kind == LoopOpKind::kAccumulator) {
        ops.set(static_cast<OpId>(i), at.accumulator);
      }
    }
    for (const LoopStore& store : program.stores) {
      ops.store(store, dtypes_[static_cast<size_t>(store.buffer)], point);
    }
  }

  void emit_body(KernelHost& host, llvm::Value* args) {
    const RegionBody& body = request_.region->body;
    const std::string& tactic = request_.tactic.name;
    if (const auto* loop = std::get_if<LoopProgram>(&body)) {
      emit_loop(host, *loop, dtypes_, args);
      return;
    }
    const auto prepared = prepare_contraction(*request_.region, tactic);
    STATOR_CHECK(prepared != nullptr, "'" + tactic + "' is no tactic of " + request_.region->name);
    epilogue_ = prepared->epilogue();
    prepared->emit(host);
  }

  llvm::Module& module_;
  const KernelRequest& request_;
  VectorUnit unit_;
  llvm::IRBuilder<> builder_;
  std::vector<DType> dtypes_;
  std::vector<llvm::Value*> addresses_;
  // As the kernel counts the dims: it may take all pixels as one.
  const LoopProgram* epilogue_ = nullptr;
};

class CpuBackend : public CompilerBackend {
 public:
  using CompilerBackend::traits;
  BackendTraits traits(const BuildOptions& options) const override {
    BackendTraits traits;
    traits.name = "cpu";
    // Halves are read, written and converted; what is computed of them is computed in float32.
    traits.loop_dtype = [](DType dtype) { return is_plain_number(dtype) || is_half(dtype); };
    traits.loop_unary = has_unary;
    traits.loop_elementwise = has_elementwise;
    traits.runs_whole = is_whole_layer;
    traits.short_step_us = 10;
    traits.few_results = 8;
    traits.long_reduction = 1 << 17;
    traits.bytes_per_us = 1e4;
    if (CpuTarget::host(options.hardware_compatible).unit.byte_products) {
      traits.byte_product = [](DType a, int64_t, int64_t) { return a == DType::kUInt8; };
      traits.byte_convolution = [](const Convolution&, const TensorType& x, const TensorType& w) {
        return x.dtype == DType::kUInt8 && w.shape[1].constant() % 4 == 0;
      };
    }
    return traits;
  }

  std::string device_key(const BuildOptions& options) const override {
    const CpuTarget target = CpuTarget::host(options.hardware_compatible);
    return "cpu " + host_model() + " " + target.name + " " +
           std::to_string(executor().thread_count()) + " threads";
  }

  Support supports(const RegionGraph&, const Region& region) const override {
    if (const LoopProgram* program = epilogue_of(region.body)) {
      if (Support support = loop_supports(*program); !support) {
        return support;
      }
    }
    if (const auto* conv = std::get_if<ConvolutionContraction>(&region.body);
        conv != nullptr && !conv->w_constant) {
      return Support::no("convolutions whose weights are computed are calls");
    }
    if (!std::holds_alternative<LoopProgram>(region.body) && has_code(region)) {
      return contraction_supports(region);
    }
    return Support::yes();
  }

  std::vector<Tactic> candidates(const RegionGraph& graph, const Region& region,
                                 const BuildOptions& options) const override {
    const CpuTarget target = CpuTarget::host(options.hardware_compatible);
    std::vector<Tactic> names = contraction_tactics(
        region, graph.bounds, target.unit, executor().thread_count(), options.optimization_level);
    if (names.empty()) {
      const bool is_call = std::holds_alternative<CallRegion>(region.body);
      names.push_back(Tactic{is_call ? "call" : has_code(region) ? "plain" : "library"});
    }
    search_tiles(region, options.tiling_level, options.tiling_l2_limit, &names);
    return names;
  }

  KernelLaunch launch(const RegionGraph& graph, const Region& region,
                      const Tactic& tactic) const override {
    KernelLaunch launch = family_launch(region, tactic.name);
    if (const auto* call = std::get_if<CallRegion>(&region.body)) {
      launch.sizes = expr_fields(call->attributes);
      return launch;
    }
    if (!has_code(region)) {
      return launch;
    }
    for (const std::string& symbol : symbols_of(graph, region)) {
      launch.sizes.push_back(Expr::symbol(symbol));
    }
    return launch;
  }

  Result<CompiledCode> compile(const std::vector<KernelRequest>& requests,
                               const BuildOptions& options) const override;

  Result<TensorData> pack(const std::string& recipe, const TensorData& source) const override {
    return pack_contraction_input(recipe, source);
  }

  ExecutorBackend& executor() const override {
    ExecutorBackend* executor = find_executor_backend("cpu");
    STATOR_CHECK(executor != nullptr, "the cpu executor is not built");
    return *executor;
  }

 private:
  static KernelLaunch family_launch(const Region& region, const std::string& tactic) {
    if (const auto* loop = std::get_if<LoopProgram>(&region.body)) {
      return loop_launch(*loop);
    }
    if (std::holds_alternative<CallRegion>(region.body)) {
      return {};
    }
    if (library_kernel(region).has_value()) {
      return library_launch(region);
    }
    const auto prepared = prepare_contraction(region, tactic);
    STATOR_CHECK(prepared != nullptr, "'" + tactic + "' is no tactic of " + region.name);
    return prepared->launch();
  }
};

/// One thread's share of the requests as one object.
Result<std::string> compile_share(const std::vector<const KernelRequest*>& share,
                                  const CpuTarget& target) {
  try {
    llvm::LLVMContext context;
    const std::unique_ptr<llvm::TargetMachine> machine = target.machine();
    llvm::Module module("stator", context);
    module.setTargetTriple(machine->getTargetTriple().str());
    module.setDataLayout(machine->createDataLayout());
    for (const KernelRequest* request : share) {
      KernelFrame(module, *request, target.unit).emit();
    }
    return compile_module(module, *machine);
  } catch (const InternalError& e) {
    return Error{ErrorCode::kInternal, e.what()};
  }
}

Result<CompiledCode> CpuBackend::compile(const std::vector<KernelRequest>& requests,
                                         const BuildOptions& options) const {
  const CpuTarget target = CpuTarget::host(options.hardware_compatible);
  CompiledCode code;
  code.variant.executor = "cpu";
  code.variant.target = target.name;
  code.variant.features = target.needs;
  // Kernels are dealt out in turns; objects are independent, so their number does not change what
  // a kernel does, and is fixed so that the bytes do not depend on the machine's cores.
  constexpr size_t kShares = 2;
  std::vector<std::vector<const KernelRequest*>> shares(kShares);
  size_t next = 0;
  for (const KernelRequest& request : requests) {
    if (has_code(*request.region)) {
      shares[next++ % kShares].push_back(&request);
    }
  }
  std::vector<Result<std::string>> objects(kShares, std::string());
  std::vector<std::thread> threads;
  for (size_t s = 0; s < kShares; ++s) {
    if (!shares[s].empty()) {
      threads.emplace_back([&, s] { objects[s] = compile_share(shares[s], target); });
    }
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::vector<std::string> bytes;
  for (Result<std::string>& object : objects) {
    STATOR_TRY(std::string text, std::move(object));
    if (!text.empty()) {
      bytes.push_back(std::move(text));
    }
  }
  STATOR_TRY(const CodeImage image, link_objects(bytes));
  if (!image.bytes.empty()) {
    void* writable = nullptr;
    code.variant.image = TensorData::allocate(static_cast<int64_t>(image.bytes.size()), &writable);
    std::copy(image.bytes.begin(), image.bytes.end(), static_cast<char*>(writable));
  }
  for (const KernelRequest& request : requests) {
    if (const auto* call = std::get_if<CallRegion>(&request.region->body)) {
      const CallPayload payload{static_cast<int64_t>(request.region->inputs.size()),
                                static_cast<int64_t>(request.region->outputs.size()),
                                call->attributes};
      code.kernels.push_back(
          {"reference", layer_kind_name(call->attributes), print_call_payload(payload), {}});
      continue;
    }
    const std::optional<LibraryKernel> library = library_kernel(*request.region);
    code.kernels.push_back(
        {"cpu",
         region_kind_name(request.region->body) + std::string(" ") + request.tactic.name,
         library.has_value() ? print_library_kernel(*library)
                             : std::to_string(image.entries.at(request.symbol)),
         {}});
  }
  return code;
}

}  // namespace

CompilerBackend& cpu_backend() {
  static auto& backend = *new CpuBackend();
  return backend;
}

}  // namespace stator
