// SPDX-License-Identifier: Apache-2.0
//
// Engine files: what is written is read again, and whatever is cut off, flipped or pointed
// elsewhere is an error and no crash.
#include "plan/engine_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "plan/digest.h"
#include "plan/test/contracts.h"

namespace stator {
namespace {

TensorData bytes_of(const std::string& text) {
  void* writable = nullptr;
  TensorData data = TensorData::allocate(static_cast<int64_t>(text.size()), &writable);
  std::memcpy(writable, text.data(), text.size());
  return data;
}

/// y = kernel(x, w), with an arena buffer between two steps and one symbolic size.
Plan sample_plan() {
  Plan plan;
  plan.name = "sample";
  plan.device = "reference";
  plan.compiler_version = "test";
  plan.settings = R"({"optimization_level": 3})";
  plan.metadata = R"({"names": ["x", "\u00fc"]})";
  plan.sizes.symbols = {"s0"};
  const Expr s = Expr::symbol("s0");
  const SizeSlot s0 = plan.sizes.add(s), eight = plan.sizes.add(8), bytes = plan.sizes.add(s * 32);
  const SizeSlot one = plan.sizes.add(1), zero = plan.sizes.add(0), w_bytes = plan.sizes.add(256);
  plan.symbols = {{"s0", 0, 0, -1, 0, 64}};
  plan.buffers = {
      {"x", BufferRole::kInput, DType::kFloat32, {s0, eight}, bytes, 0, -1, 0, 0, -1},
      {"w", BufferRole::kConstant, DType::kFloat32, {eight, eight}, w_bytes, -1, 0, 0, 0, -1},
      {"t", BufferRole::kArena, DType::kFloat32, {s0, eight}, bytes, -1, -1, 0, 1, -1},
      {"t2", BufferRole::kArena, DType::kFloat32, {eight, s0}, bytes, -1, -1, 0, 1, 2},
      {"y", BufferRole::kOutput, DType::kFloat32, {eight, s0}, bytes, 0, -1, 0, 0, -1},
  };
  plan.weights = {{"w",
                   "layer.weight",
                   DType::kFloat32,
                   {8, 8},
                   {"copy", ""},
                   bytes_of(std::string(256, 'w'))}};
  plan.kernels = {{"reference", "first", "payload one", {}}, {"cpu", "second", "64", {}}};
  plan.code = {{"cpu", "x86-64 avx2", {"avx2", "fma"}, bytes_of(std::string(300, '\xc3'))}};
  Provenance from;
  from.node = "addmm";
  from.target = "aten.addmm.default";
  plan.steps = {{0, {0, 1, 2}, {s0}, one, zero, "step \"one\"", {from}, -1, 0, {}},
                {1, {3, 4}, {s0, eight}, s0, zero, "two", {}, -1, 0, {}}};
  plan.inputs = {0};
  plan.outputs = {4};
  make_contracts(&plan);
  return plan;
}

std::string engine_of(const Plan& plan) { return engine_bytes(plan).value(); }

Result<Plan> read_back(const std::string& bytes) {
  return read_engine_bytes(bytes_of(bytes), "test");
}

/// The header replaced, with its length and digest made right: what a forger would write.
std::string with_header(const std::string& engine, const std::string& from, const std::string& to) {
  int64_t length = 0;
  std::memcpy(&length, engine.data() + 8, 8);
  std::string header = engine.substr(24, static_cast<size_t>(length));
  const size_t place = header.find(from);
  EXPECT_NE(place, std::string::npos) << from << " in " << header;
  if (place == std::string::npos) {
    return engine;
  }
  header.replace(place, from.size(), to);
  const auto aligned = [](size_t n) { return (n + 63) / 64 * 64; };
  const std::string blobs = engine.substr(aligned(24 + static_cast<size_t>(length)));
  const auto new_length = static_cast<int64_t>(header.size());
  const uint64_t digest = digest64(header.data(), new_length);
  std::string result = engine.substr(0, 8);
  result.append(reinterpret_cast<const char*>(&new_length), 8);
  result.append(reinterpret_cast<const char*>(&digest), 8);
  result += header;
  result.resize(aligned(result.size()));
  return result + blobs;
}

class EngineFile : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() /
              ("stator_engine_file_" + std::to_string(std::random_device()()));
    std::filesystem::create_directory(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path(const char* name) const { return (folder_ / name).string(); }
  size_t file_count() const {
    return static_cast<size_t>(std::distance(std::filesystem::directory_iterator(folder_), {}));
  }
  std::filesystem::path folder_;
};

TEST_F(EngineFile, RoundTrip) {
  const Plan plan = sample_plan();
  ASSERT_TRUE(validate_plan(plan).ok()) << validate_plan(plan).error().message;
  ASSERT_TRUE(write_engine_file(plan, path("a.engine")).ok());
  EXPECT_EQ(file_count(), 1u) << "no temporary file stays behind";
  Result<Plan> read = read_engine_file(path("a.engine"));
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(print_plan(*read), print_plan(plan));
  EXPECT_EQ(read->settings, plan.settings);
  EXPECT_EQ(read->metadata, plan.metadata);
  ASSERT_EQ(read->weights[0].data.size_bytes, 256);
  EXPECT_EQ(std::memcmp(read->weights[0].data.data, plan.weights[0].data.data, 256), 0);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(read->weights[0].data.data) % 64, 0u);
  EXPECT_EQ(read->code[0].features, plan.code[0].features);
  EXPECT_EQ(read->steps[0].provenance[0].target, "aten.addmm.default");
  EXPECT_EQ(read->steps[0].name, "step \"one\"");
  EXPECT_TRUE(read_engine_file(path("a.engine")).ok());
  // The bytes depend on the plan alone.
  EXPECT_EQ(engine_of(*read), engine_of(plan));
}

TEST_F(EngineFile, EqualBlobsAreStoredOnce) {
  Plan plan = sample_plan();
  const size_t once = engine_of(plan).size();
  plan.weights.push_back(plan.weights[0]);
  plan.weights.back().name = "w2";
  plan.weights.back().data = bytes_of(std::string(256, 'w'));
  EXPECT_LT(engine_of(plan).size(), once + 256);
  plan.weights.back().data = bytes_of(std::string(256, 'v'));
  EXPECT_GE(engine_of(plan).size(), once + 256);
}

TEST_F(EngineFile, EveryTruncationIsAnError) {
  const std::string engine = engine_of(sample_plan());
  ASSERT_TRUE(read_back(engine).ok());
  for (size_t length = 0; length < engine.size(); ++length) {
    Result<Plan> read = read_back(engine.substr(0, length));
    ASSERT_FALSE(read.ok()) << length;
    ASSERT_EQ(read.error().code, ErrorCode::kInvalidFile) << length;
  }
}

TEST_F(EngineFile, BytesBehindTheEndAreAnError) {
  Plan without_blobs = sample_plan();
  without_blobs.weights.clear();
  without_blobs.code.clear();
  without_blobs.buffers.clear();
  without_blobs.kernels.clear();
  without_blobs.steps.clear();
  without_blobs.symbols.clear();
  without_blobs.sizes = {};
  without_blobs.inputs.clear();
  without_blobs.outputs.clear();
  for (const Plan& plan : {sample_plan(), without_blobs}) {
    const std::string engine = engine_of(plan);
    for (const std::string& more : {std::string(1, '\0'), std::string(64, '\0'), engine}) {
      const Result<Plan> read = read_back(engine + more);
      ASSERT_FALSE(read.ok()) << more.size();
      EXPECT_EQ(read.error().code, ErrorCode::kInvalidFile);
      EXPECT_NE(read.error().message.find("the file should have"), std::string::npos)
          << read.error().message;
    }
  }
}

TEST_F(EngineFile, EveryFlippedBitOfPrefixHeaderAndCodeIsFound) {
  const std::string engine = engine_of(sample_plan());
  int64_t length = 0;
  std::memcpy(&length, engine.data() + 8, 8);
  for (size_t i = 0; i < 24 + static_cast<size_t>(length); ++i) {
    std::string damaged = engine;
    damaged[i] = static_cast<char>(damaged[i] ^ (1 << (i % 8)));
    Result<Plan> read = read_back(damaged);
    ASSERT_FALSE(read.ok()) << "byte " << i;
  }
  std::string damaged = engine;
  damaged[engine.find('\xc3', 24 + static_cast<size_t>(length))] ^= 1;
  EXPECT_EQ(read_back(damaged).error().message,
            "test: code[0].image does not match its digest: the file is truncated or damaged; "
            "build the engine again or copy it again");
}

TEST_F(EngineFile, DamagedWeightsAreFoundWhenAsked) {
  std::string engine = engine_of(sample_plan());
  const size_t weight = engine.find(std::string(256, 'w'));
  ASSERT_NE(weight, std::string::npos);
  engine[weight + 100] = 'x';
  std::ofstream(path("b.engine"), std::ios::binary) << engine;
  EXPECT_TRUE(read_engine_file(path("b.engine"), /*verify_weights=*/false).ok());
  const Result<Plan> checked = read_engine_file(path("b.engine"));
  ASSERT_FALSE(checked.ok());
  EXPECT_NE(checked.error().message.find("weights[0] \"w\" does not match its digest"),
            std::string::npos)
      << checked.error().message;
}

TEST_F(EngineFile, OtherFilesAreRefused) {
  EXPECT_EQ(read_back("").error().code, ErrorCode::kInvalidFile);
  EXPECT_EQ(read_back(std::string(100, 'x')).error().code, ErrorCode::kInvalidFile);
  std::string engine = engine_of(sample_plan());
  engine[7] = '\2';
  EXPECT_EQ(read_back(engine).error().code, ErrorCode::kIncompatible);
  EXPECT_EQ(read_engine_file(path("missing.engine")).error().code, ErrorCode::kIo);
  EXPECT_EQ(write_engine_file(sample_plan(), path("no/such/folder.engine")).error().code,
            ErrorCode::kIo);
}

/// A change of the plan that validate_plan must find, and a piece of its message.
struct Forgery {
  const char* what;
  void (*change)(Plan&);
};

const Forgery kForgeries[] = {
    {"steps[0].kernel: kernel 7 of 2", [](Plan& p) { p.steps[0].kernel = 7; }},
    {"steps[0].kernel: kernel -1 of 2", [](Plan& p) { p.steps[0].kernel = -1; }},
    {"steps[0].buffers[1]: buffer 99 of 5", [](Plan& p) { p.steps[0].buffers[1] = 99; }},
    {"steps[1].sizes[0]: size slot -3", [](Plan& p) { p.steps[1].sizes[0] = -3; }},
    {"steps[1].task_count: size slot 1000", [](Plan& p) { p.steps[1].task_count = 1000; }},
    {"steps[1].scratch_bytes: size slot 1000", [](Plan& p) { p.steps[1].scratch_bytes = 1000; }},
    {"buffers[0].shape[1]: size slot 50", [](Plan& p) { p.buffers[0].shape[1] = 50; }},
    {"buffers[0].size_bytes: size slot 50", [](Plan& p) { p.buffers[0].size_bytes = 50; }},
    {"buffers[1].weight: weight 3 of 1", [](Plan& p) { p.buffers[1].weight = 3; }},
    {"buffers[1].size_bytes", [](Plan& p) { p.buffers[1].size_bytes = p.buffers[0].shape[1]; }},
    {"buffers[1].size_bytes", [](Plan& p) { p.buffers[1].size_bytes = p.buffers[0].size_bytes; }},
    {"buffers[2].steps", [](Plan& p) { p.buffers[2].last_step = p.buffers[3].last_step = 2; }},
    {"buffers[2].steps", [](Plan& p) { p.buffers[2].first_step = p.buffers[3].first_step = -1; }},
    {"buffers[3].alias_of", [](Plan& p) { p.buffers[3].last_step = 0; }},
    {"buffers[3].alias_of", [](Plan& p) { p.buffers[3].alias_of = 0; }},
    {"buffers[3].alias_of: buffer 5 of 5", [](Plan& p) { p.buffers[3].alias_of = 5; }},
    {"buffers[0].order",
     [](Plan& p) {
       p.buffers[0].order = {0, 0};
     }},
    {"buffers[0].order", [](Plan& p) { p.buffers[0].order = {1}; }},
    {"buffers[4].order",
     [](Plan& p) {
       p.buffers[4].order = {2, 1};
     }},
    {"buffers[2].order",
     [](Plan& p) {
       p.buffers[2].order = {1, 0};
     }},
    {"inputs[0]", [](Plan& p) { p.inputs[0] = 2; }},
    {"inputs[0]: buffer -1", [](Plan& p) { p.inputs[0] = -1; }},
    {"inputs[1]", [](Plan& p) { p.inputs.push_back(0); }},
    {"outputs[0]", [](Plan& p) { p.outputs[0] = 0; }},
    {"sizes[0]", [](Plan& p) { p.sizes.instructions[0].a = 4; }},
    {"sizes[2]",
     [](Plan& p) {
       p.sizes.instructions[2] = {SizeOp::kAdd, 0, 2};
     }},
    {"sizes[2]: division by zero",
     [](Plan& p) {
       p.sizes.instructions[1].a = 0;
       p.sizes.instructions[2] = {SizeOp::kFloorDiv, 0, 1};
     }},
    {"symbols", [](Plan& p) { p.symbols.clear(); }},
    {"symbols[0].dim", [](Plan& p) { p.symbols[0].dim = 2; }},
    {"symbols[0].input", [](Plan& p) { p.symbols[0].input = 1; }},
    {"symbols[0].scalar", [](Plan& p) { p.symbols[0].input = -1; }},
    {"symbols[0]", [](Plan& p) { p.symbols[0].greatest = -1; }},
    {"symbols[0]", [](Plan& p) { p.symbols[0].symbol = "s1"; }},
    {"does not fit its kernel \"second\": the number of buffers is 3, the kernel takes 2",
     [](Plan& p) { p.steps[0].kernel = 1; }},
    {"does not fit its kernel \"first\": the number of sizes is 0, the kernel takes 1",
     [](Plan& p) { p.steps[0].sizes.clear(); }},
    {"buffer 0 is i32, the kernel takes f32", [](Plan& p) { p.buffers[0].dtype = DType::kInt32; }},
    {"buffer 1 has the rank 1, the kernel takes 2", [](Plan& p) { p.buffers[1].shape.pop_back(); }},
    {"buffer 2 is written and is input",
     [](Plan& p) {
       p.steps[0].buffers = {0, 1, 0};
     }},
    {"buffer 1 is no constant",
     [](Plan& p) {
       p.steps[0].buffers = {0, 0, 2};
     }},
    {"buffer 1 is packed as \"nk 16\", the kernel takes \"\"",
     [](Plan& p) {
       p.weights[0].recipe = {"pack", "nk 16"};
     }},
    {"steps[0].buffers[0]: buffer 2 is read before a step has written it",
     [](Plan& p) {
       p.steps[0].buffers = {2, 1, 2};
     }},
    {"outputs[0]: no step writes it",
     [](Plan& p) {
       p.steps.pop_back();
       p.buffers[2].last_step = p.buffers[3].last_step = 0;
     }},
    {"kernels[0].contract.payload", [](Plan& p) { p.kernels[0].payload = "payload on"; }},
    {"kernels[0].contract.operands[1].shape[0]: size slot 77",
     [](Plan& p) { p.kernels[0].contract.operands[1].shape[0] = 77; }},
    {"kernels[0].contract.outputs: 4 of 3", [](Plan& p) { p.kernels[0].contract.outputs = 4; }},
    {"weights[0]: \"w\" has 256 bytes, its shape takes 128",
     [](Plan& p) { p.weights[0].shape[0] = 4; }},
    {"weights[0].shape: -8 is out of range", [](Plan& p) { p.weights[0].shape[0] = -8; }},
    {"settings: is no JSON", [](Plan& p) { p.settings = "{"; }},
    {"metadata: is nested more than 200 levels deep",
     [](Plan& p) { p.metadata = std::string(100000, '['); }},
    {"sizes: a size expression overflows 64 bits",
     [](Plan& p) {
       p.sizes.instructions[1].a = INT64_MAX;
       p.sizes.instructions[2] = {SizeOp::kMul, 1, 1};
     }},
    {"a size expression that is too long",
     [](Plan& p) {
       for (int i = 0; i < 40; ++i) {
         const auto last = static_cast<int64_t>(p.sizes.instructions.size()) - 1;
         p.sizes.instructions.push_back({SizeOp::kFloorDiv, last, last});
       }
     }},
};

TEST_F(EngineFile, ForgedPlansAreInvalid) {
  for (const Forgery& forgery : kForgeries) {
    Plan plan = sample_plan();
    forgery.change(plan);
    const Status valid = validate_plan(plan);
    ASSERT_FALSE(valid.ok()) << forgery.what;
    EXPECT_EQ(valid.error().code, ErrorCode::kInvalidFile) << forgery.what;
    EXPECT_NE(valid.error().message.find(forgery.what), std::string::npos)
        << "expected " << forgery.what << ", got " << valid.error().message;
    // As a file whose digests are all right, too (which cannot hold two names of one symbol).
    if (plan.symbols.size() == 1 && plan.symbols[0].symbol == "s0") {
      Result<Plan> read = read_back(engine_of(plan));
      ASSERT_FALSE(read.ok()) << forgery.what;
      EXPECT_EQ(read.error().code, ErrorCode::kInvalidFile) << forgery.what;
    }
  }
}

TEST_F(EngineFile, ForgedHeadersAreInvalid) {
  const std::string engine = engine_of(sample_plan());
  ASSERT_TRUE(read_back(with_header(engine, "\"sample\"", "\"renamed\"")).ok());
  const std::string deep = std::string(100000, '[') + std::string(100000, ']');
  for (const char* broken : {"{", "[]", "17", "null", "-1", "1e300", "{\"a\":[]}", deep.c_str()}) {
    Result<Plan> read = read_back(with_header(engine, "\"sample\"", broken));
    ASSERT_FALSE(read.ok()) << broken;
    EXPECT_EQ(read.error().code, ErrorCode::kInvalidFile) << broken;
  }
}

TEST_F(EngineFile, ABlobIsTheOneThatItsUserNames) {
  Plan plan = sample_plan();
  plan.weights.push_back(plan.weights[0]);
  plan.weights.back().name = "v";
  plan.weights.back().data = bytes_of(std::string(256, 'v'));
  const std::string engine = engine_of(plan);
  for (const char* kind : {"\"blob\":0", "\"blob\":1", "\"blob\":2"}) {
    const std::string other = kind == std::string("\"blob\":0") ? "\"blob\":1" : "\"blob\":0";
    Result<Plan> read = read_back(with_header(engine, kind, other));
    ASSERT_FALSE(read.ok()) << kind;
    EXPECT_NE(read.error().message.find("another one by its digest"), std::string::npos)
        << read.error().message;
  }
}

TEST_F(EngineFile, TheKeyIsTheFilesAlone) {
  const Plan plan = sample_plan();
  Result<Plan> read = read_back(engine_bytes(plan, "abc").value());
  ASSERT_TRUE(read.ok()) << read.error().message;
  EXPECT_EQ(read->key, "abc");
  EXPECT_EQ(engine_of(*read), engine_of(plan));
}

TEST(Digests, OfLargeBlobsAreThoseOfTheirPieces) {
  std::vector<TensorData> blobs;
  for (const int64_t size : {int64_t{0}, int64_t{100}, kDigestPiece, 9 * kDigestPiece + 1}) {
    blobs.push_back(bytes_of(std::string(static_cast<size_t>(size), 'x')));
  }
  const std::vector<uint64_t> digests = digest_blobs(blobs);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(digests[i], digest64(blobs[i].data, blobs[i].size_bytes));
  }
  std::vector<uint64_t> pieces(9, digests[2]);
  pieces.push_back(digest64("x", 1));
  EXPECT_EQ(digests[3], digest64(pieces.data(), 80));
}

TEST_F(EngineFile, RandomDamageNeverCrashes) {
  const std::string engine = engine_of(sample_plan());
  int64_t length = 0;
  std::memcpy(&length, engine.data() + 8, 8);
  std::mt19937 random(7);
  for (int round = 0; round < 3000; ++round) {
    // Damage inside the header behind a right digest: every number may be anything.
    std::string damaged = engine;
    for (int k = 0; k < 1 + round % 3; ++k) {
      damaged[24 + random() % static_cast<size_t>(length)] = "0123456789-[]{},\""[random() % 17];
    }
    const uint64_t digest = digest64(damaged.data() + 24, length);
    std::memcpy(damaged.data() + 16, &digest, 8);
    Result<Plan> read = read_back(damaged);
    if (read.ok()) {
      EXPECT_TRUE(validate_plan(*read).ok());
    }
  }
}

}  // namespace
}  // namespace stator
