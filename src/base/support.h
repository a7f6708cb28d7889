// SPDX-License-Identifier: Apache-2.0
//
// Support: yes, or no with a reason that reaches the user. Converters, backends and tactics all
// answer with it.
#pragma once

#include <string>
#include <utility>

namespace stator {

class [[nodiscard]] Support {
 public:
  static Support yes() { return Support{}; }
  /// `reason` is a clause that can follow "because": "complex64 is not supported".
  static Support no(std::string reason) {
    Support s;
    s.reason_ = std::move(reason);
    s.ok_ = false;
    return s;
  }
  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const std::string& reason() const { return reason_; }

 private:
  bool ok_ = true;
  std::string reason_;
};

}  // namespace stator
