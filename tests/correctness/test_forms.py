# SPDX-License-Identifier: Apache-2.0
"""No form of a model aborts a compilation, and each gives what eager PyTorch gives."""

from __future__ import annotations

import collections
import copy
import itertools
from typing import Any

import pytest
import stator
import torch
from torch import fx
from torch.utils import _pytree as pytree

from tests.correctness.forms import FORMS, Form

SETTINGS = {"min_block_size": 1, "timing_cache_path": "", "optimization_level": 0}
JUST_IN_TIME = [f for f in FORMS if f.just_in_time]
AHEAD_OF_TIME = [f for f in FORMS if f.exported]


def duplicate(*values: Any) -> Any:
    """A deep copy; compressed sparse tensors have no such."""
    memo = {
        id(leaf): leaf.clone()
        for leaf in pytree.tree_leaves(values)
        if isinstance(leaf, torch.Tensor) and leaf.layout == torch.sparse_csr
    }
    return copy.deepcopy(values, memo)


def plain(value: Any) -> Any:
    """A tensor of any layout or class as one that can be compared."""
    if value.layout == torch.jagged:
        return [part.detach() for part in value.unbind()]
    if value.layout != torch.strided:
        return value.detach().to_dense()
    for name in ("plain", "dequantize"):
        if type(value) not in (torch.Tensor, torch.nn.Parameter) and hasattr(value, name):
            return getattr(value, name)().detach()
    return value.detach()


def cache_parts(value: Any) -> Any:
    """The tensors of a cache of transformers, which is no pytree by itself."""
    if type(value).__name__ != "DynamicCache":
        return value
    return [(layer.keys, layer.values) for layer in value.layers]


def is_cache(value: Any) -> bool:
    return type(value).__name__ == "DynamicCache"


def same_leaf(given: Any, expected: Any) -> None:
    if not isinstance(expected, torch.Tensor):
        assert type(given) is type(expected) and given == expected
        return
    assert isinstance(given, torch.Tensor)
    assert given.layout == expected.layout and given.dtype == expected.dtype
    half = expected.dtype in (torch.float16, torch.bfloat16)
    limits = {"rtol": 2e-2, "atol": 2e-2} if half else {"rtol": 1e-4, "atol": 1e-5}
    torch.testing.assert_close(
        plain(given), plain(expected), equal_nan=True, check_stride=False, **limits
    )


def same(given: Any, expected: Any) -> None:
    """The same nest, types and values."""
    given, expected = (
        pytree.tree_map(cache_parts, nest, is_leaf=is_cache) for nest in (given, expected)
    )
    leaves, spec = pytree.tree_flatten(given)
    wanted, wanted_spec = pytree.tree_flatten(expected)
    assert spec == wanted_spec
    for a, b in zip(leaves, wanted, strict=True):
        same_leaf(a, b)


def state_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(itertools.chain(model.named_parameters(), model.named_buffers()))


class Twins:
    """The same model and arguments twice: for eager PyTorch, and to compile."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.model, self.args, self.kwargs = form.example()
        (self.eager,) = duplicate(self.model)

    def check(self, compiled: Any) -> None:
        """Call both twice; compare results, and what became of arguments, weights and buffers."""
        for seed in range(2):
            self.check_call(compiled, self.args, self.kwargs, seed)
        if self.form.others is not None:
            self.check_call(compiled, self.form.others(), {}, seed)

    def check_call(self, compiled: Any, args: Any, kwargs: Any, seed: int) -> None:
        args, kwargs = duplicate(args, kwargs)
        eager_args, eager_kwargs = duplicate(args, kwargs)
        torch.manual_seed(seed)
        expected = self.eager(*eager_args, **eager_kwargs)
        torch.manual_seed(seed)
        same(compiled(*args, **kwargs), expected)
        same((args, kwargs), (eager_args, eager_kwargs))
        same(state_of(self.model), state_of(self.eager))


def targets_in_pytorch(compiled: torch.nn.Module) -> collections.Counter[str]:
    """The operators that the segments in PyTorch call."""
    kinds = (torch._ops.OpOverload, torch._ops.HigherOrderOperator)
    return collections.Counter(
        node.target.name().split("::")[-1].split(".")[0]
        for name, part in compiled.named_children()
        if name.startswith("_run_on_gpu") and isinstance(part, fx.GraphModule)
        for node in part.graph.nodes
        if isinstance(node.target, kinds)
    )


def check_report(compiled: torch.nn.Module, form: Form) -> None:
    """What the report says of the parts is what they are."""
    report = compiled.stator_report
    assert all(f["reason"] for f in report.fallbacks)
    told = collections.Counter(f["target"].split(".")[1] for f in report.fallbacks)
    called = targets_in_pytorch(compiled)
    for silent in ("sym_size", "sym_constrain_range_for_size", "_assert_scalar", "sym_numel"):
        called.pop(silent, None)
    assert told == called
    if form.left:
        assert any(form.left in target for target in told), told
    assert bool(report.engines) == (report.total_operators > len(report.fallbacks))
    if form.engines:
        assert report.engines, report.fallbacks


@torch.no_grad()
@pytest.mark.parametrize("form", JUST_IN_TIME, ids=lambda f: f.name)
def test_just_in_time(form: Form) -> None:
    twins = Twins(form)
    twins.check(torch.compile(twins.model, backend="stator", options=SETTINGS))


@torch.no_grad()
@pytest.mark.parametrize("form", JUST_IN_TIME, ids=lambda f: f.name)
def test_just_in_time_with_symbols(form: Form) -> None:
    """With sizes and numbers that vary."""
    twins = Twins(form)
    twins.check(torch.compile(twins.model, backend="stator", dynamic=True, options=SETTINGS))


@torch.no_grad()
@pytest.mark.parametrize("form", AHEAD_OF_TIME, ids=lambda f: f.name)
def test_ahead_of_time(form: Form) -> None:
    twins = Twins(form)
    compiled = stator.compile(
        twins.model, arg_inputs=twins.args, kwarg_inputs=twins.kwargs, **SETTINGS
    )
    check_report(compiled, form)
    twins.check(compiled)
