// SPDX-License-Identifier: Apache-2.0
#include "base/atomic_file.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <random>

namespace stator {
namespace {

class AtomicFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("stator_atomic_file_" + std::to_string(std::random_device()()));
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return (folder_ / name).string(); }
  size_t file_count() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  void write(const char* name) const {
    Result<AtomicFile> file = AtomicFile::create(path(name));
    ASSERT_TRUE(file.ok()) << file.error().message;
    ASSERT_TRUE(file->write("new", 3).ok());
    ASSERT_TRUE(file->commit().ok());
  }
  std::filesystem::path folder_;
};

TEST_F(AtomicFiles, TheNextWriterRemovesWhatAKilledOneLeft) {
  for (int i = 0; i < 3; ++i) {
    const pid_t child = ::fork();
    if (child == 0) {
      Result<AtomicFile> file = AtomicFile::create(path("a"));
      (void)file->write("half", 4);
      ::raise(SIGKILL);
    }
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  }
  EXPECT_EQ(file_count(), 1u) << "each removes what the one before it left";
  write("a");
  EXPECT_EQ(file_count(), 1u);
  EXPECT_TRUE(std::filesystem::exists(path("a")));
}

TEST_F(AtomicFiles, ALivingWriterKeepsItsFile) {
  Result<AtomicFile> slow = AtomicFile::create(path("a"));
  ASSERT_TRUE(slow.ok());
  write("a");
  ASSERT_TRUE(slow->write("slow", 4).ok());
  ASSERT_TRUE(slow->commit().ok());
  std::ifstream file(path("a"));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), "slow");
}

TEST_F(AtomicFiles, OtherFilesStay) {
  for (const char* name : {"a.tmp.abcdefg", "a.tmp.", "b.tmp.abcdef", "xa.tmp.abcdef"}) {
    std::ofstream(path(name)) << "mine";
  }
  write("a");
  EXPECT_EQ(file_count(), 5u);
}

}  // namespace
}  // namespace stator
