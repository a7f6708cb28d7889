# SPDX-License-Identifier: Apache-2.0
"""Dataclasses as results, ahead of time: as eager gives them, and no class is registered for it."""

import copy
import dataclasses
import pickle
import sys
from dataclasses import dataclass
from typing import Any

import pytest
import stator
import torch
from torch import nn
from torch.utils import _pytree as pytree

SETTINGS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0}


@dataclass
class Plain:
    y: torch.Tensor
    z: Any = None
    n: int = 3


@dataclass
class Unknown:
    """Of one test alone: PyTorch keeps the forms that it has read from a file."""

    y: torch.Tensor


@dataclass(frozen=True)
class Frozen:
    y: torch.Tensor
    name: str = "a"


@dataclass(slots=True)
class Slots:
    y: torch.Tensor
    more: Any = None


@dataclass
class Derived(Plain):
    w: Any = None


@dataclass
class Computed:
    y: torch.Tensor
    k: Any = dataclasses.field(init=False, default=None)

    def __post_init__(self):
        self.k = self.y + 1
        self.other = self.y - 1


@dataclass(kw_only=True)
class WithKind:
    y: torch.Tensor
    kind: Any = torch.float32


class Model(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


RESULTS = {
    "plain": lambda x: Plain(x * 2),
    "all fields": lambda x: Plain(x * 2, x + 1, 5),
    "a size": lambda x: Plain(x * 2, None, x.shape[0]),
    "frozen, with text": lambda x: Frozen(x * 2, "b"),
    "slots": lambda x: Slots(x * 2, [x + 1]),
    "derived": lambda x: Derived(x * 2, w=x.sum()),
    "computed": lambda x: Computed(x * 2),
    "nested": lambda x: Plain(Frozen(x * 2), [Slots(x + 1), {"a": Computed(x * 3)}]),
    "in a list": lambda x: [Plain(x * 2), x + 1, Plain(x * 3)],
    "an argument": lambda x: Plain(x, x.view(-1), 1),
    "the same twice": lambda x: (lambda y: Plain(y, y))(x * 2),
}


def same(a, b):
    if dataclasses.is_dataclass(a):
        assert type(a) is type(b)
        fields = {*(f.name for f in dataclasses.fields(a)), *getattr(b, "__dict__", {})}
        for name in fields:
            same(getattr(a, name), getattr(b, name))
    elif isinstance(a, list | tuple):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, dict):
        assert a.keys() == b.keys()
        for key, value in a.items():
            same(value, b[key])
    elif isinstance(a, torch.Tensor):
        torch.testing.assert_close(a, b)
    else:
        assert a == b


@pytest.fixture
def none_registered():
    before = set(pytree.SUPPORTED_NODES)
    yield
    assert set(pytree.SUPPORTED_NODES) == before


@pytest.fixture(params=["static", "dynamic"])
def inputs(request):
    if request.param == "static":
        return [torch.randn(3, 4)]
    return [stator.Input(min_shape=(1, 4), opt_shape=(3, 4), max_shape=(9, 4))]


@pytest.mark.usefixtures("none_registered")
@pytest.mark.parametrize("settings", [{}, {"min_block_size": 100}, {"dryrun": True}])
@pytest.mark.parametrize("name", RESULTS)
def test_as_eager_gives_them(name, settings, inputs):
    model = Model(RESULTS[name]).eval()
    compiled = stator.compile(model, inputs, **{**SETTINGS, **settings})
    for _ in range(3):
        x = torch.randn(3, 4)
        same(compiled(x), model(x))


@pytest.mark.usefixtures("none_registered")
@pytest.mark.parametrize("name", RESULTS)
def test_saved_copied_and_pickled(name, inputs, tmp_path):
    model = Model(RESULTS[name]).eval()
    compiled = stator.compile(model, inputs, **SETTINGS)
    stator.save(compiled, tmp_path / "m.pt2", inputs=inputs)
    x = torch.randn(3, 4)
    same(stator.load(tmp_path / "m.pt2").module()(x), model(x))
    same(copy.deepcopy(compiled)(x), model(x))
    same(pickle.loads(pickle.dumps(compiled))(x), model(x))


@pytest.mark.usefixtures("none_registered")
def test_exported_programs(inputs, tmp_path):
    model = Model(RESULTS["nested"]).eval()
    program = stator.trace(model, inputs)
    x = torch.randn(3, 4)
    same(program.module()(x), model(x))
    same(stator.compile(program, **SETTINGS)(x), model(x))
    torch.export.save(program, tmp_path / "m.pt2")
    loaded = torch.export.load(tmp_path / "m.pt2")
    same(loaded.module()(x), model(x))
    same(stator.compile(loaded, **SETTINGS)(x), model(x))


@pytest.mark.usefixtures("none_registered")
def test_of_a_model_that_writes():
    class Writes(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x, seen):
            self.count += 1
            x.mul_(2)
            seen.append(x + 1)
            return Plain(x.view(-1)[1:], self.count + 1)

    ours, eager = Writes().eval(), Writes().eval()
    compiled = stator.compile(ours, [torch.ones(2, 3), [torch.ones(1)]], **SETTINGS)
    for _ in range(3):
        x, seen = torch.randn(2, 3), [torch.zeros(1)]
        other, also = x.clone(), [torch.zeros(1)]
        same(compiled(x, seen), eager(other, also))
        torch.testing.assert_close(x, other)
        torch.testing.assert_close(seen, also)


def test_objects_that_are_no_values():
    model = Model(lambda x: WithKind(y=x * 2)).eval()
    compiled = stator.compile(model, [torch.randn(2, 3)], **SETTINGS)
    x = torch.randn(2, 3)
    same(compiled(x), model(x))


def test_a_file_loads_where_the_class_is_known_alone(tmp_path, monkeypatch):
    model = Model(lambda x: Unknown(x * 2)).eval()
    compiled = stator.compile(model, [torch.randn(2, 3)], **SETTINGS)
    stator.save(compiled, tmp_path / "m.pt2", inputs=[torch.randn(2, 3)])
    monkeypatch.delattr(sys.modules[Unknown.__module__], "Unknown")
    with pytest.raises(ValueError, match="no saved program, or is damaged"):
        stator.load(tmp_path / "m.pt2")


def test_another_class_is_named():
    class Other:
        def __init__(self, y):
            self.y = y

    model = Model(Other).eval()
    with pytest.raises(stator.ExportError, match="does not know to be made of tensors"):
        stator.compile(model, [torch.randn(2, 3)], require_full_compilation=True)
    x = torch.randn(2, 3)
    assert type(stator.compile(model, [x], **SETTINGS)(x)) is Other
