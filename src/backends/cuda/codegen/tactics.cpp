// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/codegen/tactics.h"

#include <charconv>
#include <cstring>

#include "backends/cuda/codegen/attention_kernel.h"
#include "backends/cuda/codegen/epilogue.h"
#include "backends/cuda/codegen/op_printer.h"
#include "base/check.h"
#include "layer/call_payload.h"
#include "layer/expr_fields.h"

namespace stator::cuda {
namespace {

bool is_library_dtype(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kFloat16 || dtype == DType::kBFloat16;
}

int buffer_count(const Region& region) {
  return static_cast<int>(region.inputs.size() + region.outputs.size());
}

/// A kernel for `program` over the region's buffers, and `extra` after them (kBool: none).
LoopRequest loop_request(const RegionGraph& graph, const Region& region, const LoopProgram& program,
                         const std::string& name) {
  LoopRequest request;
  request.program = &program;
  request.bounds = &graph.bounds;
  request.name = name;
  (void)region_signature(graph, region, &request.symbols);
  const auto add = [&](int32_t id, bool written) {
    const TensorType& type = graph.tensors[static_cast<size_t>(id)].type;
    request.buffer_types.push_back(type.dtype);
    request.buffer_elements.push_back(product(type.shape));
    request.written.push_back(written);
  };
  for (const int32_t id : region.inputs) add(id, false);
  for (const int32_t id : region.outputs) add(id, true);
  return request;
}

std::vector<Expr> symbol_sizes(const LoopRequest& request) {
  std::vector<Expr> sizes;
  for (const std::string& symbol : request.symbols) sizes.push_back(Expr::symbol(symbol));
  return sizes;
}

PreparedRegion prepare_loop(const RegionGraph& graph, const Region& region,
                            const LoopProgram& program, const std::string& name) {
  const LoopRequest request = loop_request(graph, region, program, name);
  PreparedRegion prepared;
  prepared.kernel = generate_loop(request);
  prepared.payload = prepared.kernel->payload;
  prepared.launch.task_count = prepared.kernel->grid;
  prepared.launch.sizes = symbol_sizes(request);
  return prepared;
}

int trailing_number(const std::string& text) {
  int number = 0;
  const size_t space = text.find_last_of(' ');
  std::from_chars(text.data() + space + 1, text.data() + text.size(), number);
  return number;
}

// -------------------------------------------------------------------- matrix products

/// A product as the library takes it: one batch dim, each operand with a leading dimension.
struct LibraryProduct {
  GemmPayload payload;
  std::vector<Expr> sizes;
  std::string pack_b;  // recipe of the weights, where their rows are padded
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

/// What the library can apply in this region's epilogue, by the activation too.
std::optional<LibraryEpilogue> library_epilogue(const RegionGraph& graph, const Region& region,
                                                const LoopProgram& epilogue, DType dtype) {
  std::optional<LibraryEpilogue> e = match_epilogue(graph, region, epilogue, dtype);
  if (!e.has_value()) return e;
  // Its gelu is the one through tanh, for halves alone.
  const bool known =
      !e->activation.has_value() || *e->activation == UnaryOp::kRelu ||
      (*e->activation == UnaryOp::kGeluTanh && dtype != DType::kFloat32 && e->residual < 0);
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

std::optional<LibraryProduct> library_product(const RegionGraph& graph, const Region& region,
                                              const MatmulContraction& m) {
  if (!is_library_dtype(m.dtype) || m.k.is_constant(0)) return std::nullopt;
  LibraryProduct p;
  const size_t batch = m.batch.size();
  p.epilogue = library_epilogue(graph, region, m.epilogue, m.dtype);
  const Expr n = padded_columns(m);
  if (!(n == m.n)) {
    p.epilogue.reset();
    p.pack_b = "pad_rows " + std::to_string(m.n.constant()) + " " + std::to_string(n.constant()) +
               " " + std::to_string(m.k.constant() * dtype_bytes(m.dtype));
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
  if (p.epilogue.has_value()) {
    p.payload.d = m.epilogue.stores[0].buffer;
    p.payload.bias = p.epilogue->bias;
    p.payload.residual = p.epilogue->residual;
    p.payload.alpha = p.epilogue->alpha;
    if (p.epilogue->activation.has_value()) {
      p.payload.activation = *p.epilogue->activation == UnaryOp::kRelu ? "relu" : "gelu_tanh";
    }
  } else {
    p.payload.d = buffer_count(region) - 1;  // not written by the product
  }
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
  Expr dense = 0;
  for (size_t k = 0; k < conv->epilogue.dims.size(); ++k) {
    dense = dense * conv->epilogue.dims[k].extent + Expr::symbol(index_symbol(static_cast<int>(k)));
  }
  if (p.epilogue.has_value() && !(p.epilogue->store_index == dense)) p.epilogue.reset();
  p.payload.dtype = p.payload.out = m->dtype;
  p.payload.a = m->a.buffer;
  p.payload.b = m->b.buffer;
  p.payload.b_transposed = true;
  p.payload.buffers = buffer_count(region);
  p.sizes = {m->m, m->n, m->k, 1, 0, m->k, 0, 0, m->k, 0, 0, m->n, 0};
  p.payload.d = p.epilogue.has_value() ? conv->epilogue.stores[0].buffer : buffer_count(region) - 1;
  if (p.epilogue.has_value()) {
    p.payload.bias = p.epilogue->bias;
    p.payload.residual = p.epilogue->residual;
    p.payload.alpha = p.epilogue->alpha;
    if (p.epilogue->activation.has_value()) {
      p.payload.activation = *p.epilogue->activation == UnaryOp::kRelu ? "relu" : "gelu_tanh";
    }
  }
  return p;
}

const LoopProgram& epilogue_program(const Region& region) {
  const auto* matmul = std::get_if<MatmulContraction>(&region.body);
  return matmul != nullptr ? matmul->epilogue
                           : std::get<ConvolutionContraction>(region.body).epilogue;
}

/// Adds the kernel that reads the temporary result; its sizes follow the library call's.
void add_epilogue_kernel(const RegionGraph& graph, const Region& region, DType dtype,
                         const Expr& elements, const Expr& row_length, const std::string& name,
                         PreparedRegion* prepared, std::optional<KernelPayload>* payload) {
  const LoopProgram loop =
      as_loop(epilogue_program(region), buffer_count(region), dtype, row_length);
  LoopRequest request = loop_request(graph, region, loop, name);
  request.buffer_types.push_back(dtype);
  request.buffer_elements.push_back(elements);
  request.written.push_back(false);
  prepared->kernel = generate_loop(request);
  *payload = prepared->kernel->payload;
  prepared->launch.sizes.push_back(prepared->kernel->grid);
  for (const Expr& size : symbol_sizes(request)) prepared->launch.sizes.push_back(size);
  prepared->launch.scratch_bytes =
      prepared->launch.scratch_bytes + elements * Expr(dtype_bytes(dtype));
}

std::vector<int64_t> constants(const std::vector<Expr>& sizes, size_t count) {
  std::vector<int64_t> values;
  for (size_t i = 0; i < count; ++i) {
    if (!sizes[i].is_constant()) return {};
    values.push_back(sizes[i].constant());
  }
  return values;
}

PreparedRegion prepare_product(const RegionGraph& graph, const Region& region, int index,
                               const std::string& name, bool tf32) {
  std::optional<LibraryProduct> p = product_of(graph, region);
  STATOR_CHECK(p.has_value(), region.name + " is no product for cuBLASLt");
  PreparedRegion prepared;
  prepared.launch.sizes = p->sizes;
  prepared.launch.scratch_bytes = kLibraryWorkspace;
  p->payload.index = index;
  p->payload.tf32 = tf32 && p->payload.dtype == DType::kFloat32;
  p->payload.tuned = constants(p->sizes, 4);
  if (!p->pack_b.empty()) {
    const int64_t bytes =
        p->sizes[1].constant() * p->sizes[2].constant() * dtype_bytes(p->payload.dtype);
    prepared.launch.packed.push_back({p->payload.b, p->pack_b, bytes});
  }
  if (!p->epilogue.has_value()) {
    add_epilogue_kernel(graph, region, p->payload.dtype, p->sizes[0] * p->sizes[1] * p->sizes[3],
                        p->sizes[1], name, &prepared, &p->payload.epilogue);
  }
  prepared.payload = p->payload;
  return prepared;
}

// -------------------------------------------------------------------- convolutions

/// The library takes [O, kernel…, C/groups]; a loop over a depthwise one reads [kernel…, O].
std::string filter_recipe(const ConvolutionContraction& c, bool loop) {
  int64_t taps = 1;
  for (size_t k = 2; k < c.w_shape.size(); ++k) taps *= c.w_shape[k].constant();
  if (taps == 1) return "";
  if (c.w_shape[1].is_constant(1)) {
    return loop ? "channels_last 1 " + std::to_string(c.w_shape[0].constant()) + " " +
                      std::to_string(taps) + " " + std::to_string(dtype_bytes(c.dtype))
                : "";
  }
  return "channels_last " + std::to_string(c.w_shape[0].constant()) + " " +
         std::to_string(c.w_shape[1].constant()) + " " + std::to_string(taps) + " " +
         std::to_string(dtype_bytes(c.dtype));
}

void pack_weights(const ConvolutionContraction& c, bool loop, KernelLaunch* launch) {
  const std::string recipe = filter_recipe(c, loop);
  if (!recipe.empty()) {
    const int64_t bytes = product(c.w_shape).constant() * dtype_bytes(c.dtype);
    launch->packed.push_back({c.w, recipe, bytes});
  }
}

bool is_depthwise(const ConvolutionContraction& c) {
  return c.attributes.groups > 1 && c.w_shape[1].is_constant(1);
}

bool is_library_convolution(const ConvolutionContraction& c) {
  return is_library_dtype(c.dtype) && !c.attributes.transposed && c.w_constant;
}

PreparedRegion prepare_convolution(const RegionGraph& graph, const Region& region,
                                   const ConvolutionContraction& c, int index,
                                   const std::string& name, bool tf32) {
  ConvolutionPayload p;
  p.dtype = c.dtype;
  p.filter = {c.w_shape[0].constant()};
  for (size_t k = 2; k < c.w_shape.size(); ++k) p.filter.push_back(c.w_shape[k].constant());
  p.filter.push_back(c.w_shape[1].constant());
  p.stride = c.attributes.stride;
  p.dilation = c.attributes.dilation;
  p.pad_before = c.attributes.pad_before;
  p.pad_after = c.attributes.pad_after;
  p.groups = c.attributes.groups;
  p.tf32 = tf32 && c.dtype == DType::kFloat32;
  p.x = c.x;
  p.w = c.w;
  p.index = index;
  p.tuned = constants(c.x_shape, c.x_shape.size());
  p.buffers = buffer_count(region);
  PreparedRegion prepared;
  prepared.launch.sizes = c.x_shape;
  prepared.launch.sizes.insert(prepared.launch.sizes.end(), c.y_shape.begin(), c.y_shape.end());
  prepared.launch.scratch_bytes = kLibraryWorkspace;
  pack_weights(c, false, &prepared.launch);
  std::optional<LibraryEpilogue> e = match_epilogue(graph, region, c.epilogue, c.dtype);
  Expr dense = 0;
  for (size_t k = 0; k < c.epilogue.dims.size(); ++k) {
    dense = dense * c.epilogue.dims[k].extent + Expr::symbol(index_symbol(static_cast<int>(k)));
  }
  const bool fits = e.has_value() && e->alpha == 1 && e->store_index == dense &&
                    (!e->activation.has_value() || *e->activation == UnaryOp::kRelu);
  if (fits) {
    p.y = c.epilogue.stores[0].buffer;
    p.bias = e->bias;
    p.residual = e->residual;
    p.relu = e->activation.has_value();
  } else {
    p.y = buffer_count(region) - 1;  // not written by the convolution
    add_epilogue_kernel(graph, region, c.dtype, product(c.y_shape), c.y_shape.back(), name,
                        &prepared, &p.epilogue);
  }
  prepared.payload = p;
  return prepared;
}

// -------------------------------------------------------------------- attention

bool has_library_attention(const AttentionRegion& a) {
  return tiles_attention(a) && !a.has_mask && !a.causal;
}

PreparedRegion prepare_attention(const Region& region, const AttentionRegion& a,
                                 const std::string& tactic, const std::string& name) {
  PreparedRegion prepared;
  if (tactic == "cudnn") {
    AttentionPayload p;
    p.dtype = a.dtype;
    p.q = a.q.buffer;
    p.k = a.k.buffer;
    p.v = a.v.buffer;
    p.out = a.out.buffer;
    p.scale = a.scale;
    p.buffers = buffer_count(region);
    prepared.payload = p;
    prepared.launch.scratch_bytes = kLibraryWorkspace;
    prepared.launch.sizes = {a.batch,     a.heads,  a.kv_heads, a.q_length,
                             a.kv_length, a.qk_dim, a.v_dim};
    for (const StridedView* view : {&a.q, &a.k, &a.v, &a.out}) {
      prepared.launch.sizes.push_back(view->offset);
      prepared.launch.sizes.insert(prepared.launch.sizes.end(), view->strides.begin(),
                                   view->strides.begin() + 3);
    }
    return prepared;
  }
  prepared.kernel = tactic != "plain" ? generate_tiled_attention(a, buffer_count(region),
                                                                 trailing_number(tactic), name)
                                      : generate_plain_attention(a, buffer_count(region), name);
  prepared.payload = prepared.kernel->payload;
  prepared.launch.task_count = prepared.kernel->grid;
  prepared.launch.sizes = attention_sizes(a);
  return prepared;
}

}  // namespace

std::vector<Tactic> region_tactics(const RegionGraph& graph, const Region& region,
                                   const BuildOptions& options) {
  const int level = options.optimization_level;
  std::vector<Tactic> tactics;
  const auto add_numbered = [&](const char* family, int count) {
    for (int i = 0; i < count; ++i) tactics.push_back({family + (" " + std::to_string(i))});
  };
  const int proposals = level <= 1 ? 1 : level == 2 ? 3 : level == 3 ? 5 : 12;
  if (std::holds_alternative<CallRegion>(region.body)) return {{"call"}};
  if (std::holds_alternative<LoopProgram>(region.body)) return {{"loop"}};
  if (const auto* a = std::get_if<AttentionRegion>(&region.body)) {
    if (!tiles_attention(*a)) return {{"plain"}};
    tactics.push_back({"tiles 64"});
    if (level > 0 && a->v_dim.constant() <= 64) tactics.push_back({"tiles 128"});  // registers
    if (has_library_attention(*a) && level > 0) tactics.push_back({"cudnn"});
    return tactics;
  }
  if (const std::optional<LibraryProduct> p = product_of(graph, region)) {
    add_numbered("cublaslt", constants(p->sizes, 4).empty() ? 1 : proposals);
    return tactics;
  }
  if (const auto* c = std::get_if<ConvolutionContraction>(&region.body);
      c != nullptr && is_library_convolution(*c)) {
    const bool fixed = !constants(c->x_shape, c->x_shape.size()).empty();
    if (is_depthwise(*c)) {
      tactics.push_back({"loop"});
      if (level > 1) add_numbered("cudnn", 1);
      return tactics;
    }
    // Without tensor cores, and for groups, the library may have nothing: then the loop stays.
    const bool sure = c->attributes.groups == 1 && (options.tf32 || c->dtype != DType::kFloat32);
    if (!sure) tactics.push_back({"loop"});
    if (sure || level > 0) add_numbered("cudnn", fixed ? proposals : 1);
    if (sure && level > 0) tactics.push_back({"loop"});
    return tactics;
  }
  return {{"loop"}};
}

PreparedRegion prepare_region(const RegionGraph& graph, const Region& region,
                              const std::string& tactic, const std::string& name, bool tf32) {
  if (const auto* call = std::get_if<CallRegion>(&region.body)) {
    PreparedRegion prepared;
    const CallPayload payload{static_cast<int64_t>(region.inputs.size()),
                              static_cast<int64_t>(region.outputs.size()), call->attributes};
    prepared.payload = HostPayload{print_call_payload(payload)};
    prepared.launch.sizes = expr_fields(call->attributes);
    return prepared;
  }
  if (tactic.rfind("cublaslt", 0) == 0) {
    return prepare_product(graph, region, trailing_number(tactic), name, tf32);
  }
  if (const auto* a = std::get_if<AttentionRegion>(&region.body)) {
    return prepare_attention(region, *a, tactic, name);
  }
  if (const auto* c = std::get_if<ConvolutionContraction>(&region.body)) {
    if (tactic.rfind("cudnn", 0) == 0) {
      return prepare_convolution(graph, region, *c, trailing_number(tactic), name, tf32);
    }
    const LoopProgram loop = as_loop(*c);
    PreparedRegion prepared = prepare_loop(graph, region, loop, name);
    pack_weights(*c, true, &prepared.launch);
    return prepared;
  }
  if (const auto* m = std::get_if<MatmulContraction>(&region.body)) {
    const LoopProgram loop = as_loop(*m);
    return prepare_loop(graph, region, loop, name);
  }
  return prepare_loop(graph, region, std::get<LoopProgram>(region.body), name);
}

Result<TensorData> pack_constant(const std::string& recipe, const TensorData& source) {
  int64_t rows = 0, padded_rows = 0, row_bytes = 0;
  if (std::sscanf(recipe.c_str(), "pad_rows %ld %ld %ld", &rows, &padded_rows, &row_bytes) == 3 &&
      rows * row_bytes == source.size_bytes && padded_rows >= rows) {
    void* writable = nullptr;
    TensorData packed = TensorData::allocate(padded_rows * row_bytes, &writable);
    std::memset(writable, 0, static_cast<size_t>(packed.size_bytes));
    std::memcpy(writable, source.data, static_cast<size_t>(source.size_bytes));
    return packed;
  }
  int64_t out = 0, channels = 0, taps = 0, element = 0;
  if (std::sscanf(recipe.c_str(), "channels_last %ld %ld %ld %ld", &out, &channels, &taps,
                  &element) != 4 ||
      out * channels * taps * element != source.size_bytes) {
    return Error{ErrorCode::kInvalidFile, "a recipe of weights is damaged: " + recipe};
  }
  void* writable = nullptr;
  TensorData packed = TensorData::allocate(source.size_bytes, &writable);
  auto* to = static_cast<char*>(writable);
  const char* from = source.as<char>();
  for (int64_t o = 0; o < out; ++o) {
    for (int64_t t = 0; t < taps; ++t) {
      for (int64_t c = 0; c < channels; ++c, to += element) {
        std::memcpy(to, from + ((o * channels + c) * taps + t) * element,
                    static_cast<size_t>(element));
      }
    }
  }
  return packed;
}

}  // namespace stator::cuda
