# SPDX-License-Identifier: Apache-2.0
"""What is done to an FX graph before the compiler gets it: the user's passes and converters.

The user's passes run in their order; then every node that they left without a noted value gets one,
and a Python function among the targets becomes the ATen operators that it runs. Operators that
have no converter, but a decomposition, are decomposed; those with a converter in Python become what
that says.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import fx
from torch._decomp import core_aten_decompositions, decomposition_table

from stator._log import logger
from stator.conversion.converters import DYNAMO_CONVERTERS, convert_in_python
from stator.graphs.failures import users_code
from stator.graphs.fx_graphs import fake_mode_of, inline, noted
from stator.settings.compilation_settings import CompilationSettings
from stator.settings.values import names_operator, operator_names

__all__ = ["TORCH_TRT_DECOMPOSITIONS", "add_pass", "lower", "passes", "remove_pass"]

LoweringPass = Callable[[fx.GraphModule, CompilationSettings], fx.GraphModule]
_passes: list[LoweringPass] = []


def add_pass(*args: Any, index: int | None = None) -> Any:
    """Register a pass ``(gm, settings) -> gm``; a decorator, with or without arguments.

    Args:
        args: the pass, where it is used without arguments.
        index: its place among the passes, 0 the first; None: the last.
    """

    def register(function: LoweringPass) -> LoweringPass:
        _passes.insert(len(_passes) if index is None else index, function)
        return function

    if len(args) > 1 or (args and not callable(args[0])):
        raise TypeError(f"the lowering pass is {args!r}, a function is expected")
    return register(args[0]) if args else register


def remove_pass(function: LoweringPass | None = None, *, index: int | None = None) -> LoweringPass:
    """Remove a pass, by itself or by its place; give it back.

    Raises:
        ValueError: there is none such.
    """
    if function is not None:
        index = _passes.index(function) if function in _passes else None
    if index is None or not -len(_passes) <= index < len(_passes):
        raise ValueError("there is no such lowering pass")
    return _passes.pop(index)


def passes() -> list[LoweringPass]:
    """The registered passes in their order."""
    return list(_passes)


# Their decompositions in PyTorch give other numbers than its kernels (as of PyTorch 2.13); those of
# resizing do for bytes, which the kernels average in fixed point.
_NOT_AS_EAGER = frozenset(
    ["aten::multilabel_margin_loss_forward"]
    + [
        f"aten::upsample_{mode}{overload}"
        for mode in ("linear1d", "bilinear2d", "trilinear3d", "bicubic2d")
        for overload in ("", ".vec")
    ]
)


class _Decompositions(MutableMapping[Any, Callable[..., Any]]):
    """Decompositions of the operators that engines cannot hold as they are; filled when used."""

    def __init__(self) -> None:
        self._table: dict[Any, Callable[..., Any]] | None = None

    def _filled(self) -> dict[Any, Callable[..., Any]]:
        if self._table is None:
            self._table = {
                op: function
                for op, function in core_aten_decompositions().items()
                if isinstance(op, torch._ops.OpOverload)
                and op not in DYNAMO_CONVERTERS
                and not op._schema.is_mutable
                and "backward" not in op.name()
                and op.name() not in _NOT_AS_EAGER
            }
        return self._table

    def __getitem__(self, op: Any) -> Callable[..., Any]:
        return self._filled()[op]

    def __setitem__(self, op: Any, function: Callable[..., Any]) -> None:
        self._filled()[op] = function

    def __delitem__(self, op: Any) -> None:
        del self._filled()[op]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._filled())

    def __len__(self) -> int:
        return len(self._filled())


#: Operator → decomposition, for operators without a converter; what is popped stays as it is.
TORCH_TRT_DECOMPOSITIONS: MutableMapping[Any, Callable[..., Any]] = _Decompositions()


def _is_operator(target: Any) -> bool:
    """Whether the compiler knows what a target is."""
    if isinstance(target, torch._ops.OpOverload | torch._ops.HigherOrderOperator):
        return True
    module = getattr(target, "__module__", "") or ""
    symbolic = (
        torch.sym_min, torch.sym_max, torch.sym_float, torch.sym_int, torch.sym_not, torch.sym_ite
    )  # fmt: skip
    return module in ("_operator", "math", "builtins") or target in symbolic


def _take_apart(gm: fx.GraphModule, node: fx.Node) -> bool:
    """A getitem of a pass that put a tensor where a tuple was: the tensor itself. True when done.

    Raises:
        ValueError: the item is not the only one, or of another shape.
    """
    source = node.args[0]
    if node.target is not operator.getitem or not isinstance(source, fx.Node):
        return False
    value, before = source.meta.get("val"), node.meta.get("val")
    if not isinstance(value, torch.Tensor) or "val" not in node.meta:
        return False
    if not node.users:
        gm.graph.erase_node(node)
        return True
    if not isinstance(before, torch.Tensor):
        return False
    if node.args[1] != 0 or value.shape != before.shape or value.dtype != before.dtype:
        raise ValueError(
            f"{node.format_node()} takes item {node.args[1]} of {source}, which a lowering pass "
            "made a tensor; give the users of every item their new node"
        )
    node.replace_all_uses_with(source)
    gm.graph.erase_node(node)
    return True


def _note_values(gm: fx.GraphModule) -> None:
    """Give the nodes that a pass added what torch.export notes of its own."""
    mode = fake_mode_of(gm)
    for node in list(gm.graph.nodes):
        if node.op != "call_function" or _take_apart(gm, node):
            continue
        if not _is_operator(node.target):
            inline(gm, node, node.target)
        elif "val" not in node.meta:
            with mode, torch.no_grad():
                node.meta["val"] = node.target(*noted(gm, node.args), **noted(gm, node.kwargs))


def _run_passes(gm: fx.GraphModule, settings: CompilationSettings) -> fx.GraphModule:
    for function in _passes:
        name = getattr(function, "__name__", repr(function))
        signature = _interface(gm)
        changed = function(gm, settings)
        if not isinstance(changed, fx.GraphModule):
            raise TypeError(f"the lowering pass {name} gave {type(changed)}, no GraphModule")
        gm = changed
        if _interface(gm) != signature:
            raise ValueError(f"the lowering pass {name} changed the graph's inputs or outputs")
        _note_values(gm)
        gm.graph.lint()
        gm.recompile()
        logger.debug("lowering pass %s:\n%s", name, gm.graph)
    return gm


def _interface(gm: fx.GraphModule) -> tuple[list[str], int]:
    nodes = list(gm.graph.nodes)
    outputs = nodes[-1].args[0]
    count = len(outputs) if isinstance(outputs, tuple | list) else 1
    return [n.target for n in nodes if n.op == "placeholder"], count


def _decompose(gm: fx.GraphModule, table: Mapping[Any, Callable[..., Any]], kept: set[str]) -> bool:
    """Decompose what the table names; True when anything was. A failure leaves the operator."""
    done = False
    for node in list(gm.graph.nodes):
        named = node.op == "call_function" and isinstance(node.target, torch._ops.OpOverload)
        if not named or "val" not in node.meta or node.target in DYNAMO_CONVERTERS:
            continue
        function = table.get(node.target)
        if function is None or names_operator(kept, node.target):
            continue
        try:
            done |= inline(gm, node, function, accept=_all_convertible, decompositions=table)
        except Exception as error:  # a decomposition's own trouble; the operator runs in PyTorch
            logger.debug("%s was not decomposed: %s", node.target, error)
    return done


def _all_convertible(graph: fx.Graph) -> bool:
    """Whether engines can hold every operator; else one in PyTorch is better than many."""
    return all(
        n.target in DYNAMO_CONVERTERS
        for n in graph.nodes
        if n.op == "call_function" and isinstance(n.target, torch._ops.OpOverload)
    )


def lower(
    gm: fx.GraphModule,
    settings: CompilationSettings,
    constants: dict[fx.Node, torch.Tensor] | None = None,
) -> fx.GraphModule:
    """Run passes, decompositions and converters in Python on a graph.

    Args:
        gm: of ATen operators, with torch.export's notes. It is changed.
        settings: of the compilation.
        constants: the tensors of the placeholders that are weights.

    Returns:
        The graph; with inputs and outputs as before.
    """
    with users_code():
        gm = _run_passes(gm, settings)
    kept = operator_names(settings.torch_executed_ops)
    table = TORCH_TRT_DECOMPOSITIONS
    if settings.enable_experimental_decompositions:
        table = {**decomposition_table, **TORCH_TRT_DECOMPOSITIONS}
    changed = convert_in_python(gm, settings, constants or {})
    if _decompose(gm, table, kept) or changed:
        gm.graph.eliminate_dead_code()
        gm.graph.lint()
        gm.recompile()
    return gm
