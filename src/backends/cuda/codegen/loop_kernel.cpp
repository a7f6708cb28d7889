// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/loop_kernel.h"

#include <algorithm>

#include "backends/cuda/codegen/kernel_frame.h"
#include "backends/cuda/codegen/source_text.h"
#include "base/check.h"

namespace stator::cuda {
namespace {

constexpr int kLoopThreads = 256;
constexpr int64_t kCachedFloats = 64;  // of a row in one thread's registers

class LoopGenerator {
 public:
  explicit LoopGenerator(const LoopRequest& request)
      : r_(request),
        p_(*request.program),
        inner_(p_.inner_values()),
        pass_(p_.passes()),
        outer_(p_.outer_rank()) {
    scope_ = make_scope(r_);
    for (size_t k = 0; k < p_.dims.size(); ++k) {
      (static_cast<int>(k) < outer_ ? rows_ : row_length_) =
          (static_cast<int>(k) < outer_ ? rows_ : row_length_) * p_.dims[k].extent;
    }
  }

  GeneratedKernel generate() {
    if (!p_.has_reduction()) {
      emit_points();
    } else if (lanes_along_reduction()) {
      emit_rows();
    } else {
      emit_columns();
    }
    return finish_kernel(r_, kernel_head(r_, scope_, num(threads_)) + body_.text() + "}\n",
                         threads_, 0, grid_);
  }

 private:
  // ---------------------------------------------------------------- what is known of the sizes

  static bool contiguous(const Expr& index, int dim) {
    const std::string symbol = index_symbol(dim);
    const std::optional<LinearForm> form = linear_form(index, {symbol});
    return form.has_value() && form->coefficients.at(symbol).is_constant(1);
  }

  bool lanes_along_reduction() const {
    const int last = static_cast<int>(p_.dims.size()) - 1;
    int along_reduction = 0, along_outer = 0;
    for (const LoopOp& op : p_.ops) {
      if (op.kind == LoopOpKind::kLoad) {
        along_reduction += contiguous(op.index, last) ? 1 : 0;
        along_outer += outer_ > 0 && contiguous(op.index, outer_ - 1) ? 1 : 0;
      }
    }
    return along_outer <= along_reduction;
  }

  /// The widest vector along `dim`: 16 bytes of the smallest element that is accessed in vectors,
  /// where the dim's extent allows it.
  int lanes_along(int dim) const {
    int64_t smallest = 0;
    const auto consider = [&](const Expr& index, int32_t buffer) {
      if (contiguous(index, dim)) {
        const int64_t bytes = dtype_bytes(r_.buffer_types[static_cast<size_t>(buffer)]);
        smallest = smallest == 0 ? bytes : std::min(smallest, bytes);
      }
    };
    for (const LoopOp& op : p_.ops) {
      if (op.kind == LoopOpKind::kLoad) consider(op.index, op.buffer);
    }
    for (const LoopStore& store : p_.stores) consider(store.index, store.buffer);
    if (smallest == 0) {
      return 1;
    }
    int64_t lanes = std::min<int64_t>(8, 16 / smallest);
    while (lanes > 1 && !is_multiple(p_.dims[static_cast<size_t>(dim)].extent, lanes)) {
      lanes /= 2;
    }
    return static_cast<int>(std::max<int64_t>(lanes, 1));
  }

  // ---------------------------------------------------------------- pieces of text

  std::string size(const Expr& e) {
    return OpPrinter(scope_, body_, "").index(e, PrintPoint{}, "");
  }
  const std::string& index_type() const { return scope_.index_type; }

  /// Declares i<first> … i<last-1> from `flat` (an expression), the dim `last-1` fastest, whose
  /// index is in units of `lanes`.
  void unflatten(const std::string& flat, int first, int last, int lanes, PrintPoint* point) {
    std::string rest = flat;
    for (int k = last - 1; k >= first; --k) {
      const Expr& extent = p_.dims[static_cast<size_t>(k)].extent;
      const std::string name = "i" + num(k);
      std::string span = size(extent);
      if (k == last - 1 && lanes > 1) span = "(" + span + " / " + num(lanes) + ")";
      std::string value = k == first ? rest : rest + " % " + span;
      if (k == last - 1 && lanes > 1) value = "(" + value + ") * " + num(lanes);
      body_.line("const " + index_type() + " " + name + " = " + value + ";");
      if (k > first) {
        const std::string next = "rest" + num(k);
        body_.line("const " + index_type() + " " + next + " = " + rest + " / " + span + ";");
        rest = next;
      }
      point->index[static_cast<size_t>(k)] = name;
    }
  }

  PrintPoint empty_point() const {
    PrintPoint point;
    point.index.assign(p_.dims.size(), "");
    return point;
  }

  // ---------------------------------------------------------------- points

  void emit_points() {
    threads_ = kLoopThreads;
    const int last = outer_ - 1;
    int lanes = last >= 0 ? lanes_along(last) : 1;
    // Enough vectors to fill the machine come before wide ones.
    const std::optional<int64_t> most = r_.bounds->greatest(rows_);
    while (lanes > 1 && most.has_value() && *most / lanes < 32768) lanes /= 2;
    if (lanes == 1 && emit_flat(most)) return;
    const Expr vectors = floor_div(rows_, Expr(lanes));
    grid_ = ceil_div(vectors, Expr(kLoopThreads));
    body_.line("{");
    body_.line("const " + index_type() + " t = " + index_type() + "(blockIdx.x) * " +
               num(kLoopThreads) + " + threadIdx.x;");
    body_.line("if (t >= " + size(rows_) + " / " + num(lanes) + ") return;");
    PrintPoint point = empty_point();
    unflatten("t", 0, outer_, lanes, &point);
    point.lane_dim = last;
    point.lanes = lanes;
    OpPrinter ops(scope_, body_, "v");
    for (const LoopStore& store : p_.stores) ops.store(store, point);
    body_.line("}");
  }

  /// Where rows have odd lengths but the result is dense: a thread computes neighbouring elements
  /// of the whole result one by one and stores them together. False when it does not pay.
  bool emit_flat(const std::optional<int64_t>& most) {
    if (p_.stores.size() != 1 || outer_ == 0) return false;
    const LoopStore& store = p_.stores[0];
    const DType dtype = r_.buffer_types[static_cast<size_t>(store.buffer)];
    const int lanes = static_cast<int>(std::min<int64_t>(8, 16 / dtype_bytes(dtype)));
    Expr dense = 0;
    for (int k = 0; k < outer_; ++k) {
      dense = dense * p_.dims[static_cast<size_t>(k)].extent + Expr::symbol(index_symbol(k));
    }
    if (lanes < 2 || !(store.index == dense) || !most.has_value() || *most < 1 << 20) return false;
    grid_ = ceil_div(rows_, Expr(static_cast<int64_t>(kLoopThreads) * lanes));
    const std::string type = std::string("Vec<") + memory_type(dtype) + ", " + num(lanes) + ">";
    const std::string buffer = "b" + num(store.buffer);
    body_.line("{");
    body_.line("const " + index_type() + " first = (" + index_type() + "(blockIdx.x) * " +
               num(kLoopThreads) + " + threadIdx.x) * " + num(lanes) + ";");
    body_.line("const " + index_type() + " total = " + size(rows_) + ";");
    body_.line(type + " r;");
    body_.line("#pragma unroll");
    body_.line("for (int l = 0; l < " + num(lanes) + "; ++l) {");
    body_.line("const " + index_type() + " t = first + l;");
    body_.line("if (t < total) {");
    PrintPoint point = empty_point();
    unflatten("t", 0, outer_, 1, &point);
    OpPrinter ops(scope_, body_, "v");
    const OpPrinter::Value value = ops.get(store.value, point);
    body_.line("r.e[l] = " + to_memory(dtype, value.name) + ";");
    body_.line("}");
    body_.line("}");
    body_.line("if (first + " + num(lanes) + " <= total) {");
    body_.line("*reinterpret_cast<" + type + "*>(" + buffer + " + first) = r;");
    body_.line("} else {");
    body_.line("for (int l = 0; first + l < total; ++l) " + buffer + "[first + l] = r.e[l];");
    body_.line("}");
    body_.line("}");
    return true;
  }

  // ---------------------------------------------------------------- passes over a row

  struct Reduction {
    OpId id;
    std::string cell;
  };

  int pass_count() const {
    int count = 0;
    for (size_t i = 0; i < p_.ops.size(); ++i) {
      if (p_.ops[i].kind == LoopOpKind::kReduce) count = std::max(count, pass_[i] + 1);
    }
    return count;
  }

  /// Outer values that inner ones will need are computed before the loop, in the outer scope.
  void hoist(OpPrinter& outer, const PrintPoint& point, const std::vector<OpId>& roots) {
    std::vector<bool> needed(p_.ops.size(), false);
    for (const OpId root : roots) needed[static_cast<size_t>(root)] = true;
    for (size_t i = p_.ops.size(); i-- > 0;) {
      const LoopOp& op = p_.ops[i];
      if (!needed[i] || op.kind == LoopOpKind::kReduce) continue;
      for (const OpId id : {op.a, op.b, op.c, op.guard}) {
        if (id != kNoOp) needed[static_cast<size_t>(id)] = true;
      }
      for (const Indirect& indirect : op.indirect) needed[static_cast<size_t>(indirect.op)] = true;
    }
    for (size_t i = 0; i < p_.ops.size(); ++i) {
      if (needed[i] && !inner_[i] && p_.ops[i].kind != LoopOpKind::kReduce) {
        outer.get(static_cast<OpId>(i), point);
      }
    }
  }

  bool uses_reduction_index(const Expr& e) const {
    for (int k = outer_; k < static_cast<int>(p_.dims.size()); ++k) {
      if (e.uses_symbol(index_symbol(k))) return true;
    }
    return false;
  }

  /// Everything at one outer point (or `point.lanes` of them). `loop(body)` walks the row and calls
  /// the body with a printer of that scope; `finish(op, cell)` folds a cell over the threads.
  template <typename Loop, typename Finish>
  void emit_passes(OpPrinter& outer, const PrintPoint& point, const Loop& loop,
                   const Finish& finish, const std::string& store_guard) {
    for (int pass = 0; pass < pass_count(); ++pass) {
      std::vector<OpId> operands;
      std::vector<Reduction> reductions;
      for (size_t i = 0; i < p_.ops.size(); ++i) {
        if (p_.ops[i].kind == LoopOpKind::kReduce && pass_[i] == pass) {
          reductions.push_back({static_cast<OpId>(i), "r" + num(static_cast<int64_t>(i))});
          operands.push_back(p_.ops[i].a);
        }
      }
      hoist(outer, point, operands);
      for (const Reduction& r : reductions) declare_cell(r, point);
      loop([&](OpPrinter& ops, const PrintPoint& at) {
        for (const Reduction& r : reductions) accumulate(r, ops, at, point);
      });
      for (const Reduction& r : reductions) {
        finish(p_.ops[static_cast<size_t>(r.id)], r.cell);
        outer.set(r.id, {r.cell, point.lanes > 1});
      }
    }
    std::vector<const LoopStore*> outer_stores, inner_stores;
    std::vector<OpId> inner_roots;
    for (const LoopStore& store : p_.stores) {
      const bool inner =
          inner_[static_cast<size_t>(store.value)] || uses_reduction_index(store.index);
      (inner ? inner_stores : outer_stores).push_back(&store);
      if (inner) inner_roots.push_back(store.value);
    }
    if (!outer_stores.empty()) {
      body_.line(store_guard.empty() ? "{" : "if (" + store_guard + ") {");
      OpPrinter ops(scope_, body_, "o");
      ops.take(outer);
      for (const LoopStore* store : outer_stores) ops.store(*store, point);
      body_.line("}");
    }
    if (!inner_stores.empty()) {
      hoist(outer, point, inner_roots);
      storing_ = true;
      loop([&](OpPrinter& ops, const PrintPoint& at) {
        for (const LoopStore* store : inner_stores) ops.store(*store, at);
      });
      storing_ = false;
    }
  }

  void declare_cell(const Reduction& r, const PrintPoint& point) {
    const LoopOp& op = p_.ops[static_cast<size_t>(r.id)];
    const std::string type = register_type(op.dtype);
    const std::string neutral = neutral_literal(op.reduce, op.dtype);
    if (point.lanes > 1) {
      body_.line(type + " " + r.cell + "[" + num(point.lanes) + "];");
      body_.line("#pragma unroll");
      body_.line("for (int l = 0; l < " + num(point.lanes) + "; ++l) " + r.cell +
                 "[l] = " + neutral + ";");
    } else {
      body_.line(type + " " + r.cell + " = " + neutral + ";");
    }
  }

  /// `at` is inside the loop; with lanes along the row its vector folds into one cell.
  void accumulate(const Reduction& r, OpPrinter& ops, const PrintPoint& at,
                  const PrintPoint& outer_point) {
    const LoopOp& op = p_.ops[static_cast<size_t>(r.id)];
    const OpPrinter::Value value = ops.get(op.a, at);
    const std::string fold = std::string(fold_name(op.reduce)) + "::of";
    const std::string type = register_type(op.dtype);
    if (at.lanes == 1) {
      body_.line(r.cell + " = " + fold + "(" + r.cell + ", " + type + "(" + value.name + "));");
      return;
    }
    const std::string cell = outer_point.lanes > 1 ? r.cell + "[l]" : r.cell;
    body_.line("#pragma unroll");
    body_.line("for (int l = 0; l < " + num(at.lanes) + "; ++l) " + cell + " = " + fold + "(" +
               cell + ", " + type + "(" + value.at("l") + "));");
  }

  // ---------------------------------------------------------------- rows

  /// Loads whose elements are kept in registers between the passes.
  std::vector<OpId> cached_loads(int64_t per_thread) const {
    std::vector<OpId> loads;
    if (pass_count() + (has_inner_store() ? 1 : 0) < 2) {
      return loads;
    }
    int64_t used = 0;
    for (size_t i = 0; i < p_.ops.size(); ++i) {
      const LoopOp& op = p_.ops[i];
      if (op.kind == LoopOpKind::kLoad && inner_[i] && op.guard == kNoOp && op.indirect.empty() &&
          used + per_thread <= kCachedFloats) {
        loads.push_back(static_cast<OpId>(i));
        used += per_thread;
      }
    }
    return loads;
  }

  bool has_inner_store() const {
    for (const LoopStore& store : p_.stores) {
      if (inner_[static_cast<size_t>(store.value)] || uses_reduction_index(store.index))
        return true;
    }
    return false;
  }

  void emit_rows() {
    const int last = static_cast<int>(p_.dims.size()) - 1;
    lanes_ = lanes_along(last);
    const bool known = row_length_.is_constant();
    const int64_t vectors = known ? std::max<int64_t>(row_length_.constant() / lanes_, 1) : 0;
    if (!known) {
      group_ = 128;
    } else if (vectors <= 32 * 4) {
      group_ = 1;
      while (group_ < 32 && group_ < vectors) group_ *= 2;
    } else {
      group_ = static_cast<int>(std::min<int64_t>(1024, (vectors / 4 + 31) / 32 * 32));
    }
    const int rows_per_block = group_ >= 128 ? 1 : 128 / group_;
    threads_ = std::max(group_, rows_per_block * group_);
    if (group_ > 32 && rows_per_block > 1) {  // a fold over warps has the whole block
      threads_ = group_;
    }
    const int per_block = threads_ / group_;
    rounds_ = known ? (vectors + group_ - 1) / group_ : 0;
    grid_ = ceil_div(rows_, Expr(per_block));
    body_.line("{");
    body_.line("const " + index_type() + " wanted = " + index_type() + "(blockIdx.x) * " +
               num(per_block) + " + threadIdx.x / " + num(group_) + ";");
    body_.line("const bool active = wanted < " + size(rows_) + ";");
    body_.line("const " + index_type() + " row = active ? wanted : 0;");
    body_.line("const int lane = threadIdx.x % " + num(group_) + ";");
    PrintPoint point = empty_point();
    if (outer_ > 0) unflatten("row", 0, outer_, 1, &point);
    OpPrinter outer(scope_, body_, "outer");
    cached_ = known && rounds_ * lanes_ <= kCachedFloats ? cached_loads(rounds_ * lanes_)
                                                         : std::vector<OpId>();
    load_cache(outer, point);
    emit_passes(
        outer, point, [&](const auto& body) { row_loop(outer, point, body); },
        [&](const LoopOp& op, const std::string& cell) {
          body_.line(cell + " = fold<" + fold_name(op.reduce) + ", " + num(group_) + ">(" + cell +
                     ");");
        },
        "active && lane == 0");
    body_.line("}");
  }

  void load_cache(OpPrinter& outer, const PrintPoint& point) {
    if (cached_.empty()) return;
    for (const OpId id : cached_) {
      const LoopOp& op = p_.ops[static_cast<size_t>(id)];
      body_.line(std::string(register_type(op.dtype)) + " c" + num(id) + "[" + num(rounds_) + "][" +
                 num(lanes_) + "];");
    }
    const std::vector<OpId> cached = std::move(cached_);
    cached_.clear();
    row_loop(outer, point, [&](OpPrinter& ops, const PrintPoint& at) {
      for (const OpId id : cached) {
        const OpPrinter::Value value = ops.get(id, at);
        body_.line("#pragma unroll");
        body_.line("for (int l = 0; l < " + num(lanes_) + "; ++l) c" + num(id) +
                   "[it][l] = " + value.at("l") + ";");
      }
    });
    cached_ = cached;
  }

  template <typename Body>
  void row_loop(OpPrinter& outer, const PrintPoint& point, const Body& body) {
    const int last = static_cast<int>(p_.dims.size()) - 1;
    const std::string length = size(row_length_);
    const std::string step = num(static_cast<int64_t>(group_) * lanes_);
    if (rounds_ > 0) {
      if (rounds_ <= 64) body_.line("#pragma unroll");
      body_.line("for (int it = 0; it < " + num(rounds_) + "; ++it) {");
      body_.line("const " + index_type() + " x = it * " + step + " + lane * " + num(lanes_) + ";");
    } else {
      body_.line("for (" + index_type() + " x = lane * " + num(lanes_) + "; x < " + length +
                 "; x += " + step + ") {");
    }
    const bool exact = rounds_ > 0 && rounds_ * group_ * lanes_ == row_length_.constant();
    std::string guard = rounds_ > 0 && !exact ? "x < " + length : "";
    if (storing_) guard += guard.empty() ? "active" : " && active";
    if (!guard.empty()) body_.line("if (" + guard + ") {");
    PrintPoint at = point;
    if (last == outer_) {
      at.index[static_cast<size_t>(last)] = "x";
    } else {
      unflatten_row(&at);
    }
    at.lane_dim = last;
    at.lanes = lanes_;
    OpPrinter ops(scope_, body_, "v");
    ops.take(outer);
    for (const OpId id : cached_) {
      ops.set(id, lanes_ > 1 ? OpPrinter::Value{"c" + num(id) + "[it]", true}
                             : OpPrinter::Value{"c" + num(id) + "[it][0]", false});
    }
    body(ops, at);
    if (!guard.empty()) body_.line("}");
    body_.line("}");
  }

  /// Indices of several reduction dims from x, which counts elements.
  void unflatten_row(PrintPoint* at) {
    std::string rest = "x";
    for (int k = static_cast<int>(p_.dims.size()) - 1; k >= outer_; --k) {
      const std::string name = "j" + num(k);
      const std::string extent = size(p_.dims[static_cast<size_t>(k)].extent);
      body_.line("const " + index_type() + " " + name + " = " +
                 (k == outer_ ? rest : rest + " % " + extent) + ";");
      at->index[static_cast<size_t>(k)] = name;
      if (k > outer_) {
        body_.line("const " + index_type() + " x" + num(k) + " = " + rest + " / " + extent + ";");
        rest = "x" + num(k);
      }
    }
  }

  // ---------------------------------------------------------------- columns

  /// A thread takes neighbouring columns; where those are too few for the machine, several threads
  /// (slices_) share the rows of a column.
  void emit_columns() {
    const int last = outer_ - 1;
    int lanes = std::min(lanes_along(last), 4);
    const int64_t columns = r_.bounds->greatest(rows_).value_or(int64_t{1} << 40);
    const int64_t length = row_length_.is_constant() ? row_length_.constant() : 0;
    slices_ = 1;
    while (slices_ < 128 && columns / lanes * slices_ < 131072 && slices_ * 8 <= length) {
      slices_ *= 2;
    }
    while (slices_ == 1 && lanes > 1 && columns / lanes < 32768) lanes /= 2;
    const int across = slices_ == 1 ? 128 : std::max(4, 256 / slices_);
    threads_ = across * slices_;
    grid_ = ceil_div(floor_div(rows_, Expr(lanes)), Expr(across));
    body_.line("{");
    body_.line("const " + index_type() + " wanted = " + index_type() + "(blockIdx.x) * " +
               num(across) + " + threadIdx.x % " + num(across) + ";");
    body_.line("const bool active = wanted < " + size(rows_) + " / " + num(lanes) + ";");
    if (slices_ == 1) body_.line("if (!active) return;");
    body_.line("const " + index_type() + " t = active ? wanted : 0;");
    body_.line("const int slice = threadIdx.x / " + num(across) + ";");
    PrintPoint point = empty_point();
    unflatten("t", 0, outer_, lanes, &point);
    point.lane_dim = last;
    point.lanes = lanes;
    OpPrinter outer(scope_, body_, "outer");
    emit_passes(
        outer, point, [&](const auto& body) { column_loop(outer, point, body); },
        [&](const LoopOp& op, const std::string& cell) {
          if (slices_ > 1) {
            body_.line("fold_slices<" + std::string(fold_name(op.reduce)) + ", " + num(across) +
                       ", " + num(slices_) + ">(" + cell + ");");
          }
        },
        "active && slice == 0");
    body_.line("}");
  }

  template <typename Body>
  void column_loop(OpPrinter& outer, const PrintPoint& point, const Body& body) {
    PrintPoint at = point;
    int open = 0;
    if (slices_ > 1) {
      body_.line("#pragma unroll 8");
      body_.line("for (" + index_type() + " x = slice; x < " + size(row_length_) +
                 "; x += " + num(slices_) + ") {");
      unflatten_row(&at);
      open = 1;
      if (storing_) {
        body_.line("if (active) {");
        ++open;
      }
    } else {
      for (int k = outer_; k < static_cast<int>(p_.dims.size()); ++k, ++open) {
        const std::string name = "j" + num(k);
        body_.line("for (" + index_type() + " " + name + " = 0; " + name + " < " +
                   size(p_.dims[static_cast<size_t>(k)].extent) + "; ++" + name + ") {");
        at.index[static_cast<size_t>(k)] = name;
      }
    }
    OpPrinter ops(scope_, body_, "v");
    ops.take(outer);
    body(ops, at);
    for (; open > 0; --open) body_.line("}");
  }

  const LoopRequest& r_;
  const LoopProgram& p_;
  KernelScope scope_;
  std::vector<bool> inner_;
  std::vector<int> pass_;
  int outer_;
  Expr rows_ = 1, row_length_ = 1;
  SourceWriter body_;
  Expr grid_ = 1;
  int threads_ = kLoopThreads;
  int slices_ = 1;  // columns
  // rows
  int lanes_ = 1;
  int group_ = 32;
  int64_t rounds_ = 0;  // 0: the row's length is known at run time only
  std::vector<OpId> cached_;
  bool storing_ = false;
};

}  // namespace

GeneratedKernel generate_loop(const LoopRequest& request) {
  return LoopGenerator(request).generate();
}

}  // namespace stator::cuda
