// SPDX-License-Identifier: Apache-2.0
//
// Every form after every pass as a numbered text file, for people:
// <directory>/003_fold_batch_norm.graph.
#pragma once

#include <string>

namespace stator {

class Dump {
 public:
  /// "" switches it off. The folder is made when missing; a file that cannot be written is a
  /// warning.
  explicit Dump(std::string directory);
  bool enabled() const { return !directory_.empty(); }
  void write(const std::string& name, const std::string& extension, const std::string& text);

 private:
  std::string directory_;
  int next_ = 0;
};

}  // namespace stator
