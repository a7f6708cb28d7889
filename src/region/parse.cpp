// SPDX-License-Identifier: Apache-2.0
//
// Reads what print_regions writes. The bytes of constants are not in the text: they come back as
// zeros. Names tell tensors apart, so they must be unique.
#include <charconv>
#include <cstring>
#include <map>

#include "layer/names.h"
#include "region/region.h"
#include "symbolic/facts.h"

namespace stator {
namespace {

Error bad(const std::string& what) { return Error{ErrorCode::kInvalidFile, what}; }

/// One line of text, read from left to right.
class Line {
 public:
  explicit Line(std::string_view text) : text_(text) {}

  bool accept(std::string_view token) {
    skip();
    if (!text_.starts_with(token)) {
      return false;
    }
    text_.remove_prefix(token.size());
    return true;
  }
  Status expect(std::string_view token) {
    return accept(token) ? Status()
                         : Status(bad("expected '" + std::string(token) + "' before '" +
                                      std::string(text_.substr(0, 20)) + "'"));
  }
  /// Text up to a blank or one of `stops`.
  std::string word(std::string_view stops = "") {
    skip();
    const size_t end = std::min(text_.find_first_of(" " + std::string(stops)), text_.size());
    const std::string result(text_.substr(0, end));
    text_.remove_prefix(end);
    return result;
  }
  std::string quoted() {
    if (!accept("\"")) {
      return "";
    }
    const size_t end = std::min(text_.find('"'), text_.size());
    const std::string result(text_.substr(0, end));
    text_.remove_prefix(std::min(end + 1, text_.size()));
    return result;
  }
  /// An expression up to `stop` outside its brackets; `stop` stays.
  Result<Expr> expr(std::string_view stop) {
    skip();
    int depth = 0;
    size_t end = 0;
    for (; end < text_.size(); ++end) {
      const char c = text_[end];
      if (depth == 0 && text_.substr(end).starts_with(stop)) {
        break;
      }
      if (depth == 0 && (c == ']' || c == ',')) {
        break;
      }
      depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    }
    Result<Expr> e = parse_expr(text_.substr(0, end));
    text_.remove_prefix(end);
    return e;
  }
  Result<std::vector<Expr>> exprs() {
    STATOR_RETURN_IF_ERROR(expect("["));
    std::vector<Expr> list;
    while (!accept("]")) {
      STATOR_TRY(Expr e, expr("]"));
      list.push_back(std::move(e));
      if (!accept(",") && !text_.starts_with("]")) {
        return bad("a list has no end");
      }
    }
    return list;
  }
  Result<TensorType> type() {
    const std::string name = word("[");
    const std::optional<DType> dtype = parse_dtype(name);
    if (!dtype.has_value()) {
      return bad("unknown type '" + name + "'");
    }
    TensorType result{*dtype, {}};
    STATOR_TRY(result.shape, exprs());
    return result;
  }
  Result<DType> dtype() {
    const std::string name = word();
    const std::optional<DType> result = parse_dtype(name);
    return result.has_value() ? Result<DType>(*result) : bad("unknown type '" + name + "'");
  }
  Result<int64_t> integer() {
    const std::string text = word("],)[");
    if (text == "inf") {
      return Bounds::kUnbounded;
    }
    int64_t value = 0;
    const char* end = text.data() + text.size();
    return std::from_chars(text.data(), end, value).ptr == end && !text.empty()
               ? Result<int64_t>(value)
               : bad("expected an integer, got '" + text + "'");
  }
  /// "b0[offset] strides […]".
  Result<StridedView> view() {
    StridedView v;
    STATOR_RETURN_IF_ERROR(expect("b"));
    STATOR_TRY(const int64_t buffer, integer());
    v.buffer = static_cast<int32_t>(buffer);
    STATOR_RETURN_IF_ERROR(expect("["));
    STATOR_TRY(v.offset, expr("]"));
    STATOR_RETURN_IF_ERROR(expect("]"));
    STATOR_RETURN_IF_ERROR(expect("strides"));
    STATOR_TRY(v.strides, exprs());
    return v;
  }
  bool empty() {
    skip();
    return text_.empty();
  }
  std::string_view rest() const { return text_; }

 private:
  void skip() {
    while (text_.starts_with(" ")) {
      text_.remove_prefix(1);
    }
  }
  std::string_view text_;
};

/// The lines of a region's body.
struct Body {
  std::vector<std::string> lines;
  size_t next = 0;
  Result<Line> line() {
    return next < lines.size() ? Result<Line>(Line(lines[next++])) : bad("the body ends early");
  }
  std::string rest() const {
    std::string text;
    for (size_t i = next; i < lines.size(); ++i) {
      text += lines[i] + "\n";
    }
    return text;
  }
};

Result<RegionBody> read_matmul(Body& body) {
  MatmulContraction m;
  STATOR_TRY(Line head, body.line());
  STATOR_RETURN_IF_ERROR(head.expect("matmul"));
  STATOR_TRY(m.dtype, head.dtype());
  STATOR_RETURN_IF_ERROR(head.expect("batch"));
  STATOR_TRY(m.batch, head.exprs());
  STATOR_RETURN_IF_ERROR(head.expect("m "));
  STATOR_TRY(m.m, head.expr(" n "));
  STATOR_RETURN_IF_ERROR(head.expect("n "));
  STATOR_TRY(m.n, head.expr(" k "));
  STATOR_RETURN_IF_ERROR(head.expect("k "));
  STATOR_TRY(m.k, head.expr("\n"));
  STATOR_TRY(Line a, body.line());
  STATOR_RETURN_IF_ERROR(a.expect("a "));
  STATOR_TRY(m.a, a.view());
  STATOR_TRY(Line b, body.line());
  STATOR_RETURN_IF_ERROR(b.expect("b "));
  STATOR_TRY(m.b, b.view());
  m.b_constant = b.accept("constant");
  m.b_sparse = b.accept("sparse");
  STATOR_TRY(m.epilogue, parse_loop_program(body.rest()));
  return RegionBody(std::move(m));
}

Result<RegionBody> read_convolution(Body& body) {
  ConvolutionContraction c;
  STATOR_TRY(Line head, body.line());
  STATOR_RETURN_IF_ERROR(head.expect("convolution"));
  STATOR_TRY(c.dtype, head.dtype());
  STATOR_TRY(const LayerAttributes attributes, parse_attributes("convolution", head.rest()));
  c.attributes = std::get<Convolution>(attributes);
  const auto operand = [&body](const char* name, std::vector<Expr>& shape,
                               int32_t* buffer) -> Result<Line> {
    STATOR_TRY(Line line, body.line());
    STATOR_RETURN_IF_ERROR(line.expect(name));
    if (buffer != nullptr) {
      STATOR_RETURN_IF_ERROR(line.expect("b"));
      STATOR_TRY(const int64_t number, line.integer());
      *buffer = static_cast<int32_t>(number);
    }
    STATOR_TRY(shape, line.exprs());
    return line;
  };
  STATOR_RETURN_IF_ERROR(operand("x ", c.x_shape, &c.x));
  STATOR_TRY(Line w, operand("w ", c.w_shape, &c.w));
  c.w_constant = w.accept("constant");
  STATOR_RETURN_IF_ERROR(operand("y ", c.y_shape, nullptr));
  STATOR_TRY(c.epilogue, parse_loop_program(body.rest()));
  return RegionBody(std::move(c));
}

Result<RegionBody> read_attention(Body& body) {
  AttentionRegion a;
  STATOR_TRY(Line head, body.line());
  STATOR_RETURN_IF_ERROR(head.expect("attention"));
  STATOR_TRY(a.dtype, head.dtype());
  const std::pair<const char*, Expr*> fields[] = {
      {" batch ", &a.batch},       {" heads ", &a.heads},         {" kv_heads ", &a.kv_heads},
      {" q_length ", &a.q_length}, {" kv_length ", &a.kv_length}, {" qk_dim ", &a.qk_dim},
      {" v_dim ", &a.v_dim},       {" scale ", nullptr}};
  for (size_t i = 0; fields[i].second != nullptr; ++i) {
    STATOR_RETURN_IF_ERROR(head.expect(std::string_view(fields[i].first).substr(1)));
    STATOR_TRY(*fields[i].second, head.expr(fields[i + 1].first));
  }
  STATOR_RETURN_IF_ERROR(head.expect("scale"));
  const std::string scale = head.word();
  if (std::from_chars(scale.data(), scale.data() + scale.size(), a.scale).ec != std::errc()) {
    return bad("expected a number, got '" + scale + "'");
  }
  a.causal = head.accept("causal");
  const std::pair<const char*, StridedView*> views[] = {
      {"q ", &a.q}, {"k ", &a.k}, {"v ", &a.v}, {"out ", &a.out}};
  for (const auto& [name, view] : views) {
    STATOR_TRY(Line line, body.line());
    STATOR_RETURN_IF_ERROR(line.expect(name));
    STATOR_TRY(*view, line.view());
  }
  if (body.next < body.lines.size()) {
    STATOR_TRY(Line line, body.line());
    STATOR_RETURN_IF_ERROR(line.expect("mask"));
    a.has_mask = true;
    STATOR_TRY(a.mask_dtype, line.dtype());
    STATOR_TRY(a.mask, line.view());
  }
  return RegionBody(std::move(a));
}

/// "outer … length … inner …", up to `stop`.
template <typename R>
Status read_rows(Line& head, R* region, std::string_view stop) {
  STATOR_RETURN_IF_ERROR(head.expect("outer "));
  STATOR_TRY(region->outer, head.expr(" length "));
  STATOR_RETURN_IF_ERROR(head.expect("length "));
  STATOR_TRY(region->length, head.expr(" inner "));
  STATOR_RETURN_IF_ERROR(head.expect("inner "));
  STATOR_TRY(region->inner, head.expr(stop));
  return {};
}

template <typename E>
Status read_name(Line& head, E* value) {
  const std::string name = head.word();
  return parse_name(name, value) ? Status() : Status(bad("unknown name '" + name + "'"));
}

Result<RegionBody> read_scan(Body& body) {
  ScanRegion r;
  STATOR_TRY(Line head, body.line());
  STATOR_RETURN_IF_ERROR(head.expect("scan"));
  STATOR_RETURN_IF_ERROR(read_name(head, &r.op));
  STATOR_TRY(r.dtype, head.dtype());
  STATOR_RETURN_IF_ERROR(read_rows(head, &r, "\n"));
  return RegionBody(std::move(r));
}

Result<RegionBody> read_order(Body& body) {
  OrderRegion r;
  STATOR_TRY(Line head, body.line());
  STATOR_RETURN_IF_ERROR(head.expect("order"));
  STATOR_TRY(r.dtype, head.dtype());
  r.descending = head.accept("descending");
  r.stable = head.accept("stable");
  r.select = head.accept("select");
  r.sorted = !head.accept("unsorted");
  STATOR_RETURN_IF_ERROR(read_rows(head, &r, " count "));
  STATOR_RETURN_IF_ERROR(head.expect("count "));
  STATOR_TRY(r.count, head.expr("\n"));
  return RegionBody(std::move(r));
}

Result<RegionBody> read_scatter(Body& body) {
  ScatterRegion r;
  STATOR_TRY(Line head, body.line());
  STATOR_RETURN_IF_ERROR(head.expect("scatter"));
  STATOR_TRY(r.dtype, head.dtype());
  STATOR_RETURN_IF_ERROR(read_name(head, &r.op));
  STATOR_RETURN_IF_ERROR(read_name(head, &r.error));
  STATOR_RETURN_IF_ERROR(head.expect("dim"));
  STATOR_TRY(r.dim, head.integer());
  STATOR_RETURN_IF_ERROR(head.expect("axis"));
  STATOR_TRY(r.axis, head.integer());
  STATOR_RETURN_IF_ERROR(head.expect("limit "));
  STATOR_TRY(r.limit, head.expr(" extents "));
  STATOR_RETURN_IF_ERROR(head.expect("extents "));
  STATOR_TRY(r.extents, head.exprs());
  const std::pair<const char*, StridedView*> views[] = {
      {"indices ", &r.indices}, {"updates ", &r.updates}, {"y ", &r.y}};
  for (const auto& [name, view] : views) {
    STATOR_TRY(Line line, body.line());
    STATOR_RETURN_IF_ERROR(line.expect(name));
    STATOR_TRY(*view, line.view());
  }
  return RegionBody(std::move(r));
}

Result<RegionBody> read_call(Body& body) {
  STATOR_TRY(Line line, body.line());
  STATOR_RETURN_IF_ERROR(line.expect("call"));
  const std::string kind = line.word();
  STATOR_TRY(LayerAttributes attributes, parse_attributes(kind, line.rest()));
  return RegionBody(CallRegion{std::move(attributes)});
}

Result<RegionBody> read_body(const std::string& kind, Body body) {
  if (kind == "loop") {
    STATOR_TRY(LoopProgram program, parse_loop_program(body.rest()));
    return RegionBody(std::move(program));
  }
  if (kind == "matmul") {
    return read_matmul(body);
  }
  if (kind == "convolution") {
    return read_convolution(body);
  }
  if (kind == "attention") {
    return read_attention(body);
  }
  if (kind == "scan") {
    return read_scan(body);
  }
  if (kind == "order") {
    return read_order(body);
  }
  if (kind == "scatter") {
    return read_scatter(body);
  }
  return kind == "call" ? read_call(body)
                        : Result<RegionBody>(bad("there is no region '" + kind + "'"));
}

class RegionParser {
 public:
  Result<RegionGraph> parse(std::string_view text) {
    while (!text.empty()) {
      const size_t end = std::min(text.find('\n'), text.size());
      lines_.emplace_back(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    while (at_ < lines_.size()) {
      const size_t number = at_ + 1;
      if (const Status status = read_line(); !status.ok()) {
        return status.error().in("line " + std::to_string(number));
      }
    }
    return std::move(graph_);
  }

 private:
  Status read_line() {
    Line line(lines_[at_++]);
    if (line.empty()) {
      return {};
    }
    STATOR_TRY(const bool is_fact, read_fact(lines_[at_ - 1], &graph_.bounds, &graph_.guards));
    if (is_fact) {
      return {};
    }
    if (line.accept("regions ")) {
      return read_head(line);
    }
    if (line.accept("input ")) {
      STATOR_TRY(const int32_t id, tensor(line, RegionTensorRole::kInput));
      graph_.inputs.push_back(id);
      return {};
    }
    if (line.accept("scalar ")) {
      STATOR_TRY(Expr e, line.expr("\n"));
      graph_.scalar_inputs.push_back(std::move(e));
      return {};
    }
    if (line.accept("constant ")) {
      return read_constant(line);
    }
    if (line.accept("region ")) {
      return read_region(line);
    }
    STATOR_RETURN_IF_ERROR(line.expect("return"));
    while (line.accept("%")) {
      const auto found = tensors_.find(line.word(","));
      if (found == tensors_.end()) {
        return bad("an output is not defined");
      }
      graph_.tensors[static_cast<size_t>(found->second)].role = RegionTensorRole::kOutput;
      graph_.outputs.push_back(found->second);
      line.accept(",");
    }
    return {};
  }

  Status read_head(Line& line) {
    graph_.name = line.word(":");
    if (line.accept("where")) {
      do {
        const std::string symbol = line.word();
        STATOR_RETURN_IF_ERROR(line.expect("in ["));
        STATOR_TRY(const int64_t least, line.integer());
        STATOR_RETURN_IF_ERROR(line.expect(","));
        STATOR_TRY(const int64_t greatest, line.integer());
        STATOR_RETURN_IF_ERROR(line.expect("]"));
        graph_.bounds.set(symbol, least, greatest);
      } while (line.accept(","));
    }
    return line.expect(":");
  }

  /// "%name: type [= %alias]": a known tensor, or a new one.
  Result<int32_t> tensor(Line& line, RegionTensorRole role) {
    STATOR_RETURN_IF_ERROR(line.expect("%"));
    std::string name = line.word();
    if (!name.ends_with(":")) {
      return bad("expected '%name: type'");
    }
    name.pop_back();
    STATOR_TRY(TensorType type, line.type());
    int32_t alias = -1;
    if (line.accept("= %")) {
      const auto found = tensors_.find(line.word(",)"));
      if (found == tensors_.end()) {
        return bad("%" + name + " is the alias of nothing");
      }
      alias = found->second;
    }
    const auto [found, fresh] = tensors_.emplace(name, static_cast<int32_t>(graph_.tensors.size()));
    if (fresh) {
      RegionTensor t;
      t.name = name;
      t.type = std::move(type);
      t.role = alias >= 0 ? graph_.tensors[static_cast<size_t>(alias)].role : role;
      t.alias_of = alias;
      graph_.tensors.push_back(std::move(t));
    }
    return found->second;
  }

  Status read_constant(Line& line) {
    STATOR_TRY(const int32_t id, tensor(line, RegionTensorRole::kConstant));
    RegionTensor& t = graph_.tensors[static_cast<size_t>(id)];
    t.origin = line.quoted();
    const Expr count = product(t.type.shape);
    if (!count.is_constant()) {
      return bad("a constant has no symbolic size");
    }
    const int64_t bytes = count.constant() * dtype_bytes(t.type.dtype);
    void* writable = nullptr;
    t.data = TensorData::allocate(bytes, &writable);
    std::memset(writable, 0, static_cast<size_t>(bytes));
    return {};
  }

  Result<std::vector<int32_t>> tensor_list(Line& line) {
    STATOR_RETURN_IF_ERROR(line.expect("("));
    std::vector<int32_t> ids;
    while (!line.accept(")")) {
      STATOR_TRY(const int32_t id, tensor(line, RegionTensorRole::kIntermediate));
      ids.push_back(id);
      line.accept(",");
    }
    return ids;
  }

  Status read_region(Line& line) {
    Region region;
    region.name = line.word();
    const std::string kind = line.word();
    STATOR_TRY(region.inputs, tensor_list(line));
    STATOR_RETURN_IF_ERROR(line.expect("->"));
    STATOR_TRY(region.outputs, tensor_list(line));
    STATOR_RETURN_IF_ERROR(line.expect(":"));
    Body body;
    while (at_ < lines_.size() && lines_[at_].starts_with("    ")) {
      body.lines.push_back(lines_[at_++].substr(4));
    }
    STATOR_TRY(region.body, read_body(kind, std::move(body)));
    graph_.regions.push_back(std::move(region));
    return {};
  }

  RegionGraph graph_;
  std::map<std::string, int32_t> tensors_;
  std::vector<std::string> lines_;
  size_t at_ = 0;
};

}  // namespace

Result<RegionGraph> parse_regions(std::string_view text) { return RegionParser().parse(text); }

}  // namespace stator
