# SPDX-License-Identifier: Apache-2.0
"""The settings: names, defaults, checks, warnings, the page that is made from them."""

import dataclasses
import logging
from pathlib import Path

import pytest
import stator
import torch
import torch_tensorrt
from stator.settings.compilation_settings import make_settings, settings_table
from torch import nn

FIELDS = dataclasses.fields(stator.CompilationSettings)
ROOT = Path(__file__).resolve().parents[2]


def compile_with(**settings):
    module = nn.Linear(4, 4).eval()
    options = {"min_block_size": 1, "timing_cache_path": "", **settings}
    return stator.compile(module, inputs=[torch.randn(2, 4)], **options)


def test_one_class_under_every_name():
    from torch_tensorrt.dynamo import CompilationSettings
    from torch_tensorrt.dynamo._settings import CompilationSettings as Private

    assert CompilationSettings is Private is stator.CompilationSettings
    assert torch_tensorrt.CompilationSettings is stator.CompilationSettings
    assert repr(stator.CompilationSettings()).startswith(
        "CompilationSettings(enabled_precisions={dtype.f32}, min_block_size=5, "
    )


def test_every_field_is_described():
    for field in FIELDS:
        assert f"        {field.name}: " in stator.CompilationSettings.__doc__
        assert field.metadata["meaning"].endswith(".") or ":" in field.metadata["meaning"]


def test_the_page_is_what_the_code_says():
    assert (ROOT / "docs" / "settings.md").read_text().endswith(settings_table()), (
        "run scripts/list_settings.py"
    )


class Batches:
    """A dataloader of one batch."""

    def __iter__(self):
        return iter([(torch.zeros(2, 4),)])


class Engines:
    """An engine cache that is always empty."""

    def save(self, hash, blob, *args, **kwargs):
        pass

    def load(self, hash, *args, **kwargs):
        return None


# Another value than the default of every field.
OTHER = {
    "enabled_precisions": {torch.float32, torch.float16}, "min_block_size": 2,
    "torch_executed_ops": {"aten.exp.default"}, "require_full_compilation": True,
    "engine_capability": stator.EngineCapability.SAFETY,
    "device": "reference", "optimization_level": 1,
    "workspace_size": 1 << 20, "use_python_runtime": True, "autocast_excluded_nodes": {"x"},
    "autocast_excluded_ops": {"aten.exp.default"}, "autocast_low_precision_type": torch.bfloat16,
    "autocast_max_output_threshold": 10.0, "autocast_max_depth_of_reduction": 10,
    "autocast_calibration_dataloader": Batches(), "cpu_memory_budget": 1 << 40,
    "tiling_optimization_level": "fast", "l2_limit_for_tiling": 1 << 20, "timing_cache_path": "t",
    "engine_cache_dir": "c", "engine_cache_size": 1 << 20, "max_aux_streams": 1,
    "num_avg_timing_iters": 2, "dryrun": True, "build_time_budget": 100.0,
    "disabled_passes": {"fold_constants"}, "dump_directory": "d", "dla_sram_size": 1 << 21,
    "dla_local_dram_size": 1 << 21, "dla_global_dram_size": 1 << 21,
    "custom_engine_cache": Engines(), "disabled_constant_fold_exclusions": set(),
}  # fmt: skip


def other_value(field):
    default = getattr(stator.CompilationSettings(), field.name)
    if field.name in OTHER:
        return OTHER[field.name]
    assert isinstance(default, bool), f"give {field.name} a value to test with"
    return not default


ENTRIES = {
    "torch_tensorrt.dynamo.compile": lambda m, x, s: torch_tensorrt.dynamo.compile(
        torch_tensorrt.dynamo.trace(m, [x]), inputs=[x], **s
    ),
    "torch_tensorrt.compile": lambda m, x, s: torch_tensorrt.compile(m, inputs=[x], **s),
    "torch.compile": lambda m, x, s: torch.compile(m, backend="tensorrt", options=s)(x),
}


@pytest.mark.parametrize("entry", ENTRIES)
@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.name)
def test_every_field_at_every_entry(field, entry, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    value = other_value(field)
    needed = {
        "refit_identical_engine_weights": {"immutable_weights": False},
        "cpu_memory_budget": {"enable_resource_partitioning": True},
    }.get(field.name, {})
    settings = {"dryrun": True, field.name: value, **needed}
    with torch.no_grad():
        ENTRIES[entry](
            nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval(), torch.zeros(2, 4), settings
        )
    shown = capsys.readouterr().out
    (line,) = [line for line in shown.splitlines() if "Compiled with: " in line]
    made = make_settings({field.name: value, **needed})
    assert f"{field.name}={getattr(made, field.name)!r}" in line


def test_sets_are_not_shared():
    one, two = stator.CompilationSettings(), stator.CompilationSettings()
    one.torch_executed_ops.add("aten.add.Tensor")
    assert not two.torch_executed_ops


WRONG = {bool: "yes", int: "many", float: "much", str: 3, set: 3}


@pytest.mark.parametrize("field", FIELDS, ids=lambda f: f.name)
def test_wrong_types_name_the_setting(field):
    default = getattr(stator.CompilationSettings(), field.name)
    if field.name in ("autocast_calibration_dataloader",):
        pytest.skip("anything that yields batches")
    wrong = WRONG.get(type(default), object())
    if field.name == "dryrun":
        wrong = 3
    with pytest.raises((ValueError, TypeError)) as caught:
        compile_with(**{field.name: wrong})
    assert field.name in str(caught.value) or "no dtype" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("optimization_level", 6), ("optimization_level", -1), ("min_block_size", 0),
     ("min_block_size", 2.5), ("workspace_size", -1), ("l2_limit_for_tiling", -2),
     ("tiling_optimization_level", "most"), ("autocast_low_precision_type", torch.int8),
     ("autocast_excluded_nodes", {"("}), ("enabled_precisions", {torch.complex64}),
     ("disabled_constant_fold_exclusions", {"rule"})],
)  # fmt: skip
def test_impossible_values(name, value):
    with pytest.raises((ValueError, TypeError)):
        make_settings({name: value})


def test_unknown_names_give_the_nearest():
    with pytest.raises(TypeError, match="'min_blok_size'; did you mean 'min_block_size'"):
        compile_with(min_blok_size=3)
    with pytest.raises(Exception, match="did you mean 'min_block_size'"), torch.no_grad():
        torch.compile(nn.Linear(2, 2), backend="stator", options={"min_blok_size": 3})(
            torch.ones(1, 2)
        )


def warnings_of(caplog, **settings):
    caplog.clear()
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        compile_with(**settings)
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_defaults_never_warn(caplog):
    assert warnings_of(caplog) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("sparse_weights", True), ("dla_sram_size", 1),
     ("offload_module_to_cpu", True), ("strip_engine_weights", True),
     ("use_explicit_typing", False),
     ("engine_capability", stator.EngineCapability.DLA_STANDALONE)],
)  # fmt: skip
def test_no_effect_is_said_once(caplog, name, value):
    lines = warnings_of(caplog, **{name: value})
    assert len(lines) == 1
    assert lines[0].startswith(f"{name}={value!r} has no effect on cpu: ")


@pytest.mark.parametrize(
    ("old", "new", "value", "kept"),
    [("truncate_long_and_double", "truncate_double", True, True),
     ("make_refittable", "immutable_weights", True, False),
     ("refit", "immutable_weights", True, False)],
)  # fmt: skip
def test_old_names(caplog, old, new, value, kept):
    with caplog.at_level(logging.WARNING, "torch_tensorrt"):
        assert getattr(make_settings({old: value}), new) is kept
    assert f"{old} is deprecated; use {new}" in caplog.text


def test_precisions_are_deprecated(caplog):
    lines = warnings_of(caplog, enabled_precisions={torch.float, torch.half})
    assert len(lines) == 1 and "deprecated" in lines[0]


@pytest.mark.parametrize("where", ["cpu", torch.device("cpu"), stator.Device("cpu")])
def test_devices(where):
    compile_with(device=where)


def test_device_objects():
    assert stator.Device(gpu_id=1) == stator.Device("cuda:1") != stator.Device("cuda:0")
    assert str(stator.Device("cpu")) == "cpu" and stator.Device("cpu").gpu_id == -1
    for wrong in ({}, {"spec": "cpu", "gpu_id": 0}, {"gpu_id": -1}, {"spec": "toaster"}):
        with pytest.raises(ValueError):
            stator.Device(**wrong)


def test_debug_puts_the_level_back(capfd):
    logger = logging.getLogger("torch_tensorrt")
    before = logger.level
    compile_with(debug=True)
    assert logger.level == before


def test_debugger_writes_what_it_was_asked_for(tmp_path):
    from torch_tensorrt.dynamo import Debugger

    with Debugger("info", capture_fx_graph_after=["fold_constants"], save_engine_profile=True,
                  save_layer_info=True, logging_dir=str(tmp_path)):  # fmt: skip
        compile_with()
    assert (tmp_path / "graphs" / "000_input.graph").exists()
    assert "traceEvents" in (tmp_path / "_run_on_acc_0_profile.json").read_text()
    assert "inputs" in (tmp_path / "_run_on_acc_0_layers.json").read_text()
    with pytest.raises(ValueError, match="log_level='loud'"):
        Debugger("loud")


def test_program_explains_an_engine(tmp_path):
    import subprocess
    import sys

    program = Path(sys.executable).parent / "stator"
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU()).eval()
    torch.export.save(torch.export.export(module, (torch.randn(2, 4),)), tmp_path / "m.pt2")
    for command in (
        ["compile", "m.pt2", "-o", "m.engine", "-O", "0"], ["explain-settings", "m.engine"],
    ):  # fmt: skip
        done = subprocess.run(
            [program, *command], cwd=tmp_path, capture_output=True, text=True, check=True
        )
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert lines["optimization_level"].endswith("was taken, none was timed")
    assert lines["device"].endswith("built for cpu") and len(lines) >= 12


@torch.no_grad()
@pytest.mark.parametrize("precision", [torch.int8, torch.float8_e4m3fn])
def test_precisions_that_need_a_quantized_model(precision, caplog):
    module, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU()).eval(), torch.randn(3, 8)
    engine = stator.compile(
        module, inputs=[x], enabled_precisions={torch.float32, precision}, min_block_size=1,
        timing_cache_path="",
    )  # fmt: skip
    assert "quantizes nothing: the model must be quantized first" in caplog.text
    torch.testing.assert_close(engine(x), module(x), rtol=1e-5, atol=1e-6)
