// SPDX-License-Identifier: Apache-2.0
//
// Reads what print.cpp writes, line by line. A constant's bytes are not in the text: it comes back
// as zeros.
#include <charconv>
#include <cstring>
#include <map>

#include "stator/network.h"
#include "symbolic/facts.h"

namespace stator {
namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\r')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r')) {
    text.remove_suffix(1);
  }
  return text;
}

class Parser {
 public:
  Result<Network> parse(std::string_view text) {
    bool named = false;
    while (!text.empty()) {
      ++line_;
      const size_t end = text.find('\n');
      std::string_view line = trimmed(text.substr(0, end));
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      if (const size_t hash = line.find("  #"); hash != std::string_view::npos) {
        line = trimmed(line.substr(0, hash));
      }
      if (line.empty() || line.front() == '#') {
        continue;
      }
      const Status status = named ? read_line(line) : read_head(line);
      named = true;
      if (!status.ok()) {
        return Error{ErrorCode::kInvalidFile,
                     "line " + std::to_string(line_) + ": " + status.error().message};
      }
    }
    return std::move(network_);
  }

 private:
  static Error error(const std::string& what) { return Error{ErrorCode::kInvalidFile, what}; }

  Status read_head(std::string_view line) {
    if (!line.starts_with("network ") || !line.ends_with(":")) {
      return error("expected 'network <name>:'");
    }
    line = line.substr(8, line.size() - 9);
    const size_t where = line.find(" where ");
    network_.name = std::string(trimmed(line.substr(0, where)));
    std::string_view ranges = where == std::string_view::npos ? "" : line.substr(where + 7);
    while (!ranges.empty()) {
      const size_t open = ranges.find(" in [");
      const size_t close = ranges.find(']');
      if (open == std::string_view::npos || close == std::string_view::npos || close < open) {
        return error("expected '<symbol> in [least, greatest]'");
      }
      const std::string_view limits = ranges.substr(open + 5, close - open - 5);
      const size_t comma = limits.find(',');
      int64_t least = 0;
      int64_t greatest = Bounds::kUnbounded;
      const std::string_view high = trimmed(limits.substr(std::min(comma, limits.size() - 1) + 1));
      if (std::from_chars(limits.data(), limits.data() + limits.size(), least).ec != std::errc() ||
          (high != "inf" &&
           std::from_chars(high.data(), high.data() + high.size(), greatest).ec != std::errc())) {
        return error("cannot read the range '" + std::string(limits) + "'");
      }
      network_.bounds.set(trimmed(ranges.substr(0, open)), least, greatest);
      ranges = trimmed(ranges.substr(close + 1));
      ranges = ranges.starts_with(",") ? trimmed(ranges.substr(1)) : ranges;
    }
    return {};
  }

  /// "%x: f32[s0, 8]" at the head of `text`, which moves past it.
  Result<std::pair<std::string, TensorType>> definition(std::string_view& text) {
    const size_t colon = text.find(": ");
    const size_t open = text.find('[');
    const size_t close = text.find(']');
    if (!text.starts_with("%") || colon == std::string_view::npos ||
        close == std::string_view::npos || open > close || colon > open) {
      return error("expected '%name: type'");
    }
    const std::string name(text.substr(1, colon - 1));
    const std::string_view dtype_text = text.substr(colon + 2, open - colon - 2);
    const std::optional<DType> dtype = parse_dtype(dtype_text);
    if (!dtype.has_value()) {
      return error("unknown type '" + std::string(dtype_text) + "'");
    }
    TensorType type{*dtype, {}};
    std::string_view sizes = text.substr(open + 1, close - open - 1);
    int depth = 0;
    size_t begin = 0;
    for (size_t i = 0; i <= sizes.size() && !sizes.empty(); ++i) {
      if (i == sizes.size() || (sizes[i] == ',' && depth == 0)) {
        STATOR_TRY(Expr size, parse_expr(sizes.substr(begin, i - begin)));
        type.shape.push_back(std::move(size));
        begin = i + 1;
      } else {
        depth += sizes[i] == '(' ? 1 : sizes[i] == ')' ? -1 : 0;
      }
    }
    text = trimmed(text.substr(close + 1));
    return std::pair{name, type};
  }

  Status bind(const std::string& name, TensorId id) {
    if (!tensors_.emplace(name, id).second) {
      return error("%" + name + " is defined twice");
    }
    network_.tensor(id).name = name;
    return {};
  }

  /// "%a, %b" → ids.
  Result<std::vector<TensorId>> uses(std::string_view text) {
    std::vector<TensorId> ids;
    while (!trimmed(text).empty()) {
      const size_t comma = text.find(',');
      const std::string_view name = trimmed(text.substr(0, comma));
      const auto found = tensors_.find(std::string(name.substr(name.starts_with("%") ? 1 : 0)));
      if (found == tensors_.end()) {
        return error(std::string(name) + " is used before it is defined");
      }
      ids.push_back(found->second);
      text = comma == std::string_view::npos ? "" : text.substr(comma + 1);
    }
    return ids;
  }

  Status read_line(std::string_view line) {
    STATOR_TRY(const bool is_fact, read_fact(line, &network_.bounds, &network_.guards));
    if (is_fact) {
      return {};
    }
    if (line.starts_with("input ")) {
      line.remove_prefix(6);
      STATOR_TRY(const auto tensor, definition(line));
      return bind(tensor.first, network_.add_input(tensor.first, tensor.second));
    }
    if (line.starts_with("scalar ")) {
      STATOR_TRY(Expr symbol, parse_expr(line.substr(7)));
      network_.scalar_inputs.push_back(std::move(symbol));
      return {};
    }
    if (line.starts_with("constant ")) {
      line.remove_prefix(9);
      return read_constant(line);
    }
    if (line == "return" || line.starts_with("return ")) {
      STATOR_TRY(network_.outputs, uses(line.substr(6)));
      return {};
    }
    return read_layer(line);
  }

  Status read_constant(std::string_view line) {
    STATOR_TRY(const auto tensor, definition(line));
    int64_t bytes = dtype_bytes(tensor.second.dtype);
    for (const Expr& size : tensor.second.shape) {
      if (!size.is_constant()) {
        return error("a constant has no symbolic size");
      }
      bytes *= size.constant();
    }
    void* writable = nullptr;
    TensorData data = TensorData::allocate(bytes, &writable);
    std::memset(writable, 0, static_cast<size_t>(bytes));
    WeightOrigin origin;
    if (const size_t quote = line.find('"'); quote != std::string_view::npos) {
      origin.name = std::string(line.substr(quote + 1, line.find('"', quote + 1) - quote - 1));
    }
    return bind(tensor.first,
                network_.add_constant(tensor.first, tensor.second, std::move(data), origin));
  }

  Status read_layer(std::string_view line) {
    std::vector<std::pair<std::string, TensorType>> outputs;
    do {
      line = line.starts_with(",") ? trimmed(line.substr(1)) : line;
      STATOR_TRY(auto output, definition(line));
      outputs.push_back(std::move(output));
    } while (line.starts_with(","));
    const size_t open = line.find('(');
    const size_t brace = line.find('{');
    if (!line.starts_with("= ") || open == std::string_view::npos ||
        brace == std::string_view::npos) {
      return error("expected '= layer(inputs) {attributes}'");
    }
    const std::string_view kind = line.substr(2, open - 2);
    const size_t close = line.rfind(')', brace);
    STATOR_TRY(LayerAttributes attributes, parse_attributes(kind, line.substr(brace)));
    STATOR_TRY(std::vector<TensorId> inputs, uses(line.substr(open + 1, close - open - 1)));
    std::vector<TensorType> types;
    for (const TensorId id : inputs) {
      types.push_back(network_.type(id));
    }
    STATOR_TRY(const auto inferred, infer_types(attributes, types, network_.bounds));
    if (inferred.size() != outputs.size()) {
      return error("'" + std::string(kind) + "' has " + std::to_string(inferred.size()) +
                   " results");
    }
    const std::vector<TensorId> ids = network_.add_layer(std::move(attributes), std::move(inputs));
    for (size_t i = 0; i < ids.size(); ++i) {
      network_.tensor(ids[i]).type = outputs[i].second;
      STATOR_RETURN_IF_ERROR(bind(outputs[i].first, ids[i]));
    }
    return {};
  }

  Network network_;
  std::map<std::string, TensorId> tensors_;
  int line_ = 0;
};

}  // namespace

Result<Network> parse_network(std::string_view text) { return Parser().parse(text); }

}  // namespace stator
