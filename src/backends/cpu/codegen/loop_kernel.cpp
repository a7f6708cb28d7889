// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/codegen/loop_kernel.h"

#include <cmath>
#include <limits>

#include "backends/cpu/codegen/op_emitter.h"
#include "backends/cpu/codegen/vector_math.h"
#include "base/check.h"
#include "base/float_element.h"

namespace stator::cpu {
namespace {

using llvm::Value;

constexpr int64_t kPointsPerTask = 8192;

/// How the space is cut into tasks: rows = outer points without the last dim, columns = the last.
struct Cut {
  Expr rows = 1, columns = 1;
  Expr points_per_column = 1;  // the reduction space
  Expr row_block, column_block, column_blocks;

  explicit Cut(const LoopProgram& program) {
    const int outer = program.outer_rank();
    for (int k = 0; k + 1 < outer; ++k) {
      rows = rows * program.dims[static_cast<size_t>(k)].extent;
    }
    if (outer > 0) {
      columns = program.dims[static_cast<size_t>(outer - 1)].extent;
    }
    for (size_t k = static_cast<size_t>(outer); k < program.dims.size(); ++k) {
      points_per_column = points_per_column * program.dims[k].extent;
    }
    // Columns of a task are a multiple of 64, so that vectors stay whole.
    const Expr wanted = max(floor_div(Expr(kPointsPerTask), max(points_per_column, Expr(1))), 1);
    column_block = ceil_div(wanted, 64) * Expr(64);
    column_blocks = ceil_div(columns, column_block);
    const Expr row_points = max(min(columns, column_block) * points_per_column, 1);
    row_block = max(floor_div(Expr(kPointsPerTask), row_points), 1);
  }
  Expr tasks() const { return ceil_div(rows, row_block) * column_blocks; }
};

/// As many as fill a register with the widest values, four of its kind at most. What counts places
/// in 64 bits stays with the number of floats.
int lanes_of(const LoopProgram& program, int floats) {
  int64_t widest = 1;
  for (const LoopOp& op : program.ops) {
    const bool plain = op.kind == LoopOpKind::kLoad || op.kind == LoopOpKind::kConstant ||
                       op.kind == LoopOpKind::kUnary || op.kind == LoopOpKind::kElementwise ||
                       op.kind == LoopOpKind::kSelect || op.kind == LoopOpKind::kCast;
    if (!plain || !op.indirect.empty() || op.guard != kNoOp) {
      return floats;
    }
    widest = std::max(widest, dtype_bytes(op.dtype));
  }
  return floats * static_cast<int>(std::max<int64_t>(4 / widest, 1));
}

class LoopEmitter : Emit {
 public:
  LoopEmitter(KernelHost& host, const LoopProgram& program, const std::vector<DType>& dtypes,
              Value* args)
      : Emit(host.builder),
        host_(host),
        p_(program),
        dtypes_(dtypes),
        args_(args),
        inner_(program.inner_values()),
        pass_(program.passes()),
        outer_(program.outer_rank()),
        lanes_(lanes_of(program, host.unit.lanes)) {}

  void emit() {
    const Cut cut(p_);
    rows_ = host_.size(cut.rows);
    columns_ = host_.size(cut.columns);
    for (const LoopDim& dim : p_.dims) {
      extents_.push_back(host_.size(dim.extent));
    }
    Value* row_block = host_.size(cut.row_block);
    Value* column_block = host_.size(cut.column_block);
    Value* column_blocks = max(host_.size(cut.column_blocks), num(1));
    lane_dim_ = choose_lane_dim();
    loop(host_.task_begin, host_.task_end, 1, [&](Value* task) {
      Value* row_begin = mul(div(task, column_blocks), row_block);
      Value* row_end = min(add(row_begin, row_block), rows_);
      Value* column_begin = mul(rem(task, column_blocks), column_block);
      Value* column_end = min(add(column_begin, column_block), columns_);
      loop(row_begin, row_end, 1, [&](Value* row) { emit_row(row, column_begin, column_end); });
    });
  }

 private:
  /// The dim that lanes run along: the last outer one, or the last reduction one when loads are
  /// contiguous along it.
  int choose_lane_dim() const {
    const int last_outer = outer_ - 1;
    const int last = static_cast<int>(p_.dims.size()) - 1;
    if (!p_.has_reduction()) {
      return last_outer;
    }
    int along_reduction = 0, along_outer = 0;
    for (const LoopOp& op : p_.ops) {
      if (op.kind != LoopOpKind::kLoad) {
        continue;
      }
      along_reduction += contiguous(op.index, last) ? 1 : 0;
      along_outer += last_outer >= 0 && contiguous(op.index, last_outer) ? 1 : 0;
    }
    return along_outer > along_reduction ? last_outer : last;
  }

  static bool contiguous(const Expr& index, int dim) {
    const std::string symbol = index_symbol(dim);
    const std::optional<LinearForm> form = linear_form(index, {symbol});
    return form.has_value() && form->coefficients.at(symbol).is_constant(1);
  }

  /// Indices of all outer dims but the last, from the row's number.
  std::vector<Value*> outer_indices(Value* row) {
    std::vector<Value*> index(p_.dims.size(), nullptr);
    for (int k = outer_ - 2; k >= 0; --k) {
      Value* extent = extents_[static_cast<size_t>(k)];
      index[static_cast<size_t>(k)] = k == 0 ? row : rem(row, extent);
      row = k == 0 ? row : div(row, extent);
    }
    return index;
  }

  OpEmitter emitter() { return OpEmitter(builder, p_, host_.buffer, host_.size, args_); }

  void emit_row(Value* row, Value* column_begin, Value* column_end) {
    const std::vector<Value*> index = outer_indices(row);
    if (lane_dim_ >= 0 && lane_dim_ == outer_ - 1) {
      emit_lanes(column_begin, column_end, [&](Value* column, Value* mask) {
        Point point{index, lane_dim_, lanes_, mask, true};
        point.index[static_cast<size_t>(outer_ - 1)] = column;
        emit_points(point);
      });
      return;
    }
    loop(column_begin, column_end, 1, [&](Value* column) {
      Point point{index, -1, 0, nullptr, false};
      if (outer_ > 0) {
        point.index[static_cast<size_t>(outer_ - 1)] = column;
      }
      emit_points(point);
    });
  }

  /// body(first, mask) for every vector of [begin, end): whole ones without a mask, then the rest.
  void emit_lanes(Value* begin, Value* end, const std::function<void(Value*, Value*)>& body) {
    Value* whole = sub(sub(end, begin), rem(sub(end, begin), num(lanes_)));
    Value* middle = add(begin, whole);
    loop(begin, middle, lanes_, [&](Value* first) { body(first, nullptr); });
    when(less(middle, end), [&] { body(middle, lane_mask(lanes_, sub(end, middle))); });
  }

  /// All passes at one outer point, or at `lanes` of them.
  void emit_points(const Point& outer_point) {
    known_.clear();
    int last_pass = 0;
    for (size_t i = 0; i < p_.ops.size(); ++i) {
      if (p_.ops[i].kind == LoopOpKind::kReduce) {
        last_pass = std::max(last_pass, pass_[i] + 1);
      }
    }
    for (int pass = 0; pass < last_pass; ++pass) {
      emit_reductions(outer_point, pass);
    }
    emit_stores(outer_point);
  }

  void take_known(OpEmitter& ops) {
    for (const auto& [op, value] : known_) {
      ops.set(op, value);
    }
  }

  /// Outer values that stand after the reductions done so far and that inner values will need are
  /// computed outside the inner loops.
  void hoist_outer_values(const Point& point, const std::vector<bool>& needed) {
    OpEmitter ops = emitter();
    take_known(ops);
    for (size_t i = 0; i < p_.ops.size(); ++i) {
      const auto id = static_cast<OpId>(i);
      if (needed[i] && !inner_[i] && p_.ops[i].kind != LoopOpKind::kReduce &&
          !known_.contains(id)) {
        known_[id] = ops.get(id, point);
      }
    }
  }

  /// Ops that the given ones depend on.
  std::vector<bool> closure(const std::vector<OpId>& roots) const {
    std::vector<bool> needed(p_.ops.size(), false);
    for (const OpId root : roots) {
      needed[static_cast<size_t>(root)] = true;
    }
    for (size_t i = p_.ops.size(); i-- > 0;) {
      if (!needed[i]) {
        continue;
      }
      const LoopOp& op = p_.ops[i];
      if (op.kind == LoopOpKind::kReduce) {
        continue;  // known already
      }
      for (const OpId id : {op.a, op.b, op.c, op.guard}) {
        if (id != kNoOp) {
          needed[static_cast<size_t>(id)] = true;
        }
      }
      for (const Indirect& indirect : op.indirect) {
        needed[static_cast<size_t>(indirect.op)] = true;
      }
    }
    return needed;
  }

  bool lanes_reduce() const { return lane_dim_ >= outer_; }

  void emit_reductions(const Point& outer_point, int pass) {
    std::vector<OpId> reduces, operands;
    for (size_t i = 0; i < p_.ops.size(); ++i) {
      if (p_.ops[i].kind == LoopOpKind::kReduce && pass_[i] == pass) {
        reduces.push_back(static_cast<OpId>(i));
        operands.push_back(p_.ops[i].a);
      }
    }
    hoist_outer_values(outer_point, closure(operands));
    std::vector<llvm::AllocaInst*> cells;
    for (const OpId id : reduces) {
      cells.push_back(make_cell(p_.ops[static_cast<size_t>(id)]));
    }
    inner_loops(outer_point, [&](const Point& point) {
      OpEmitter ops = emitter();
      take_known(ops);
      for (size_t r = 0; r < reduces.size(); ++r) {
        const LoopOp& op = p_.ops[static_cast<size_t>(reduces[r])];
        Value* value = ops.get(op.a, point);
        accumulate(op, cells[r], point.lanes > 0 ? ops.spread(value, point) : value, point);
      }
    });
    for (size_t r = 0; r < reduces.size(); ++r) {
      known_[reduces[r]] = finish(p_.ops[static_cast<size_t>(reduces[r])], cells[r]);
    }
  }

  void emit_stores(const Point& outer_point) {
    std::vector<const LoopStore*> outer_stores, inner_stores;
    std::vector<OpId> inner_roots;
    for (const LoopStore& store : p_.stores) {
      const bool inner = inner_[static_cast<size_t>(store.value)] || uses_reduction(store.index);
      (inner ? inner_stores : outer_stores).push_back(&store);
      if (inner) {
        inner_roots.push_back(store.value);
      }
    }
    if (!outer_stores.empty()) {
      OpEmitter ops = emitter();
      take_known(ops);
      for (const LoopStore* store : outer_stores) {
        ops.store(*store, dtypes_[static_cast<size_t>(store->buffer)], outer_point);
      }
    }
    if (inner_stores.empty()) {
      return;
    }
    hoist_outer_values(outer_point, closure(inner_roots));
    inner_loops(outer_point, [&](const Point& point) {
      OpEmitter ops = emitter();
      take_known(ops);
      for (const LoopStore* store : inner_stores) {
        ops.store(*store, dtypes_[static_cast<size_t>(store->buffer)], point);
      }
    });
  }

  bool uses_reduction(const Expr& e) const {
    for (int k = outer_; k < static_cast<int>(p_.dims.size()); ++k) {
      if (e.uses_symbol(index_symbol(k))) {
        return true;
      }
    }
    return false;
  }

  /// Walks the reduction dims; the last in vectors when lanes run along it.
  void inner_loops(const Point& outer_point, const std::function<void(const Point&)>& body) {
    walk(outer_, outer_point, body);
  }
  void walk(int dim, const Point& point, const std::function<void(const Point&)>& body) {
    const int rank = static_cast<int>(p_.dims.size());
    if (dim == rank) {
      body(point);
      return;
    }
    Value* extent = extents_[static_cast<size_t>(dim)];
    if (dim == lane_dim_) {
      emit_lanes(num(0), extent, [&](Value* first, Value* mask) {
        Point at = point;
        at.index[static_cast<size_t>(dim)] = first;
        at.lane_dim = dim;
        at.lanes = lanes_;
        at.mask = mask;
        at.aligned = true;
        walk(dim + 1, at, body);
      });
      return;
    }
    loop(num(0), extent, 1, [&](Value* i) {
      Point at = point;
      at.index[static_cast<size_t>(dim)] = i;
      walk(dim + 1, at, body);
    });
  }

  // ------------------------------------------------------------ reductions

  llvm::Type* cell_type(const LoopOp& op) {
    llvm::Type* type = register_type(builder.getContext(), op.dtype);
    return lane_dim_ >= 0 ? llvm::FixedVectorType::get(type, static_cast<unsigned>(lanes_)) : type;
  }

  llvm::Constant* neutral(const LoopOp& op, llvm::Type* type) {
    const bool real = is_floating_point(op.dtype);
    switch (op.reduce) {
      case ReduceOp::kProd:
        return real ? llvm::ConstantFP::get(type, 1.0) : llvm::ConstantInt::get(type, 1);
      case ReduceOp::kMax:
      case ReduceOp::kMin: {
        const bool max = op.reduce == ReduceOp::kMax;
        if (real) {
          return llvm::ConstantFP::get(type, max ? -INFINITY : INFINITY);
        }
        const unsigned bits = type->getScalarSizeInBits();
        const bool is_unsigned = op.dtype == DType::kUInt8 || op.dtype == DType::kBool;
        const llvm::APInt value =
            is_unsigned ? (max ? llvm::APInt::getMinValue(bits) : llvm::APInt::getMaxValue(bits))
                        : (max ? llvm::APInt::getSignedMinValue(bits)
                               : llvm::APInt::getSignedMaxValue(bits));
        return llvm::ConstantInt::get(type, value);
      }
      case ReduceOp::kAll:
        return llvm::Constant::getAllOnesValue(type);
      default:
        return llvm::Constant::getNullValue(type);
    }
  }

  /// A stack slot at the function's entry, which becomes a register.
  llvm::AllocaInst* make_cell(const LoopOp& op) {
    llvm::BasicBlock& entry = host_.function->getEntryBlock();
    llvm::IRBuilder<> at_entry(&entry, entry.begin());
    llvm::Type* type = cell_type(op);
    auto* cell = at_entry.CreateAlloca(type);
    builder.CreateStore(neutral(op, type), cell);
    return cell;
  }

  Value* combine(const LoopOp& op, Value* a, Value* b) {
    const bool real = is_floating_point(op.dtype);
    const bool is_unsigned = op.dtype == DType::kUInt8 || op.dtype == DType::kBool;
    switch (op.reduce) {
      case ReduceOp::kSum:
        return real ? builder.CreateFAdd(a, b) : builder.CreateAdd(a, b);
      case ReduceOp::kProd:
        return real ? builder.CreateFMul(a, b) : builder.CreateMul(a, b);
      case ReduceOp::kMax:
      case ReduceOp::kMin: {
        const bool max = op.reduce == ReduceOp::kMax;
        if (real) {
          // `a` is the accumulator: once NaN it stays, and a NaN in `b` compares false.
          Value* keeps = max ? builder.CreateFCmpOGT(a, b) : builder.CreateFCmpOLT(a, b);
          keeps = builder.CreateOr(keeps, builder.CreateFCmpUNO(a, a));
          return builder.CreateSelect(keeps, a, b);
        }
        return builder.CreateBinaryIntrinsic(
            max ? (is_unsigned ? llvm::Intrinsic::umax : llvm::Intrinsic::smax)
                : (is_unsigned ? llvm::Intrinsic::umin : llvm::Intrinsic::smin),
            a, b);
      }
      case ReduceOp::kAny:
        return builder.CreateOr(a, b);
      default:
        return builder.CreateAnd(a, b);
    }
  }

  void accumulate(const LoopOp& op, llvm::AllocaInst* cell, Value* value, const Point& point) {
    if (point.mask != nullptr && lanes_reduce()) {
      value = builder.CreateSelect(point.mask, value, neutral(op, value->getType()));
    }
    Value* old = builder.CreateLoad(cell->getAllocatedType(), cell);
    builder.CreateStore(combine(op, old, value), cell);
  }

  /// The lanes folded into one when they ran along a reduction dim.
  Value* finish(const LoopOp& op, llvm::AllocaInst* cell) {
    Value* value = builder.CreateLoad(cell->getAllocatedType(), cell);
    if (!lanes_reduce()) {
      return value;
    }
    for (int width = lanes_ / 2; width >= 1; width /= 2) {
      std::vector<int> low(static_cast<size_t>(width)), high(static_cast<size_t>(width));
      for (int i = 0; i < width; ++i) {
        low[static_cast<size_t>(i)] = i;
        high[static_cast<size_t>(i)] = i + width;
      }
      value = combine(op, builder.CreateShuffleVector(value, low),
                      builder.CreateShuffleVector(value, high));
    }
    return builder.CreateExtractElement(value, uint64_t{0});
  }

  KernelHost& host_;
  const LoopProgram& p_;
  const std::vector<DType>& dtypes_;
  Value* args_;
  std::vector<bool> inner_;
  std::vector<int> pass_;
  int outer_;
  int lanes_;
  int lane_dim_ = -1;
  Value* rows_ = nullptr;
  Value* columns_ = nullptr;
  std::vector<Value*> extents_;
  std::map<OpId, Value*> known_;  // outer values at the point in hand
};

}  // namespace

Support loop_supports(const LoopProgram& program) {
  for (const LoopOp& op : program.ops) {
    const bool moves = op.kind == LoopOpKind::kLoad || op.kind == LoopOpKind::kCast ||
                       op.kind == LoopOpKind::kSelect || op.kind == LoopOpKind::kConstant;
    if (!is_plain_number(op.dtype) && !(is_half(op.dtype) && moves)) {
      return Support::no(std::string(dtype_name(op.dtype)) + " is not generated in loops");
    }
    const DType from = op.a == kNoOp ? op.dtype : program.ops[static_cast<size_t>(op.a)].dtype;
    if (op.kind == LoopOpKind::kUnary && !has_unary(op.unary, from)) {
      return Support::no(std::string(name_of(op.unary)) + " of " + dtype_name(from) +
                         " has no vector form");
    }
    if (op.kind == LoopOpKind::kElementwise && !has_elementwise(op.elementwise, from)) {
      return Support::no(std::string(name_of(op.elementwise)) + " of " + dtype_name(from) +
                         " has no vector form");
    }
    if (op.kind == LoopOpKind::kReduce &&
        (op.reduce == ReduceOp::kArgMax || op.reduce == ReduceOp::kArgMin ||
         op.reduce == ReduceOp::kMean)) {
      return Support::no(std::string(name_of(op.reduce)) + " is not generated in loops");
    }
  }
  return Support::yes();
}

KernelLaunch loop_launch(const LoopProgram& program) {
  KernelLaunch launch;
  launch.task_count = Cut(program).tasks();
  return launch;
}

void emit_loop(KernelHost& host, const LoopProgram& program, const std::vector<DType>& dtypes,
               llvm::Value* args) {
  LoopEmitter(host, program, dtypes, args).emit();
}

}  // namespace stator::cpu
