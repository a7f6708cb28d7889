# SPDX-License-Identifier: Apache-2.0
"""What the settings allow: each check takes a setting's name and value and gives the value to keep.

All raise ValueError, with the name, the value and what is allowed.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Collection
from typing import Any

import torch

from stator import _native
from stator.settings.device import Device as _Device
from stator.settings.types import dtype

Check = Callable[[str, Any], Any]


def fail(name: str, value: Any, allowed: str) -> None:
    """Raise the error that says what is allowed."""
    raise ValueError(f"CompilationSettings: {name}={value!r} is not allowed; {name} is {allowed}")


def flag(name: str, value: Any) -> Any:
    """True or False."""
    if not isinstance(value, bool):
        fail(name, value, "True or False")
    return value


def optional_flag(name: str, value: Any) -> Any:
    """True, False or None."""
    return value if value is None else flag(name, value)


def integer(least: int, greatest: int | None = None, *, optional: bool = False) -> Check:
    """An integer in a range; give the check."""
    limits = f"an integer of at least {least}"
    if greatest is not None:
        limits = f"an integer from {least} to {greatest}"
    limits += " or None" if optional else ""

    def check(name: str, value: Any) -> Any:
        if value is None and optional:
            return value
        if not isinstance(value, int) or isinstance(value, bool):
            fail(name, value, limits)
        if value < least or (greatest is not None and value > greatest):
            fail(name, value, limits)
        return value

    return check


def number(least: float) -> Check:
    """A number of at least `least`; give the check."""

    def check(name: str, value: Any) -> Any:
        if not isinstance(value, int | float) or isinstance(value, bool) or not value >= least:
            fail(name, value, f"a number of at least {least}")
        return value

    return check


def block_size(name: str, value: Any) -> Any:
    """A positive integer, infinity, or None."""
    if value is None:
        return value
    whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, float) and math.isinf(value) and value > 0:
        return value
    if not whole or value < 1:
        fail(name, value, 'a positive integer, float("inf") or None')
    return value


def one_of(*allowed: Any) -> Check:
    """One of some values; give the check."""

    def check(name: str, value: Any) -> Any:
        if value not in allowed:
            fail(name, value, "one of " + ", ".join(map(repr, allowed)))
        return value

    return check


def path(name: str, value: Any) -> Any:
    """A path, as text."""
    if not isinstance(value, str | os.PathLike):
        fail(name, value, "a path")
    return os.fspath(value)


def path_or_flag(name: str, value: Any) -> Any:
    """A bool, or a path as text."""
    if isinstance(value, bool):
        return value
    if not isinstance(value, str | os.PathLike):
        fail(name, value, "True, False or the path of a file for the report")
    return os.fspath(value)


def precisions(name: str, value: Any) -> Any:
    """A collection of dtypes, as members of dtype."""
    allowed = {dtype.f32, dtype.f16, dtype.bf16, dtype.i8, dtype.f8}
    if isinstance(value, str) or not isinstance(value, Collection):
        fail(name, value, "a set of dtypes")
    precisions = {dtype.of(v) for v in value}
    if not precisions <= allowed:
        fail(name, value, "a set of " + ", ".join(sorted(map(repr, allowed))))
    return precisions


def operators(name: str, value: Any) -> Any:
    """A collection of operators or their names."""
    known = (str, torch._ops.OpOverload, torch._ops.OpOverloadPacket)
    if isinstance(value, str) or not isinstance(value, Collection):
        fail(name, value, "a collection of torch.ops operators or their names")
    for item in value:
        if not isinstance(item, known) and not callable(item):
            fail(name, item, "a collection of torch.ops operators or their names")
    return set(value)


def patterns(name: str, value: Any) -> Any:
    """A collection of regular expressions."""
    if isinstance(value, str) or not isinstance(value, Collection):
        fail(name, value, "a set of regular expressions")
    for pattern in value:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"CompilationSettings: {name} holds {pattern!r}, no regular expression: {error}"
            ) from None
    return set(value)


def passes(name: str, value: Any) -> Any:
    """A collection of lowering passes' names."""
    names = patterns(name, value)
    try:
        _native.check_setting(name, ",".join(sorted(names)))
    except ValueError as error:
        raise ValueError(f"CompilationSettings: {error}") from None
    return names


def low_precision(name: str, value: Any) -> Any:
    """A half, or None."""
    if value not in (None, torch.float16, torch.bfloat16):
        fail(name, value, "torch.float16, torch.bfloat16 or None")
    return value


def device(name: str, value: Any) -> Any:
    """A device with a backend, or None."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = _Device(gpu_id=value)
    text = value if value is None else str(value)
    if text is not None and text.split(":")[0] not in ("cpu", "cuda", "reference"):
        fail(name, value, "None (where the model's tensors are), 'cpu', 'cuda' or 'reference'")
    return value


def cache_object(name: str, value: Any) -> Any:
    """An object with save and load, or None."""
    if value is not None and not (
        callable(getattr(value, "save", None)) and callable(getattr(value, "load", None))
    ):
        fail(name, value, "an object with save(hash, blob) and load(hash), or None")
    return value


def anything(name: str, value: Any) -> Any:
    """Whatever it is."""
    return value


def no_names(name: str, value: Any) -> Any:
    """A collection of names of which none exists."""
    if isinstance(value, str) or not isinstance(value, Collection):
        fail(name, value, "a set of names")
    if value:
        fail(name, value, "a set of names of rules, and there are none")
    return set(value)
