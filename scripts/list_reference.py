#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes docs/reference.md: the public members of the Python packages, from their docstrings.

.venv/bin/python scripts/list_reference.py
"""

from __future__ import annotations

import enum
import importlib
import inspect
from pathlib import Path
from typing import Any

OUT = Path(__file__).resolve().parent.parent / "docs" / "reference.md"
MODULES = (
    "torch_tensorrt",
    "torch_tensorrt.dynamo",
    "torch_tensorrt.dynamo.conversion",
    "torch_tensorrt.dynamo.debug",
    "torch_tensorrt.dynamo.lowering",
    "torch_tensorrt.dynamo.lowering.passes",
    "torch_tensorrt.dynamo.partitioning",
    "torch_tensorrt.dynamo.runtime",
    "torch_tensorrt.logging",
    "torch_tensorrt.runtime",
    "stator",
)
HEAD = """# Reference

Every public member of the Python packages, with the first lines of its docstring; `help(name)` has
the rest, arguments and errors included. `torch_tensorrt` holds Torch-TensorRT's names for the
objects of `stator`; what stands under one of them is not repeated under another.

"""


def members_of(module: Any) -> dict[str, Any]:
    """The public members, in the order of their names."""
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    return {name: getattr(module, name) for name in sorted(names)}


def entry(name: str, value: Any) -> str:
    """One member as Markdown."""
    if inspect.ismodule(value):
        return f"- `{name}`: module `{value.__name__}`.\n"
    text = inspect.getdoc(value) if callable(value) or isinstance(value, property) else ""
    summary = " ".join((text or "").split("\n\n")[0].split())
    kind = ""
    if inspect.isclass(value):
        bases = [b.__name__ for b in value.__bases__ if b is not object]
        kind = "class" + (f"({', '.join(bases)})" if bases else "")
        if issubclass(value, enum.Enum):
            kind += ": " + ", ".join(f"`{member}`" for member in value.__members__)
            summary = summary or "An enumeration."
    elif callable(value):
        kind = "function"
    else:
        kind = f"`{type(value).__name__}`"
    line = f"- `{name}` ({kind})" if kind else f"- `{name}`"
    if summary:
        line += f": {summary}"
    lines = [line]
    if inspect.isclass(value) and not issubclass(value, enum.Enum):
        for method, function in sorted(vars(value).items()):
            public = not method.startswith("_")
            if public and (inspect.isfunction(function) or isinstance(function, property)):
                doc = inspect.getdoc(function) or inspect.getdoc(getattr(value, method)) or ""
                lines.append(f"  - `.{method}`: {' '.join(doc.split(chr(10) * 2)[0].split())}")
    return "\n".join(lines) + "\n"


def undocumented() -> list[str]:
    """Public classes and functions, and methods of classes, that have no docstring."""
    missing = []
    for module_name in MODULES:
        for name, value in members_of(importlib.import_module(module_name)).items():
            documented = inspect.getdoc(value) or not callable(value)
            if not documented:
                missing.append(f"{module_name}.{name}")
            if inspect.isclass(value) and not issubclass(value, enum.Enum):
                missing += [
                    f"{module_name}.{name}.{method}"
                    for method, function in vars(value).items()
                    if not method.startswith("_") and inspect.isfunction(function)
                    if not inspect.getdoc(getattr(value, method))
                ]
    return missing


def page() -> str:
    """The whole page."""
    text, seen = HEAD, {}
    for module_name in MODULES:
        module = importlib.import_module(module_name)
        text += f"## {module_name}\n\n"
        if doc := inspect.getdoc(module):
            text += " ".join(doc.split("\n\n")[0].split()) + "\n\n"
        for name, value in members_of(module).items():
            known = seen.get(id(value)) if callable(value) else None
            if known is not None:
                text += f"- `{name}`: `{known}`.\n"
                continue
            if callable(value):
                seen[id(value)] = f"{module_name}.{name}"
            text += entry(name, value)
        text += "\n"
    return text.rstrip() + "\n"


def main() -> None:
    OUT.write_text(page())
    print(f"{OUT.name} written")


if __name__ == "__main__":
    main()
