# SPDX-License-Identifier: Apache-2.0
"""Compiled modules as files: an ExportedProgram whose engines are calls of one operator.

``torch.ops.tensorrt.execute_engine(inputs, sizes, engine, spec)`` runs the engine whose file's
bytes are the tensor `engine`; `spec` says, as JSON, what it returns, so that torch.export can trace
it. The file is an ordinary .pt2: ``torch.export.load`` reads it in any process that has imported
stator.
"""

from __future__ import annotations

import ast
import errno
import hashlib
import json
import os
import zipfile
from collections.abc import Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from stator._log import logger
from stator.engines.engine import Engine
from stator.engines.module import CompiledModule, UncompiledModule
from stator.engines.program import EngineModule, PythonEngineModule
from stator.graphs.sizes import OPERATORS

__all__ = ["load", "save"]

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
            f"the description of an engine in this program is damaged: {_first_line(error)}"
        ) from error
    return described


def _first_line(error: BaseException) -> str:
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


class _EngineCall(nn.Module):
    """An EngineModule in the form that torch.export can take in."""

    def __init__(self, module: EngineModule) -> None:
        super().__init__()
        data = module.engine.bytes()
        self.register_buffer("engine", torch.frombuffer(bytearray(data), dtype=torch.uint8))
        engine = module.engine
        self.input_count = len(engine.inputs)
        digest = hashlib.sha256(data).hexdigest()
        _engines.setdefault(digest, engine)
        self.spec = json.dumps(
            {
                "digest": digest,
                "name": module.name,
                "inputs": [i["symbolic_shape"] for i in engine.inputs],
                "symbols": list(module.symbols),
                "outputs": [
                    {"shape": o["symbolic_shape"], "dtype": o["dtype"], "order": o["order"]}
                    for o in engine.outputs
                ],
            }
        )

    def forward(self, *args: Any) -> list[torch.Tensor]:
        inputs, sizes = args[: self.input_count], args[self.input_count :]
        return torch.ops.tensorrt.execute_engine(list(inputs), list(sizes), self.engine, self.spec)


class _Exportable(nn.Module):
    """A compiled module with its engines as operator calls."""

    def __init__(self, module: CompiledModule) -> None:
        super().__init__()
        program = module.program
        replaced = {n: c for n, c in program.named_children() if isinstance(c, EngineModule)}
        copy = torch.fx.GraphModule(program, program.graph)
        for name, child in replaced.items():
            copy.add_module(name, _EngineCall(child))
        self.program = copy
        self.compiled = [module]  # in a list: not a child

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.compiled[0].run_program(self.program, args, kwargs)


def save(
    module: CompiledModule | UncompiledModule | ExportedProgram | nn.Module,
    file_path: str | PathLike[str],
    *,
    arg_inputs: Sequence[Any] | None = None,
    inputs: Sequence[Any] | None = None,
    kwarg_inputs: dict[str, Any] | None = None,
    output_format: str = "exported_program",
    retrace: bool = True,
    dynamic_shapes: Any = None,
    **_: Any,
) -> None:
    """Write a compiled module as an ExportedProgram that holds its engines.

    Args:
        module: what :func:`stator.compile` gave, or an ExportedProgram.
        file_path: of the file, which is written under another name and renamed.
        arg_inputs, inputs, kwarg_inputs: example inputs to trace with.
        output_format: "exported_program".
        retrace: kept for scripts; a compiled module is always traced.
        dynamic_shapes: as torch.export takes them; by default every dimension may vary that may
            when the module was compiled.

    Raises:
        ValueError: another format, no example inputs, or a model that the format cannot hold.
        TypeError: `module` is neither of the two.
    """
    path = Path(fspath(file_path))
    if output_format not in ("exported_program", "ep"):
        raise ValueError(
            f"output_format={output_format!r} is not allowed; it is 'exported_program'"
        )
    if isinstance(module, ExportedProgram):
        program = module
    elif isinstance(module, UncompiledModule):
        program = module.exported_program
    elif isinstance(module, CompiledModule):
        if any(isinstance(m, PythonEngineModule) for m in module.modules()):
            raise ValueError(
                "a module that was compiled with use_python_runtime=True is not saved; compile it "
                "without"
            )
        given = arg_inputs if arg_inputs is not None else inputs
        given = (given,) if isinstance(given, torch.Tensor) else given
        args = tuple(given if given is not None else ())
        kwargs = dict(kwarg_inputs or {})
        if not args and not kwargs:
            raise ValueError("a compiled module is traced to be saved; give arg_inputs=[...]")
        try:
            program = _export(module, args, kwargs, dynamic_shapes)
        except (AttributeError, NotImplementedError, RuntimeError) as error:
            raise _not_saved(error) from error
    else:
        hint = ""
        if isinstance(module, torch._dynamo.eval_frame.OptimizedModule):
            hint = (
                "; what torch.compile made is kept by the engine cache alone "
                "(cache_built_engines), "
                "compile ahead of time with stator.compile to save it"
            )
        raise TypeError(
            f"save takes what stator.compile gives, or an ExportedProgram, "
            f"got {type(module).__name__}{hint}"
        )
    if not path.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(path.parent)!r}")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.pt2")
    try:
        try:
            _refuse_text(program)
            torch.export.save(program, temporary)
        except OSError:
            raise
        except Exception as error:
            raise _not_saved(error) from error
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _refuse_text(program: ExportedProgram) -> None:
    """PyTorch (2.13) writes a result that is text so that it cannot be read again."""
    for spec in program.graph_signature.output_specs:
        if isinstance(getattr(spec.arg, "value", None), str):
            raise ValueError(f"the result {spec.arg.value!r} is text, which is not read back")


def _not_saved(error: Exception) -> ValueError:
    """What to say where the format of exported programs cannot hold a model."""
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return ValueError(
        "torch.export's format cannot hold this compiled model, which runs but is not saved. What "
        "it cannot hold is a part that runs in PyTorch, or a class among arguments and results; "
        f"print(module.stator_report) lists those parts. torch.export says: {reason}"
    )


def _export(
    module: CompiledModule, args: tuple[Any, ...], kwargs: dict[str, Any], dynamic_shapes: Any
) -> ExportedProgram:
    if dynamic_shapes is None and module.is_dynamic:
        leaves = torch.utils._pytree.tree_map(
            lambda v: [Dim.AUTO] * v.dim() if isinstance(v, torch.Tensor) else None, (args, kwargs)
        )
        dynamic_shapes = {**({"args": tuple(leaves[0])} if args else {}), **leaves[1]}
        args, kwargs = module.examples_of_two(args, kwargs)
    logger.debug("tracing the compiled module to save it")
    with torch.no_grad():
        program = torch.export.export(
            _Exportable(module), args, kwargs, dynamic_shapes=dynamic_shapes, strict=False
        )
    leaves, spec = torch.utils._pytree.tree_flatten((args, kwargs))
    if not _is_plain(spec) or any(is_traceable_wrapper_subclass(leaf) for leaf in leaves):
        program._example_inputs = None  # loading reads no objects but tensors and Python's nests
    return program


def _is_plain(spec: torch.utils._pytree.TreeSpec) -> bool:
    """Whether a nest is of tuples, lists and dicts alone."""
    return (spec.is_leaf() or spec.type in (tuple, list, dict)) and all(
        _is_plain(child) for child in spec.children()
    )


def load(file_path: str | PathLike[str]) -> ExportedProgram:
    """Read a file that :func:`save` wrote.

    Checksums of the file's parts are verified, so that flipped bits in weights are errors.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or no such file.
    """
    path = fspath(file_path)
    if not os.path.exists(path):
        raise FileNotFoundError(f"there is no file {path!r}")
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path!r} is a folder; load takes a file that stator.save wrote")
    try:
        _check_archive(path)
        with open(path, "rb") as file:
            return torch.export.load(file)
    except OSError as error:
        if error.errno == errno.EINVAL:  # the archive states a position before the file's start
            raise ValueError(
                f"{path!r} is damaged: its list of parts states positions outside of the file"
            ) from error
        raise OSError(error.errno, error.strerror, path) from error
    except MemoryError as error:
        raise ValueError(f"{path!r} asks for more memory than there is") from error
    except Exception as error:
        raise ValueError(
            f"{path!r} is no saved program, or is damaged: {_first_line(error)}"
        ) from error


def _check_archive(path: str) -> None:
    """Whether a file is a zip archive whose parts have the checksums that it states."""
    if not zipfile.is_zipfile(path):
        what = "it is no zip archive"
        with open(path, "rb") as file:
            if file.read(6) == b"STATOR":
                what += "; an engine file is read by stator.Engine.load"
        raise ValueError(what)
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"its part {damaged!r} has another checksum than the archive states")
