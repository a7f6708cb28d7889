# SPDX-License-Identifier: Apache-2.0
"""The snippets of the document on unsupported operators; test_documents.py takes them in."""

import sys
import types

import pytest
import torch
import torch_tensorrt
from document_helpers import TITLE, close, place, run
from torch import nn

# ------------------------------------------------------------------ 004: unsupported operators


@torch.library.custom_op("flash_attn::flash_attn_func", mutates_args=())
def flash_attn_func(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.scaled_dot_product_attention(q, k, v)


@flash_attn_func.register_fake
def _(q, k, v):
    return torch.empty_like(q)


@torch.library.custom_op("my_package::my_op", mutates_args=())
def my_op(x: torch.Tensor) -> torch.Tensor:
    return torch.relu(x)


@my_op.register_fake
def _(x):
    return torch.empty_like(x)


@pytest.fixture
def attention_inputs():
    return [place(torch.randn(2, 3, 8, 16)) for _ in range(4)]


FLASH = """
    import torch
    import torch_tensorrt
    from flash_attn import flash_attn_func  # custom CUDA kernel

    class ModelWithFlashAttn(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.ffn = ffn

        def forward(self, q, k, v, x):
            # flash_attn falls back to PyTorch automatically
            attn_out = flash_attn_func(q, k, v)
            # other ops can still run in TRT
            return self.ffn(attn_out + x)

    model = ModelWithFlashAttn().eval()
"""


def flash_model(monkeypatch):
    """The document's model, with the feed-forward part that it leaves to the reader."""
    package = types.ModuleType("flash_attn")
    package.flash_attn_func = torch.ops.flash_attn.flash_attn_func
    monkeypatch.setitem(sys.modules, "flash_attn", package)
    ffn = place(nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16)))
    return run(FLASH, ffn=ffn)["model"]


def test_x20_dryrun_shows_what_falls_back(monkeypatch, attention_inputs, capsys):
    run(
        """
        trt_model = torch_tensorrt.compile(
            model,
            ir="dynamo",
            arg_inputs=inputs,
            dryrun=True,
        )
        """,
        model=flash_model(monkeypatch),
        inputs=attention_inputs,
    )
    report = capsys.readouterr().out
    assert TITLE in report
    assert "torch.ops.flash_attn.flash_attn_func.default" in report


@torch.no_grad()
def test_x21_flash_attention_falls_back(monkeypatch, attention_inputs):
    model = flash_model(monkeypatch)
    compiled = run(
        """
        trt_model = torch_tensorrt.compile(
            model,
            ir="dynamo",
            arg_inputs=inputs,
            min_block_size=1,
        )
        """,
        model=model,
        inputs=attention_inputs,
    )["trt_model"]
    close(compiled(*attention_inputs), model(*attention_inputs))
    report = compiled.stator_report
    assert report.total_operators - report.supported_operators == 1
    assert len(report.engines) == 1


@torch.no_grad()
def test_x22_an_operator_named_by_a_string(monkeypatch, attention_inputs):
    model = flash_model(monkeypatch)
    calls = []

    def converter(ctx, target, args, kwargs, name):
        calls.append(name)
        return args[0]

    registry = torch_tensorrt.dynamo.conversion.DYNAMO_CONVERTERS
    operator = torch.ops.flash_attn.flash_attn_func.default
    torch_tensorrt.dynamo.conversion.dynamo_tensorrt_converter(operator)(converter)
    try:
        compiled = run(
            """
            trt_model = torch_tensorrt.compile(
                model,
                ir="dynamo",
                arg_inputs=inputs,
                torch_executed_ops={
                    "torch.ops.flash_attn.flash_attn_func",
                },
            )
            """,
            model=model,
            inputs=attention_inputs,
        )["trt_model"]
    finally:
        registry.remove(operator)
    assert calls == []
    close(compiled(*attention_inputs), model(*attention_inputs))


@torch.no_grad()
def test_x23_a_custom_converter():
    class Model(nn.Module):
        def forward(self, x):
            return torch.ops.my_package.my_op(x * 2) + 1

    scope = run(
        """
        import tensorrt as trt
        import torch_tensorrt
        from torch_tensorrt.dynamo.conversion.converter_utils import auto_generate_converter

        # Automatically creates a converter using TRT's standard layer set
        @torch_tensorrt.dynamo.conversion.dynamo_tensorrt_converter(
            torch.ops.my_package.my_op.default
        )
        def my_op_converter(ctx, target, args, kwargs, name):
            input_tensor = args[0]
            # map to TRT layers
            layer = ctx.net.add_activation(input_tensor, trt.ActivationType.RELU)
            return layer.get_output(0)
        """
    )
    registry = torch_tensorrt.dynamo.conversion.DYNAMO_CONVERTERS
    try:
        assert torch.ops.my_package.my_op.default in registry
        model, x = Model(), place(torch.randn(3, 4))
        compiled = torch_tensorrt.compile(model, ir="dynamo", arg_inputs=[x], min_block_size=1)
        close(compiled(x), model(x))
        report = compiled.stator_report
        assert report.supported_operators == report.total_operators and len(report.engines) == 1
    finally:
        registry.remove(torch.ops.my_package.my_op.default)
    assert callable(scope["auto_generate_converter"])


def test_x24_imports():
    scope = run(
        """
        from torch_tensorrt.dynamo.conversion import TRTInterpreter
        import tensorrt as trt
        """
    )
    assert scope["TRTInterpreter"].run and scope["trt"].ActivationType.RELU


@torch.no_grad()
def test_x25_attention_compiles_whole(attention_inputs):
    class Model(nn.Module):
        def forward(self, q, k, v):
            return run(
                """
                import torch.nn.functional as F

                # Before (unsupported in TRT):
                # from flash_attn import flash_attn_func
                # attn_out = flash_attn_func(q, k, v)

                # After (TRT-compatible):
                attn_out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
                """,
                q=q,
                k=k,
                v=v,
            )["attn_out"]

    inputs = attention_inputs[:3]
    compiled = torch_tensorrt.compile(
        Model(), ir="dynamo", arg_inputs=inputs, min_block_size=1, require_full_compilation=True
    )
    close(compiled(*inputs), Model()(*inputs))


class CausalLM(nn.Module):
    """A small causal language model with random weights."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50, 32)
        self.projection = nn.Linear(32, 96)
        self.head = nn.Linear(32, 50)

    @classmethod
    def from_pretrained(cls, name, attn_implementation):
        assert attn_implementation == "sdpa"
        return cls()

    def forward(self, tokens):
        x = self.embedding(tokens)
        q, k, v = self.projection(x).unflatten(-1, (3, 4, 8)).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(x + y.transpose(1, 2).flatten(2))


@torch.no_grad()
def test_x26_rewriting_attention(monkeypatch):
    package = types.ModuleType("transformers")
    package.AutoModelForCausalLM = CausalLM
    monkeypatch.setitem(sys.modules, "transformers", package)
    inputs = [place(torch.randint(0, 50, (2, 9)))]
    from stator.lowering.passes import remove_pass

    scope = run(
        """
        from transformers import AutoModelForCausalLM
        from torch_tensorrt.dynamo.lowering import TORCH_TRT_DECOMPOSITIONS
        from torch_tensorrt.dynamo.lowering.passes._aten_lowering_pass import _aten_lowering_pass
        from torch_tensorrt.dynamo._settings import CompilationSettings

        # 1. Load the model using PyTorch's built-in SDPA (not flash_attn)
        model = AutoModelForCausalLM.from_pretrained(
            "meta-llama/Llama-3.2-1B-Instruct",
            attn_implementation="sdpa",
        ).eval().cuda()

        # 2. Remove Torch-TensorRT's SDPA decompositions so the op reaches the converter
        _SDPA_VARIANTS = [
            torch.ops.aten._scaled_dot_product_flash_attention.default,
            torch.ops.aten._scaled_dot_product_efficient_attention.default,
            torch.ops.aten._scaled_dot_product_cudnn_attention.default,
        ]
        for op in _SDPA_VARIANTS:
            TORCH_TRT_DECOMPOSITIONS.pop(op, None)

        # 3. Register a lowering pass to rewrite backend-specific SDPA to the generic form
        @_aten_lowering_pass(index=0)
        def sdpa_rewrite_pass(
            gm: torch.fx.GraphModule, settings: CompilationSettings
        ) -> torch.fx.GraphModule:
            for node in list(gm.graph.nodes):
                if node.op == "call_function" and node.target in _SDPA_VARIANTS:
                    q, k, v = node.args[0], node.args[1], node.args[2]
                    with gm.graph.inserting_after(node):
                        new_node = gm.graph.call_function(
                            torch.nn.functional.scaled_dot_product_attention,
                            args=(q, k, v),
                            kwargs={"is_causal": True},
                        )
                    node.replace_all_uses_with(new_node)
                    gm.graph.erase_node(node)
            gm.graph.lint()
            gm.recompile()
            return gm

        # 4. Compile as normal
        trt_model = torch_tensorrt.compile(model, arg_inputs=inputs, use_explicit_typing=True)
        """,
        inputs=inputs,
    )
    remove_pass(scope["sdpa_rewrite_pass"])
    close(scope["trt_model"](*inputs), scope["model"](*inputs))


def test_x27_dryrun_before_compilation(model, inputs, capsys):
    run(
        """
        torch_tensorrt.compile(model, ir="dynamo", arg_inputs=inputs, dryrun=True)
        """,
        model=model,
        inputs=inputs,
    )
    assert TITLE in capsys.readouterr().out


def test_x28_is_there_a_converter(capsys):
    run(
        """
        from torch_tensorrt.dynamo.conversion import DYNAMO_CONVERTERS

        op = torch.ops.aten.gelu.default
        print(op in DYNAMO_CONVERTERS)  # True/False
        """
    )
    assert capsys.readouterr().out == "True\n"


def test_x29_trace(model, inputs):
    scope = run(
        "exp_program = torch_tensorrt.dynamo.trace(model, inputs, strict=False)",
        model=model,
        inputs=inputs,
    )
    assert isinstance(scope["exp_program"], torch.export.ExportedProgram)
    compiled = torch_tensorrt.dynamo.compile(scope["exp_program"], inputs=inputs)
    close(compiled(*inputs), model(*inputs))
