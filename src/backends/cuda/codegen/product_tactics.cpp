// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "backends/cuda/codegen/epilogue.h"
#include "backends/cuda/codegen/op_printer.h"
#include "backends/cuda/codegen/prepare.h"
#include "backends/cuda/codegen/tile_shapes.h"
#include "base/check.h"
#include "base/float_element.h"

namespace stator::cuda {
namespace {

constexpr double kLargeFlops = 3e9;

/// A product as the library takes it: one batch dim, each operand with a leading dimension.
struct LibraryProduct {
  GemmPayload payload;
  std::vector<Expr> sizes;
  std::vector<PackedInput> packed;  // weights with padded rows, a bias in the result's type
  std::optional<LibraryEpilogue> epilogue;
};

/// Rows and columns with strides (r, c) where one is 1; false when neither is.
bool take_layout(const Expr& rows_stride, const Expr& columns_stride, bool* transposed,
                 Expr* leading) {
  if (columns_stride.is_constant(1) || columns_stride.is_constant(0)) {
    *transposed = false;
    *leading = rows_stride;
    return !columns_stride.is_constant(0) || rows_stride.is_constant();
  }
  if (rows_stride.is_constant(1) || rows_stride.is_constant(0)) {
    *transposed = true;
    *leading = columns_stride;
    return true;
  }
  return false;
}

/// Joins the batch dims into one; nullopt when the strides do not allow it.
std::optional<std::vector<Expr>> join_batch(const std::vector<Expr>& extents,
                                            const std::vector<std::vector<Expr>>& strides) {
  Expr count = 1;
  std::vector<Expr> joined(strides.size(), Expr(0));
  for (size_t k = extents.size(); k-- > 0;) {
    if (extents[k].is_constant(1)) continue;
    if (count.is_constant(1)) {
      for (size_t i = 0; i < strides.size(); ++i) joined[i] = strides[i][k];
    } else {
      for (size_t i = 0; i < strides.size(); ++i) {
        if (!(strides[i][k] == joined[i] * count)) return std::nullopt;
      }
    }
    count = count * extents[k];
  }
  joined.insert(joined.begin(), count);
  return joined;
}

/// Strides of a linear index along the dims; nullopt when it is none.
std::optional<std::vector<Expr>> strides_of(const Expr& index, size_t rank, Expr* offset) {
  std::vector<std::string> symbols;
  for (size_t k = 0; k < rank; ++k) symbols.push_back(index_symbol(static_cast<int>(k)));
  const std::optional<LinearForm> form = linear_form(index, symbols);
  if (!form.has_value()) return std::nullopt;
  *offset = form->constant_term;
  std::vector<Expr> strides;
  for (const std::string& symbol : symbols) strides.push_back(form->coefficients.at(symbol));
  return strides;
}

/// What the library can apply in this region's epilogue, by the activation and the types too.
std::optional<LibraryEpilogue> library_epilogue(const RegionGraph& graph, const Region& region,
                                                const LoopProgram& epilogue, DType dtype) {
  std::optional<LibraryEpilogue> e = match_epilogue(graph, region, epilogue, dtype);
  if (!e.has_value()) return e;
  // A bias has the result's type: the widened copy of a constant one.
  if (e->out != dtype && e->bias >= 0 &&
      buffer_tensor(graph, region, e->bias).role != RegionTensorRole::kConstant) {
    return std::nullopt;
  }
  // Its gelu is the one through tanh, for halves alone.
  const bool known =
      !e->activation.has_value() || *e->activation == UnaryOp::kRelu ||
      (*e->activation == UnaryOp::kGeluTanh && e->out != DType::kFloat32 && e->residual < 0);
  return known ? e : std::nullopt;
}

/// Rows of results that do not begin at multiples of 16 bytes are several times slower: weights of
/// such a width get rows of zeros, and the epilogue leaves their columns out.
Expr padded_columns(const MatmulContraction& m) {
  const int64_t multiple = 64 / dtype_bytes(m.dtype);
  const size_t batch = m.batch.size();
  const bool rows = m.b_constant && m.n.is_constant() && m.k.is_constant() &&
                    m.b.strides[batch].is_constant(1) && m.b.strides[batch + 1] == m.k &&
                    m.b.offset.is_constant(0);
  for (size_t i = 0; i < batch; ++i) {
    if (!m.b.strides[i].is_constant(0)) return m.n;
  }
  if (!rows || m.n.constant() % 8 == 0 || m.n.constant() < 256) return m.n;
  return (m.n.constant() + multiple - 1) / multiple * multiple;
}

/// Where the product writes, and what the library does to it on the way.
void take_epilogue(const RegionGraph& graph, const Region& region, const LoopProgram& program,
                   LibraryProduct* p) {
  if (!p->epilogue.has_value()) {
    p->payload.d = buffer_count(region) - 1;  // not written by the product
    return;
  }
  const LibraryEpilogue& e = *p->epilogue;
  if (e.out != p->payload.dtype && e.bias >= 0) {
    const DType from = p->payload.dtype;
    const int64_t count = buffer_tensor(graph, region, e.bias).data.size_bytes / dtype_bytes(from);
    p->packed.push_back({e.bias,
                         std::string("widen ") + dtype_name(from) + " " + std::to_string(count),
                         count * dtype_bytes(e.out)});
  }
  p->payload.out = e.out;
  p->payload.d = program.stores[0].buffer;
  p->payload.bias = e.bias;
  p->payload.residual = e.residual;
  p->payload.alpha = e.alpha;
  if (e.activation.has_value()) {
    p->payload.activation = *e.activation == UnaryOp::kRelu ? "relu" : "gelu_tanh";
  }
}

std::optional<LibraryProduct> library_product(const RegionGraph& graph, const Region& region,
                                              const MatmulContraction& m) {
  if (!is_library_dtype(m.dtype) || m.k.is_constant(0)) return std::nullopt;
  LibraryProduct p;
  const size_t batch = m.batch.size();
  p.epilogue = library_epilogue(graph, region, m.epilogue, m.dtype);
  const Expr n = padded_columns(m);
  if (!(n == m.n)) {
    p.epilogue.reset();
    const int64_t row_bytes = m.k.constant() * dtype_bytes(m.dtype);
    p.packed.push_back({m.b.buffer,
                        "pad_rows " + std::to_string(m.n.constant()) + " " +
                            std::to_string(n.constant()) + " " + std::to_string(row_bytes),
                        n.constant() * row_bytes});
  }
  Expr d_offset = 0, ldd = n;
  std::vector<Expr> d_strides(batch + 2, Expr(0));
  if (p.epilogue.has_value()) {
    const auto strides = strides_of(p.epilogue->store_index, batch + 2, &d_offset);
    const bool rows =
        strides.has_value() && ((*strides)[batch + 1].is_constant(1) || m.n.is_constant(1));
    if (!rows) {
      p.epilogue.reset();
    } else {
      d_strides = *strides;
      ldd = d_strides[batch];
      if (m.m.is_constant(1)) ldd = m.n;
    }
  }
  if (!p.epilogue.has_value()) {  // a dense temporary
    d_offset = 0;
    ldd = n;
    Expr stride = m.m * n;
    for (size_t k = batch; k-- > 0;) {
      d_strides[k] = stride;
      stride = stride * m.batch[k];
    }
  }
  Expr lda, ldb;
  const auto& a = m.a.strides;
  const auto& b = m.b.strides;
  if (!take_layout(a[batch], a[batch + 1], &p.payload.a_transposed, &lda) ||
      !take_layout(b[batch], b[batch + 1], &p.payload.b_transposed, &ldb)) {
    return std::nullopt;
  }
  const auto joined =
      join_batch(m.batch, {{a.begin(), a.begin() + static_cast<ptrdiff_t>(batch)},
                           {b.begin(), b.begin() + static_cast<ptrdiff_t>(batch)},
                           {d_strides.begin(), d_strides.begin() + static_cast<ptrdiff_t>(batch)}});
  if (!joined.has_value()) return std::nullopt;
  const std::vector<Expr>& j = *joined;
  p.payload.dtype = p.payload.out = m.dtype;
  p.payload.a = m.a.buffer;
  p.payload.b = m.b.buffer;
  p.payload.buffers = buffer_count(region);
  p.sizes = {m.m, n, m.k, j[0], m.a.offset, lda, j[1], m.b.offset, ldb, j[2], d_offset, ldd, j[3]};
  take_epilogue(graph, region, m.epilogue, &p);
  return p;
}

/// A convolution of single points as a matrix product over them.
std::optional<MatmulContraction> as_matmul(const ConvolutionContraction& c) {
  const Convolution& a = c.attributes;
  for (size_t k = 0; k < a.stride.size(); ++k) {
    if (!c.w_shape[k + 2].is_constant(1) || a.stride[k] != 1 || a.pad_before[k] != 0 ||
        a.pad_after[k] != 0) {
      return std::nullopt;
    }
  }
  if (a.groups != 1) return std::nullopt;
  MatmulContraction m;
  m.dtype = c.dtype;
  m.m = product({c.y_shape.begin(), c.y_shape.end() - 1});
  m.n = c.w_shape[0];
  m.k = c.w_shape[1];
  m.a = {c.x, 0, {m.k, 1}};
  m.b = {c.w, 0, {1, m.k}};
  m.b_constant = true;
  m.epilogue = c.epilogue;  // over n, spatial…, o: the caller looks at its store alone
  return m;
}

/// The product of a region that is one, or a convolution of single points.
std::optional<LibraryProduct> product_of(const RegionGraph& graph, const Region& region) {
  if (const auto* matmul = std::get_if<MatmulContraction>(&region.body)) {
    return library_product(graph, region, *matmul);
  }
  const auto* conv = std::get_if<ConvolutionContraction>(&region.body);
  if (conv == nullptr) return std::nullopt;
  std::optional<MatmulContraction> m = as_matmul(*conv);
  if (!m.has_value() || !is_library_dtype(m->dtype)) return std::nullopt;
  LibraryProduct p;
  p.epilogue = library_epilogue(graph, region, conv->epilogue, conv->dtype);
  if (p.epilogue.has_value() && !(p.epilogue->store_index == dense_index(conv->epilogue.dims))) {
    p.epilogue.reset();
  }
  p.payload.dtype = p.payload.out = m->dtype;
  p.payload.a = m->a.buffer;
  p.payload.b = m->b.buffer;
  p.payload.b_transposed = true;
  p.payload.buffers = buffer_count(region);
  p.sizes = {m->m, m->n, m->k, 1, 0, m->k, 0, 0, m->k, 0, 0, m->n, 0};
  take_epilogue(graph, region, conv->epilogue, &p);
  return p;
}

/// Whether cuSPARSELt takes the product: rows of multiples of 16 elements, a bias that stays where
/// it is, relu at most. What it cannot do of the epilogue is left to a kernel.
bool is_sparse_product(const RegionGraph& graph, const Region& region, const LibraryProduct& p) {
  const auto* m = std::get_if<MatmulContraction>(&region.body);
  const std::vector<int64_t> sizes = constants(p.sizes, 4);
  if (m == nullptr || !m->b_sparse || sizes.empty() || sizes[0] % 8 != 0 || sizes[1] % 16 != 0 ||
      sizes[2] % 16 != 0 || sizes[3] != 1 || p.payload.a_transposed || !p.payload.b_transposed ||
      !p.packed.empty()) {
    return false;
  }
  if (!p.epilogue.has_value()) return true;
  const LibraryEpilogue& e = *p.epilogue;
  return e.out == p.payload.dtype &&
         (!e.activation.has_value() || *e.activation == UnaryOp::kRelu) &&
         (e.bias < 0 || buffer_tensor(graph, region, e.bias).role == RegionTensorRole::kConstant);
}

/// Whether tiles can write rows of any number of columns: halves, of the sums alone.
bool is_plain_epilogue(const RegionGraph& graph, const Region& region) {
  const LoopProgram& epilogue = epilogue_program(region);
  const std::string last = index_symbol(static_cast<int>(epilogue.dims.size()) - 1);
  if (epilogue.stores.size() != 1 ||
      !is_half(buffer_tensor(graph, region, epilogue.stores[0].buffer).type.dtype)) {
    return false;
  }
  const std::optional<LinearForm> form = linear_form(epilogue.stores[0].index, {last});
  return form.has_value() && form->coefficients.at(last).is_constant(1) &&
         std::none_of(epilogue.ops.begin(), epilogue.ops.end(), [](const LoopOp& op) {
           return op.kind == LoopOpKind::kLoad || op.kind == LoopOpKind::kIndex;
         });
}

/// Counts pairs of bytes; weights whose rows run along k are to be turned. False when there are
/// none.
bool take_pairs(TiledProduct* p) {
  if (!is_byte(p->dtype) || !p->n.is_constant() || !p->k.is_constant()) return false;
  if (!p->b_transposed) {
    p->b_packed = p->b_transposed = p->b_offset.is_constant(0) && p->ldb == p->n;
    p->ldb = p->k;
  }
  for (Expr* e : {&p->k, &p->lda, &p->ldb, &p->a_offset, &p->b_offset}) {
    if (!mod(*e, 2).is_constant(0)) return false;
    *e = floor_div(*e, 2);
  }
  return true;
}

/// The product as tiles take it: one batch, rows of A contiguous along k.
std::optional<TiledProduct> tiled_product(const RegionGraph& graph, const Region& region) {
  std::optional<MatmulContraction> converted;
  if (const auto* c = std::get_if<ConvolutionContraction>(&region.body)) converted = as_matmul(*c);
  const auto* m =
      converted.has_value() ? &*converted : std::get_if<MatmulContraction>(&region.body);
  if (m == nullptr) return std::nullopt;
  for (const Expr& extent : m->batch) {
    if (!extent.is_constant(1)) return std::nullopt;
  }
  const size_t rows = m->a.strides.size() - 2;
  TiledProduct p;
  p.dtype = m->dtype;
  p.m = m->m;
  p.n = m->n;
  p.k = m->k;
  p.a = m->a.buffer;
  p.b = m->b.buffer;
  p.a_offset = m->a.offset;
  p.b_offset = m->b.offset;
  p.b_constant = m->b_constant;
  p.lda = m->a.strides[rows];
  p.b_transposed = m->b.strides[rows].is_constant(1);
  p.ldb = m->b.strides[p.b_transposed ? rows + 1 : rows];
  const bool contiguous = m->a.strides[rows + 1].is_constant(1) &&
                          (p.b_transposed || m->b.strides[rows + 1].is_constant(1));
  if (!is_library_dtype(p.dtype) && !take_pairs(&p)) return std::nullopt;
  if (!contiguous || tile_steps(p) == 0) return std::nullopt;
  const bool writable = p.n.constant() % 8 == 0 || is_plain_epilogue(graph, region);
  return writable ? std::optional(p) : std::nullopt;
}

bool is_sparse_tactic(const std::string& tactic) { return tactic.rfind("cusparselt", 0) == 0; }

}  // namespace

bool is_product_tactic(const RegionGraph& graph, const Region& region, const std::string& tactic) {
  if (tactic.rfind("cublaslt", 0) == 0 || is_sparse_tactic(tactic)) return true;
  return parse_tile_tactic(tactic).has_value() && tiled_product(graph, region).has_value();
}

std::vector<Tactic> product_tactics(const RegionGraph& graph, const Region& region,
                                    const Target& target) {
  const int level = target.optimization_level;
  const std::optional<LibraryProduct> p = product_of(graph, region);
  // Where the library does the epilogue too, it is hard to beat at large products. Tiles are mostly
  // faster at small ones, and always where the epilogue would be a kernel of its own.
  const bool complete = p.has_value() && p->epilogue.has_value();
  bool small = false;
  std::vector<TileShape> shapes;
  DType dtype = DType::kFloat32;
  if (target.capability == 90 && (level > 0 || !p.has_value())) {
    if (const std::optional<TiledProduct> tiled = tiled_product(graph, region)) {
      dtype = tiled->dtype;
      small = tiled->m.is_constant() &&
              2.0 * tiled->m.constant() * tiled->n.constant() * tiled->k.constant() < kLargeFlops;
      if (small || !complete || level > 3) shapes = tile_shapes(*tiled, target);
    }
  }
  std::vector<Tactic> tactics;
  if (p.has_value()) {
    int count = constants(p->sizes, 4).empty() ? 1 : library_proposals(level);
    if (small && !shapes.empty() && level < 4) count = std::min(count, complete ? 2 : 0);
    for (int i = 0; i < count; ++i) tactics.push_back({"cublaslt " + std::to_string(i)});
  }
  for (const TileShape& shape : shapes) tactics.push_back({tile_tactic(shape, dtype)});
  if (p.has_value() && level > 0 && is_sparse_product(graph, region, *p)) {
    for (int i = 0; i < library_proposals(level); ++i) {
      tactics.push_back({"cusparselt " + std::to_string(i)});
    }
  }
  return tactics;
}

PreparedRegion prepare_product(const RegionGraph& graph, const Region& region,
                               const std::string& tactic, const std::string& name, bool tf32) {
  if (const std::optional<TileShape> shape = parse_tile_tactic(tactic)) {
    const std::optional<TiledProduct> product = tiled_product(graph, region);
    STATOR_CHECK(product.has_value(), region.name + " is no product for tiles");
    const LoopRequest request = loop_request(graph, region, epilogue_program(region), name);
    PreparedRegion prepared = prepare_kernel(generate_product(*product, request, *shape), request);
    if (product->b_packed) {
      const int64_t n = product->n.constant(), k = 2 * product->k.constant();
      prepared.launch.packed.push_back(
          {product->b, "channels_last 1 " + std::to_string(k) + " " + std::to_string(n) + " 1",
           n * k});
    }
    return prepared;
  }
  std::optional<LibraryProduct> p = product_of(graph, region);
  STATOR_CHECK(p.has_value(), region.name + " is no product for cuBLASLt");
  PreparedRegion prepared;
  prepared.launch.sizes = p->sizes;
  prepared.launch.scratch_bytes = kLibraryWorkspace;
  p->payload.index = trailing_number(tactic);
  p->payload.sparse = is_sparse_tactic(tactic);
  p->payload.tf32 = tf32 && p->payload.dtype == DType::kFloat32;
  p->payload.tuned = constants(p->sizes, 4);
  prepared.launch.packed = p->packed;
  if (!p->epilogue.has_value()) {
    add_epilogue_kernel(graph, region, p->payload.dtype, p->sizes[0] * p->sizes[1] * p->sizes[3],
                        p->sizes[1], name, &prepared, &p->payload.epilogue);
  }
  prepared.payload = p->payload;
  return prepared;
}

}  // namespace stator::cuda
