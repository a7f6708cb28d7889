// SPDX-License-Identifier: Apache-2.0
//
// Weights and constants of an archive: the two config files, and the bytes that they point to.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "pt2/zip.h"
#include "stator/dtype.h"
#include "stator/graph.h"
#include "stator/tensor_data.h"

namespace stator {

/// torch's serialized ScalarType number; nullopt for one that Stator does not know.
std::optional<DType> dtype_of_serialized(int64_t code);

class Pt2Weights {
 public:
  /// `root` is the archive's folder inside the zip ("model/"), `model` the model's name in it.
  static Result<Pt2Weights> open(const ZipFile& zip, const std::string& root,
                                 const std::string& model);
  /// Dense row-major bytes of a parameter, buffer or constant by its state-dict name: in the
  /// mapping where they lie so in the file, else a copy. kInvalidFile when missing, pickled,
  /// outside its entry, or of another type, strides or storage offset than `value`, which stands
  /// for it in the graph.
  Result<TensorData> data(const std::string& name, const Value& value,
                          const Expr& storage_offset) const;

 private:
  const ZipFile* zip_ = nullptr;
  struct Source {
    std::string entry;
    nlohmann::json payload;
  };
  std::map<std::string, Source> sources_;
};

}  // namespace stator
