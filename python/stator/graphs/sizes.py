# SPDX-License-Identifier: Apache-2.0
"""Sizes in Python: the functions that their expressions call, and what must hold of an input's."""

from __future__ import annotations

import math
import operator
import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import sympy
import torch
from torch.export import ExportedProgram
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

from stator import _native
from stator._log import logger

__all__ = ["OPERATORS", "ProgramCheck", "add_guards", "readable_guard"]

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

    def __call__(self, inputs: Sequence[Any]) -> None:
        """Check the flat inputs.

        Raises:
            ValueError: names the argument and the dimension, or the condition that does not hold.
        """
        tensors = [v for v in inputs if isinstance(v, torch.Tensor)]
        if any(v.is_nested or v.layout is not torch.strided for v in tensors):
            return  # has no sizes to speak of; named where engines take it
        if any(
            isinstance(size, torch.SymInt)
            for value in inputs
            for size in (value.shape if isinstance(value, torch.Tensor) else (value,))
        ):
            return  # being traced: the engines check, and export guards the rest by itself
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
    try:
        found = bound_sympy(
            expression, {s: ValueRanges(2, int_oo) for s in expression.free_symbols}
        )
    except Exception:  # sympy has no bounds for some function
        return False
    return found.is_singleton() and bool(found.lower)


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


def readable_guard(text: str) -> str:
    """torch.export's text of a guard as a user would write it: x.shape[1] > 3."""
    return re.sub(r"L\['(\w+)'\]", r"\1", text).replace(".size()", ".shape")


def add_guards(graph: _native.Graph, *programs: ExportedProgram) -> list[tuple[str, str]]:
    """Give the graph what was assumed of the inputs' sizes when these programs were traced.

    Args:
        graph: of the last of them.
        programs: the exported one, and that in core operators, which is traced again.

    Returns:
        (condition, source line) of each, for the user.

    Raises:
        ValueError: a condition that cannot be checked.
    """
    known: dict[str, Any] = {}
    texts: dict[str, None] = {}
    for program in programs:
        known = _known_guards(program) | known
        texts.update(dict.fromkeys(getattr(program, "_guards_code", None) or ()))
    added = []
    for text in texts:
        canonical = graph.guard_text(text)
        guard, expression = known.get(canonical, (None, sympy.true))
        if guard is not None and (_only_layout(guard) or _only_more_than_one(guard, expression)):
            logger.debug("not guarded, as it is about memory alone: %s", text)
            continue
        source = _source(guard) if guard is not None else ""
        if reason := graph.add_guard(text, source):
            raise ValueError(reason)
        added.append((text, source))
    return added
