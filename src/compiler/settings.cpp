// SPDX-License-Identifier: Apache-2.0
//
// One table of the settings that the C++ side reads drives parsing, printing and the messages about
// unknown names.
#include "stator/settings.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "base/nearest_name.h"
#include "lowering/pipeline.h"
#include "partition/partitions.h"

namespace stator {
namespace {

Error bad_value(const std::string& name, const std::string& value, const std::string& allowed) {
  return Error{ErrorCode::kInvalidArgument,
               name + "=" + value + " is not allowed: expected " + allowed};
}

Status parse_value(const std::string& name, const std::string& text, bool& out) {
  if (text == "true" || text == "True" || text == "1") {
    out = true;
  } else if (text == "false" || text == "False" || text == "0") {
    out = false;
  } else {
    return bad_value(name, text, "true or false");
  }
  return {};
}

Status parse_integer(const std::string& name, const std::string& text, int64_t least,
                     int64_t greatest, int64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  if (error != std::errc() || end != text.data() + text.size() || out < least || out > greatest) {
    return bad_value(name, text,
                     "an integer from " + std::to_string(least) +
                         (greatest == INT64_MAX ? " up" : " to " + std::to_string(greatest)));
  }
  return {};
}

Status parse_int_field(const std::string& name, const std::string& text, int64_t least,
                       int64_t greatest, int& out) {
  int64_t value = 0;
  STATOR_RETURN_IF_ERROR(parse_integer(name, text, least, greatest, value));
  out = static_cast<int>(value);
  return {};
}

Status parse_seconds(const std::string& name, const std::string& text, double& out) {
  std::istringstream stream(text);
  if (!(stream >> out) || !stream.eof() || !(out >= 0)) {
    return bad_value(name, text, "seconds, 0 for no limit");
  }
  return {};
}

std::set<std::string> split_names(const std::string& text) {
  std::set<std::string> names;
  std::istringstream stream(text);
  for (std::string name; std::getline(stream, name, ',');) {
    // "torch.ops.aten.add.Tensor" and "aten.add.Tensor" are the same operator.
    static constexpr std::string_view kPrefix = "torch.ops.";
    names.insert(name.starts_with(kPrefix) ? name.substr(kPrefix.size()) : name);
  }
  return names;
}

/// int8 and float8 are known too, and enable nothing: what is to run in them is quantized.
Status parse_precisions(CompilationSettings& settings, const std::string& name,
                        const std::string& text) {
  static const auto& known =
      *new std::set<std::string>{"float32", "float16", "bfloat16", "int8", "float8_e4m3fn"};
  const std::set<std::string> precisions = split_names(text);
  for (const std::string& precision : precisions) {
    if (!known.contains(precision)) {
      return bad_value(name, precision, "float32, float16 and bfloat16, with commas");
    }
  }
  settings.enabled_precisions = precisions;
  return {};
}

/// As Python prints them: "{dtype.f16, dtype.f32}".
std::string print_precisions(const CompilationSettings& settings) {
  std::string s = "{";
  for (const std::string& precision : settings.enabled_precisions) {
    s += (s.size() > 1 ? ", dtype." : "dtype.") + std::string(dtype_name(*parse_dtype(precision)));
  }
  return s + "}";
}

std::string print_names(const std::set<std::string>& names) {
  if (names.empty()) {
    return "set()";
  }
  std::string s = "{";
  for (const std::string& name : names) {
    s += (s.size() > 1 ? ", '" : "'") + name + "'";
  }
  return s + "}";
}

std::string print_bool(bool value) { return value ? "True" : "False"; }

struct Field {
  const char* name;
  Status (*set)(CompilationSettings&, const std::string& name, const std::string& value);
  std::string (*print)(const CompilationSettings&);
};

using S = CompilationSettings;
using Text = const std::string&;

const Field kFields[] = {
    {"enabled_precisions", parse_precisions, print_precisions},
    {"min_block_size",
     [](S& s, Text n, Text v) {
       if (v == "inf" || v == "None") {
         s.min_block_size = v == "inf" ? INT64_MAX : kChooseBlockSize;
         return Status();
       }
       return parse_integer(n, v, 1, INT64_MAX, s.min_block_size);
     },
     [](const S& s) {
       if (s.min_block_size == kChooseBlockSize) return std::string("None");
       return s.min_block_size == INT64_MAX ? std::string("inf") : std::to_string(s.min_block_size);
     }},
    {"torch_executed_ops",
     [](S& s, Text, Text v) {
       s.torch_executed_ops = split_names(v);
       return Status();
     },
     [](const S& s) { return print_names(s.torch_executed_ops); }},
    {"require_full_compilation",
     [](S& s, Text n, Text v) { return parse_value(n, v, s.require_full_compilation); },
     [](const S& s) { return print_bool(s.require_full_compilation); }},
    {"device",
     [](S& s, Text, Text v) {
       s.device = v;
       return Status();
     },
     [](const S& s) { return s.device; }},
    {"use_explicit_typing",
     [](S& s, Text n, Text v) { return parse_value(n, v, s.use_explicit_typing); },
     [](const S& s) { return print_bool(s.use_explicit_typing); }},
    {"optimization_level",
     [](S& s, Text n, Text v) { return parse_int_field(n, v, 0, 5, s.optimization_level); },
     [](const S& s) { return std::to_string(s.optimization_level); }},
    {"disable_tf32", [](S& s, Text n, Text v) { return parse_value(n, v, s.disable_tf32); },
     [](const S& s) { return print_bool(s.disable_tf32); }},
    {"workspace_size",
     [](S& s, Text n, Text v) { return parse_integer(n, v, 0, INT64_MAX, s.workspace_size); },
     [](const S& s) { return std::to_string(s.workspace_size); }},
    {"tiling_optimization_level",
     [](S& s, Text n, Text v) -> Status {
       if (tiling_level(std::string(v)) < 0) {
         return bad_value(n, v, "none, fast, moderate or full");
       }
       s.tiling_optimization_level = v;
       return {};
     },
     [](const S& s) { return s.tiling_optimization_level; }},
    {"l2_limit_for_tiling",
     [](S& s, Text n, Text v) { return parse_integer(n, v, -1, INT64_MAX, s.l2_limit_for_tiling); },
     [](const S& s) { return std::to_string(s.l2_limit_for_tiling); }},
    {"num_avg_timing_iters",
     [](S& s, Text n, Text v) { return parse_int_field(n, v, 1, 1000, s.num_avg_timing_iters); },
     [](const S& s) { return std::to_string(s.num_avg_timing_iters); }},
    {"max_aux_streams",
     [](S& s, Text n, Text v) -> Status {
       s.max_aux_streams = -1;
       return v == "None" ? Status() : parse_int_field(n, v, 0, INT32_MAX, s.max_aux_streams);
     },
     [](const S& s) {
       return s.max_aux_streams < 0 ? std::string("None") : std::to_string(s.max_aux_streams);
     }},
    {"sparse_weights", [](S& s, Text n, Text v) { return parse_value(n, v, s.sparse_weights); },
     [](const S& s) { return print_bool(s.sparse_weights); }},
    {"hardware_compatible",
     [](S& s, Text n, Text v) { return parse_value(n, v, s.hardware_compatible); },
     [](const S& s) { return print_bool(s.hardware_compatible); }},
    {"cpu_memory_budget",
     [](S& s, Text n, Text v) { return parse_integer(n, v, 0, INT64_MAX, s.cpu_memory_budget); },
     [](const S& s) { return std::to_string(s.cpu_memory_budget); }},
    {"use_fast_partitioner",
     [](S& s, Text n, Text v) { return parse_value(n, v, s.use_fast_partitioner); },
     [](const S& s) { return print_bool(s.use_fast_partitioner); }},
    {"assume_dynamic_shape_support",
     [](S& s, Text n, Text v) { return parse_value(n, v, s.assume_dynamic_shape_support); },
     [](const S& s) { return print_bool(s.assume_dynamic_shape_support); }},
    {"timing_cache_path",
     [](S& s, Text, Text v) {
       s.timing_cache_path = v;
       return Status();
     },
     [](const S& s) { return "'" + s.timing_cache_path + "'"; }},
    {"build_time_budget",
     [](S& s, Text n, Text v) { return parse_seconds(n, v, s.build_time_budget); },
     [](const S& s) {
       std::ostringstream stream;
       stream << s.build_time_budget;
       return stream.str();
     }},
    {"disabled_passes",
     [](S& s, Text n, Text v) -> Status {
       std::vector<std::string> passes;
       for (const LoweringPass& pass : lowering_passes()) passes.emplace_back(pass.name);
       for (const std::string& name : split_names(v)) {
         if (std::find(passes.begin(), passes.end(), name) == passes.end()) {
           return Error{ErrorCode::kInvalidArgument, n + ": there is no lowering pass '" + name +
                                                         "'; did you mean '" +
                                                         nearest_name(name, passes) + "'?"};
         }
       }
       s.disabled_passes = split_names(v);
       return {};
     },
     [](const S& s) { return print_names(s.disabled_passes); }},
    {"dump_directory",
     [](S& s, Text, Text v) {
       s.dump_directory = v;
       return Status();
     },
     [](const S& s) { return "'" + s.dump_directory + "'"; }},
};

}  // namespace

int tiling_level(const std::string& name) {
  constexpr std::string_view kLevels[] = {"none", "fast", "moderate", "full"};
  const auto* const found = std::find(std::begin(kLevels), std::end(kLevels), name);
  return found == std::end(kLevels) ? -1 : static_cast<int>(found - kLevels);
}

std::optional<DType> low_precision(const CompilationSettings& settings) {
  if (settings.use_explicit_typing) return std::nullopt;
  for (const DType dtype : {DType::kBFloat16, DType::kFloat16}) {
    if (settings.enabled_precisions.contains(torch_dtype_name(dtype))) return dtype;
  }
  return std::nullopt;
}

std::string print_settings(const CompilationSettings& settings) {
  if (!settings.printed.empty()) {
    return settings.printed;
  }
  std::string s;
  for (const Field& field : kFields) {
    s += (s.empty() ? "" : ", ") + std::string(field.name) + "=" + field.print(settings);
  }
  return "CompilationSettings(" + s + ")";
}

std::map<std::string, std::string> printed_settings(const CompilationSettings& settings) {
  std::map<std::string, std::string> printed;
  for (const Field& field : kFields) printed[field.name] = field.print(settings);
  return printed;
}

Status set_setting(CompilationSettings& settings, const std::string& name,
                   const std::string& value) {
  std::vector<std::string> names;
  for (const Field& field : kFields) {
    if (name == field.name) {
      return field.set(settings, name, value);
    }
    names.emplace_back(field.name);
  }
  return Error{ErrorCode::kInvalidArgument,
               "there is no setting '" + name + "'; did you mean '" + nearest_name(name, names) +
                   "'? Settings that act in PyTorch or in Python are Python's alone"};
}

}  // namespace stator
