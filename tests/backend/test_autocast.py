# SPDX-License-Identifier: Apache-2.0
"""Rule-based autocast: which nodes are cast, and that results stay close."""

import re

import pytest
import stator
import torch
from stator.compile import plan_compilation
from stator.lowering.capture import capture
from stator.settings.compilation_settings import make_settings
from torch import nn
from torch.nn import functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.norm = nn.Linear(8, 32), nn.Linear(32, 8), nn.LayerNorm(32)

    def forward(self, x):
        y = self.norm(F.gelu(self.fc1(x)))
        return torch.softmax(self.fc2(y), -1), torch.exp(y)


X = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))


def lowered(module, *args, low=torch.float16, **settings):
    """Node → dtype in the lowered graph."""
    program = torch.export.export(module.eval(), args)
    before = str(program.graph)
    options = {"enable_autocast": True, "autocast_low_precision_type": low, **settings}
    chosen = make_settings({"min_block_size": 1, **options})
    text = plan_compilation(capture(program, args, chosen).handed, chosen).graph_text()
    assert str(program.graph) == before
    return dict(re.findall(r"^  %(\w+): (\w+)\[", text, re.M))


def test_products_are_cast_and_sensitive_nodes_are_not():
    types = lowered(Net(), X)
    assert {n: types[n] for n in ("linear", "gelu", "linear_1")} == dict.fromkeys(
        ("linear", "gelu", "linear_1"), "f16"
    )
    assert [types[n] for n in ("layer_norm", "softmax", "exp")] == ["f32"] * 3
    assert lowered(Net(), X, low=torch.bfloat16)["linear"] == "bf16"


def test_without_a_type_nothing_is_cast():
    assert set(lowered(Net(), X, low=None).values()) == {"f32"}
    assert lowered(Net(), X, enable_autocast=False) == lowered(Net(), X, low=None)


def test_nodes_are_kept_by_the_names_of_the_exported_graph():
    types = lowered(Net(), X, autocast_excluded_nodes={"linear_1"})
    assert (types["linear"], types["linear_1"]) == ("f16", "f32")
    assert "f16" not in lowered(Net(), X, autocast_excluded_nodes={".*linear.*"}).values()


@pytest.mark.parametrize(
    "op", [torch.ops.aten.linear.default, torch.ops.aten.linear, "aten.linear"]
)
def test_operators_are_kept(op):
    assert "f16" not in lowered(Net(), X, autocast_excluded_ops={op}).values()


def test_static_bounds_are_held_against_the_threshold():
    class Clamped(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x):
            return self.fc(x).clamp(-1000, 1000) * 2

    assert lowered(Clamped(), X)["clamp"] == "f32"
    assert lowered(Clamped(), X, autocast_max_output_threshold=1024.0)["clamp"] == "f16"


def test_depth_of_sums():
    types = lowered(Net(), X, autocast_max_depth_of_reduction=8)
    assert (types["linear"], types["linear_1"]) == ("f16", "f32")


def test_calibration_sees_large_values():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(8, 8)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x):
            return self.fc(x)

    torch.manual_seed(0)
    module = Scaled()
    small, large = [X], [{"x": X}, (X * 1e5,)]
    assert lowered(module, X, autocast_calibration_dataloader=small)["linear"] == "f16"
    assert lowered(module, X, autocast_calibration_dataloader=large)["linear"] == "f32"
    state = torch.get_rng_state()
    lowered(module, X, autocast_calibration_dataloader=large)
    assert torch.equal(state, torch.get_rng_state())


def test_dataloader_is_not_read_when_nothing_is_cast():
    class Never:
        def __iter__(self):
            raise AssertionError("read")

    lowered(Net(), X, low=None, autocast_calibration_dataloader=Never())
    lowered(Net(), X, enable_autocast=False, autocast_calibration_dataloader=Never())


@pytest.mark.parametrize("low", [torch.float16, torch.bfloat16])
@torch.no_grad()
def test_results_stay_close_through_both_doors(low):
    torch.manual_seed(0)
    module = Net().eval()
    options = {"min_block_size": 1, "enable_autocast": True, "autocast_low_precision_type": low,
               "pass_through_build_failures": True}  # fmt: skip
    tolerance = 2e-3 if low is torch.float16 else 2e-2
    expected = module(X)
    for got in (
        stator.compile(module, inputs=[X], **options)(X),
        torch.compile(module, backend="stator", options=options)(X),
    ):
        for value, wanted in zip(got, expected, strict=True):
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, wanted, rtol=tolerance, atol=tolerance)


@torch.no_grad()
def test_dry_run_through_torch_compile_is_eager(capsys):
    module = Net().eval()
    options = {
        "dryrun": True,
        "enable_autocast": True,
        "autocast_low_precision_type": torch.float16,
    }
    got = torch.compile(module, backend="stator", options=options)(X)
    torch.testing.assert_close(got[0], module(X)[0], rtol=0, atol=0)


def test_explicit_typing_goes_with_it():
    settings = stator.CompilationSettings(enable_autocast=True, use_explicit_typing=False)
    assert settings.use_explicit_typing
    with pytest.raises(ValueError, match="use_fp32_acc=True needs use_explicit_typing=True"):
        stator.CompilationSettings(use_fp32_acc=True, use_explicit_typing=False)
