// SPDX-License-Identifier: Apache-2.0
#include "base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace stator {

Result<MappedFile> MappedFile::open(const std::string& path) {
  const auto refused = [&path](const char* what) {
    return Error{ErrorCode::kIo, "cannot read " + path + ": " + what};
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) {
    return refused(std::strerror(errno));
  }
  struct stat info {};
  if (::fstat(fd, &info) != 0) {
    const int code = errno;
    ::close(fd);
    return refused(std::strerror(code));
  }
  if (!S_ISREG(info.st_mode)) {
    ::close(fd);
    return refused("it is not a regular file");
  }
  MappedFile file;
  file.path_ = path;
  file.size_bytes_ = info.st_size;
  if (info.st_size > 0) {
    const auto bytes = static_cast<size_t>(info.st_size);
    void* memory = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    const int code = errno;
    ::close(fd);
    if (memory == MAP_FAILED) {
      return refused(std::strerror(code));
    }
    file.data_ = static_cast<const uint8_t*>(memory);
    file.mapping_ = std::shared_ptr<const void>(
        memory, [bytes](const void* p) { ::munmap(const_cast<void*>(p), bytes); });
  } else {
    ::close(fd);
  }
  return file;
}

TensorData MappedFile::slice(int64_t offset, int64_t size) const {
  STATOR_CHECK(offset >= 0 && size >= 0 && offset <= size_bytes_ - size, "slice outside the file");
  return TensorData{data_ + offset, size, mapping_};
}

}  // namespace stator
