# SPDX-License-Identifier: Apache-2.0
"""What several parts ask of an FX graph and of the values that torch.export notes in it."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import fx
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils import _pytree as pytree

from stator.graphs.known_sizes import KnownSizes

__all__ = ["cast_value", "fake_mode_of", "inline", "noted", "replace", "returned", "user_values"]


def returned(gm: fx.GraphModule) -> list[Any]:
    """What a graph returns: nodes and constants."""
    values = next(n for n in gm.graph.nodes if n.op == "output").args[0]
    return list(values) if isinstance(values, tuple | list) else [values]


def user_values(program: ExportedProgram) -> list[Any]:
    """meta["val"] of each user input of an exported program (the value itself for a constant)."""
    nodes = {n.name: n for n in program.graph.nodes if n.op == "placeholder"}
    return [
        nodes[spec.arg.name].meta.get("val")
        for spec in program.graph_signature.input_specs
        if spec.kind is InputKind.USER_INPUT
    ]


def cast_value(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The noted value of a node in another type; it is a fake tensor, or a weight."""
    mode = getattr(value, "fake_mode", None)
    if mode is None:
        return value.to(dtype)
    with mode:
        return value.to(dtype)


def fake_mode_of(gm: fx.GraphModule) -> FakeTensorMode:
    """The mode of the fake tensors that a graph's nodes note."""
    for node in gm.graph.nodes:
        for value in pytree.tree_leaves(node.meta.get("val")):
            if isinstance(value, FakeTensor):
                return value.fake_mode
    return FakeTensorMode(allow_non_fake_inputs=True)


def noted(gm: fx.GraphModule, value: Any) -> Any:
    """What a node's argument stands for: the noted value of a node, else the argument itself."""
    return fx.map_arg(value, lambda node: _value(gm, node))


@contextlib.contextmanager
def _real_tensors_allowed(mode: FakeTensorMode) -> Iterator[None]:
    before, mode.allow_non_fake_inputs = mode.allow_non_fake_inputs, True
    try:
        yield
    finally:
        mode.allow_non_fake_inputs = before


@contextlib.contextmanager
def _sizes_stay_open(mode: FakeTensorMode) -> Iterator[None]:
    """Refuse what would be true of the traced sizes alone.

    A function that is traced and asks whether a size is 2 gets an answer, and PyTorch notes it as a
    guard. The guards of an exported program were checked and handed over before; one that came
    later would fix the size without anybody knowing.

    Raises:
        ValueError: there was such a question.
    """
    env = mode.shape_env
    if env is None:
        yield
        return
    known = KnownSizes(env)
    refuse = getattr(env, "error_on_new_guards", contextlib.nullcontext)  # PyTorch 2.13 has it
    try:
        with refuse():
            yield
    except Exception as error:
        if "guards are frozen" not in str(error):
            raise
        raise ValueError(f"it depends on sizes that vary: {error}") from error
    if known.has_changed():
        question = env.guards[-1].expr if env.guards else "a number for a symbol"
        known.restore()
        raise ValueError(f"it depends on sizes that vary: {question}")


def inline(
    gm: fx.GraphModule,
    node: fx.Node,
    function: Callable[..., Any],
    constants: dict[fx.Node, torch.Tensor] | None = None,
    accept: Callable[[fx.Graph], bool] = lambda _graph: True,
    decompositions: Mapping[Any, Callable[..., Any]] | None = None,
) -> bool:
    """Put the ATen operators that `function` runs in the place of a node.

    The function is called with what the node's arguments stand for: fake tensors, so that sizes may
    be symbols, and for the nodes in `constants` the tensors themselves. It gives what the node
    gives: a tensor, or a tuple of them. Composite operators are kept, and those among
    `decompositions` taken apart. False, and nothing is done,
    where `accept` says no to the operators.

    Raises:
        whatever the function raises, or ValueError where what it does depends on sizes that vary;
        the graph is then as it was.
    """
    constants = constants or {}
    inputs = [n for n in node.all_input_nodes if n not in constants]
    flat, spec = pytree.tree_flatten((node.args, node.kwargs))

    def run(*values: Any) -> Any:
        given: dict[Any, Any] = {**dict(zip(inputs, values, strict=True)), **constants}
        args, kwargs = pytree.tree_unflatten(
            [given[v] if isinstance(v, fx.Node) else v for v in flat], spec
        )
        return function(*args, **kwargs)

    mode = fake_mode_of(gm)
    with (
        _real_tensors_allowed(mode), _sizes_stay_open(mode), enable_python_dispatcher(),
        torch.no_grad(),
    ):  # fmt: skip
        traced = make_fx(run, dict(decompositions or {}), pre_dispatch=True)(
            *(_value(gm, n) for n in inputs)
        )
    if not accept(traced.graph):
        return False
    known = {id(tensor): n for n, tensor in constants.items()}
    places: dict[fx.Node, Any] = {}
    given = iter(inputs)
    with gm.graph.inserting_before(node):
        for inner in traced.graph.nodes:
            if inner.op == "placeholder":
                places[inner] = next(given)
            elif inner.op == "get_attr":
                places[inner] = _constant(gm, getattr(traced, inner.target), known)
            elif inner.op == "call_function":
                copied = gm.graph.node_copy(inner, places.__getitem__)
                copied.meta = {"val": inner.meta.get("val")}
                for key in ("stack_trace", "nn_module_stack"):
                    if key in node.meta:
                        copied.meta[key] = node.meta[key]
                places[inner] = copied
    replace(node, fx.map_arg(returned(traced), places.__getitem__))
    return True


def _value(gm: fx.GraphModule, node: fx.Node) -> Any:
    """What a node stands for; an attribute without a note is itself."""
    if node.op == "get_attr" and "val" not in node.meta:
        return operator.attrgetter(node.target)(gm)
    return node.meta["val"]


def _constant(gm: fx.GraphModule, tensor: torch.Tensor, known: dict[int, fx.Node]) -> fx.Node:
    """A node for a tensor: the graph's own, or an attribute that is added."""
    if id(tensor) in known:
        return known[id(tensor)]
    count = 0
    while hasattr(gm, name := f"_inlined_constant{count}"):
        count += 1
    gm.register_buffer(name, tensor.detach())
    node = gm.graph.get_attr(name)
    node.meta["val"] = tensor.detach()
    return node


def replace(node: fx.Node, results: list[Any]) -> None:
    """Give a node's users other nodes, one for each of its results, and remove it."""
    if isinstance(node.meta.get("val"), tuple | list):
        for user in list(node.users):
            if user.target is not operator.getitem:
                raise ValueError(f"{user.format_node()} takes all results of {node} at once")
            user.replace_all_uses_with(results[user.args[1]])
            user.graph.erase_node(user)
    else:
        node.replace_all_uses_with(results[0])
    node.graph.erase_node(node)
