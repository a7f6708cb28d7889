// SPDX-License-Identifier: Apache-2.0
//
// Typed reading of a JSON header that may hold anything. Each access checks the type; the first
// thing that is wrong is kept with its path ("steps[3].kernel: expected an integer, found "x"") and
// every access after it yields a neutral value, so that readers are written without error handling
// and ask once at the end.
//
// A HeaderValue points to its parent, to print its path: keep parents alive in named variables.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "stator/result.h"

namespace stator {

class HeaderValue {
 public:
  HeaderValue(const nlohmann::json* json, std::optional<Error>* error)
      : json_(json), error_(error) {}

  HeaderValue operator[](const char* key) const;  // a missing member is an error
  HeaderValue at(size_t index) const;             // of an array; index < size()
  size_t size() const;                            // of an array
  int64_t integer(int64_t least = INT64_MIN, int64_t greatest = INT64_MAX) const;
  int32_t index(int32_t least = -1) const {
    return static_cast<int32_t>(integer(least, INT32_MAX));
  }
  std::string text() const;
  std::vector<int32_t> indices() const;  // an array of indices >= 0
  std::vector<int64_t> integers() const;
  std::vector<std::string> texts() const;
  bool failed() const { return error_->has_value(); }
  /// Records an error at this value unless there is one already.
  void fail(const std::string& what) const;

 private:
  std::string path() const;
  std::string found() const;

  const nlohmann::json* json_;  // null after an error
  std::optional<Error>* error_;
  const HeaderValue* parent_ = nullptr;
  const char* key_ = nullptr;  // null: element index_ of the parent
  size_t index_ = 0;
};

}  // namespace stator
