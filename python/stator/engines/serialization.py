# SPDX-License-Identifier: Apache-2.0
"""Compiled modules as files: an ExportedProgram whose engines are calls of one operator.

The file is an ordinary .pt2: ``torch.export.load`` reads it in any process that has imported
stator.
"""

from __future__ import annotations

import errno
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
from stator.engines.just_in_time import JustInTimeModule
from stator.engines.module import CompiledModule, UncompiledModule
from stator.engines.operator import first_line
from stator.engines.program import EngineModule, PythonEngineModule
from stator.lowering.results import give_objects, held
from stator.settings.input import examples_of

__all__ = ["load", "save"]


class _Exportable(nn.Module):
    """A compiled module with its engines as operator calls."""

    def __init__(self, module: CompiledModule) -> None:
        super().__init__()
        program = module.program
        replaced = {n: c for n, c in program.named_children() if isinstance(c, EngineModule)}
        copy = torch.fx.GraphModule(program, program.graph)
        for name, child in replaced.items():
            copy.add_module(name, child.as_operator())
        self.program = copy

        def forward(*args: Any, **kwargs: Any) -> Any:
            return held(module.run_program(copy, args, kwargs))

        # By the model's own names, which dynamic_shapes and the program's inputs have.
        forward.__signature__ = module.signature()  # type: ignore[attr-defined]
        self.forward = forward


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
        arg_inputs, inputs, kwarg_inputs: what to trace with, as :func:`stator.compile` takes them:
            example tensors, or Inputs, which stand for tensors of their opt shape.
        output_format: "exported_program".
        retrace: kept for scripts; a compiled module is always traced.
        dynamic_shapes: as torch.export takes them; by default every dimension may vary that may
            when the module was compiled.

    Raises:
        ValueError: another format, no example inputs, or a model that the format cannot hold.
        TypeError: `module` is neither of the two, or the inputs are not its arguments.
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
        if arg_inputs is not None and inputs is not None:
            raise ValueError("give either inputs or arg_inputs, they mean the same")
        args, kwargs = examples_of(arg_inputs if arg_inputs is not None else inputs, kwarg_inputs)
        if not args and not kwargs:
            raise ValueError("a compiled module is traced to be saved; give arg_inputs=[...]")
        args, kwargs = module.examples_as_compiled(args, kwargs)
        try:
            program = _export(module, args, kwargs, dynamic_shapes)
        except (AttributeError, NotImplementedError, RuntimeError) as error:
            raise _not_saved(error) from error
    else:
        hint = ""
        if isinstance(module, JustInTimeModule):
            hint = (
                ", which torch.compile compiles when it is called, because "
                + module.stator_report.fallbacks[0]["reason"]
            )
        elif isinstance(module, torch._dynamo.eval_frame.OptimizedModule):
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
        dynamic_shapes = torch.utils._pytree.tree_map(
            lambda v: [Dim.AUTO] * v.dim() if isinstance(v, torch.Tensor) else None,
            dict(module.signature().bind(*args, **kwargs).arguments),
        )
        args, kwargs = module.examples_of_two(args, kwargs)
    logger.debug("tracing the compiled module to save it")
    with torch.no_grad():
        program = torch.export.export(
            _Exportable(module), args, kwargs, dynamic_shapes=dynamic_shapes, strict=False
        )
    give_objects(program)
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
            f"{path!r} is no saved program, or is damaged: {first_line(error)}"
        ) from error


_END_BYTES = 22  # of a zip archive's last record, without its comment


def _check_archive(path: str) -> None:
    """Whether a file is a zip archive whose parts have the checksums that it states."""
    if not zipfile.is_zipfile(path):
        what = "it is no zip archive"
        with open(path, "rb") as file:
            if file.read(6) == b"STATOR":
                what += "; an engine file is read by stator.Engine.load"
        raise ValueError(what)
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _END_BYTES - 65535))
        tail = file.read()
    # The last record ends with a comment, whose length it states.
    ends = [at for at in range(len(tail) - _END_BYTES + 1) if tail.startswith(b"PK\5\6", at)]
    if not any(
        at + _END_BYTES + int.from_bytes(tail[at + 20 : at + 22], "little") == len(tail)
        for at in ends
    ):
        raise ValueError("bytes follow its end")
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise ValueError(f"its part {damaged!r} has another checksum than the archive states")
