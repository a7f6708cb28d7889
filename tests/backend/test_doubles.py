# SPDX-License-Identifier: Apache-2.0
"""truncate_double: float64 models in float32, and float64 left alone without it."""

import pytest
import stator
import torch
from torch import nn

OPTIONS = {"timing_cache_path": "", "min_block_size": 1, "pass_through_build_failures": True}


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(8, 8)
        self.register_buffer("seen", torch.zeros(8))

    def forward(self, x, index):
        y = self.fc(x) + torch.ones(8, dtype=torch.float64) / 3
        self.seen.add_(y.sum(0))
        return y[index], y.float(), index + 2**40, (y > 0)


def net():
    torch.manual_seed(0)
    return Net().double().eval()


ARGS = (torch.randn(4, 8, dtype=torch.float64), torch.tensor([1, 3]))


def through(door, module, **settings):
    options = {**OPTIONS, **settings}
    if door == "ahead":
        return stator.compile(module, inputs=list(ARGS), **options)
    return torch.compile(module, backend="stator", options=options)


@pytest.mark.parametrize("door", ["ahead", "just in time"])
@pytest.mark.parametrize("truncate", [True, False])
@torch.no_grad()
def test_types_at_the_surface_are_the_models(door, truncate):
    module, eager = net(), net()
    compiled = through(door, module, truncate_double=truncate)
    got, wanted = compiled(*ARGS), eager(*ARGS)
    tolerance = 1e-5 if truncate else 1e-12
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
    assert got[2].tolist() == [1 + 2**40, 3 + 2**40]  # int64 stays int64
    torch.testing.assert_close(module.seen, eager.seen, rtol=tolerance, atol=tolerance)
    error = (got[0] - wanted[0]).abs().max().item()
    assert (error > 1e-12) == truncate


def test_engines_take_and_give_float32(capsys):
    stator.compile(net(), inputs=list(ARGS), dryrun=True, truncate_double=True, **OPTIONS)
    out = capsys.readouterr().out
    assert "@float64" not in out and "Tensor: (4, 8)@float32" in out


@torch.no_grad()
def test_verified_and_under_the_old_name(caplog):
    compiled = stator.compile(
        net(), inputs=list(ARGS), truncate_long_and_double=True, verify=True, **OPTIONS
    )
    assert "is not right" not in caplog.text
    torch.testing.assert_close(compiled(*ARGS)[0], net()(*ARGS)[0], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_single_engine_of_one_input():
    torch.manual_seed(0)
    module = nn.Linear(4, 4).double().eval()
    x = torch.randn(2, 4, dtype=torch.float64)
    compiled = stator.compile(module, inputs=[x], truncate_double=True, **OPTIONS)
    assert compiled(x).dtype == torch.float64
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-5, atol=1e-6)
    plain = stator.compile(nn.Linear(4, 4).eval(), inputs=[x.float()], truncate_double=True,
                           **OPTIONS)  # fmt: skip
    assert plain(x.float()).dtype == torch.float32


@torch.no_grad()
def test_operator_that_makes_doubles_by_itself(caplog):
    @torch.library.custom_op("mylib::precise", mutates_args=())
    def precise(x: torch.Tensor) -> torch.Tensor:
        return x.double() + 1e-12

    @precise.register_fake
    def _(x):
        return torch.empty_like(x, dtype=torch.float64)

    class Precise(nn.Module):
        def forward(self, x):
            return torch.ops.mylib.precise(x) * 2

    x = torch.ones(3)
    compiled = stator.compile(Precise(), inputs=[x], truncate_double=True, **OPTIONS)
    assert "mylib.precise.default makes float64 by itself" in caplog.text
    torch.testing.assert_close(compiled(x), Precise()(x), rtol=0, atol=1e-14)
