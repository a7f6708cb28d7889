// SPDX-License-Identifier: Apache-2.0
#include <optional>
#include <utility>

#include "layer/scan_places.h"
#include "region/region.h"

namespace stator {
namespace {

Error ill_formed(const std::string& what) { return Error{ErrorCode::kInternal, what}; }

/// What one op of a program needs of those before it.
Status verify_op(const LoopProgram& program, size_t i, int buffer_count,
                 const std::vector<bool>& inner) {
  const LoopOp& op = program.ops[i];
  const std::string where = "op %" + std::to_string(i);
  const auto dtype = [&program](OpId id) { return program.ops[static_cast<size_t>(id)].dtype; };
  std::vector<OpId> operands;
  for (const OpId id : {op.a, op.b, op.c, op.guard}) {
    if (id != kNoOp) {
      operands.push_back(id);
    }
  }
  for (const Indirect& indirect : op.indirect) {
    operands.push_back(indirect.op);
  }
  for (const OpId id : operands) {
    if (id < 0 || static_cast<size_t>(id) >= i) {
      return ill_formed(where + " reads an op that is not before it");
    }
  }
  switch (op.kind) {
    case LoopOpKind::kLoad:
      if (op.buffer < 0 || op.buffer >= buffer_count) {
        return ill_formed(where + " loads from a buffer that is not there");
      }
      for (const Indirect& indirect : op.indirect) {
        if (dtype(indirect.op) != DType::kInt64) {
          return ill_formed(where + " has an index that is not i64");
        }
      }
      return op.guard == kNoOp || dtype(op.guard) == DType::kBool
                 ? Status()
                 : Status(ill_formed(where + " has a guard that is not bool"));
    case LoopOpKind::kUnary:
    case LoopOpKind::kCast:
      return op.a != kNoOp ? Status() : Status(ill_formed(where + " has no operand"));
    case LoopOpKind::kElementwise:
      return op.a != kNoOp && op.b != kNoOp && dtype(op.a) == dtype(op.b)
                 ? Status()
                 : Status(ill_formed(where + " needs two operands of one element type"));
    case LoopOpKind::kSelect:
      return op.a != kNoOp && op.b != kNoOp && op.c != kNoOp && dtype(op.a) == DType::kBool &&
                     dtype(op.b) == dtype(op.c)
                 ? Status()
                 : Status(ill_formed(where + " needs a bool and two operands of one element type"));
    case LoopOpKind::kReduce:
      return op.a != kNoOp && (inner[static_cast<size_t>(op.a)] || program.has_reduction())
                 ? Status()
                 : Status(ill_formed(where + " folds a value over no dim"));
    case LoopOpKind::kCheckIndex:
      if (op.a == kNoOp || dtype(op.a) != DType::kInt64) {
        return ill_formed(where + " checks what is not an i64 index");
      }
      if (op.dtype != dtype(op.b == kNoOp ? op.a : op.b)) {
        return ill_formed(where + " gives another element type than it has");
      }
      return op.guard == kNoOp || dtype(op.guard) == DType::kBool
                 ? Status()
                 : Status(ill_formed(where + " has a guard that is not bool"));
    case LoopOpKind::kConstant:
    case LoopOpKind::kIndex:
    case LoopOpKind::kAccumulator:
      return {};
  }
  return {};
}

Status verify_scatter(const ScatterRegion& scatter, int buffers) {
  const size_t rank = scatter.extents.size();
  if (scatter.axis < 0 || static_cast<size_t>(scatter.axis) >= rank) {
    return ill_formed("its axis is none of its dims");
  }
  for (const StridedView* view : {&scatter.indices, &scatter.updates, &scatter.y}) {
    if (view->strides.size() != rank) {
      return ill_formed("a view needs one stride for each dim");
    }
    if (view->buffer < 0 || view->buffer >= buffers) {
      return ill_formed("a view looks into a buffer that is not there");
    }
  }
  return {};
}

/// How many inputs and outputs a region takes; nullopt: its body's views say so.
std::optional<std::pair<size_t, size_t>> arity(const RegionBody& body) {
  if (const auto* scan = std::get_if<ScanRegion>(&body)) {
    return std::pair<size_t, size_t>(1, has_places(scan->op) ? 2 : 1);
  }
  if (std::holds_alternative<OrderRegion>(body)) {
    return std::pair<size_t, size_t>(1, 2);
  }
  return std::nullopt;
}

Status verify_region(const RegionGraph& graph, const Region& region) {
  const int buffers = static_cast<int>(region.inputs.size() + region.outputs.size());
  for (const std::vector<int32_t>* list : {&region.inputs, &region.outputs}) {
    for (const int32_t id : *list) {
      if (id < 0 || static_cast<size_t>(id) >= graph.tensors.size()) {
        return ill_formed("it uses a tensor that is not there");
      }
    }
  }
  if (const auto counts = arity(region.body);
      counts.has_value() && *counts != std::pair(region.inputs.size(), region.outputs.size())) {
    return ill_formed("it has " + std::to_string(region.inputs.size()) + " inputs and " +
                      std::to_string(region.outputs.size()) + " outputs, and takes " +
                      std::to_string(counts->first) + " and " + std::to_string(counts->second));
  }
  if (const auto* scatter = std::get_if<ScatterRegion>(&region.body)) {
    return verify_scatter(*scatter, buffers);
  }
  const LoopProgram* program = std::get_if<LoopProgram>(&region.body);
  if (const auto* matmul = std::get_if<MatmulContraction>(&region.body)) {
    program = &matmul->epilogue;
    if (matmul->epilogue.dims.size() != matmul->batch.size() + 2) {
      return ill_formed("its epilogue does not run over batch, m and n");
    }
  } else if (const auto* conv = std::get_if<ConvolutionContraction>(&region.body)) {
    program = &conv->epilogue;
    if (conv->epilogue.dims.size() != conv->y_shape.size()) {
      return ill_formed("its epilogue does not run over n, the spatial axes and o");
    }
  }
  return program == nullptr ? Status() : verify_loop_program(*program, buffers);
}

}  // namespace

Status verify_loop_program(const LoopProgram& program, int buffer_count) {
  for (size_t k = 1; k < program.dims.size(); ++k) {
    if (program.dims[k - 1].reduction && !program.dims[k].reduction) {
      return ill_formed("reduction dims come last");
    }
  }
  const std::vector<bool> inner = program.inner_values();
  for (size_t i = 0; i < program.ops.size(); ++i) {
    STATOR_RETURN_IF_ERROR(verify_op(program, i, buffer_count, inner));
  }
  for (const LoopStore& store : program.stores) {
    if (store.value < 0 || static_cast<size_t>(store.value) >= program.ops.size()) {
      return ill_formed("a store has no value");
    }
    if (store.buffer < 0 || store.buffer >= buffer_count) {
      return ill_formed("a store goes to a buffer that is not there");
    }
  }
  return {};
}

Status verify_regions(const RegionGraph& graph) {
  std::vector<bool> written(graph.tensors.size(), false);
  for (size_t i = 0; i < graph.tensors.size(); ++i) {
    const RegionTensor& t = graph.tensors[i];
    written[i] = t.role == RegionTensorRole::kInput || t.role == RegionTensorRole::kConstant;
    if (t.alias_of >= static_cast<int32_t>(graph.tensors.size()) ||
        (t.alias_of >= 0 && graph.tensors[static_cast<size_t>(t.alias_of)].alias_of >= 0)) {
      return ill_formed("tensor " + t.name + " is the alias of an alias or of nothing");
    }
  }
  const auto storage = [&graph](int32_t id) {
    const int32_t alias = graph.tensors[static_cast<size_t>(id)].alias_of;
    return static_cast<size_t>(alias >= 0 ? alias : id);
  };
  for (const Region& region : graph.regions) {
    if (const Status status = verify_region(graph, region); !status.ok()) {
      return status.error().in("region " + region.name);
    }
    for (const int32_t id : region.inputs) {
      if (!written[storage(id)]) {
        return ill_formed("region " + region.name + " reads " +
                          graph.tensors[static_cast<size_t>(id)].name + " before it is written");
      }
    }
    for (const int32_t id : region.outputs) {
      written[storage(id)] = true;
    }
  }
  for (const int32_t id : graph.outputs) {
    const RegionTensor& t = graph.tensors[static_cast<size_t>(id)];
    if (t.role != RegionTensorRole::kOutput || t.alias_of >= 0 ||
        !written[static_cast<size_t>(id)]) {
      return ill_formed("output " + t.name + " is not written by a region");
    }
  }
  return {};
}

}  // namespace stator
