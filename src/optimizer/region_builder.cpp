// SPDX-License-Identifier: Apache-2.0
#include "optimizer/region_builder.h"

#include <algorithm>

#include "base/check.h"

namespace stator {

RegionBuilder::RegionBuilder(const Network& network)
    : network_(network), is_output_(network.tensors.size(), false) {
  graph_.name = network.name;
  graph_.bounds = network.bounds;
  graph_.guards = network.guards;
  graph_.scalar_inputs = network.scalar_inputs;
  for (const TensorId id : network.outputs) {
    // What is an input or constant, and the second mention of a tensor, gets a copy in finish().
    is_output_[static_cast<size_t>(id)] = network.tensor(id).role == TensorRole::kIntermediate;
  }
  for (const TensorId id : network.inputs) {
    graph_.inputs.push_back(tensor(id));
  }
}

int32_t RegionBuilder::tensor(TensorId id) {
  const auto [found, fresh] = tensors_.try_emplace(id, -1);
  if (!fresh) {
    return found->second;
  }
  const NetworkTensor& source = network_.tensor(id);
  RegionTensor t;
  t.name = source.name;
  t.type = source.type;
  switch (source.role) {
    case TensorRole::kInput:
      t.role = RegionTensorRole::kInput;
      break;
    case TensorRole::kConstant:
      t.role = RegionTensorRole::kConstant;
      t.data = source.data;
      t.origin = source.origin.name;
      break;
    case TensorRole::kIntermediate:
      t.role = is_output_[static_cast<size_t>(id)] ? RegionTensorRole::kOutput
                                                   : RegionTensorRole::kIntermediate;
      break;
  }
  graph_.tensors.push_back(std::move(t));
  found->second = static_cast<int32_t>(graph_.tensors.size() - 1);
  return found->second;
}

int32_t RegionBuilder::add_intermediate(const std::string& name, const TensorType& type) {
  RegionTensor t;
  t.name = name + "." + std::to_string(graph_.tensors.size());
  t.type = type;
  graph_.tensors.push_back(std::move(t));
  return static_cast<int32_t>(graph_.tensors.size() - 1);
}

int32_t RegionBuilder::copy_of(TensorId id) {
  const int32_t copy = add_intermediate(network_.tensor(id).name + ".copy", network_.type(id));
  tensors_[id] = copy;
  return copy;
}

bool RegionBuilder::add_alias(TensorId id, TensorId source) {
  if (is_output_[static_cast<size_t>(id)] || tensors_.contains(id)) {
    return false;
  }
  int32_t storage = tensor(source);
  if (graph_.tensors[static_cast<size_t>(storage)].alias_of >= 0) {
    storage = graph_.tensors[static_cast<size_t>(storage)].alias_of;
  }
  const RegionTensor& owner = graph_.tensors[static_cast<size_t>(storage)];
  RegionTensor t;
  t.name = network_.tensor(id).name;
  t.type = network_.type(id);
  t.role = owner.role;
  t.data = owner.data;
  t.origin = owner.origin;
  t.alias_of = storage;
  graph_.tensors.push_back(std::move(t));
  tensors_[id] = static_cast<int32_t>(graph_.tensors.size() - 1);
  return true;
}

int32_t RegionBuilder::add_written(int32_t tensor, const std::string& name) {
  RegionTensor written = graph_.tensors[static_cast<size_t>(tensor)];
  written.name = name + ".written";
  written.alias_of = tensor;
  graph_.tensors.push_back(std::move(written));
  return static_cast<int32_t>(graph_.tensors.size() - 1);
}

void RegionBuilder::add_region(RegionBody body, std::vector<int32_t> inputs,
                               std::vector<int32_t> outputs, std::vector<Provenance> provenance,
                               const std::string& name) {
  Region region{std::move(body), std::move(inputs), std::move(outputs), std::move(provenance),
                name};
  const int count = names_[name]++;
  if (count > 0) {
    region.name += "#" + std::to_string(count);
  }
  graph_.regions.push_back(std::move(region));
}

void RegionBuilder::add_copy(int32_t from, int32_t to) {
  const RegionTensor source = graph_.tensors[static_cast<size_t>(from)];
  // A reshape to its own shape: every backend moves bytes.
  add_region(CallRegion{Reshape{graph_.tensors[static_cast<size_t>(to)].type.shape}}, {from}, {to},
             {}, "copy_" + source.name);
}

Result<RegionGraph> RegionBuilder::finish() {
  std::vector<bool> taken(graph_.tensors.size(), false);
  for (const TensorId id : network_.outputs) {
    const int32_t own = tensor(id);
    taken.resize(graph_.tensors.size(), false);
    RegionTensor& t = graph_.tensors[static_cast<size_t>(own)];
    if (t.role == RegionTensorRole::kOutput && t.alias_of < 0 && !taken[static_cast<size_t>(own)]) {
      taken[static_cast<size_t>(own)] = true;
      graph_.outputs.push_back(own);
      continue;
    }
    RegionTensor copy;
    copy.name = t.name + ".out" + std::to_string(graph_.outputs.size());
    copy.type = t.type;
    copy.role = RegionTensorRole::kOutput;
    graph_.tensors.push_back(std::move(copy));
    const auto to = static_cast<int32_t>(graph_.tensors.size() - 1);
    taken.resize(graph_.tensors.size(), false);
    add_copy(own, to);
    graph_.outputs.push_back(to);
  }
  if (const Status status = verify_regions(graph_); !status.ok()) {
    return status.error().in("fusion of " + graph_.name);
  }
  return std::move(graph_);
}

}  // namespace stator
