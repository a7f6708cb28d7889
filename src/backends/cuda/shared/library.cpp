// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/shared/library.h"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

namespace stator::cuda {
namespace {

namespace fs = std::filesystem;

/// lib folders of pip's nvidia-* packages under an environment's root.
void add_pip_folders(const fs::path& root, std::vector<fs::path>* folders) {
  std::error_code ignored;
  for (const auto& python : fs::directory_iterator(root / "lib", ignored)) {
    const fs::path nvidia = python.path() / "site-packages" / "nvidia";
    for (const auto& package : fs::directory_iterator(nvidia, ignored)) {
      folders->push_back(package.path() / "lib");
    }
  }
}

const std::vector<fs::path>& folders() {
  static const auto& list = *new std::vector<fs::path>([] {
    std::vector<fs::path> found;
    if (const char* environment = std::getenv("VIRTUAL_ENV")) {
      add_pip_folders(environment, &found);
    }
    std::error_code ignored;
    const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
    if (!program.empty()) {
      add_pip_folders(program.parent_path().parent_path(), &found);
    }
    found.emplace_back("/usr/local/cuda/lib64");
    return found;
  }());
  return list;
}

}  // namespace

Result<void*> open_library(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (void* loaded = dlopen(name.c_str(), RTLD_NOW | RTLD_NOLOAD)) {
      return loaded;
    }
  }
  for (const std::string& name : names) {
    if (void* opened = dlopen(name.c_str(), RTLD_NOW)) {
      return opened;
    }
    for (const fs::path& folder : folders()) {
      if (void* opened = dlopen((folder / name).c_str(), RTLD_NOW)) {
        return opened;
      }
    }
  }
  std::string text = names.front() + " was not found: not loaded, not known to the linker, not in";
  for (const fs::path& folder : folders()) {
    text += " " + folder.string();
  }
  return Error{ErrorCode::kUnsupported, text};
}

Result<void*> find_symbol(void* library, const char* name) {
  if (void* symbol = dlsym(library, name)) {
    return symbol;
  }
  return Error{ErrorCode::kUnsupported, std::string(name) + " is missing from the library"};
}

}  // namespace stator::cuda
