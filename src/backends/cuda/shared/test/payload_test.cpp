// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/shared/payload.h"

#include <gtest/gtest.h>

namespace stator::cuda {
namespace {

TEST(Payload, ReadsBackWhatItPrints) {
  GemmPayload gemm;
  gemm.dtype = gemm.out = DType::kBFloat16;
  gemm.b_transposed = true;
  gemm.bias = 2;
  gemm.d = 3;
  gemm.activation = "relu";
  gemm.index = 4;
  gemm.tuned = {128, 256, 64, 1};
  gemm.buffers = 4;
  gemm.epilogue = KernelPayload{"k_epilogue", 3, 256, 0, 5, 2, {}, true};
  ConvolutionPayload conv;
  conv.filter = {8, 3, 3, 4};
  conv.stride = conv.dilation = conv.pad_before = conv.pad_after = {1, 1};
  conv.buffers = 3;
  for (const Payload& payload :
       {Payload(gemm), Payload(conv),
        Payload(KernelPayload{
            "k", 0, 128, 1024, 2, 1, {{1, DType::kBFloat16, {64, 128, 1, 1}, {1, 2, 1, 1}}}, true}),
        Payload(AttentionPayload{DType::kFloat16, 0, 1, 2, 3, 0.125, 4}),
        Payload(HostPayload{"1 1 sort {axis = 0, descending = false}"})}) {
    const std::string text = print_payload(payload);
    Result<Payload> read = parse_payload(text);
    ASSERT_TRUE(read.ok()) << text << "\n" << read.error().message;
    EXPECT_EQ(print_payload(*read), text);
  }
}

TEST(Payload, RefusesDamagedText) {
  KernelPayload kernel{"k", 0, 128, 0, 2, 1, {}, false};
  const std::string good = print_payload(kernel);
  for (size_t length = 0; length < good.size(); ++length) {
    EXPECT_FALSE(parse_payload(good.substr(0, length)).ok()) << length;
  }
  kernel.threads = 4096;
  EXPECT_FALSE(parse_payload(print_payload(kernel)).ok());
  GemmPayload gemm;
  gemm.buffers = 2;  // d is the third
  EXPECT_FALSE(parse_payload(print_payload(gemm)).ok());
  EXPECT_FALSE(parse_payload(R"({"kind": "other"})").ok());
}

TEST(Cubins, ComeApartAsTheyWereJoined) {
  const std::vector<std::string> cubins = {std::string(100, 'a'), std::string(64, 'b'),
                                           std::string(1000, 'c')};
  const std::string image = join_cubins(cubins);
  Result<std::vector<std::string_view>> split = split_cubins(image);
  ASSERT_TRUE(split.ok());
  ASSERT_EQ(split->size(), cubins.size());
  for (size_t i = 0; i < cubins.size(); ++i) EXPECT_EQ((*split)[i], cubins[i]);
}

TEST(Cubins, RefuseDamagedImages) {
  const std::string image = join_cubins({std::string(100, 'a'), std::string(64, 'b')});
  for (const size_t length : {0, 4, 8, 24, 40, 100, 200}) {
    EXPECT_FALSE(split_cubins(std::string_view(image).substr(0, length)).ok()) << length;
  }
  for (size_t word = 0; word < 5; ++word) {
    std::string bad = image;
    bad.replace(word * 8, 8, std::string(8, '\xff'));
    EXPECT_FALSE(split_cubins(bad).ok()) << word;
  }
}

}  // namespace
}  // namespace stator::cuda
