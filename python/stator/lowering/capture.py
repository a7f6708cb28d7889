"""Captures a module: example arguments and dynamic sizes from Inputs, torch.export, hand-over."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sympy
import torch
import torch.fx.experimental._config
from torch import fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import (
    ConstantArgument,
    InputKind,
    OutputKind,
)
from torch.utils import _pytree as pytree
from torch.utils._sympy.numbers import int_oo

from stator import _native
from stator._log import logger
from stator.graphs.doubles import double_outputs, has_doubles, single, truncate
from stator.graphs.failures import users_code
from stator.graphs.functionalize import decomposed, make_functional
from stator.graphs.fx_graphs import returned, user_values
from stator.graphs.hand_over import HandedOver, Placeholder, hand_over
from stator.graphs.sizes import add_guards
from stator.lowering.autocast import autocast, observe
from stator.lowering.examples import apart, make_classes_known
from stator.lowering.export_errors import check_arguments, export_error
from stator.lowering.mutations import Finisher, finisher, held_object, mutated_targets, tensor_of
from stator.lowering.passes import lower
from stator.lowering.results import spec_of_objects
from stator.lowering.sizes_of_one import SizesOfOne, exported_from
from stator.lowering.tracing import export_by_any_way
from stator.settings.compilation_settings import CompilationSettings
from stator.settings.input import Input

__all__ = ["Captured", "capture", "export_module"]


def _example_size(least: int, opt: int, most: int) -> int:
    """A size to trace with: sizes 0 and 1 would be taken as fixed."""
    return min(max(opt, 2), most) if most >= 2 else max(least, opt)


def _example(value: Any) -> Any:
    if not isinstance(value, Input):
        return value
    sizes = zip(value.min_shape, value.opt_shape, value.max_shape, strict=True)
    shape = tuple(o if a == b else _example_size(a, o, b) for a, o, b in sizes)
    return Input(shape, dtype=value.dtype).example()


def _dynamic(value: Any) -> Any:
    """The dynamic_shapes entry of one leaf."""
    if not isinstance(value, Input) or not value.is_dynamic:
        return None
    ranges = enumerate(zip(value.min_shape, value.max_shape, strict=True))
    return {k: Dim.DYNAMIC(min=a, max=b) for k, (a, b) in ranges if a != b}


def _is_leaf(value: Any) -> bool:
    return isinstance(value, Input | torch.Tensor)


def export_module(
    module: nn.Module,
    args: Sequence[Any],
    kwargs: dict[str, Any],
    device: Any = None,
    changes: bool = True,
) -> ExportedProgram:
    """torch.export of a module whose arguments are tensors, Inputs, or nests of them.

    Examples for Inputs lie on `device`, or where the module's weights are. With `changes` a model
    that changes the nests of its arguments gives a Changed.

    Raises:
        TypeError: the inputs are not the arguments of the model's forward, or an argument has a
            class that PyTorch does not know.
        ValueError: a size that an Input calls dynamic is fixed by the model; the message has
            torch.export's own reason. Or a weight is a distributed tensor.
        ExportError: torch.export cannot follow the model.
    """
    tree_map = pytree.tree_map
    _refuse_distributed(module)
    check_arguments(module, args, kwargs)
    if device is None:
        device = next((t.device for t in (*module.parameters(), *module.buffers())), "cpu")

    def example(leaf: Any) -> Any:
        value = _example(leaf)
        return value.to(device) if isinstance(leaf, Input) else value

    make_classes_known((tuple(args), dict(kwargs)), (Input,))
    flat, spec = pytree.tree_flatten(
        tree_map(example, (tuple(args), dict(kwargs)), is_leaf=_is_leaf)
    )
    weights = (*module.parameters(), *module.buffers())
    example_args, example_kwargs = pytree.tree_unflatten(apart(flat, weights), spec)
    leaves = pytree.tree_leaves((tuple(args), dict(kwargs)), is_leaf=_is_leaf)
    shapes = None
    if any(_dynamic(leaf) is not None for leaf in leaves):
        bound = inspect.signature(module.forward).bind(*args, **kwargs)
        shapes = {
            name: tree_map(_dynamic, value, is_leaf=_is_leaf)
            for name, value in bound.arguments.items()
        }
        for name, parameter in inspect.signature(module.forward).parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD and name in shapes:
                shapes.update(shapes.pop(name))
    small = _may_be_one(leaves)
    with torch.no_grad(), _sizes_of_one_may_vary(small):
        try:
            program = export_by_any_way(module, example_args, example_kwargs, shapes, changes)
        except torch._dynamo.exc.UserError as error:
            if shapes is None:
                raise export_error(error, module) from error
            raise ValueError(
                "the model fixes a size that an Input declares as a range; give that dimension "
                f"one size, or change the model. torch.export says: {error}"
            ) from error
        except Exception as error:
            raise export_error(error, module) from error
    if small:

        def again(ones: frozenset[tuple[int, int]]) -> ExportedProgram:
            fixed = [_with_ones(v, {d for i, d in ones if i == k}) for k, v in enumerate(leaves)]
            _, spec = pytree.tree_flatten((tuple(args), dict(kwargs)), is_leaf=_is_leaf)
            new_args, new_kwargs = pytree.tree_unflatten(fixed, spec)
            return export_module(module, new_args, new_kwargs, device, changes)

        exported_from(program, again)
    return program


def _with_ones(leaf: Any, dims: set[int]) -> Any:
    """An Input with some dimensions fixed at 1."""
    if not isinstance(leaf, Input) or not dims:
        return leaf
    low, opt, high = (
        tuple(1 if k in dims else size for k, size in enumerate(shape))
        for shape in (leaf.min_shape, leaf.opt_shape, leaf.max_shape)
    )
    return Input(min_shape=low, opt_shape=opt, max_shape=high, dtype=leaf.dtype)


def _may_be_one(leaves: Sequence[Any]) -> bool:
    """Whether an Input declares a range with sizes below 2."""
    declared = [v for v in leaves if isinstance(v, Input)]
    return any(
        a <= 1 and a != b for v in declared for a, b in zip(v.min_shape, v.max_shape, strict=False)
    )


def _sizes_of_one_may_vary(small: bool) -> contextlib.AbstractContextManager[Any]:
    """Trace without the assumption that sizes are at least 2, where an Input declares less.

    With it a branch like ``if x.shape[0] == 1`` would be decided in silence.
    """
    config = torch.fx.experimental._config
    if not small or not hasattr(config, "backed_size_oblivious"):
        return contextlib.nullcontext()
    return config.patch(backed_size_oblivious=True)


def _refuse_distributed(module: nn.Module) -> None:
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if type(tensor).__name__ == "DTensor":
            raise ValueError(
                f"{name} is a distributed tensor, which torch.export does not hand over: compile "
                "with torch.compile(model, backend='stator', "
                "options={'use_distributed_mode_trace': True})"
            )


# PyTorch knows this of the overload with a message alone, and would drop the other as dead.
fx.node.has_side_effect(torch.ops.aten._assert_async.default)


@dataclass
class Captured:
    """A model ready for the compiler, and what is needed to call the result as the model is."""

    handed: HandedOver
    in_spec: pytree.TreeSpec
    out_spec: pytree.TreeSpec
    constant_inputs: dict[int, Any]
    state: list[torch.Tensor]  # what the model changes of its own, passed before the user's inputs
    finish: Finisher
    doubles: list[bool]  # user outputs to give as float64; empty where nothing was truncated
    free_dims: list[tuple[int, ...]]  # of each flat user input: dimensions that vary by themselves


def _declared_sizes(
    program: ExportedProgram, inputs: Sequence[Any]
) -> Iterator[tuple[str, int, int, int]]:
    """(symbol, least, opt, most) of each dimension of an Input that is a symbol by itself."""
    for value, given in zip(user_values(program), inputs, strict=False):
        if not isinstance(given, Input) or not isinstance(value, torch.Tensor):
            continue
        shapes = given.min_shape, given.opt_shape, given.max_shape
        for size, least, opt, most in zip(value.shape, *shapes, strict=True):
            if isinstance(size, torch.SymInt) and size.node.expr.is_symbol:
                yield str(size.node.expr), least, opt, most


def _ranges_of(
    program: ExportedProgram, inputs: Sequence[Any]
) -> dict[str, tuple[int | None, int | None]]:
    """The user's ranges of symbols: what Inputs say, else what the program's author said.

    A number that is no size may be negative: without a least value it has None.
    """
    ranges: dict[str, tuple[int | None, int | None]] = {}
    for symbol, limits in program.range_constraints.items():
        upper = None if limits.upper in (int_oo, sympy.oo) else int(limits.upper)
        lower = None if limits.lower in (-int_oo, -sympy.oo) else int(limits.lower)
        # 2 is torch.export's way to say nothing: it traces with at least 2 and then takes less.
        nothing = lower is not None and 0 <= lower <= 2 and str(symbol).startswith("s")
        ranges[str(symbol)] = (0 if nothing else lower, upper)
    for symbol, least, _, most in _declared_sizes(program, inputs):
        low, high = ranges.get(symbol, (0, None))
        ranges[symbol] = (max(least, low or 0), most if high is None else min(most, high))
    return ranges


def _as_it_is(program: ExportedProgram) -> ExportedProgram:
    return program


def _declared(program: ExportedProgram, inputs: Sequence[Any]) -> dict[str, tuple[int, int]]:
    """What the Inputs say of each symbol, which may be more than the program can do."""
    limits: dict[str, tuple[int, int]] = {}
    for symbol, least, _, most in _declared_sizes(program, inputs):
        limits.setdefault(symbol, (least, most))
    return limits


def _tell_what_was_narrowed(
    graph: _native.Graph,
    limits: dict[str, tuple[int, int]],
    guards: list[tuple[str, str, str]],
) -> None:
    """Warn where the sizes that Inputs declare are more than the model was compiled for."""
    lines = [
        text + (f" ({line})" if line else "")
        for text, line, written in guards
        if not graph.holds_within(written, limits)
    ]
    if limits and lines:
        logger.warning(
            "the compiled model is valid only where the following holds; calls with other sizes "
            "are refused:\n  %s",
            "\n  ".join(lines),
        )


def _free_dims(values: Sequence[Any]) -> list[tuple[int, ...]]:
    """Of each value the dimensions whose size is a symbol that no other size is computed from."""
    sizes = [v.shape if isinstance(v, torch.Tensor) else () for v in values]
    symbolic = [s.node.expr for shape in sizes for s in shape if isinstance(s, torch.SymInt)]
    bound = {symbol for e in symbolic if not e.is_symbol for symbol in e.free_symbols}
    return [
        tuple(
            k
            for k, s in enumerate(shape)
            if isinstance(s, torch.SymInt) and s.node.expr.is_symbol and s.node.expr not in bound
        )
        for shape in sizes
    ]


def _opt_sizes(program: ExportedProgram, inputs: Sequence[Any]) -> dict[str, int]:
    return {symbol: opt for symbol, _, opt, _ in _declared_sizes(program, inputs)}


def capture(
    program: ExportedProgram, inputs: Sequence[Any], settings: CompilationSettings | None = None
) -> Captured:
    """Hand an exported program over.

    Args:
        program: as torch.export gives it; composite operators are kept, mutations made explicit.
        inputs: flat user inputs as the caller described them; Inputs give ranges and opt sizes.
        settings: the autocast settings are acted on here, where nodes have the user's names.
    """
    exported, lowered = program, _as_it_is
    graph = copy.deepcopy(program.graph)
    if make_functional(graph):
        graph_module = fx.GraphModule(program.graph_module, graph)
    else:
        lowered = functools.cache(decomposed)
        program = lowered(program)
        graph_module = program.graph_module
    if settings is not None:
        weights = _weights_by_node(program, graph_module)
        graph_module = lower(graph_module, settings, weights)
    if settings is not None and settings.enable_autocast:
        low, loader = settings.autocast_low_precision_type, settings.autocast_calibration_dataloader
        observed = None
        if loader is not None and low is not None:
            with users_code():
                observed = observe(program.module(), loader)
        autocast(graph_module, settings, observed)
    results = returned(graph_module)
    doubles: list[bool] = []
    if settings is not None and settings.truncate_double and has_doubles(graph_module):
        kinds = [spec.kind for spec in program.graph_signature.output_specs]
        which = double_outputs(results)
        if truncate(graph_module):
            doubles = [d for d, k in zip(which, kinds, strict=True) if k is OutputKind.USER_OUTPUT]
    signature = program.graph_signature
    mutated = mutated_targets(program)
    placeholders, constants, state, handed_constants = [], {}, [], 0
    position = 0
    for spec in signature.input_specs:
        if spec.kind is InputKind.USER_INPUT:
            if isinstance(spec.arg, ConstantArgument):
                constants[position] = spec.arg.value
                handed_constants += 1
            position += 1
            placeholders.append(Placeholder())
        elif spec.target in mutated:
            state.append(tensor_of(program, spec.target))
            placeholders.append(Placeholder("user_input", spec.target))
        else:
            placeholders.append(_weight(program, spec))
            if doubles and placeholders[-1].tensor is not None:
                (placeholders[-1].tensor,) = single([placeholders[-1].tensor])
    outputs = []
    for spec, node in zip(signature.output_specs, results, strict=True):
        value = spec.arg.value if isinstance(spec.arg, ConstantArgument) else node
        if spec.kind not in _OUTPUT_KINDS:
            raise TypeError(
                f"output {spec.arg.name!r} of the exported program is a {spec.kind.name.lower()}: "
                "a program that trains is not compiled, export the model for inference"
            )
        outputs.append((_OUTPUT_KINDS[spec.kind], value, spec.target or ""))
    ranges = _ranges_of(program, inputs)
    handed = hand_over(
        graph_module,
        placeholders,
        outputs,
        ranges=ranges,
        skipped={
            spec.arg.name
            for spec in signature.input_specs
            if isinstance(spec.arg, ConstantArgument)
        },
    )
    handed.hints.update(_opt_sizes(program, inputs))
    ones = SizesOfOne(exported, lowered, ranges)
    added = add_guards(handed.graph, exported, program, without_effect=ones.without_effect)
    _tell_what_was_narrowed(handed.graph, _declared(program, inputs), added)
    in_spec, out_spec = program.call_spec.in_spec, spec_of_objects(program.call_spec.out_spec)
    finish = finisher(program, state, constants)
    free_dims = _free_dims(user_values(program))
    return Captured(handed, in_spec, out_spec, constants, state, finish, doubles, free_dims)


_OUTPUT_KINDS = {
    OutputKind.USER_OUTPUT: "user_output",
    OutputKind.BUFFER_MUTATION: "buffer_mutation",
    OutputKind.PARAMETER_MUTATION: "buffer_mutation",
    OutputKind.USER_INPUT_MUTATION: "user_input_mutation",
}


def _weights_by_node(
    program: ExportedProgram, graph_module: fx.GraphModule
) -> dict[fx.Node, torch.Tensor]:
    """The tensors of the placeholders that are weights, but for buffers that the model changes."""
    signature = program.graph_signature
    mutated = mutated_targets(program)
    nodes = {n.name: n for n in graph_module.graph.nodes if n.op == "placeholder"}
    return {
        nodes[spec.arg.name]: tensor
        for spec in signature.input_specs
        if spec.kind is not InputKind.USER_INPUT and spec.target not in mutated
        if isinstance(tensor := _weight(program, spec).tensor, torch.Tensor)
    }


def _weight(program: ExportedProgram, spec: Any) -> Placeholder:
    kind = {InputKind.PARAMETER: "parameter", InputKind.BUFFER: "buffer"}.get(spec.kind, "constant")
    if (held := held_object(program, spec)) is not None:
        return Placeholder(kind, spec.target, held=held)
    return Placeholder(kind, spec.target, tensor_of(program, spec.target))
