"""CompiledModule: what stator.compile gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx, nn
from torch.utils import _pytree as pytree

from stator.engines.engine import Engine
from stator.engines.program import EngineModule
from stator.graphs.doubles import restore, single
from stator.lowering.arguments import Changed

__all__ = ["CompilationReport", "CompiledModule"]


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
        in_spec: pytree.TreeSpec,
        out_spec: pytree.TreeSpec,
        constant_inputs: dict[int, Any],
        finish: Callable[[list[Any], list[Any]], list[Any]],
        extra_inputs: list[torch.Tensor],
        doubles: list[bool] | None = None,
        free_dims: list[tuple[int, ...]] | None = None,
    ) -> None:
        """Wrap a program.

        Args:
            program: flat tensors and integers in, list of outputs out.
            report: what the compiler did.
            in_spec, out_spec: pytrees of (args, kwargs) and of the result.
            constant_inputs: positions of flat inputs that were fixed when the model was captured.
            finish: takes the flat inputs and the program's outputs, writes mutations back, gives
                the flat user outputs.
            extra_inputs: state that the model changes, passed before the user's inputs.
            doubles: the program takes float32 for float64; these of the outputs are float64 again.
            free_dims: of each flat user input the dimensions that vary by themselves.
        """
        super().__init__()
        for name, child in program.named_children():
            self.add_module(name, child)
        self.stator_report = report
        hidden = self.__dict__  # not children: they would be listed twice
        hidden["program"] = program
        hidden["_in_spec"] = in_spec
        hidden["_out_spec"] = out_spec
        hidden["_constant_inputs"] = constant_inputs
        hidden["_finish"] = finish
        hidden["_extra_inputs"] = extra_inputs
        hidden["_doubles"] = doubles or []
        hidden["_free_dims"] = free_dims or []
        hidden["_single"] = self._single_engine()

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

    @property
    def is_dynamic(self) -> bool:
        """Whether any engine takes sizes that vary."""
        infos = [i for m in self.stator_report.engines for i in m.engine.inputs]
        return any(size < 0 for info in infos for size in info["shape"])

    def _single_engine(self) -> Engine | None:
        """The engine, when the whole model is one that takes the arguments just as they come."""
        program = self.__dict__["program"]
        nodes = list(program.graph.nodes)
        inputs = [n for n in nodes if n.op == "placeholder"]
        calls = [n for n in nodes if n.op == "call_module"]
        if len(calls) != 1 or self._constant_inputs or self._extra_inputs or self._doubles:
            return None
        module = program.get_submodule(calls[0].target)
        plain = pytree.tree_structure((tuple([0] * len(inputs)), {}))
        gives = [pytree.tree_structure(0), pytree.tree_structure((0,)), pytree.tree_structure([0])]
        whole = (
            isinstance(module, EngineModule) and module.is_plain and list(calls[0].args) == inputs
        )
        outputs = nodes[-1].args[0]
        if whole and self._in_spec == plain and len(outputs) == 1 and self._out_spec == gives[0]:
            return module.engine
        return None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model."""
        single = self._single
        if single is not None and not kwargs and not self._forward_hooks:
            return single._callers.call(*args)[0]
        return super().__call__(*args, **kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model; arguments as its forward takes them."""
        return self.run_program(self.program, args, kwargs)

    def run_program(
        self, program: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Call `program`, this module's own or one in another form, with the user's arguments."""
        flat = self._flatten(args, kwargs)
        for position, expected in self._constant_inputs.items():
            if flat[position] is not expected and flat[position] != expected:
                raise ValueError(
                    f"argument {position} was {expected!r} when the model was captured and is a "
                    f"constant of the compiled model, got {flat[position]!r}; compile again with it"
                )
        inputs = [v for i, v in enumerate(flat) if i not in self._constant_inputs]
        given = [*self._extra_inputs, *inputs]
        with torch.no_grad():
            outputs = program(*(single(given) if self._doubles else given))
        results = self._finish(inputs, outputs)
        if self._doubles:
            results = restore(results, self._doubles)
        result = pytree.tree_unflatten(results, self._out_spec)
        return result.written_into(args, kwargs) if isinstance(result, Changed) else result

    def _flatten(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        if kwargs and self._in_spec.num_children == 2:
            names = self._in_spec.child(1).context
            if isinstance(names, list | tuple) and set(names) == set(kwargs):
                kwargs = {name: kwargs[name] for name in names}
        flat, spec = pytree.tree_flatten((args, kwargs))
        if spec != self._in_spec:
            raise TypeError(
                f"the model was compiled for arguments of the form {_form(self._in_spec)}, "
                f"got {_form(spec)}"
            )
        return flat


def _form(spec: pytree.TreeSpec) -> str:
    """Print the pytree of (args, kwargs): (Tensor, Tensor, mask=Tensor)."""

    class _Leaf:
        def __repr__(self) -> str:
            return "*"

    args, kwargs = pytree.tree_unflatten([_Leaf()] * spec.num_leaves, spec)
    parts = [repr(a) for a in args] + [f"{k}={v!r}" for k, v in kwargs.items()]
    return "(" + ", ".join(parts) + ")"
