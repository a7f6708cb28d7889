// SPDX-License-Identifier: Apache-2.0
//
// The text form of a RegionGraph, and signatures: the same text with names taken out and symbols
// renamed.
#include <algorithm>
#include <cctype>
#include <charconv>
#include <map>
#include <set>

#include "layer/expr_fields.h"
#include "region/region.h"
#include "symbolic/facts.h"

namespace stator {
namespace {

std::string print_exprs(const std::vector<Expr>& list) {
  std::string s = "[";
  for (size_t i = 0; i < list.size(); ++i) {
    s += (i > 0 ? ", " : "") + list[i].str();
  }
  return s + "]";
}

std::string print_view(const StridedView& view) {
  return "b" + std::to_string(view.buffer) + "[" + view.offset.str() + "] strides " +
         print_exprs(view.strides);
}

/// The shortest text that reads back as the same number.
std::string print_real(double value) {
  char buffer[40];
  return {buffer, std::to_chars(buffer, buffer + sizeof(buffer), value).ptr};
}

std::string print_body(const LoopProgram& body) { return print_loop_program(body); }

std::string print_body(const MatmulContraction& body) {
  return "matmul " + std::string(dtype_name(body.dtype)) + " batch " + print_exprs(body.batch) +
         " m " + body.m.str() + " n " + body.n.str() + " k " + body.k.str() + "\na " +
         print_view(body.a) + "\nb " + print_view(body.b) + (body.b_constant ? " constant" : "") +
         (body.b_sparse ? " sparse" : "") + "\n" + print_loop_program(body.epilogue);
}

std::string print_body(const ConvolutionContraction& body) {
  return "convolution " + std::string(dtype_name(body.dtype)) + " " +
         print_attributes(LayerAttributes(body.attributes)) + "\nx b" + std::to_string(body.x) +
         " " + print_exprs(body.x_shape) + "\nw b" + std::to_string(body.w) + " " +
         print_exprs(body.w_shape) + (body.w_constant ? " constant" : "") + "\ny " +
         print_exprs(body.y_shape) + "\n" + print_loop_program(body.epilogue);
}

std::string print_body(const AttentionRegion& body) {
  std::string s =
      "attention " + std::string(dtype_name(body.dtype)) + " batch " + body.batch.str() +
      " heads " + body.heads.str() + " kv_heads " + body.kv_heads.str() + " q_length " +
      body.q_length.str() + " kv_length " + body.kv_length.str() + " qk_dim " + body.qk_dim.str() +
      " v_dim " + body.v_dim.str() + " scale " + print_real(body.scale) +
      (body.causal ? " causal" : "") + "\nq " + print_view(body.q) + "\nk " + print_view(body.k) +
      "\nv " + print_view(body.v) + "\nout " + print_view(body.out) + "\n";
  if (body.has_mask) {
    s += "mask " + std::string(dtype_name(body.mask_dtype)) + " " + print_view(body.mask) + "\n";
  }
  return s;
}

std::string print_rows(const Expr& outer, const Expr& length, const Expr& inner) {
  return " outer " + outer.str() + " length " + length.str() + " inner " + inner.str();
}

std::string print_body(const ScanRegion& body) {
  return std::string("scan ") + name_of(body.op) + " " + dtype_name(body.dtype) +
         print_rows(body.outer, body.length, body.inner) + "\n";
}

std::string print_body(const OrderRegion& body) {
  return std::string("order ") + dtype_name(body.dtype) + (body.descending ? " descending" : "") +
         (body.stable ? " stable" : "") + (body.select ? " select" : "") +
         (body.sorted ? "" : " unsorted") + print_rows(body.outer, body.length, body.inner) +
         " count " + body.count.str() + "\n";
}

std::string print_body(const ScatterRegion& body) {
  return std::string("scatter ") + dtype_name(body.dtype) + " " + name_of(body.op) + " " +
         name_of(body.error) + " dim " + std::to_string(body.dim) + " axis " +
         std::to_string(body.axis) + " limit " + body.limit.str() + " extents " +
         print_exprs(body.extents) + "\nindices " + print_view(body.indices) + "\nupdates " +
         print_view(body.updates) + "\ny " + print_view(body.y) + "\n";
}

std::string print_body(const CallRegion& body) {
  return std::string("call ") + layer_kind_name(body.attributes) + " " +
         print_attributes(body.attributes) + "\n";
}

std::string print_body(const RegionBody& body) {
  return std::visit([](const auto& b) { return print_body(b); }, body);
}

std::string indented(const std::string& text) {
  std::string s;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    s += "    " + text.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  return s;
}

/// Replaces every whole-word symbol of `text` that is a key of `names`.
std::string rename_symbols(const std::string& text, const std::set<std::string>& symbols,
                           std::vector<std::string>* order) {
  std::map<std::string, std::string> names;
  std::string out;
  size_t i = 0;
  const auto is_word = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
  };
  while (i < text.size()) {
    if (!is_word(text[i]) || (i > 0 && text[i - 1] == '$')) {
      out += text[i++];
      continue;
    }
    size_t end = i;
    while (end < text.size() && is_word(text[end])) {
      ++end;
    }
    const std::string word = text.substr(i, end - i);
    if (!symbols.contains(word)) {
      out += word;
    } else {
      const auto [found, fresh] = names.emplace(word, "s" + std::to_string(names.size()));
      if (fresh && order != nullptr) {
        order->push_back(word);
      }
      out += found->second;
    }
    i = end;
  }
  return out;
}

}  // namespace

const char* region_kind_name(const RegionBody& body) {
  static constexpr const char* kNames[] = {"loop", "matmul", "convolution", "attention",
                                           "scan", "order",  "scatter",     "call"};
  static_assert(std::size(kNames) == std::variant_size_v<RegionBody>);
  return kNames[body.index()];
}

std::string print_regions(const RegionGraph& graph) {
  const auto name = [&graph](int32_t id) {
    return "%" + graph.tensors[static_cast<size_t>(id)].name;
  };
  const auto typed = [&graph, &name](int32_t id) {
    const RegionTensor& t = graph.tensors[static_cast<size_t>(id)];
    return name(id) + ": " + print_type(t.type) + (t.alias_of >= 0 ? " = " + name(t.alias_of) : "");
  };
  std::string s = "regions " + (graph.name.empty() ? "main" : graph.name);
  bool first = true;
  for (const auto& [symbol, range] : graph.bounds.ranges()) {
    s += (first ? " where " : ", ") + symbol + " in [" + std::to_string(range.first) + ", " +
         (range.second == Bounds::kUnbounded ? "inf" : std::to_string(range.second)) + "]";
    first = false;
  }
  s += ":\n" + print_facts(graph.bounds, graph.guards);
  for (const int32_t id : graph.inputs) {
    s += "  input " + typed(id) + "\n";
  }
  for (const Expr& scalar : graph.scalar_inputs) {
    s += "  scalar " + scalar.str() + "\n";
  }
  for (size_t i = 0; i < graph.tensors.size(); ++i) {
    if (graph.tensors[i].role == RegionTensorRole::kConstant) {
      s +=
          "  constant " + typed(static_cast<int32_t>(i)) + " \"" + graph.tensors[i].origin + "\"\n";
    }
  }
  for (const Region& region : graph.regions) {
    s += "  region " + region.name + " " + region_kind_name(region.body) + " (";
    for (size_t i = 0; i < region.inputs.size(); ++i) {
      s += (i > 0 ? ", " : "") + typed(region.inputs[i]);
    }
    s += ") -> (";
    for (size_t i = 0; i < region.outputs.size(); ++i) {
      s += (i > 0 ? ", " : "") + typed(region.outputs[i]);
    }
    s += "):\n" + indented(print_body(region.body));
  }
  s += "  return";
  for (size_t i = 0; i < graph.outputs.size(); ++i) {
    s += (i > 0 ? ", " : " ") + name(graph.outputs[i]);
  }
  return s + "\n";
}

std::string region_signature(const RegionGraph& graph, const Region& region,
                             std::vector<std::string>* symbols) {
  std::string text = print_body(region.body);
  std::set<std::string> used;
  for (const std::vector<int32_t>* list : {&region.inputs, &region.outputs}) {
    for (const int32_t id : *list) {
      const RegionTensor& t = graph.tensors[static_cast<size_t>(id)];
      text += print_type(t.type) + (t.role == RegionTensorRole::kConstant ? " constant\n" : "\n");
      for (const Expr& size : t.type.shape) {
        size.collect_symbols(used);
      }
    }
  }
  for (const auto& [symbol, range] : graph.bounds.ranges()) {
    used.insert(symbol);
  }
  if (symbols != nullptr) {
    symbols->clear();
  }
  std::vector<std::string> order;
  std::string signature = rename_symbols(text, used, &order);
  // What a kernel may assume of its symbols is part of what it must do.
  for (const std::string& symbol : order) {
    const auto range = graph.bounds.ranges().find(symbol);
    if (range != graph.bounds.ranges().end()) {
      signature +=
          std::to_string(range->second.first) + ".." + std::to_string(range->second.second) + "\n";
    }
  }
  if (symbols != nullptr) {
    *symbols = std::move(order);
  }
  return signature;
}

}  // namespace stator
