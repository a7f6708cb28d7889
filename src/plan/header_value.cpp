// SPDX-License-Identifier: Apache-2.0
#include "plan/header_value.h"

namespace stator {

using nlohmann::json;

std::string HeaderValue::path() const {
  if (parent_ == nullptr) return "";
  const std::string prefix = parent_->path();
  if (key_ == nullptr) return prefix + "[" + std::to_string(index_) + "]";
  return prefix.empty() ? key_ : prefix + "." + key_;
}

std::string HeaderValue::found() const {
  if (json_ == nullptr) return "nothing";
  if (json_->is_structured()) {
    return std::string(json_->is_array() ? "a list" : "an object") + " of " +
           std::to_string(json_->size());
  }
  std::string text = json_->dump(-1, ' ', true, json::error_handler_t::replace);
  return text.size() <= 40 ? text : text.substr(0, 37) + "...";
}

void HeaderValue::fail(const std::string& what) const {
  if (error_->has_value()) return;
  const std::string where = path();
  *error_ = Error{ErrorCode::kInvalidFile, where.empty() ? what : where + ": " + what};
}

HeaderValue HeaderValue::operator[](const char* key) const {
  HeaderValue member(nullptr, error_);
  member.parent_ = this;
  member.key_ = key;
  if (failed() || json_ == nullptr) return member;
  if (!json_->is_object()) {
    fail("expected an object, found " + found());
    return member;
  }
  const auto it = json_->find(key);
  if (it == json_->end()) {
    member.fail("missing");
  } else {
    member.json_ = &*it;
  }
  return member;
}

HeaderValue HeaderValue::at(size_t index) const {
  HeaderValue element(nullptr, error_);
  element.parent_ = this;
  element.index_ = index;
  if (!failed() && json_ != nullptr) element.json_ = &(*json_)[index];
  return element;
}

size_t HeaderValue::size() const {
  if (failed() || json_ == nullptr) return 0;
  if (!json_->is_array()) {
    fail("expected a list, found " + found());
    return 0;
  }
  return json_->size();
}

int64_t HeaderValue::integer(int64_t least, int64_t greatest) const {
  if (failed() || json_ == nullptr) return 0;
  if (!json_->is_number_integer() ||
      (json_->is_number_unsigned() && json_->get<uint64_t>() > INT64_MAX)) {
    fail("expected an integer, found " + found());
    return 0;
  }
  const auto value = json_->get<int64_t>();
  if (value < least || value > greatest) {
    fail(found() + " is out of range");
    return 0;
  }
  return value;
}

std::string HeaderValue::text() const {
  if (failed() || json_ == nullptr) return "";
  if (!json_->is_string()) {
    fail("expected a string, found " + found());
    return "";
  }
  return json_->get<std::string>();
}

std::vector<int32_t> HeaderValue::indices() const {
  std::vector<int32_t> values(size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = at(i).index(0);
  return values;
}

std::vector<int64_t> HeaderValue::integers() const {
  std::vector<int64_t> values(size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = at(i).integer();
  return values;
}

std::vector<std::string> HeaderValue::texts() const {
  std::vector<std::string> values(size());
  for (size_t i = 0; i < values.size(); ++i) values[i] = at(i).text();
  return values;
}

}  // namespace stator
