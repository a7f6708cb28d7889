"""CompiledModule and UncompiledModule: what stator.compile gives back."""

from __future__ import annotations

import copy
import inspect
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from stator._log import logger
from stator.engines.arguments import Arguments, same_constant
from stator.engines.direct_call import DirectCall, outputs_of, whole_engine
from stator.engines.program import EngineModule
from stator.engines.tracing import (
    is_symbolic_call,
    is_traced,
    proxy_among,
    recorded_call,
    refuse_symbolic_trace,
)
from stator.graphs.doubles import restore, single
from stator.graphs.sizes import ProgramCheck
from stator.lowering.arguments import Changed, in_pytorch
from stator.lowering.mutations import Finisher
from stator.settings.input import Input

__all__ = ["CompilationReport", "CompiledModule", "UncompiledModule"]


@dataclass
class CompilationReport:
    """What the compiler did: `module.stator_report`."""

    total_operators: int
    supported_operators: int
    engines: list[EngineModule]
    fallbacks: list[dict[str, str]]  # node, target, kind, reason and source of each node in PyTorch
    text: str = field(repr=False)  # the dry-run report

    def __str__(self) -> str:
        return self.text


class CompiledModule(nn.Module):
    """A compiled model: called as the model is, with the same tensors, nests and keywords.

    Its children are the segments, under the names that the dry run prints: ``_run_on_acc_k`` are
    engines, ``_run_on_gpu_k`` run in PyTorch.
    """

    def __init__(
        self,
        program: fx.GraphModule,
        report: CompilationReport,
        arguments: Arguments,
        out_spec: pytree.TreeSpec,
        constant_inputs: dict[int, Any],
        finish: Finisher,
        extra_inputs: list[torch.Tensor],
        doubles: list[bool] | None = None,
        free_dims: list[tuple[int, ...]] | None = None,
        check: ProgramCheck | None = None,
    ) -> None:
        """Wrap a program.

        Args:
            program: flat tensors and integers in, list of outputs out.
            report: what the compiler did.
            arguments: what it is called with.
            out_spec: pytree of the result.
            constant_inputs: positions of flat inputs that were fixed when the model was captured.
            finish: takes the flat inputs and the program's outputs, writes mutations back, gives
                the flat user outputs.
            extra_inputs: state that the model changes, passed before the user's inputs.
            doubles: the program takes float32 for float64; these of the outputs are float64 again.
            free_dims: of each flat user input the dimensions that vary by themselves.
            check: raises for flat inputs whose sizes the program was not compiled for.
        """
        super().__init__()
        for name, child in program.named_children():
            self.add_module(name, child)
        self.stator_report = report
        hidden = self.__dict__  # not children: they would be listed twice
        hidden["program"] = program
        hidden["_arguments"] = arguments
        hidden["_out_spec"] = out_spec
        hidden["_constant_inputs"] = constant_inputs
        hidden["_finish"] = finish
        hidden["_extra_inputs"] = extra_inputs
        hidden["_doubles"] = doubles or []
        hidden["_free_dims"] = free_dims or []
        hidden["_check"] = check
        hidden["_direct"] = None  # from the second call on
        hidden["_was_called"] = False

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and deepcopy; the shortest way is found again."""
        return {**self.__dict__, "_direct": None, "_was_called": False}

    def __deepcopy__(self, memo: dict[int, Any]) -> CompiledModule:
        """Another module with the same engines."""
        memo[id(self._out_spec)] = self._out_spec  # never changes; copies of it warn
        copied = type(self).__new__(type(self))
        memo[id(self)] = copied
        copied.__dict__.update(copy.deepcopy(self.__getstate__(), memo))
        return copied

    def examples_of_two(self, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The arguments with two elements along dimensions that vary and have one.

        torch.export takes a size of one for a fixed one.
        """
        leaves, spec = pytree.tree_flatten((args, kwargs))
        if len(leaves) != len(self._free_dims):
            return args, kwargs
        for i, dims in enumerate(self._free_dims):
            for k in dims:
                if isinstance(leaves[i], torch.Tensor) and leaves[i].shape[k] == 1:
                    leaves[i] = torch.cat([leaves[i]] * 2, dim=k)
        return pytree.tree_unflatten(leaves, spec)

    def signature(self) -> inspect.Signature:
        """The arguments in the form that was compiled, by the model's names where known."""
        return self._arguments.signature()

    def examples_as_compiled(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Example arguments, of which an Input is a tensor of its opt shape, in the compiled form.

        Raises:
            TypeError: they are not the model's arguments, or one is no tensor where it takes one.
        """
        device = next((m.engine.device for m in self.stator_report.engines), "cpu")
        args, kwargs = pytree.tree_map(
            lambda v: v.example().to(device) if isinstance(v, Input) else v, (args, kwargs)
        )
        flat = self._arguments.flatten(args, kwargs)
        positions = [i for i in range(len(flat)) if i not in self._constant_inputs]
        tensors = self._check.takes_tensors() if self._check is not None else []
        for i, is_tensor in zip(positions, tensors[len(self._extra_inputs) :], strict=False):
            if is_tensor and not isinstance(flat[i], torch.Tensor):
                raise TypeError(
                    f"argument {self._arguments.name_of_leaf(i)!r} is of the type "
                    f"{type(flat[i]).__name__}; give an example tensor, or a stator.Input"
                )
        return pytree.tree_unflatten(flat, self._arguments.in_spec)

    @property
    def is_dynamic(self) -> bool:
        """Whether any engine takes sizes that vary."""
        infos = [i for m in self.stator_report.engines for i in m.engine.inputs]
        return any(size < 0 for info in infos for size in info["shape"])

    def _direct_call(self) -> DirectCall | None:
        """Its calls without PyTorch's module and pytree, which take longer than a small engine."""
        # What the model changes, and what is no tensor, is the business of the longer way.
        if self._constant_inputs or self._extra_inputs or self._doubles or self._finish.changes:
            return None
        if self._out_spec.type is Changed:
            return None
        whole = whole_engine(self.program)
        outputs = self._outputs if whole is None else outputs_of(*whole)
        return DirectCall(outputs, self._arguments, self._out_spec)

    def _outputs(self, *flat: Any) -> list[Any]:
        """Those of the program, which has several parts."""
        if self._check is not None:
            self._check(flat)
        with torch.no_grad():
            return self.program.forward(*flat)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model."""
        direct = self._direct
        hooks = self._forward_hooks or self._forward_pre_hooks
        if direct is not None and not hooks and not is_traced():
            try:
                return direct(args, kwargs)
            except TypeError:
                if not is_symbolic_call(args, kwargs):
                    raise
        if (proxy := proxy_among(args, kwargs)) is not None:
            return recorded_call(self, proxy, args, kwargs)
        if self._was_called or is_traced() or is_symbolic_call(args, kwargs):
            return super().__call__(*args, **kwargs)
        flat = self._arguments.flatten(args, kwargs)  # before the model changes the nests
        result = super().__call__(*args, **kwargs)
        self._note_first_call(flat)
        return result

    def _note_first_call(self, flat: list[Any]) -> None:
        """What is looked at once, so that later calls do not pay for it."""
        hidden = self.__dict__
        hidden["_was_called"] = True
        hidden["_direct"] = self._direct_call()
        if not torch.is_grad_enabled():
            return
        for position, value in enumerate(flat):
            if isinstance(value, torch.Tensor) and value.requires_grad:
                logger.warning(
                    "argument %r requires a gradient, and a compiled model computes none: its "
                    "results are detached. Call it under torch.no_grad(), or train the model in "
                    "PyTorch",
                    self._arguments.name_of_leaf(position),
                )
                return

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; arguments as its forward takes them."""
        if isinstance(args, fx.Proxy):  # this module itself is traced
            refuse_symbolic_trace()
        return self.run_program(self.program, args, kwargs)

    def run_program(
        self, program: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call `program`, this module's own or one in another form, with the user's arguments."""
        flat = self._arguments.flatten(args, kwargs)
        for position, expected in self._constant_inputs.items():
            if not same_constant(flat[position], expected):
                raise ValueError(
                    f"argument {self._arguments.name_of_leaf(position)!r} was {expected!r} when "
                    "the model was captured and is a constant of the compiled model, got "
                    f"{_brief(flat[position])}; compile again with it"
                )
        inputs = [v for i, v in enumerate(flat) if i not in self._constant_inputs]
        given = [*self._extra_inputs, *inputs]
        if self._check is not None:
            self._check(given)
        with torch.no_grad():
            outputs = program(*(single(given) if self._doubles else given))
        results = self._finish(inputs, outputs)
        if self._doubles:
            results = restore(results, self._doubles)
        result = pytree.tree_unflatten(results, self._out_spec)
        return result.written_into(args, kwargs) if isinstance(result, Changed) else result


def _brief(value: Any) -> str:
    """A value for a message; of a tensor only its type and sizes."""
    if isinstance(value, torch.Tensor):
        return f"a tensor of {value.dtype} and sizes {tuple(value.shape)}"
    return repr(value)


class UncompiledModule(nn.Module):
    """A model that was not compiled: its exported program, which runs in PyTorch.

    It is called as the model is, and `stator_report` says why nothing was compiled.
    """

    def __init__(
        self, program: ExportedProgram, arguments: Arguments, report: CompilationReport
    ) -> None:
        """Wrap an exported program.

        Args:
            program: of the model; its own checks of arguments stay.
            arguments: what it is called with.
            report: with the reason among its fallbacks.
        """
        super().__init__()
        self.module = in_pytorch(program)
        self.stator_report = report
        self.exported_program = program
        self._arguments = arguments

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; arguments as its forward takes them."""
        flat = self._arguments.flatten(args, kwargs)
        args, kwargs = pytree.tree_unflatten(flat, self._arguments.in_spec)
        return self.module(*args, **kwargs)

    def __reduce__(self) -> Any:
        """As the bytes that torch.export.save writes."""
        buffer = io.BytesIO()
        torch.export.save(self.exported_program, buffer)
        return _uncompiled, (buffer.getvalue(), self._arguments, self.stator_report)


def _uncompiled(data: bytes, arguments: Arguments, report: CompilationReport) -> UncompiledModule:
    return UncompiledModule(torch.export.load(io.BytesIO(data)), arguments, report)
