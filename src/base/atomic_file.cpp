// SPDX-License-Identifier: Apache-2.0
#include "base/atomic_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
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

constexpr char kSuffix[] = ".tmp.XXXXXX";
constexpr int kMostTries = 100;

Error refused(const std::string& path, int code) {
  return Error{ErrorCode::kIo, "cannot write " + path + ": " + std::strerror(code)};
}

/// A temporary file is locked by its writer as long as that lives, whichever machine or container
/// it is in: one that can be locked is nobody's. False when it is somebody's, or gone.
bool lock_for_good(int fd) {
  struct stat info {};
  return ::flock(fd, LOCK_EX | LOCK_NB) == 0 && ::fstat(fd, &info) == 0 && info.st_nlink > 0;
}

/// Removes what writers of `path` left behind that were killed.
void remove_leftovers(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  const std::string prefix = (slash == std::string::npos ? path : path.substr(slash + 1)) + ".tmp.";
  DIR* entries = ::opendir(folder.c_str());
  if (entries == nullptr) return;
  while (const dirent* entry = ::readdir(entries)) {
    const std::string name = entry->d_name;
    if (!name.starts_with(prefix) || name.size() != prefix.size() + 6) continue;
    const std::string leftover =
        slash == std::string::npos ? name : path.substr(0, slash + 1) + name;
    const int fd = ::open(leftover.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) continue;
    if (lock_for_good(fd)) ::unlink(leftover.c_str());
    ::close(fd);
  }
  ::closedir(entries);
}

/// A fresh file beside `path` that is locked; its name goes to `name`. -1, with errno: none.
int open_locked(const std::string& path, std::string* name) {
  for (int i = 0; i < kMostTries; ++i) {
    std::vector<char> pattern(path.begin(), path.end());
    pattern.insert(pattern.end(), kSuffix, kSuffix + sizeof(kSuffix));
    const int fd = ::mkostemp(pattern.data(), O_CLOEXEC);
    if (fd < 0) return -1;
    // Another writer that cleans up may have been faster: then this one is lost. A file system
    // without locks gives an error, and then nobody cleans up.
    errno = 0;
    if (lock_for_good(fd) || errno == ENOLCK || errno == ENOTSUP) {
      *name = pattern.data();
      return fd;
    }
    ::unlink(pattern.data());
    ::close(fd);
  }
  errno = EBUSY;
  return -1;
}

}  // namespace

Result<AtomicFile> AtomicFile::create(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) {
    return refused(path, EISDIR);
  }
  remove_leftovers(path);
  AtomicFile file;
  file.fd_ = open_locked(path, &file.temporary_);
  if (file.fd_ < 0) {
    return refused(path, errno);
  }
  file.path_ = path;
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
  // Renamed while it is locked: nobody may take it for a leftover.
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) {
    return refused(path_, errno);
  }
  temporary_.clear();
  if (::close(std::exchange(fd_, -1)) != 0) {
    return refused(path_, errno);
  }
  return {};
}

}  // namespace stator
