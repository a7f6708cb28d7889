# SPDX-License-Identifier: Apache-2.0
"""Compiled modules are copied, pickled and saved with torch.save; the copies give equal results."""

import copy
import io
import pickle
import subprocess
import sys

import pytest
import stator
import torch
from torch import nn

FAST = {"timing_cache_path": "", "optimization_level": 0}


def by_pickle(module):
    return pickle.loads(pickle.dumps(module))


def by_torch_save(module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


WAYS = [by_pickle, by_torch_save, copy.deepcopy]


def network():
    return nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).eval()


class Mixed(nn.Module):
    """Engines around operators that run in PyTorch and use weights."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(4) * 9)
        self.register_buffer("shift", torch.randn(4, 4))

    def forward(self, x, *, scale=1.0):
        y = (x * 2).relu() + self.shift
        z = torch.linalg.inv(y @ y.transpose(-1, -2) + self.weight)
        z = z.to(torch.float64, memory_format=torch.contiguous_format).float()
        return {"z": (z * scale).tanh(), "y": [y, x.shape[0]]}


class Counter(nn.Module):
    """State, and an argument that is written to."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x):
        self.count.add_(1)
        x.add_(self.count)
        return torch.linalg.inv(x @ x.t() + torch.eye(3)) * self.count


def same(got, expected):
    torch.utils._pytree.tree_map(
        lambda a, b: torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5), got, expected
    )


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_one_engine(way):
    model, x = network(), torch.randn(3, 8)
    compiled = stator.compile(model, [x], **FAST)
    copied = way(compiled)
    assert type(copied) is stator.CompiledModule and copied is not compiled
    assert torch.equal(copied(x), compiled(x))
    assert str(copied.stator_report) == str(compiled.stator_report)


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_dynamic_sizes(way):
    model = network()
    rows = stator.Input(min_shape=(1, 8), opt_shape=(4, 8), max_shape=(16, 8))
    copied = way(stator.compile(model, [rows], **FAST))
    for n in (1, 5, 16):
        x = torch.randn(n, 8)
        same(copied(x), model(x))


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_parts_in_pytorch_and_their_weights(way):
    model, x = Mixed().eval(), torch.randn(2, 4, 4)
    compiled = stator.compile(model, [x], kwarg_inputs={"scale": 0.5}, **FAST)
    assert len(compiled.stator_report.engines) >= 2
    copied = way(compiled)
    expected = model(x, scale=0.5)
    same(copied(x, scale=0.5), expected)
    names = [name for name, _ in compiled.named_children()]
    assert [name for name, _ in copied.named_children()] == names
    for name, child in copied.named_children():
        assert child is copied.program.get_submodule(name)  # once, not twice
    same(way(copied)(x, scale=0.5), expected)


@torch.no_grad()
def test_dynamic_sizes_in_pytorch():
    model = Mixed().eval()
    shape = stator.Input(min_shape=(1, 4, 4), opt_shape=(2, 4, 4), max_shape=(9, 4, 4))
    copied = by_pickle(stator.compile(model, [shape], **FAST))
    for n in (1, 4, 9):
        x = torch.randn(n, 4, 4)
        same(copied(x), model(x))


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_state_is_the_copys_own(way):
    model, x = Counter(), torch.randn(3, 3)
    compiled = stator.compile(model, [x.clone()], **FAST)
    copied = way(compiled)
    other = copy.deepcopy(model)
    for _ in range(3):
        one, two = x.clone(), x.clone()
        same(copied(one), other(two))
        same(one, two)
    assert model.count.item() == 0  # the original's state was left alone
    compiled(x.clone())
    assert model.count.item() == 1


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_doubles(way):
    model, x = network().double(), torch.randn(3, 8).double()
    compiled = stator.compile(model, [x], truncate_double=True, **FAST)
    copied = way(compiled)
    assert torch.equal(copied(x), compiled(x)) and copied(x).dtype == torch.float64


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("python_runtime", [False, True])
def test_engines_by_themselves(way, python_runtime):
    model, x = network(), torch.randn(3, 8)
    compiled = stator.compile(model, [x], use_python_runtime=python_runtime, **FAST)
    (module,) = compiled.stator_report.engines
    assert torch.equal(way(module)(x)[0], compiled(x))
    assert torch.equal(way(module.engine)(x)[0], compiled(x))


@torch.no_grad()
def test_in_another_process(tmp_path):
    model, x = Mixed().eval(), torch.randn(2, 4, 4)
    compiled = stator.compile(model, [x], **FAST)
    torch.save(compiled, tmp_path / "model.pt")
    torch.save({"x": x, "y": model(x)}, tmp_path / "io.pt")
    code = f"""
import torch, stator
io = torch.load({str(tmp_path / "io.pt")!r})
model = torch.load({str(tmp_path / "model.pt")!r}, weights_only=False)
with torch.no_grad():
    print(torch.allclose(model(io["x"])["z"], io["y"]["z"], atol=1e-5))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr


@torch.no_grad()
@pytest.mark.parametrize("way", WAYS)
def test_models_that_were_not_compiled(way):
    model, x = network(), torch.randn(3, 8)
    for settings in ({"dryrun": True}, {"min_block_size": float("inf")}):
        compiled = stator.compile(model, [x], **settings)
        copied = way(compiled)
        assert type(copied) is type(compiled)
        same(copied(x), model(x))


def test_defaults_that_cannot_be_pickled():
    class Activated(nn.Module):
        def forward(self, x, act=lambda v: v * 2):
            return act(x)

    x = torch.randn(3)
    compiled = stator.compile(Activated(), [x], **FAST)
    for copied in (by_pickle(compiled), copy.deepcopy(compiled)):
        same(copied(x), x * 2)


def test_what_cannot_be_pickled_says_so():
    library = torch.library.Library("stator_pickling", "DEF")
    library.define("held(Tensor x, *, Generator? generator=None) -> Tensor")
    library.impl("held", lambda x, *, generator=None: x + 1, "CompositeExplicitAutograd")

    class Held(nn.Module):
        def forward(self, x):
            return torch.ops.stator_pickling.held(x) * 2

    x = torch.randn(3)
    compiled = stator.compile(Held(), [x], **FAST)
    same(by_pickle(compiled)(x), Held()(x))
    segment = next(m for m in compiled.children() if isinstance(m, torch.fx.GraphModule))
    node = next(n for n in segment.graph.nodes if "held" in str(n.target))
    node.kwargs = {"generator": torch.Generator()}
    node.kwargs = {"generator": (lambda: 1)}
    with pytest.raises(pickle.PicklingError) as caught:
        pickle.dumps(compiled)
    text = str(caught.value)
    assert node.name in text and "function" in text and "which runs in PyTorch" in text
    del library


@torch.no_grad()
def test_operators_that_the_reader_lacks(tmp_path):
    code = """
import sys, torch, stator, pickle
if len(sys.argv) > 2:
    library = torch.library.Library("elsewhere", "DEF")
    library.define("op(Tensor x) -> Tensor")
    library.impl("op", lambda x: x + 1, "CompositeExplicitAutograd")
    class M(torch.nn.Module):
        def forward(self, x):
            return torch.ops.elsewhere.op(x) * 2
    compiled = stator.compile(M(), [torch.randn(3)], timing_cache_path="")
    open(sys.argv[1], "wb").write(pickle.dumps(compiled))
else:
    try:
        pickle.load(open(sys.argv[1], "rb"))
    except pickle.UnpicklingError as error:
        print(error)
"""
    path = str(tmp_path / "model.pickle")
    for arguments in ([path, "write"], [path]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "elsewhere.op.default, which is not registered" in done.stdout
