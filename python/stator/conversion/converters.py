# SPDX-License-Identifier: Apache-2.0
"""The converter registry: which operators engines can hold, and converters written in Python.

A converter in Python says what an operator is in the layers of TensorRT's network API (layers.py).
It is called while the graph is lowered, and what it builds are ATen operators in the operator's
place, which the compiler's own converters take.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch._C import DispatchKey
from torch.utils import _pytree as pytree

from stator import _native
from stator._log import logger
from stator.conversion.layers import ConversionContext, as_tensor, from_graph
from stator.graphs.fx_graphs import inline
from stator.settings.compilation_settings import CompilationSettings
from stator.settings.values import names_operator, operator_names

__all__ = [
    "DYNAMO_CONVERTERS",
    "ConverterPriority",
    "ConverterRegistry",
    "auto_generate_converter",
    "convert_in_python",
    "dynamo_tensorrt_converter",
]


class ConverterPriority(enum.Enum):
    """Which of several converters is asked first; HIGH comes before the compiler's own."""

    STANDARD = enum.auto()
    HIGH = enum.auto()


@dataclass(frozen=True)
class ConverterSupport:
    """A converter in Python and when it may be used."""

    converter_implementation: Callable[..., Any]
    capability_validator: Callable[[fx.Node, CompilationSettings], bool]
    priority: ConverterPriority = ConverterPriority.STANDARD
    supports_dynamic_shapes: bool = False
    requires_output_allocator: bool = False


def _name(target: Any) -> str | None:
    """The registry's name of an operator: "aten.add.Tensor", or "aten.add" for a packet."""
    if isinstance(target, torch._ops.OpOverload | torch._ops.OpOverloadPacket):
        return str(target).removeprefix("torch.ops.")
    if isinstance(target, str):
        return target.removeprefix("torch.ops.").replace("::", ".")
    return None


class ConverterRegistry:
    """The operators that have a converter; ``torch.ops.aten.gelu.default in DYNAMO_CONVERTERS``."""

    def __init__(self) -> None:
        self._python: dict[str, list[ConverterSupport]] = {}

    def __contains__(self, target: Any) -> bool:
        """Whether an operator has a converter; False for anything that is no operator."""
        name = _name(target)
        if not name:
            return False
        return _native.has_converter(name) or any(
            t == name or t.startswith(name + ".") for t in self._names()
        )

    def _names(self) -> list[str]:
        return [*_native.converter_targets(), *self._python]

    def __iter__(self) -> Iterator[str]:
        """The operators' names, "torch.ops.aten.add.Tensor"."""
        return iter(sorted("torch.ops." + name for name in set(self._names())))

    def __len__(self) -> int:
        """How many overloads have a converter."""
        return len(set(self._names()))

    def keys(self) -> list[str]:
        """The operators' names."""
        return list(self)

    def unique_targets(self) -> set[str]:
        """The operators' names, each once."""
        return set(self)

    def add(self, target: Any, support: ConverterSupport) -> None:
        """Register a converter; among those of one priority the first comes first."""
        name = _name(target)
        if name is None:
            raise TypeError(
                f"{target!r} is no operator; give for example torch.ops.aten.relu.default"
            )
        among = self._python.setdefault(name, [])
        among.append(support)
        among.sort(key=lambda s: s.priority is not ConverterPriority.HIGH)

    def remove(self, target: Any) -> None:
        """Forget an operator's converters in Python."""
        self._python.pop(_name(target) or "", None)

    def in_python(self, target: Any) -> list[ConverterSupport]:
        """An operator's converters in Python, those of high priority first."""
        name = _name(target) or ""
        packet = _name(getattr(target, "overloadpacket", None)) or ""
        return [*self._python.get(name, ()), *self._python.get(packet, ())]


#: The one registry.
DYNAMO_CONVERTERS = ConverterRegistry()


def dynamo_tensorrt_converter(
    key: Any,
    *,
    enabled: bool = True,
    capability_validator: Callable[[fx.Node, CompilationSettings], bool] | None = None,
    priority: ConverterPriority = ConverterPriority.STANDARD,
    supports_dynamic_shapes: bool = False,
    requires_output_allocator: bool = False,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the decorated function as the converter of an operator.

    The function is ``(ctx, target, args, kwargs, name)``: `ctx.net` is the network definition
    (layers.py), `args` and `kwargs` are the node's with network tensors, constant tensors
    and Python values in their places, and it returns the operator's results, a network tensor
    or a tuple of them.

    Args:
        key: the operator; a packet stands for all its overloads.
        enabled: False leaves the registry as it is.
        capability_validator: ``(node, settings) -> bool``; False leaves this node to others.
        priority: HIGH comes before the compiler's own converters.
        supports_dynamic_shapes: False leaves nodes with symbolic sizes to others, unless the
            setting assume_dynamic_shape_support says otherwise.
        requires_output_allocator: kept for compatibility; results' sizes may depend on data only
            where the operators that are built allow it.
    """

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        if enabled:
            validator = capability_validator or (lambda _node, _settings: True)
            DYNAMO_CONVERTERS.add(
                key,
                ConverterSupport(
                    function, validator, priority, supports_dynamic_shapes,
                    requires_output_allocator,
                ),
            )  # fmt: skip
        return function

    return register


def _is_dynamic(node: fx.Node) -> bool:
    values = [n.meta.get("val") for n in (node, *node.all_input_nodes)]
    tensors = [v for v in pytree.tree_leaves(values) if isinstance(v, torch.Tensor)]
    return any(isinstance(s, torch.SymInt) for t in tensors for s in t.shape)


def _chosen(node: fx.Node, settings: CompilationSettings) -> ConverterSupport | None:
    """The converter in Python that takes a node; None where the compiler's own does, or none."""
    own = _native.has_converter(_name(node.target) or "")
    for support in DYNAMO_CONVERTERS.in_python(node.target):
        if own and support.priority is not ConverterPriority.HIGH:
            continue
        dynamic = support.supports_dynamic_shapes or settings.assume_dynamic_shape_support
        if (dynamic or not _is_dynamic(node)) and support.capability_validator(node, settings):
            return support
    return None


def _source_line(node: fx.Node) -> str:
    lines = (node.meta.get("stack_trace") or "").strip().splitlines()
    return lines[-2].strip() if len(lines) > 1 else "an unknown line"


def convert_in_python(
    gm: fx.GraphModule, settings: CompilationSettings, constants: dict[fx.Node, torch.Tensor]
) -> bool:
    """Put what converters in Python build in the place of their operators; True when any was.

    Raises:
        RuntimeError: a converter failed, with pass_through_build_failures; without, the operator
            runs in PyTorch and a warning says why.
    """
    excluded = operator_names(settings.torch_executed_ops)
    done = False
    for node in list(gm.graph.nodes):
        if node.op != "call_function" or not DYNAMO_CONVERTERS.in_python(node.target):
            continue
        if names_operator(excluded, node.target):
            continue
        support = _chosen(node, settings)
        if support is None:
            continue
        try:
            inline(gm, node, _caller(support, node, settings), _constants_of(node, constants))
            done = True
        except Exception as error:
            message = (
                f"the converter of {node.target} failed at node {node.name} "
                f"({_source_line(node)}): {type(error).__name__}: {error}"
            )
            if settings.pass_through_build_failures:
                raise RuntimeError(message) from error
            logger.warning("%s; the operator runs in PyTorch", message)
    return done


def _constants_of(
    node: fx.Node, constants: dict[fx.Node, torch.Tensor]
) -> dict[fx.Node, torch.Tensor]:
    return {n: constants[n] for n in node.all_input_nodes if n in constants}


def _caller(
    support: ConverterSupport, node: fx.Node, settings: CompilationSettings
) -> Callable[..., Any]:
    """The converter as a function of tensors."""

    def call(*args: Any, **kwargs: Any) -> Any:
        context = ConversionContext(settings, node.name)
        given = pytree.tree_map(from_graph, args), pytree.tree_map(from_graph, kwargs)
        results = support.converter_implementation(context, node.target, *given, node.name)
        many = isinstance(results, tuple | list)
        values = [as_tensor(r) for r in (results if many else [results])]
        expected = pytree.tree_leaves(node.meta["val"])
        if len(values) != len(expected):
            raise ValueError(f"it gave {len(values)} results, the operator has {len(expected)}")
        for value, wanted in zip(values, expected, strict=True):
            if isinstance(wanted, torch.Tensor) and value.ndim != wanted.ndim:
                raise ValueError(
                    f"it gave a result of {value.ndim} dimensions, the operator's has {wanted.ndim}"
                )
        return tuple(values) if many else values[0]

    return call


def _kernel(op: Any, on_gpu: bool = False) -> DispatchKey | None:
    """Under which key the dispatcher finds an operator's implementation, the device's own first."""
    composite = (DispatchKey.CompositeImplicitAutograd, DispatchKey.CompositeExplicitAutograd)
    keys = (DispatchKey.CPU, DispatchKey.CUDA)
    for key in reversed(keys) if on_gpu else keys:
        if any(op.has_kernel_for_dispatch_key(k) for k in (key, *composite)):
            return key
    return None


def auto_generate_converter(
    target: Any,
    *,
    supports_dynamic_shapes: bool = True,
    capability_validator: Callable[[fx.Node, CompilationSettings], bool] | None = None,
    priority: ConverterPriority = ConverterPriority.STANDARD,
) -> Callable[..., Any]:
    """Register a converter that follows the operator's own implementation.

    The implementation that was registered with PyTorch (for any device) is run on stand-ins, and
    the ATen operators that it calls become the engine's.

    Args:
        target: an operator, ``torch.ops.my_package.my_op`` or one of its overloads.
        supports_dynamic_shapes, capability_validator, priority: as of dynamo_tensorrt_converter.

    Returns:
        The converter.

    Raises:
        TypeError: `target` is no operator.
        ValueError: it has no implementation.
    """
    if isinstance(target, torch._ops.OpOverloadPacket):
        overloads = [getattr(target, name) for name in target.overloads()]
    elif isinstance(target, torch._ops.OpOverload):
        overloads = [target]
    else:
        raise TypeError(f"{target!r} is no operator of torch.ops")
    for op in overloads:
        if _kernel(op) is None:
            raise ValueError(f"{op} has no implementation that a converter could follow")

    def converter(
        _ctx: ConversionContext, op: Any, args: tuple[Any, ...], kwargs: dict[str, Any], _name: str
    ) -> Any:
        plain = pytree.tree_map(as_tensor, args), pytree.tree_map(as_tensor, kwargs)
        tensors = [t for t in pytree.tree_leaves(plain) if isinstance(t, torch.Tensor)]
        key = _kernel(op, any(t.device.type == "cuda" for t in tensors))
        return op.redispatch(torch._C.DispatchKeySet(key), *plain[0], **plain[1])

    for op in overloads:
        dynamo_tensorrt_converter(
            op,
            supports_dynamic_shapes=supports_dynamic_shapes,
            capability_validator=capability_validator,
            priority=priority,
        )(converter)
    return converter
