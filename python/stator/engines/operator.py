# SPDX-License-Identifier: Apache-2.0
"""Engines as an operator of PyTorch's, for what traces a compiled model.

``torch.ops.tensorrt.execute_engine(inputs, sizes, engine, spec)`` runs the engine whose file's
bytes are the tensor `engine`; `spec` says, as JSON, what it returns, so that torch.export, make_fx,
torch.jit.trace and fake tensors can follow it. A plain call takes the shorter way to the engine.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch._guards import detect_fake_mode
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from stator.engines.engine import Engine
from stator.graphs.sizes import OPERATORS

__all__ = ["EngineOperator", "execute_engine", "first_line"]

# By digest and device: the operator's calls share them.
_engines: dict[tuple[str, torch.device | None], Engine] = {}


@torch.library.custom_op("tensorrt::execute_engine", mutates_args=())
def execute_engine(
    inputs: list[torch.Tensor], sizes: list[int], engine: torch.Tensor, spec: str
) -> list[torch.Tensor]:
    """Run the engine whose file's bytes are `engine`."""
    described = _described(spec)
    digest = described["digest"]
    device = inputs[0].device if inputs else None
    loaded = _engines.get((digest, device))
    if loaded is None:
        data = engine.cpu().numpy().tobytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise ValueError("the engine in this program is damaged: its bytes have another digest")
        loaded = Engine.from_bytes(data, described["name"], device)
        _engines[digest, device] = loaded
    return loaded(*inputs, *sizes)


@execute_engine.register_fake
def _fake(
    inputs: list[torch.Tensor], sizes: list[int], engine: torch.Tensor, spec: str
) -> list[torch.Tensor]:
    described = _described(spec)
    known: dict[str, Any] = {**OPERATORS, "Min": torch.sym_min, "Max": torch.sym_max}
    for tensor, shape in zip(inputs, described["inputs"], strict=True):
        for size, text in zip(tensor.shape, shape, strict=True):
            if text.isidentifier():
                known.setdefault(text, size)
    known.update(zip(described["symbols"], sizes, strict=False))
    device = inputs[0].device if inputs else torch.device("cpu")
    results = []
    for output in described["outputs"]:
        sizes = [_size(text, known) for text in output["shape"]]
        order = output.get("order") or list(range(len(sizes)))
        memory = torch.empty(
            [sizes[k] for k in order], dtype=getattr(torch, output["dtype"]), device=device
        )
        results.append(memory.permute([order.index(k) for k in range(len(order))]))
    return results


def _described(spec: str) -> dict[str, Any]:
    """What `spec` says of its engine; the parts that are read are there, with their types."""
    try:
        described = json.loads(spec)
        for name, kind in (("digest", str), ("name", str), ("inputs", list), ("symbols", list)):
            if not isinstance(described[name], kind):
                raise TypeError(f"{name} is no {kind.__name__}")
        for output in described["outputs"]:
            if not isinstance(getattr(torch, output["dtype"]), torch.dtype):
                raise TypeError(f"{output['dtype']} is no dtype")
            if not all(isinstance(size, str) for size in output["shape"]):
                raise TypeError("a size is no text")
            order = output.get("order")  # a program of before has none
            if order and sorted(order) != list(range(len(output["shape"]))):
                raise ValueError(f"{order} is no order of axes")
        if not all(isinstance(s, str) for shape in described["inputs"] for s in shape):
            raise TypeError("a size is no text")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"the description of an engine in this program is damaged: {first_line(error)}"
        ) from error
    return described


def first_line(error: BaseException) -> str:
    """An error's type and the first line of its message."""
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _size(text: str, known: dict[str, Any]) -> Any:
    """A size from its text; it is our own engine's, but nothing but arithmetic is let through."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(
            f"the program's engine has a size that is no arithmetic: {text!r}"
        ) from None
    allowed = (
        ast.Expression, ast.BinOp, ast.UnaryOp, ast.Name, ast.Load, ast.Constant, ast.Call,
        ast.Add, ast.Sub, ast.Mult, ast.FloorDiv, ast.Div, ast.Mod, ast.USub, ast.Compare, ast.Eq,
        ast.Lt, ast.LtE,
    )  # fmt: skip
    if not all(isinstance(node, allowed) for node in ast.walk(tree)):
        raise ValueError(f"the program's engine has a size that is no arithmetic: {text!r}")
    missing = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)} - set(known)
    if missing:
        raise ValueError(f"the program's engine has a size of unknown {missing}: {text!r}")
    return eval(compile(tree, "<size>", "eval"), {"__builtins__": {}}, known)


class EngineOperator(nn.Module):
    """A call of an engine in the form that PyTorch traces."""

    def __init__(self, engine: Engine, name: str, symbols: Sequence[str]) -> None:
        """Take an engine's bytes.

        Args:
            engine, name: what is called.
            symbols: the sizes that it takes after its tensors.
        """
        super().__init__()
        data = engine.bytes()
        self.register_buffer("engine", torch.frombuffer(bytearray(data), dtype=torch.uint8))
        self.input_count = len(engine.inputs)
        digest = hashlib.sha256(data).hexdigest()
        _engines.setdefault(digest, engine)
        self.spec = json.dumps(
            {
                "digest": digest,
                "name": name,
                "inputs": [i["symbolic_shape"] for i in engine.inputs],
                "symbols": list(symbols),
                "outputs": [
                    {"shape": o["symbolic_shape"], "dtype": o["dtype"], "order": o["order"]}
                    for o in engine.outputs
                ],
            }
        )

    def forward(self, *args: Any) -> list[torch.Tensor]:
        """Call the operator."""
        inputs, sizes = args[: self.input_count], args[self.input_count :]
        data = self.engine
        if (mode := detect_fake_mode(inputs)) is not None and get_proxy_mode() is None:
            data = mode.from_tensor(data)  # what records a graph does it itself
        return torch.ops.tensorrt.execute_engine(list(inputs), list(sizes), data, self.spec)
