// SPDX-License-Identifier: Apache-2.0
#include "pt2/read_pt2.h"

#include <new>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/json.h"
#include "pt2/check_types.h"
#include "pt2/model.h"
#include "pt2/weights.h"
#include "pt2/zip.h"

namespace stator {
namespace {

using nlohmann::json;

constexpr int64_t kSchemaMajor = 8;  // torch 2.11 to 2.13

struct Place {
  std::string root;   // "archive/"
  std::string model;  // "model"
};

/// The one entry <root>/models/<model>.json.
Result<Place> find_model(const ZipFile& zip) {
  constexpr std::string_view kFolder = "models/";
  constexpr std::string_view kEnd = ".json";
  for (const auto& [name, entry] : zip.entries()) {
    const size_t at = name.find(kFolder);
    if (at != std::string::npos && (at == 0 || name[at - 1] == '/') && name.ends_with(kEnd)) {
      const size_t begin = at + kFolder.size();
      return Place{name.substr(0, at), name.substr(begin, name.size() - begin - kEnd.size())};
    }
  }
  const char* hint = zip.contains("serialized_exported_program.json")
                         ? "it was written by torch 2.6 or older; save it again with torch 2.11 or "
                           "newer"
                         : "write one with torch.export.save(exported_program, path)";
  return Error{ErrorCode::kInvalidFile,
               zip.path() + ": the archive has no models/*.json; " + std::string(hint)};
}

Status check_archive(const ZipFile& zip, const Place& place) {
  if (zip.contains(place.root + "byteorder")) {
    STATOR_TRY(const std::string_view order, zip.text(place.root + "byteorder"));
    if (!order.starts_with("little")) {
      return Error{ErrorCode::kIncompatible,
                   zip.path() + ": its weights are big-endian; save it on a little-endian machine"};
    }
  }
  return {};
}

/// The error with the path in front, once.
Error located(const Error& error, const std::string& path) {
  return error.message.starts_with(path) ? error : error.in(path);
}

Status check_schema(const std::string& path, const json& model) {
  if (!model.contains("schema_version") || !model["schema_version"].contains("major")) {
    return Error{ErrorCode::kInvalidFile, path + ": the model has no schema version"};
  }
  const auto major = model["schema_version"]["major"].get<int64_t>();
  if (major != kSchemaMajor) {
    const char* what = major > kSchemaMajor ? "newer" : "older";
    return Error{ErrorCode::kIncompatible,
                 path + ": its schema version is " + std::to_string(major) + ", " + what +
                     " than version " + std::to_string(kSchemaMajor) +
                     " that this build reads; save it with torch 2.11 to 2.13"};
  }
  return {};
}

}  // namespace

Result<Graph> read_pt2(const std::string& path) {
  STATOR_TRY(const ZipFile zip, ZipFile::open(path));
  STATOR_TRY(const Place place, find_model(zip));
  STATOR_RETURN_IF_ERROR(check_archive(zip, place));
  STATOR_TRY(const std::string_view text, zip.text(place.root + "models/" + place.model + ".json"));
  const Result<json> parsed = parse_json(text);
  if (!parsed.ok()) {
    return Error{ErrorCode::kInvalidFile, path + ": its model " + parsed.error().message};
  }
  const json& model = parsed.value();
  if (!model.is_object()) {
    return Error{ErrorCode::kInvalidFile, path + ": its model is no JSON object"};
  }
  try {
    STATOR_RETURN_IF_ERROR(check_schema(path, model));
    STATOR_TRY(const Pt2Weights weights, Pt2Weights::open(zip, place.root, place.model));
    Result<Graph> graph = read_model(model, weights);
    if (!graph.ok()) {
      return located(graph.error(), path);
    }
    graph->name = "main";
    if (const Status status = verify_graph(*graph); !status.ok()) {
      return located(status.error(), path);
    }
    if (const Status status = check_types(*graph); !status.ok()) {
      return located(status.error(), path);
    }
    return graph;
  } catch (const InternalError& e) {  // sizes that overflow, and the like
    const std::string what = e.what();
    return Error{ErrorCode::kInvalidFile,
                 path + ": its model is damaged: " + what.substr(0, what.rfind(" ["))};
  } catch (const std::bad_alloc&) {
    return Error{ErrorCode::kInvalidFile, path + ": it takes more memory than there is"};
  } catch (const json::exception& e) {
    return Error{ErrorCode::kInvalidFile, path + ": its model is damaged: " + e.what()};
  }
}

}  // namespace stator
