// SPDX-License-Identifier: Apache-2.0
#include "pt2/read_pt2.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <random>

namespace stator {
namespace {

using testing::HasSubstr;

const std::string kMixed = std::string(STATOR_TEST_DATA) + "/mixed.pt2";
const std::string kOpen = std::string(STATOR_TEST_DATA) + "/open.pt2";

std::string read_file(const std::string& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

/// The bytes with the checksum of every entry made right, where the directory can be walked.
std::string with_checksums(std::string bytes) {
  const auto get = [&](size_t at, int size) {
    uint64_t value = 0;
    for (int i = 0; i < size; ++i) {
      value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[at + static_cast<size_t>(i)]))
               << (8 * i);
    }
    return value;
  };
  const size_t end = bytes.rfind("PK\x05\x06");  // an entry may be an archive itself
  if (end == std::string::npos || end + 22 > bytes.size()) return bytes;
  for (size_t at = bytes.find("PK\x01\x02", get(end + 16, 4));
       at != std::string::npos && at + 46 <= bytes.size(); at = bytes.find("PK\x01\x02", at + 4)) {
    const size_t size = get(at + 20, 4), local = get(at + 42, 4);
    if (local + 30 > bytes.size()) continue;
    const size_t data = local + 30 + get(local + 26, 2) + get(local + 28, 2);
    if (data > bytes.size() || size > bytes.size() - data) continue;
    const auto crc = static_cast<uint32_t>(
        crc32(0, reinterpret_cast<const Bytef*>(bytes.data()) + data, static_cast<uInt>(size)));
    std::memcpy(bytes.data() + at + 16, &crc, 4);
  }
  return bytes;
}

/// The error of reading these bytes, their checksums made right or as they are; "" when they read.
std::string error_of(const std::string& bytes, bool right_checksums = true) {
  const std::string path = testing::TempDir() + "stator_damaged.pt2";
  std::ofstream(path, std::ios::binary) << (right_checksums ? with_checksums(bytes) : bytes);
  Result<Graph> graph = read_pt2(path);
  std::remove(path.c_str());
  return graph.ok() ? "" : graph.error().message;
}

/// The bytes with `from` replaced by `to` of the same length.
std::string edited(std::string bytes, const std::string& from, const std::string& to) {
  const size_t at = bytes.find(from);
  EXPECT_NE(at, std::string::npos);
  return bytes.replace(at, from.size(), to);
}

TEST(ReadPt2, ReadsEveryKindOfInputAndOutput) {
  Result<Graph> graph = read_pt2(kMixed);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  const std::string text = print_graph(*graph);
  EXPECT_THAT(text, HasSubstr("%p_first_weight: f32[4, 4] = parameter \"first.weight\""));
  EXPECT_THAT(text, HasSubstr("%b_count: f32[1] = buffer \"count\""));
  EXPECT_THAT(text, HasSubstr("%c_turned: f32[4, 3] = constant \"turned\""));
  EXPECT_THAT(text, HasSubstr("aten.split.Tensor"));
  EXPECT_THAT(text, HasSubstr(", 5\n"));
  ASSERT_EQ(graph->bounds.ranges().size(), 1u);
  EXPECT_EQ(graph->bounds.ranges().begin()->second, (std::pair<int64_t, int64_t>(1, 16)));
  // Printed and parsed again it is the same text.
  Result<Graph> again = parse_graph(text);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(print_graph(*again), text);
}

TEST(ReadPt2, GivesWeightsInRowMajorOrder) {
  Result<Graph> graph = read_pt2(kMixed);
  ASSERT_TRUE(graph.ok());
  const GraphInput* turned = graph->constant(*graph->find_value("c_turned"));
  ASSERT_NE(turned, nullptr);
  // arange(12).view(3, 4).t(): element [i][j] is 4 * j + i.
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 3; ++j) {
      EXPECT_EQ(turned->data.as<float>()[i * 3 + j], static_cast<float>(4 * j + i));
    }
  }
  const auto bytes_of = [&graph](const char* name) {
    return graph->constant(*graph->find_value(name))->data.data;
  };
  EXPECT_EQ(bytes_of("p_first_weight"), bytes_of("p_tied_weight"));  // mapped, shared
}

TEST(ReadPt2, KeepsTheUsersLines) {
  Result<Graph> graph = read_pt2(kMixed);
  ASSERT_TRUE(graph.ok());
  for (const NodeId id : graph->order()) {
    const Node& node = graph->node(id);
    if (node.target == "aten.split.Tensor") {
      EXPECT_THAT(node.source().file, HasSubstr("make_test_archives.py"));
      EXPECT_EQ(node.source().text, "a, b = y.split(2, 1)");
    }
  }
}

TEST(ReadPt2, RefusesOtherFiles) {
  EXPECT_THAT(error_of(""), HasSubstr("it has no zip directory"));
  EXPECT_THAT(error_of(std::string(1000, 'x')), HasSubstr("it has no zip directory"));
  Result<Graph> missing = read_pt2("no-such-file.pt2");
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().code, ErrorCode::kIo);
  EXPECT_THAT(missing.error().message, HasSubstr("no-such-file.pt2"));
}

TEST(ReadPt2, NamesANewerSchema) {
  const std::string bytes = read_file(kMixed);
  EXPECT_THAT(error_of(edited(bytes, "\"schema_version\": {\"major\": 8",
                              "\"schema_version\": {\"major\": 9")),
              HasSubstr("its schema version is 9, newer than version 8 that this build reads"));
}

TEST(ReadPt2, RefusesPicklesAndSizesThatDoNotFit) {
  const std::string bytes = read_file(kMixed);
  EXPECT_THAT(error_of(edited(bytes, "\"use_pickle\": false", "\"use_pickle\": true ")),
              HasSubstr("is stored as a pickle"));
  EXPECT_THAT(error_of(edited(bytes, "\"storage_offset\": {\"as_int\": 0}",
                              "\"storage_offset\": {\"as_int\": 9}")),
              HasSubstr("is stored with the storage offset 9, the model has 0"));
}

/// The bytes with the braces (and what is in them) that first open after `marker` empty.
std::string emptied(std::string bytes, const std::string& marker) {
  const size_t begin = bytes.find('{', bytes.find(marker));
  size_t end = begin;
  for (int depth = 0; end < bytes.size();) {
    depth += bytes[end] == '{' ? 1 : bytes[end] == '}' ? -1 : 0;
    ++end;
    if (depth == 0) {
      break;
    }
  }
  return bytes.replace(begin, end - begin, "{}" + std::string(end - begin - 2, ' '));
}

TEST(ReadPt2, RefusesObjectsWithoutTheirField) {
  const std::string bytes = read_file(kMixed);
  EXPECT_THAT(error_of(emptied(bytes, "\"input_specs\"")), HasSubstr("a description is empty"));
  EXPECT_THAT(error_of(emptied(bytes, "\"output_specs\"")), HasSubstr("a description is empty"));
  EXPECT_THAT(error_of(emptied(bytes, "\"outputs\": [{\"as_sym_int\"")),
              HasSubstr("a description is empty"));
  EXPECT_THAT(error_of(emptied(bytes, "\"name\": \"self\", \"arg\"")),
              HasSubstr("an argument has no value"));
}

TEST(ReadPt2, ComparesTheTypesOfWeightsWithTheModel) {
  const std::string bytes = read_file(kMixed);
  const auto meta = [](int dtype, int rows, int columns) {
    return "\"use_pickle\": false, \"tensor_meta\": {\"dtype\": " + std::to_string(dtype) +
           ", \"sizes\": [{\"as_int\": " + std::to_string(rows) +
           "}, {\"as_int\": " + std::to_string(columns) + "}]";
  };
  EXPECT_THAT(error_of(edited(bytes, meta(7, 4, 4), meta(4, 4, 4))),
              HasSubstr("weight 'first.weight' is stored as i32[4, 4], the model takes f32[4, 4]"));
  EXPECT_THAT(error_of(edited(bytes, meta(7, 4, 4), meta(7, 2, 8))),
              HasSubstr("weight 'first.weight' is stored as f32[2, 8], the model takes f32[4, 4]"));
}

TEST(ReadPt2, NamesTheFileOnce) {
  const std::string message =
      error_of(edited(read_file(kMixed), "\"use_pickle\": false", "\"use_pickle\": true "));
  const size_t first = message.find("stator_damaged.pt2");
  ASSERT_NE(first, std::string::npos);
  EXPECT_EQ(message.find("stator_damaged.pt2", first + 1), std::string::npos) << message;
}

TEST(ReadPt2, ClaimsOnlyTheBoundsThatTheFileGives) {
  Result<Graph> graph = read_pt2(kOpen);
  ASSERT_TRUE(graph.ok()) << graph.error().message;
  // "2*half" follows from half, and the number of item() may be negative.
  ASSERT_EQ(graph->bounds.ranges().size(), 1u);
  EXPECT_EQ(graph->bounds.ranges().begin()->second, (std::pair<int64_t, int64_t>(0, 9)));
  EXPECT_EQ(graph->bounds.least(Expr::symbol("u0")), std::nullopt);
  const std::string text = print_graph(*graph);
  EXPECT_THAT(text, HasSubstr("value=-inf"));
  EXPECT_THAT(text, HasSubstr("fill_value=u0"));
  Result<Graph> again = parse_graph(text);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(print_graph(*again), text);
}

TEST(ReadPt2, ComparesChecksums) {
  const std::string bytes = read_file(kMixed);
  ASSERT_EQ(error_of(bytes, false), "");
  ASSERT_EQ(with_checksums(bytes), bytes);
  EXPECT_THAT(error_of(edited(bytes, "\"storage_offset\": {\"as_int\": 0}",
                              "\"storage_offset\": {\"as_int\": 1}"),
                       false),
              HasSubstr("does not match its checksum"));
}

TEST(ReadPt2, BoundsNesting) {
  const std::string bytes = read_file(kMixed);
  const size_t begin = bytes.find("{\"graph_module\"");
  ASSERT_NE(begin, std::string::npos);
  std::string deep = bytes;
  deep.replace(begin, 1000, std::string(1000, '['));
  EXPECT_THAT(error_of(deep), HasSubstr("its model is nested more than 200 levels deep"));
}

TEST(ReadPt2, SurvivesTruncation) {
  const std::string bytes = read_file(kMixed);
  for (size_t size = 0; size < bytes.size(); size += 97) {
    EXPECT_NE(error_of(bytes.substr(0, size)), "") << size;
  }
}

TEST(ReadPt2, SurvivesDamage) {
  const std::string bytes = read_file(kMixed);
  std::mt19937 random(7);
  for (int round = 0; round < 300; ++round) {
    std::string damaged = bytes;
    for (int k = 0; k < 4; ++k) {
      damaged[random() % damaged.size()] = static_cast<char>(random());
    }
    (void)error_of(damaged, round % 2 == 0);  // an error or a graph, never a crash
  }
}

}  // namespace
}  // namespace stator
