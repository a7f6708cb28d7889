# SPDX-License-Identifier: Apache-2.0
"""The snippets of Torch-TensorRT's documents, run as they are written.

Each test executes the document's text; what the document leaves to the reader (`model`, `inputs`)
is supplied around it. Where a snippet says ``.cuda()`` and there is no GPU, that call is left out.
Ids are those of docs/requirements.md, group X.
"""

import logging
import subprocess
import sys

import pytest
import torch
from document_helpers import CUDA, TITLE, ImageModel, close, place, run

# ------------------------------------------------------------------ 000: dry run


def test_x1_dryrun(model, inputs, capsys):
    run(
        """
        import torch
        import torch_tensorrt

        exp_program = torch.export.export(model, tuple(inputs))
        torch_tensorrt.dynamo.compile(
            exp_program,
            arg_inputs=inputs,
            dryrun=True,
        )
        """,
        model=model, inputs=inputs,
    )  # fmt: skip
    out = capsys.readouterr().out
    assert out.startswith(TITLE + "\n\nThe graph consists of ")
    assert "      TRT Engine #1 - Submodule name: _run_on_acc_0\n" in out
    assert "   ********** Recommendations **********\n" in out


def test_x2_dryrun_into_a_file(exp_program, inputs, capsys, tmp_path):
    path = tmp_path / "partition_report.txt"
    run(
        """
        torch_tensorrt.dynamo.compile(
            exp_program,
            arg_inputs=inputs,
            dryrun="/tmp/partition_report.txt",
        )
        """.replace("/tmp/partition_report.txt", str(path)),
        exp_program=exp_program, inputs=inputs,
    )  # fmt: skip
    assert path.read_text() == capsys.readouterr().out


def test_x3_dryrun_through_torch_compile(model, inputs, capsys):
    scope = run(
        """
        trt_model = torch.compile(model, backend="tensorrt", options={"dryrun": True})
        """,
        model=model,
    )
    assert capsys.readouterr().out == ""
    with torch.no_grad():
        scope = run(
            "trt_model(*inputs)  # report printed on first forward pass",
            trt_model=scope["trt_model"], inputs=inputs,
        )  # fmt: skip
        assert capsys.readouterr().out.count(TITLE) == 1
        close(scope["trt_model"](*inputs), model(*inputs))
    assert capsys.readouterr().out == ""


def test_x4_tuning_workflow(model, exp_program, inputs, capsys, tmp_path):
    before = str(exp_program.graph)
    scope = run(
        """
        # Step 1: run dryrun with a loose min_block_size to see the full partition map
        torch_tensorrt.dynamo.compile(
            exp_program, arg_inputs=inputs,
            dryrun="/tmp/report_loose.txt",
            min_block_size=1,
        )

        # Step 2: read recommendations in the report, pick an appropriate value
        # Step 3: compile for real
        trt_gm = torch_tensorrt.dynamo.compile(
            exp_program, arg_inputs=inputs,
            min_block_size=10,
        )
        """.replace("/tmp/report_loose.txt", str(tmp_path / "report_loose.txt")),
        exp_program=exp_program, inputs=inputs,
    )  # fmt: skip
    assert "min_block_size=1" in (tmp_path / "report_loose.txt").read_text()
    assert str(exp_program.graph) == before
    close(scope["trt_gm"](*inputs), model(*inputs))


def test_x5_converter_registry(capsys):
    run(
        """
        from torch_tensorrt.dynamo.conversion._ConverterRegistry import DYNAMO_CONVERTERS
        print(torch.ops.aten.embedding.default in DYNAMO_CONVERTERS)
        """
    )
    assert capsys.readouterr().out == "True\n"


def test_x6_converter_support(exp_program, capsys):
    run(
        """
        from torch_tensorrt.dynamo.partitioning import get_graph_converter_support
        n_supported, n_total = get_graph_converter_support(gm, torch_executed_ops=set())
        print(f"{n_supported}/{n_total} ops supported")
        """,
        gm=exp_program.module(),
    )
    assert capsys.readouterr().out == "9/9 ops supported\n"


def test_x7_report_is_not_overwritten(exp_program, inputs, capsys, caplog, tmp_path):
    path = tmp_path / "report.txt"
    snippet = """
        torch_tensorrt.dynamo.compile(
            exp_program, arg_inputs=inputs, dryrun="/tmp/report.txt"
        )
        """.replace("/tmp/report.txt", str(path))
    run(snippet, exp_program=exp_program, inputs=inputs)
    first = path.read_bytes()
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        run(snippet, exp_program=exp_program, inputs=inputs)
    assert path.read_bytes() == first
    assert capsys.readouterr().out.count(TITLE) == 2
    warnings = [r.getMessage() for r in caplog.records if str(path) in r.getMessage()]
    assert len(warnings) == 1 and "not overwritten" in warnings[0]


DEBUG_SNIPPET = """
import logging
logging.getLogger("torch_tensorrt").setLevel(logging.DEBUG)
"""


@pytest.mark.parametrize("configured", [False, True])
def test_x8_report_in_the_log(configured):
    code = f"""
import torch, torch_tensorrt
{"import logging; logging.basicConfig()" if configured else ""}
{DEBUG_SNIPPET}
model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.GELU()).eval()
x = torch.randn(2, 8)
if torch.cuda.is_available():
    model, x = model.cuda(), x.cuda()
torch_tensorrt.compile(model, arg_inputs=[x], min_block_size=1)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("Dry-Run Results for Graph") == 1
    assert done.stdout == ""


# ------------------------------------------------------------------ 001: settings


def test_x9_settings(model, exp_program, inputs):
    scope = run(
        """
        import torch
        import torch_tensorrt

        trt_gm = torch_tensorrt.dynamo.compile(
            exported_program,
            arg_inputs=inputs,
            use_explicit_typing=True,  # respects dtypes set in model/inputs
            min_block_size=3,
            optimization_level=4,
        )
        """,
        exported_program=exp_program, inputs=inputs,
    )  # fmt: skip
    close(scope["trt_gm"](*inputs), model(*inputs))


def test_x10_autocast(model, exp_program, inputs, caplog):
    with caplog.at_level(logging.DEBUG, "torch_tensorrt"):
        scope = run(
            """
            trt_gm = torch_tensorrt.dynamo.compile(
                exported_program,
                arg_inputs=inputs,
                enable_autocast=True,
                autocast_low_precision_type=torch.float16,
                autocast_excluded_ops={torch.ops.aten.softmax.int},
                autocast_max_output_threshold=1024.0,
            )
            """,
            exported_program=exp_program, inputs=inputs,
        )  # fmt: skip
    result = scope["trt_gm"](*inputs)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, model(*inputs), rtol=5e-3, atol=5e-3)
    decisions = [r.getMessage() for r in caplog.records if "autocast: " in r.getMessage()]
    assert any("linear (" in d and d.endswith("torch.float16") for d in decisions)
    assert any("softmax (" in d and d.endswith("unchanged") for d in decisions)


# ------------------------------------------------------------------ 002: torch.compile


@torch.no_grad()
def test_x11_backend(model, inputs):
    scope = run(
        """
        import torch_tensorrt
        ...
        optimized_model = torch.compile(model, backend="torch_tensorrt", dynamic=False)
        """,
        model=model,
    )
    close(scope["optimized_model"](*inputs), model(*inputs))


@torch.no_grad()
def test_x12_custom_settings(model, inputs):
    scope = run(
        """
        import torch_tensorrt
        ...
        optimized_model = torch.compile(model, backend="torch_tensorrt", dynamic=False,
                                        options={"truncate_long_and_double": True,
                                                 "enabled_precisions": {torch.float, torch.half},
                                                 "debug": True,
                                                 "min_block_size": 2,
                                                 "torch_executed_ops": {"torch.ops.aten.sub.Tensor"},
                                                 "optimization_level": 4,
                                                 "use_python_runtime": False,})
        """,
        model=model,
    )
    close(scope["optimized_model"](*inputs), model(*inputs))


@torch.no_grad()
def test_x13_compilation(model, inputs, monkeypatch):
    from stator import backend

    built = []
    plan = backend.plan_compilation
    monkeypatch.setattr(backend, "plan_compilation", lambda *a: built.append(1) or plan(*a))
    optimized_model = torch.compile(model, backend="torch_tensorrt", dynamic=False)
    assert not built
    scope = run(
        """
        import torch_tensorrt
        ...
        # Causes model compilation to occur
        first_outputs = optimized_model(*inputs)

        # Subsequent inference runs with the same, or similar inputs will not cause recompilation
        # For a full discussion of this, see "Recompilation Conditions" below
        second_outputs = optimized_model(*inputs)
        """,
        optimized_model=optimized_model, inputs=inputs,
    )  # fmt: skip
    assert len(built) == 1
    close(scope["second_outputs"], model(*inputs))


@torch.no_grad()
def test_x14_coverage(model, inputs, caplog):
    scope = run(
        """
        import torch_tensorrt
        ...
        optimized_model = torch.compile(model, backend="torch_tensorrt", dynamic=False,
                                        options={"debug": True,
                                                 "min_block_size": float("inf"),})
        """,
        model=model,
    )
    with caplog.at_level(logging.DEBUG, "torch_tensorrt"):
        close(scope["optimized_model"](*inputs), model(*inputs))
    lines = [r.getMessage() for r in caplog.records]
    assert sum("The graph consists of 9 Total Operators, of which 9" in line for line in lines) == 1
    assert any("No stats, because no engine would be built" in line for line in lines)


@torch.no_grad()
def test_x15_explain(model, inputs, capsys):
    scope = run(
        """
        import torch
        import torch_tensorrt
        ...
        explanation = torch._dynamo.explain(model)(*inputs)
        print(f"Graph breaks: {explanation.graph_break_count}")
        optimized_model = torch.compile(model, backend="torch_tensorrt", dynamic=False, options={"truncate_long_and_double": True})
        """,
        model=model, inputs=inputs,
    )  # fmt: skip
    assert capsys.readouterr().out == "Graph breaks: 0\n"
    close(scope["optimized_model"](*inputs), model(*inputs))


@torch.no_grad()
def test_x16_engine_caching(model, inputs, tmp_path, caplog):
    snippet = """
        import torch_tensorrt
        ...
        optimized_model = torch.compile(model, backend="torch_tensorrt", dynamic=False,
                                        options={"cache_built_engines": True,
                                                 "reuse_cached_engines": True,
                                                 "immutable_weights": False,
                                                 "engine_cache_dir": "/tmp/torch_trt_cache",
                                                 "engine_cache_size": 1 << 30})  # 1GB
        """.replace("/tmp/torch_trt_cache", str(tmp_path / "cache"))
    with caplog.at_level(logging.INFO, "torch_tensorrt"):
        close(run(snippet, model=model)["optimized_model"](*inputs), model(*inputs))
        torch._dynamo.reset()
        close(run(snippet, model=model)["optimized_model"](*inputs), model(*inputs))
    names = [path.stem for path in (tmp_path / "cache").iterdir()]
    assert len(names) == 1 and set(names[0]) <= set("0123456789abcdef")
    assert sum("engine cache: hit" in r.getMessage() for r in caplog.records) == 1


@torch.no_grad()
def test_x17_mark_dynamic(monkeypatch):
    from stator import backend

    model = place(ImageModel().eval())
    built = []
    plan = backend.plan_compilation
    monkeypatch.setattr(backend, "plan_compilation", lambda *a: built.append(1) or plan(*a))
    scope = run(
        """
        import torch
        import torch_tensorrt
        ...
        inputs = torch.randn((1, 3, 224, 224), dtype=torch.float32).cuda()
        # Mark dimension 0 (batch) as dynamic with range [1, 8]
        torch._dynamo.mark_dynamic(inputs, 0, min=1, max=8)
        optimized_model = torch.compile(model, backend="tensorrt")
        optimized_model(inputs)  # First compilation

        # No recompilation with different batch size in the dynamic range
        inputs_bs4 = torch.randn((4, 3, 224, 224), dtype=torch.float32).cuda()
        optimized_model(inputs_bs4)
        """,
        model=model,
    )
    for batch in (1, 4, 8):
        x = place(torch.randn(batch, 3, 224, 224))
        close(scope["optimized_model"](x), model(x))
    assert len(built) == 1


# ------------------------------------------------------------------ 003: overview


@torch.no_grad()
def test_x18_jit():
    scope = run(
        """
        import torch
        import torch_tensorrt

        model = MyModel().eval().cuda()
        x = torch.randn((1, 3, 224, 224)).cuda()

        optimized_model = torch.compile(model, backend="tensorrt")
        optimized_model(x)  # compiled on first call, fast thereafter
        """,
        MyModel=ImageModel,
    )
    close(scope["optimized_model"](scope["x"]), scope["model"](scope["x"]))


@torch.no_grad()
def test_x19_aot_and_save(tmp_path):
    path = tmp_path / "trt.ep"
    scope = run(
        """
        import torch
        import torch_tensorrt

        model = MyModel().eval().cuda()
        inputs = [torch.randn((1, 3, 224, 224)).cuda()]

        trt_gm = torch_tensorrt.compile(model, arg_inputs=inputs)
        torch_tensorrt.save(trt_gm, "trt.ep", arg_inputs=inputs)
        """.replace('"trt.ep"', repr(str(path))),
        MyModel=ImageModel,
    )
    expected = scope["model"](*scope["inputs"])
    close(scope["trt_gm"](*scope["inputs"]), expected)
    torch.save({"x": scope["inputs"][0], "y": expected}, tmp_path / "io.pt")
    code = f"""
import torch, torch_tensorrt
io = torch.load({str(tmp_path / "io.pt")!r})
program = torch_tensorrt.load({str(path)!r})
assert isinstance(program, torch.export.ExportedProgram)
with torch.no_grad():
    print((program.module()(io["x"]) - io["y"]).abs().max().item() < {5e-3 if CUDA else 1e-5})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


# ------------------------------------------------------------------ 004: unsupported operators

from unsupported_operators import *  # noqa: E402, F403
