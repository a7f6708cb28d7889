# SPDX-License-Identifier: Apache-2.0
"""Results that alias inputs, weights or one another in eager PyTorch alias them here, others do
not, and every mutation reaches its tensor."""

import pytest
import stator
import torch
import torch.nn.functional as F
from torch import nn

from tests.correctness.layouts import DOORS, check_memory, compile_by, fresh, memory
from tests.ops.check import Call

RESULTS = {
    "input": lambda x: (x, x * 2),
    "input_alone": lambda x: x,
    "input_twice": lambda x: (x, x, x + 1),
    "view": lambda x: (x.view(-1), x * 2),
    "transposed": lambda x: (x.t(), x * 2),
    "transposed_alone": lambda x: x.t(),
    "rows": lambda x: (x[1:], x * 2),
    "columns": lambda x: (x[:, 1:3], x * 2),
    "row": lambda x: (x[1], x * 2),
    "expanded": lambda x: (x.unsqueeze(0).expand(5, -1, -1), x * 2),
    "chain": lambda x: (x.t()[1:].unsqueeze(1), x * 2),
    "reshape": lambda x: (x.reshape(-1), x * 2),
    "reshape_copies": lambda x: (x.t().reshape(-1), x * 2),
    "flatten": lambda x: (x.flatten(), x * 2),
    "pieces": lambda x: (*x.chunk(2, 1), x * 2),
    "unbound": lambda x: [*x.unbind(0), x + 1],
    "contiguous": lambda x: (x.contiguous(), x * 2),
    "contiguous_copies": lambda x: (x.t().contiguous(), x * 2),
    "same_type": lambda x: (x.to(torch.float32), x.float(), x * 2),
    "other_type": lambda x: (x.to(torch.float64), x * 2),
    "clone": lambda x: (x.clone(), x * 2),
    "clone_alone": lambda x: x.clone(),
    "clone_of_view": lambda x: (x[1:].clone(), x * 2),
    "clone_of_result": lambda x: (lambda y: (y, y.clone()))(x * 2),
    "view_of_clone": lambda x: (x.clone().view(-1), x * 2),
    "copied": lambda x: (x.to(torch.float32, copy=True), x * 2),
    "detached": lambda x: (x.detach(), x * 2),
    "dropout": lambda x: (F.dropout(x, 0.5, False), x * 2),
    "real": lambda x: (x.real, x * 2),
    "as_strided": lambda x: (x.as_strided((2, 3), (1, 2), 1), x * 2),
    "view_as": lambda x: (x.view_as(x.new_empty(4, 3)), x * 2),
    "diagonal": lambda x: (x.diagonal(), x * 2),
    "bits": lambda x: (x.view(torch.int32), x * 2),
    "twice": lambda x: (lambda y: (y, y))(x * 2),
    "twice_in_a_nest": lambda x: (lambda y: {"a": y, "b": [y, (y,)]})(x * 2),
    "equal_results": lambda x: (x * 2, x * 2),
    "equal_views": lambda x: (lambda y: (y.t(), y.t()))(x * 2),
    "result_and_view": lambda x: (lambda y: (y, y.t()))(x * 2),
    "two_views": lambda x: (lambda y: (y[1:], y.t(), y.view(-1)))(x * 2),
    "split": lambda x: (x * 2).split(2, 1),
    "unbind": lambda x: (x * 2).unbind(0),
    "used_view": lambda x: (lambda y: (y, y @ x))(x.t()),
    "empty": lambda x: (x[3:], x * 2),
    "none": lambda x: (x[0], None, x * 2),
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", RESULTS)
def test_results(name, door, device):
    if (name, door) == ("dropout", "torch_compile"):
        pytest.skip("AOTAutograd gives a copy, whatever the backend")
    check_memory(RESULTS[name], torch.randn(3, 4), device=device, door=door)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["view", "transposed", "rows", "contiguous", "pieces", "clone"])
def test_results_of_strided_inputs(name, door, device):
    if name == "view":
        pytest.skip("eager refuses the view")
    x = torch.randn(4, 3).t()
    check_memory(RESULTS[name], x, device=device, door=door)


def test_an_alias_of_a_call_in_another_layout(device):
    """A view is a view of what was given, whatever the example was."""
    module = Call(lambda x: (x.t(), x[1:], x.reshape(-1), x * 2)).eval()
    compiled = compile_by("compile", module, [torch.randn(3, 4)], device)
    x = torch.randn(4, 3, device="cuda" if device == "cuda" else "cpu").t()
    got, expected = compiled(x), module(x)
    assert memory(got, [x])[:3] == memory(expected, [x])[:3]
    torch.testing.assert_close(got, expected)


def _add_to_rows(x):
    x[1:].add_(1)
    return x * 2


def _through_views(x):
    y = x.t()
    y[0].mul_(3)
    z = y.view_as(y)[1:]
    z.copy_(z.exp())
    return y + 1


def _mutate_result(x):
    y = x * 2
    view = y[:, 1:]
    view.add_(1)
    y[0] = 7
    return y, view


def _mutate_after_view(x):
    view = x[1:]
    x.mul_(2)
    return view + 0, view


def _copy_then_mutate(x):
    y = x.clone()
    x.add_(1)
    y.mul_(3)
    return y, x


def _mutate_clone(x):
    y = x.contiguous().clone()
    y[0].fill_(0)
    return y + x


def _out(x):
    y = torch.empty_like(x)
    torch.add(x, 1, out=y)
    return y * 2


def _index_put(x):
    x[torch.tensor([0, 2])] = 5.0
    return x.sum(0)


def _masked(x):
    x[x > 0] = 0.5
    return x.t()


MUTATIONS = {
    "input": lambda x: (x.add_(1), x * 2),
    "input_returned": lambda x: x.mul_(3),
    "view_returned": lambda x: x.mul_(3).view(-1),
    "row_returned": lambda x: x.mul_(3)[1],
    "rows": _add_to_rows,
    "through_views": _through_views,
    "result": _mutate_result,
    "after_view": _mutate_after_view,
    "copy": _copy_then_mutate,
    "clone": _mutate_clone,
    "out": _out,
    "index_put": _index_put,
    "masked": _masked,
    "zero": lambda x: (x.zero_(), x + 1)[1],
    "set_twice": lambda x: (x.add_(1), x.mul_(2), x - 1)[2],
    "relu": lambda x: F.relu(x, inplace=True) + 1,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_of_inputs(name, door, device):
    check_memory(MUTATIONS[name], torch.randn(3, 4), device=device, door=door)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("name", ["input", "rows", "through_views", "masked", "index_put"])
def test_mutations_of_views(name, door, device):
    """What is given is a part of a larger tensor: the rest of it stays as it is."""
    if name == "through_views":
        pytest.skip("view_as needs a viewable tensor")
    function = MUTATIONS[name]
    compiled = compile_by(door, Call(function).eval(), [torch.randn(6, 8)[::2, 1:5]], device)
    where = "cuda" if device == "cuda" else "cpu"
    base = torch.randn(6, 8, device=where)
    for _ in range(2):
        theirs, ours = base.clone(), base.clone()
        with torch.no_grad():
            expected, got = function(theirs[::2, 1:5]), compiled(ours[::2, 1:5])
        torch.testing.assert_close(ours, theirs)
        torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("door", DOORS)
def test_mutations_in_channels_last(door, device):
    x = torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last)
    check_memory(lambda x: (x.add_(1), x[:, 1:] * 2), x, device=device, door=door)


class Counter(nn.Module):
    """Buffers that are changed in every way, and given out."""

    def __init__(self):
        super().__init__()
        self.register_buffer("count", torch.zeros(()))
        self.register_buffer("cache", torch.zeros(4, 3))
        self.register_buffer("last", torch.zeros(2, 4))
        self.weight = nn.Parameter(torch.randn(3, 3))

    def forward(self, x):
        self.count += 1
        self.cache[1:3] = x
        self.cache[:, 0].mul_(2)
        self.last.copy_(self.last.roll(1, 0) + x.sum())
        return x @ self.weight + self.cache[:2] + self.count


class Given(Counter):
    def forward(self, x):
        y = super().forward(x)
        return y, self.cache, self.cache.t(), self.count, self.weight, self.weight.t()


class Reads(Counter):
    def forward(self, x):
        return self.cache[1:], self.weight, self.weight[0], self.last.clone(), x @ self.weight


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", [Counter, Given, Reads])
def test_buffers_and_parameters(kind, door, device):
    torch.manual_seed(0)
    check_memory(kind(), torch.randn(2, 3), device=device, door=door, calls=3)


@pytest.mark.parametrize("door", DOORS)
def test_what_is_written_to_a_result_is_not_written_elsewhere(door, device):
    """Results have memory of their own where they have it in eager, call by call."""
    function = Call(lambda x: (x.clone(), x * 2, x * 2, (x + 1).t())).eval()
    x = torch.randn(3, 4, device="cuda" if device == "cuda" else "cpu")
    compiled = compile_by(door, function, [x], device)
    kept = x.clone()
    first = compiled(x)
    saved = [t.clone() for t in first]
    second = compiled(x)
    for tensor in second:
        tensor.fill_(9)
    torch.testing.assert_close(x, kept)
    torch.testing.assert_close(list(first), saved)
    torch.testing.assert_close(list(compiled(x)), saved)


@pytest.mark.parametrize("door", DOORS)
def test_aliases_behind_segments(door, device):
    """Views of inputs and of results, with operators in PyTorch between engines."""

    def function(x):
        y = torch.sin(x * 2) + 1
        return x[1:], y, y.t(), torch.sin(y).split(2, 1)

    check_memory(
        function, torch.randn(3, 4), device=device, door=door,
        torch_executed_ops={"aten.sin.default"},
    )  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
def test_dynamic_views(door, device):
    module = Call(lambda x: (x.view(-1), x[1:], x.view(x.shape[0], 2, -1), x.t() + 1)).eval()
    where = "cuda" if device == "cuda" else "cpu"
    examples = [torch.randn(n, 4, device=where) for n in (4, 6, 5)]
    if door == "compile":
        program = torch.export.export(
            module,
            (examples[0],),
            dynamic_shapes={"args": ({0: torch.export.Dim("n", min=3, max=64)},)},
        )
        compiled = compile_by(door, program, [examples[0]], device)
    else:
        for x in examples:
            torch._dynamo.mark_dynamic(x, 0)
        compiled = compile_by(door, module, [examples[0]], device)
    for x in examples:
        assert memory(compiled(x), [x]) == memory(module(x), [x])
        torch.testing.assert_close(compiled(x), module(x))


def test_inputs_that_are_one_tensor(device):
    """The same tensor as two arguments of a model that changes one of them."""
    module = Call(lambda x, y: (x.add_(1), x * y)[1]).eval()
    where = "cuda" if device == "cuda" else "cpu"
    a, b = torch.randn(3, 4, device=where), torch.randn(3, 4, device=where)
    compiled = compile_by("torch_compile", module, [a, b], device)
    for x, y in ((a, b), (a, a), (b, b)):
        ours, theirs = fresh(x), fresh(x)
        got = compiled(ours, ours if x is y else y)
        expected = module(theirs, theirs if x is y else y)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(ours, theirs)


def test_saved_aliases(tmp_path):
    module = Call(lambda x: (x[1:], x.t(), x.clone(), x * 2)).eval()
    x = torch.randn(3, 4)
    compiled = compile_by("compile", module, [x], "cpu")
    stator.save(compiled, tmp_path / "m.pt2", arg_inputs=[x])
    loaded = stator.load(tmp_path / "m.pt2").module()
    assert memory(loaded(x), [x]) == memory(module(x), [x])
