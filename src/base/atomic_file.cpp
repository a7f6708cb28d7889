// SPDX-License-Identifier: Apache-2.0
#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>
#include <vector>

namespace stator {
namespace {

Error refused(const std::string& path, int code) {
  return Error{ErrorCode::kIo, "cannot write " + path + ": " + std::strerror(code)};
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    return refused(path, EISDIR);
  }
  std::vector<char> name(path.begin(), path.end());
  static constexpr char kSuffix[] = ".tmp.XXXXXX";
  name.insert(name.end(), kSuffix, kSuffix + sizeof(kSuffix));
  AtomicFile file;
  file.fd_ = ::mkostemp(name.data(), O_CLOEXEC);
  if (file.fd_ < 0) {
    return refused(path, errno);
  }
  file.path_ = path;
  file.temporary_ = name.data();
  // mkostemp gives 0600; a result has the permissions that a plain open would give.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  ::fchmod(file.fd_, 0666 & ~mask);
  return file;
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      fd_(std::exchange(other.fd_, -1)) {
  other.temporary_.clear();
}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) {
    ::close(fd_);
  }
  if (!temporary_.empty()) {
    ::unlink(temporary_.c_str());
  }
}

Status AtomicFile::write(const void* data, int64_t size_bytes) {
  const auto* bytes = static_cast<const char*>(data);
  while (size_bytes > 0) {
    const auto chunk = static_cast<size_t>(std::min<int64_t>(size_bytes, 1 << 30));
    const ssize_t written = ::write(fd_, bytes, chunk);
    if (written < 0) {
      if (errno == EINTR) {
        continue;
      }
      return refused(path_, errno);
    }
    bytes += written;
    size_bytes -= written;
  }
  return {};
}

Status AtomicFile::commit() {
  if (::fsync(fd_) != 0) {
    return refused(path_, errno);
  }
  const int closed = ::close(std::exchange(fd_, -1));
  if (closed != 0 || std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return refused(path_, errno);
  }
  temporary_.clear();
  return {};
}

}  // namespace stator
