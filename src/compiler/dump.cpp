// SPDX-License-Identifier: Apache-2.0
#include "compiler/dump.h"

#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/atomic_file.h"
#include "base/log.h"

namespace stator {

Dump::Dump(std::string directory) : directory_(std::move(directory)) {
  if (enabled()) {
    std::error_code ignored;  // an unusable folder shows itself at the first write
    std::filesystem::create_directories(directory_, ignored);
  }
}

void Dump::write(const std::string& name, const std::string& extension, const std::string& text) {
  if (!enabled()) {
    return;
  }
  char number[16];
  std::snprintf(number, sizeof(number), "%03d_", next_++);
  const std::string path = directory_ + "/" + number + name + "." + extension;
  Result<AtomicFile> file = AtomicFile::create(path);
  const Status status = !file.ok() ? Status(file.error()) : [&]() -> Status {
    STATOR_RETURN_IF_ERROR(file->write(text.data(), static_cast<int64_t>(text.size())));
    return file->commit();
  }();
  if (!status.ok()) {
    STATOR_LOG(kWarning, status.error().message);
  }
}

}  // namespace stator
