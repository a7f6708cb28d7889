# SPDX-License-Identifier: Apache-2.0
"""Sizes in Python: the functions that their expressions call, and what must hold of an input's."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram

from stator import _native
from stator._log import logger

__all__ = ["OPERATORS", "ProgramCheck", "add_guards", "conditions_of", "holds_within"]

#: What computes each function of a size expression (include/stator/expr.h), on numbers and on
#: symbolic ones.
OPERATORS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "mul": operator.mul,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "min": torch.sym_min,
    "max": torch.sym_max,
    "ToFloat": torch.sym_float,
    "IntTrueDiv": operator.truediv,
    "FloatAdd": operator.add,
    "FloatMul": operator.mul,
    "FloatTrueDiv": operator.truediv,
    "FloatPow": operator.pow,
    "FloatMin": torch.sym_min,
    "FloatMax": torch.sym_max,
    "RoundDecimal": round,
    "TruncToInt": math.trunc,
    "FloorToInt": math.floor,
    "CeilToInt": math.ceil,
    "RoundToInt": round,
    "PowByNatural": operator.pow,
    "BitAnd": operator.and_,
    "BitOr": operator.or_,
    "BitXor": operator.xor,
    "Equal": operator.eq,
    "Less": operator.lt,
    "FloatEqual": operator.eq,
    "FloatLess": operator.lt,
    "FloatLessEqual": operator.le,
    **{
        name: getattr(torch, f"_sym_{name}", getattr(math, name))
        for name in ("sqrt", "exp", "log", "log2", "sin", "cos", "tan", "sinh", "cosh", "tanh")
    },
    **{
        name: getattr(torch, f"_sym_{name}", getattr(math, name))
        for name in ("asin", "acos", "atan", "asinh")
    },
}


class ProgramCheck:
    """Refuses calls whose sizes the program was not compiled for; can be pickled."""

    def __init__(self, native: _native.InputCheck) -> None:
        """Hold what ``Compilation.input_check`` gives."""
        self.native = native

    def takes_tensors(self) -> list[bool]:
        """Of each flat input whether it is a tensor."""
        return [is_tensor for _, _, is_tensor, _ in self.native.__getstate__()[0]]

    def __call__(self, inputs: Sequence[Any]) -> None:
        """Check the flat inputs.

        Raises:
            ValueError: names the argument and the dimension, or the condition that does not hold.
        """
        for value in inputs:
            if not isinstance(value, torch.Tensor):
                if isinstance(value, torch.SymInt):
                    return  # being traced: the engines check, and export guards the rest by itself
                continue
            if value.layout is not torch.strided or value.is_nested:
                return  # has no sizes to speak of; named where engines take it
            for size in value.shape:
                if type(size) is not int:
                    return  # being traced
        self.native(inputs)


_TORCH = os.path.dirname(torch.__file__) + os.sep
# Where PyTorch's own code looks at sizes to find out how a tensor lies in memory; the values of
# results do not depend on it.
_LAYOUT = ("contiguous", "channels_last", "strides", "non_overlapping")


def _only_layout(guard: Any) -> bool:
    frame = getattr(guard.sloc, "framework_loc", None)
    name, file = getattr(frame, "name", ""), getattr(frame, "filename", "")
    return file.startswith(os.path.join(_TORCH, "_prims_common")) and any(
        word in name for word in _LAYOUT
    )


def _only_more_than_one(guard: Any, expression: Any) -> bool:
    """Whether PyTorch's own code asked no more than that sizes are not 0 or 1.

    Tracing takes that for granted of all sizes; where results depend on it (squeeze), the compiler
    adds a guard of its own.
    """
    frame = getattr(guard.sloc, "framework_loc", None)
    file = getattr(frame, "filename", "")
    inside = any(
        file.startswith(os.path.join(_TORCH, part))
        for part in ("_prims", "_prims_common", "_refs", "_subclasses", "_ops.py", "_decomp",
                     "_meta_registrations.py")
    )  # fmt: skip
    if not inside:
        return False
    return holds_within(expression, dict.fromkeys(expression.free_symbols, (2, None)))


def _source(guard: Any) -> str:
    """The line of a guard: the user's, where PyTorch noted it."""
    sloc = getattr(guard, "sloc", None)
    user = getattr(sloc, "user_loc", None) or getattr(sloc, "maybe_user_loc", None)
    frame = getattr(sloc, "framework_loc", None)
    if isinstance(user, str) and user:
        return user.split("\n")[0].strip()
    if frame is None or not getattr(frame, "filename", ""):
        return ""
    return f"{os.path.basename(frame.filename)}:{frame.lineno} in {frame.name}"


def _environment(program: ExportedProgram) -> Any:
    """The ShapeEnv that a program was traced with; None for one without sizes that vary."""
    for node in program.graph.nodes:
        value = node.meta.get("val")
        for size in value.shape if isinstance(value, torch.Tensor) else ():
            if isinstance(size, torch.SymInt):
                return size.node.shape_env
    return None


def _known_guards(program: ExportedProgram) -> dict[str, Any]:
    """Guards of the tracer by canonical text, each with its expression."""
    environment = _environment(program)
    known: dict[str, Any] = {}
    for guard in getattr(environment, "guards", ()):
        expression = environment.replace(guard.expr)
        try:
            known.setdefault(_native.size_text(str(expression)), (guard, expression))
        except (_native.StatorError, ValueError):
            logger.debug("a guard that sizes cannot hold: %s", guard.expr)
    return known


def conditions_of(*programs: ExportedProgram) -> Iterator[Any]:
    """What tracing these programs assumed of sizes (sympy), but for what is about memory alone."""
    for program in programs:
        for guard, expression in _known_guards(program).values():
            if not _only_layout(guard) and not _only_more_than_one(guard, expression):
                yield expression


def holds_within(
    condition: Any, ranges: Mapping[sympy.Symbol, tuple[int | None, int | None]]
) -> bool:
    """Whether a condition on sizes (sympy) holds, as far as can be proved, for all in these ranges.

    None: no limit.
    """
    if isinstance(condition, sympy.And):
        return all(holds_within(part, ranges) for part in condition.args)
    if isinstance(condition, sympy.Or):
        return any(holds_within(part, ranges) for part in condition.args)
    if condition in (sympy.true, sympy.false):
        return bool(condition)
    try:
        return _native.holds_for_all(str(condition), {str(s): r for s, r in ranges.items()})
    except (_native.StatorError, ValueError):
        logger.debug("a condition that sizes cannot hold: %s", condition)
        return False


def add_guards(
    graph: _native.Graph,
    *programs: ExportedProgram,
    without_effect: Callable[[Sequence[Any]], set[int]] = lambda conditions: set(),
) -> list[tuple[str, str, str]]:
    """Give the graph what was assumed of the inputs' sizes when these programs were traced.

    Args:
        graph: of the last of them.
        programs: the exported one, and that in core operators, which is traced again.
        without_effect: says which of some conditions (sympy) need not be checked.

    Returns:
        Of each that is checked: the condition for the user, its source line, and as it is written.

    Raises:
        ValueError: a condition that cannot be checked.
    """
    known: dict[str, Any] = {}
    texts: dict[str, None] = {}
    for program in programs:
        known = _known_guards(program) | known
        texts.update(dict.fromkeys(getattr(program, "_guards_code", None) or ()))
    found = []
    for text in texts:
        guard, expression = known.get(graph.guard_text(text), (None, sympy.false))
        if guard is not None and (_only_layout(guard) or _only_more_than_one(guard, expression)):
            logger.debug("not guarded, as it is about memory alone: %s", text)
            continue
        found.append((text, _source(guard) if guard is not None else "", expression))
    needless = without_effect([expression for *_, expression in found])
    added = []
    for k, (text, source, _) in enumerate(found):
        if k in needless:
            logger.debug("not guarded, the program is the same without it: %s", text)
            continue
        if reason := graph.add_guard(text, source):
            raise ValueError(reason)
        added.append((_native.readable_condition(text), source, text))
    return added
