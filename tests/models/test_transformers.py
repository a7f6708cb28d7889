# SPDX-License-Identifier: Apache-2.0
"""A HuggingFace model with PyTorch's attention, as its users load it."""

import pytest
import stator
import torch
from torch import nn
from torch_tensorrt.dynamo.lowering import TORCH_TRT_DECOMPOSITIONS

OPTIONS = {"timing_cache_path": "", "min_block_size": 1, "pass_through_build_failures": True}


@pytest.fixture(scope="module")
def llama():
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=97, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        attn_implementation="sdpa", use_cache=False,
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("ir", ["dynamo", "torch_compile"])
@torch.no_grad()
def test_llama_with_explicit_typing(llama, ir):
    ids = torch.randint(0, 97, (2, 12))
    compiled = stator.compile(llama, inputs=[ids], ir=ir, use_explicit_typing=True, **OPTIONS)
    torch.testing.assert_close(compiled(ids).logits, llama(ids).logits, rtol=1e-4, atol=1e-5)
    if ir == "dynamo":
        assert compiled.stator_report.fallbacks == []


def test_attention_reaches_the_engine_whole(tmp_path):
    """Not as the thirty operators that PyTorch decomposes it into; decomposed by our table too."""

    class Attention(nn.Module):
        def forward(self, q, k, v):
            return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True) + 1

    q = torch.randn(1, 2, 8, 16)
    program = torch.export.export(Attention(), (q, q, q))
    for given in (program, program.run_decompositions(TORCH_TRT_DECOMPOSITIONS)):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        compiled = stator.compile(given, **OPTIONS, dump_directory=str(folder))
        torch.testing.assert_close(compiled(q, q, q), Attention()(q, q, q))
        lowered = sorted(folder.rglob("*.graph"))[-1].read_text()
        assert lowered.count("aten.scaled_dot_product_attention") == 1
        assert "matmul" not in lowered and "softmax" not in lowered
