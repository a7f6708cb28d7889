// SPDX-License-Identifier: Apache-2.0
//
// The table of converters, and the checks that hold for every one of them.
#include <algorithm>
#include <type_traits>

#include "conversion/conversion.h"
#include "graph/uses.h"

namespace stator {

#define STATOR_FAMILY(name) void register_##name(ConverterRegistry& registry);
#include "conversion/families.inc"
#undef STATOR_FAMILY

namespace {

/// Calls `visit` on every value that the node's arguments use, with the argument's name, until one
/// answers no.
template <typename Visit>
Support check_uses(const Node& node, const Visit& visit) {
  Support support = Support::yes();
  for (const NamedArgument& argument : node.args) {
    for_each_use(argument.value, [&](ValueId id) {
      if (support) support = visit(argument.name, id);
    });
  }
  return support;
}

/// "cuda:0" is on "cuda", "cuda" on "cuda:1"; no name at all is anywhere.
bool is_on(const std::string& device, const std::string& wanted) {
  const auto kind = [](const std::string& name) { return name.substr(0, name.find(':')); };
  const bool both_numbered =
      device.size() > kind(device).size() && wanted.size() > kind(wanted).size();
  return device.empty() || (both_numbered ? device == wanted : kind(device) == kind(wanted));
}

Support check_value(const Graph& graph, const std::string& what, ValueId id) {
  const Value& value = graph.value(id);
  switch (value.kind) {
    case ValueKind::kSymFloat:
      return Support::no(what + " is a symbolic float, which only PyTorch computes");
    case ValueKind::kSymBool:
      return Support::no(what + " is a symbolic bool, which only PyTorch computes");
    case ValueKind::kOpaque:
      return Support::no(what + " is " + (value.what.empty() ? "a Python object" : value.what) +
                         ", which only PyTorch computes");
    case ValueKind::kSymInt:
    case ValueKind::kNone:
      return Support::yes();
    case ValueKind::kTensor:
      break;
  }
  const TensorMeta& meta = value.tensor;
  if (is_complex(meta.dtype)) {
    return Support::no(what + " is " + torch_dtype_name(meta.dtype) +
                       ", and complex numbers are not supported");
  }
  if (meta.dtype == DType::kFloat8E4M3 || meta.dtype == DType::kFloat8E5M2) {
    return Support::no(what + " is " + torch_dtype_name(meta.dtype) +
                       ", and float8 arithmetic is not supported");
  }
  if (!is_on(meta.device, graph.engine_device)) {
    return Support::no(what + " is on device " + meta.device + ", and the engine runs on " +
                       graph.engine_device);
  }
  return Support::yes();
}

/// Arguments that no converter takes: other devices, sparse layouts, Python objects.
Support check_argument(const Graph& graph, const NamedArgument& argument) {
  const std::string what = "argument " + argument.name;
  if (const auto* device = std::get_if<DeviceArg>(&argument.value)) {
    if (!is_on(device->name, graph.engine_device)) {
      return Support::no(what + " is device " + device->name + ", and the engine runs on " +
                         graph.engine_device);
    }
  } else if (const auto* layout = std::get_if<LayoutArg>(&argument.value)) {
    if (layout->name.find("strided") == std::string::npos) {
      return Support::no(what + " asks for the layout " + layout->name +
                         ", and only dense tensors are supported");
    }
  } else if (const auto* opaque = std::get_if<OpaqueArg>(&argument.value)) {
    return Support::no(what + " (" + opaque->text + ") is a Python object");
  } else if (const auto* dtype = std::get_if<DType>(&argument.value); dtype && is_complex(*dtype)) {
    return Support::no(what + " is " + torch_dtype_name(*dtype) +
                       ", and complex numbers are not supported");
  }
  return Support::yes();
}

/// Sizes and arguments all constant: what a converter without dynamic shapes asks for.
Support check_static(const Graph& graph, const Node& node) {
  return check_uses(node, [&](const std::string& name, ValueId id) {
    const auto& shape = graph.value(id).tensor.shape;
    const bool fixed =
        std::all_of(shape.begin(), shape.end(), [](const Expr& e) { return e.is_constant(); });
    return fixed ? Support::yes()
                 : Support::no("argument " + name + " has the type " + print_type(graph.value(id)) +
                               ", and its converter takes constant sizes only");
  });
}

}  // namespace

ConverterRegistry& ConverterRegistry::global() {
  static ConverterRegistry registry = [] {
    ConverterRegistry r;
#define STATOR_FAMILY(name) register_##name(r);
#include "conversion/families.inc"
#undef STATOR_FAMILY
    return r;
  }();
  return registry;
}

void ConverterRegistry::add(std::string target, Converter converter) {
  std::vector<Converter>& list = converters_[std::move(target)];
  // Best first: a new one stands before those of equal priority.
  const auto place = std::find_if(list.begin(), list.end(), [&](const Converter& other) {
    return other.priority <= converter.priority;
  });
  list.insert(place, std::move(converter));
}

const Converter* ConverterRegistry::find(std::string_view target) const {
  const auto found = converters_.find(target);
  return found == converters_.end() || found->second.empty() ? nullptr : &found->second.front();
}

std::vector<std::string> ConverterRegistry::targets() const {
  std::vector<std::string> names;
  for (const auto& [target, converters] : converters_) {
    names.push_back(target);
  }
  return names;
}

Support ConverterRegistry::support(const Graph& graph, const Node& node,
                                   bool assume_dynamic_shape_support) const {
  const Converter* converter = find(node.target);
  if (converter == nullptr) {
    return Support::no("there is no converter for " + node.target);
  }
  if (Support support =
          check_uses(node, [&](const std::string& name,
                               ValueId id) { return check_value(graph, "argument " + name, id); });
      !support) {
    return support;
  }
  for (const NamedArgument& argument : node.args) {
    if (Support support = check_argument(graph, argument); !support) {
      return support;
    }
  }
  for (const ValueId id : node.outputs) {
    if (Support support = check_value(graph, "its result", id); !support) {
      return support;
    }
  }
  if (!converter->dynamic_shapes && !assume_dynamic_shape_support) {
    if (Support support = check_static(graph, node); !support) {
      return support;
    }
  }
  return converter->support ? converter->support(SupportContext{graph}, node) : Support::yes();
}

}  // namespace stator
