// SPDX-License-Identifier: Apache-2.0
#include "plan/engine_header.h"

#include <nlohmann/json.hpp>

#include "base/json.h"
#include "plan/digest.h"
#include "plan/engine_file.h"
#include "plan/header_value.h"

namespace stator {
namespace {

using nlohmann::json;

// ---------------------------------------------------------------- encode

json encode_provenance(const Provenance& from) {
  return {{"node", from.node},
          {"target", from.target},
          {"source",
           {from.source.file, from.source.line, from.source.function, from.source.text,
            from.source.module}}};
}

json encode_sizes(const SizeProgram& sizes) {
  json instructions = json::array();
  for (const SizeInstruction& in : sizes.instructions) {
    instructions.push_back({static_cast<int>(in.op), in.a, in.b});
  }
  return instructions;
}

json encode_symbol(const SymbolBinding& symbol) {
  return {{"symbol", symbol.symbol}, {"input", symbol.input}, {"dim", symbol.dim},
          {"scalar", symbol.scalar}, {"least", symbol.least}, {"greatest", symbol.greatest}};
}

json encode_buffer(const PlanBuffer& buffer) {
  return {{"name", buffer.name},
          {"role", buffer_role_name(buffer.role)},
          {"dtype", dtype_name(buffer.dtype)},
          {"shape", buffer.shape},
          {"size_bytes", buffer.size_bytes},
          {"io_index", buffer.io_index},
          {"order", buffer.order},
          {"weight", buffer.weight},
          {"steps", {buffer.first_step, buffer.last_step}},
          {"alias_of", buffer.alias_of}};
}

json encode_weight(const PlanWeight& weight, const BlobUse& use) {
  return {{"name", weight.name},
          {"origin", weight.origin},
          {"shape", weight.shape},
          {"dtype", dtype_name(weight.dtype)},
          {"blob", use.blob},
          {"digest", digest_text(use.digest)},
          {"recipe", {weight.recipe.kind, weight.recipe.text}}};
}

json encode_contract(const KernelContract& contract) {
  json symbols = json::array(), operands = json::array();
  for (size_t i = 0; i < contract.ranges.size(); ++i) {
    const auto [least, greatest] = contract.ranges[i];
    symbols.push_back({contract.program.symbols[i], least, greatest});
  }
  for (const ContractOperand& operand : contract.operands) {
    operands.push_back({{"dtype", dtype_name(operand.dtype)},
                        {"shape", operand.shape},
                        {"size_bytes", operand.size_bytes},
                        {"constant", operand.constant ? 1 : 0},
                        {"recipe", operand.recipe}});
  }
  return {{"symbols", std::move(symbols)},
          {"sizes", encode_sizes(contract.program)},
          {"operands", std::move(operands)},
          {"outputs", contract.outputs},
          {"arguments", contract.sizes},
          {"task_count", contract.task_count},
          {"scratch_bytes", contract.scratch_bytes},
          {"payload", digest_text(contract.payload)}};
}

json encode_step(const PlanStep& step) {
  json provenance = json::array();
  for (const Provenance& from : step.provenance) provenance.push_back(encode_provenance(from));
  return {{"name", step.name},
          {"kernel", step.kernel},
          {"buffers", step.buffers},
          {"sizes", step.sizes},
          {"task_count", step.task_count},
          {"scratch_bytes", step.scratch_bytes},
          {"lane", json::array({step.group, step.lane})},
          {"symbols", step.symbols},
          {"provenance", std::move(provenance)}};
}

template <typename T, typename Encode>
json encode_list(const std::vector<T>& items, Encode encode) {
  json list = json::array();
  for (size_t i = 0; i < items.size(); ++i) list.push_back(encode(items[i], i));
  return list;
}

// ---------------------------------------------------------------- decode

DType decode_dtype(const HeaderValue& value) {
  const std::string name = value.text();
  const std::optional<DType> dtype = parse_dtype(name);
  if (!dtype) value.fail("unknown dtype \"" + name + "\"");
  return dtype.value_or(DType::kFloat32);
}

BufferRole decode_role(const HeaderValue& value) {
  const std::string name = value.text();
  for (BufferRole role : {BufferRole::kInput, BufferRole::kOutput, BufferRole::kConstant}) {
    if (name == buffer_role_name(role)) return role;
  }
  if (name != buffer_role_name(BufferRole::kArena)) value.fail("unknown role \"" + name + "\"");
  return BufferRole::kArena;
}

/// Checks that a list has exactly `count` elements.
bool has_elements(const HeaderValue& list, size_t count) {
  const size_t found = list.size();
  if (list.failed() || found == count) return !list.failed();
  list.fail("expected " + std::to_string(count) + " elements, found " + std::to_string(found));
  return false;
}

template <typename T, typename Decode>
void decode_list(const HeaderValue& list, std::vector<T>* items, Decode decode) {
  const size_t count = list.size();
  for (size_t i = 0; i < count && !list.failed(); ++i) items->push_back(decode(list.at(i)));
}

SizeInstruction decode_instruction(const HeaderValue& in) {
  if (!has_elements(in, 3)) return {SizeOp::kConstant, 0, 0};
  return {static_cast<SizeOp>(in.at(0).integer(0, kSizeOpCount - 1)), in.at(1).integer(),
          in.at(2).integer()};
}

Provenance decode_provenance(const HeaderValue& from) {
  Provenance result{from["node"].text(), from["target"].text(), {}};
  const HeaderValue source = from["source"];
  if (!has_elements(source, 5)) return result;
  result.source.file = source.at(0).text();
  result.source.line = source.at(1).index(0);
  result.source.function = source.at(2).text();
  result.source.text = source.at(3).text();
  result.source.module = source.at(4).text();
  return result;
}

uint64_t decode_digest(const HeaderValue& in) {
  const std::string digits = in.text();
  if (in.failed()) return 0;
  if (digits.size() != 16 || digits.find_first_not_of("0123456789abcdef") != std::string::npos) {
    in.fail("expected 16 hexadecimal digits");
    return 0;
  }
  return std::stoull(digits, nullptr, 16);
}

SymbolBinding decode_symbol(const HeaderValue& in) {
  SymbolBinding symbol;
  symbol.symbol = in["symbol"].text();
  symbol.input = in["input"].index();
  symbol.dim = in["dim"].index();
  symbol.scalar = in["scalar"].index();
  symbol.least = in["least"].integer();
  symbol.greatest = in["greatest"].integer();
  return symbol;
}

PlanGuard decode_guard(const HeaderValue& in) {
  return {in["condition"].index(0), in["text"].text(), in["source"].text()};
}

PlanBuffer decode_buffer(const HeaderValue& in) {
  PlanBuffer buffer;
  buffer.name = in["name"].text();
  buffer.role = decode_role(in["role"]);
  buffer.dtype = decode_dtype(in["dtype"]);
  buffer.shape = in["shape"].indices();
  buffer.size_bytes = in["size_bytes"].index(0);
  buffer.io_index = in["io_index"].index();
  buffer.order = in["order"].indices();
  buffer.weight = in["weight"].index();
  buffer.alias_of = in["alias_of"].index();
  const HeaderValue steps = in["steps"];
  if (has_elements(steps, 2)) {
    buffer.first_step = steps.at(0).index(0);
    buffer.last_step = steps.at(1).index(0);
  }
  return buffer;
}

PlanWeight decode_weight(const HeaderValue& in) {
  PlanWeight weight;
  weight.name = in["name"].text();
  weight.origin = in["origin"].text();
  weight.dtype = decode_dtype(in["dtype"]);
  weight.shape = in["shape"].integers();
  const HeaderValue recipe = in["recipe"];
  if (has_elements(recipe, 2)) weight.recipe = {recipe.at(0).text(), recipe.at(1).text()};
  return weight;
}

ContractOperand decode_operand(const HeaderValue& in) {
  ContractOperand operand;
  operand.dtype = decode_dtype(in["dtype"]);
  operand.shape = in["shape"].indices();
  operand.size_bytes = in["size_bytes"].index(0);
  operand.constant = in["constant"].integer(0, 1) == 1;
  operand.recipe = in["recipe"].text();
  return operand;
}

KernelContract decode_contract(const HeaderValue& in) {
  KernelContract contract;
  const HeaderValue symbols = in["symbols"];
  for (size_t i = 0; i < symbols.size(); ++i) {
    const HeaderValue symbol = symbols.at(i);
    if (!has_elements(symbol, 3)) return contract;
    contract.program.symbols.push_back(symbol.at(0).text());
    contract.ranges.emplace_back(symbol.at(1).integer(), symbol.at(2).integer());
  }
  decode_list(in["sizes"], &contract.program.instructions, decode_instruction);
  decode_list(in["operands"], &contract.operands, decode_operand);
  contract.outputs = in["outputs"].index(0);
  contract.sizes = in["arguments"].indices();
  contract.task_count = in["task_count"].index(0);
  contract.scratch_bytes = in["scratch_bytes"].index(0);
  contract.payload = decode_digest(in["payload"]);
  return contract;
}

PlanStep decode_step(const HeaderValue& in) {
  PlanStep step;
  step.name = in["name"].text();
  step.kernel = in["kernel"].index(0);
  step.buffers = in["buffers"].indices();
  step.sizes = in["sizes"].indices();
  step.task_count = in["task_count"].index(0);
  step.scratch_bytes = in["scratch_bytes"].index(0);
  if (const HeaderValue lane = in["lane"]; has_elements(lane, 2)) {
    step.group = lane.at(0).index();
    step.lane = lane.at(1).index(0);
  }
  step.symbols = in["symbols"].indices();
  const HeaderValue provenance = in["provenance"];
  for (size_t i = 0; i < provenance.size(); ++i) {
    step.provenance.push_back(decode_provenance(provenance.at(i)));
  }
  return step;
}

BlobEntry decode_blob(const HeaderValue& in) {
  BlobEntry blob;
  if (!has_elements(in, 3)) return blob;
  blob.offset = in.at(0).integer(0);
  blob.size_bytes = in.at(1).integer(0);
  blob.digest = decode_digest(in.at(2));
  return blob;
}

void decode_plan(const HeaderValue& root, Plan* plan, BlobIndex* index) {
  plan->name = root["name"].text();
  plan->device = root["device"].text();
  plan->compiler_version = root["compiler_version"].text();
  plan->settings = root["settings"].text();
  plan->metadata = root["metadata"].text();
  plan->key = root["key"].text();
  plan->scalar_input_count = root["scalar_input_count"].index(0);
  plan->inputs = root["inputs"].indices();
  plan->outputs = root["outputs"].indices();
  decode_list(root["symbols"], &plan->symbols, decode_symbol);
  for (const SymbolBinding& symbol : plan->symbols) plan->sizes.symbols.push_back(symbol.symbol);
  decode_list(root["sizes"], &plan->sizes.instructions, decode_instruction);
  decode_list(root["guards"], &plan->guards, decode_guard);
  decode_list(root["buffers"], &plan->buffers, decode_buffer);
  decode_list(root["weights"], &plan->weights, [&](const HeaderValue& in) {
    index->weights.push_back({in["blob"].index(0), decode_digest(in["digest"])});
    return decode_weight(in);
  });
  decode_list(root["kernels"], &plan->kernels, [](const HeaderValue& in) {
    return PlanKernel{in["executor"].text(), in["name"].text(), in["payload"].text(),
                      decode_contract(in["contract"])};
  });
  decode_list(root["code"], &plan->code, [&](const HeaderValue& in) {
    index->code.push_back({in["blob"].index(0), decode_digest(in["digest"])});
    return CodeVariant{in["executor"].text(), in["target"].text(), in["features"].texts(), {}};
  });
  decode_list(root["steps"], &plan->steps, decode_step);
  decode_list(root["blobs"], &index->blobs, decode_blob);
}

}  // namespace

std::string encode_header(const Plan& plan, const std::string& key, const BlobIndex& index) {
  json root;
  root["format"] = kEngineFormatVersion;
  root["name"] = plan.name;
  root["device"] = plan.device;
  root["compiler_version"] = plan.compiler_version;
  root["settings"] = plan.settings;
  root["metadata"] = plan.metadata;
  root["key"] = key;
  root["scalar_input_count"] = plan.scalar_input_count;
  root["inputs"] = plan.inputs;
  root["outputs"] = plan.outputs;
  root["sizes"] = encode_sizes(plan.sizes);
  root["symbols"] =
      encode_list(plan.symbols, [](const auto& symbol, size_t) { return encode_symbol(symbol); });
  root["guards"] = encode_list(plan.guards, [](const PlanGuard& guard, size_t) -> json {
    return {{"condition", guard.condition}, {"text", guard.text}, {"source", guard.source}};
  });
  root["buffers"] =
      encode_list(plan.buffers, [](const auto& buffer, size_t) { return encode_buffer(buffer); });
  root["weights"] = encode_list(plan.weights, [&](const auto& weight, size_t i) {
    return encode_weight(weight, index.weights[i]);
  });
  root["kernels"] = encode_list(plan.kernels, [](const PlanKernel& kernel, size_t) -> json {
    return {{"executor", kernel.executor},
            {"name", kernel.name},
            {"payload", kernel.payload},
            {"contract", encode_contract(kernel.contract)}};
  });
  root["code"] = encode_list(plan.code, [&](const CodeVariant& code, size_t i) -> json {
    return {{"executor", code.executor},
            {"target", code.target},
            {"features", code.features},
            {"blob", index.code[i].blob},
            {"digest", digest_text(index.code[i].digest)}};
  });
  root["steps"] =
      encode_list(plan.steps, [](const auto& step, size_t) { return encode_step(step); });
  root["blobs"] = encode_list(index.blobs, [](const BlobEntry& blob, size_t) -> json {
    return {blob.offset, blob.size_bytes, digest_text(blob.digest)};
  });
  // Names may come from a user's files; what is no UTF-8 there must not stop a build.
  return root.dump(-1, ' ', false, json::error_handler_t::replace);
}

Result<Plan> decode_header(std::string_view text, BlobIndex* index) {
  const Result<json> parsed = parse_json(text);
  if (!parsed.ok()) {
    return Error{ErrorCode::kInvalidFile,
                 "the header " + parsed.error().message + ": the file is damaged"};
  }
  const json& root = parsed.value();
  std::optional<Error> error;
  const HeaderValue reader(&root, &error);
  const int64_t format = reader["format"].integer();
  if (!error && format != kEngineFormatVersion) {
    return Error{ErrorCode::kIncompatible,
                 "engine format " + std::to_string(format) +
                     ", this build of Stator reads format " + std::to_string(kEngineFormatVersion) +
                     "; " + (format > kEngineFormatVersion ? "update Stator or " : "") +
                     "build the engine again"};
  }
  Plan plan;
  decode_plan(reader, &plan, index);
  if (error) return *error;
  return plan;
}

}  // namespace stator
