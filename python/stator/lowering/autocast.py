# SPDX-License-Identifier: Apache-2.0
"""Rule-based autocast: products and convolutions of a float32 graph in a low precision.

Products and convolutions are cast; pointwise work and views follow what they read; reductions,
normalizations, softmax, exponentials and losses stay in float32, and so does what the settings keep
there: nodes by name, operators, results above a threshold, sums that are too deep.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx

from stator._log import logger
from stator.graphs.fx_graphs import cast_value
from stator.settings.compilation_settings import CompilationSettings
from stator.settings.values import operator_names

__all__ = ["autocast", "observe"]

_PRODUCTS = {
    "linear", "mm", "bmm", "matmul", "addmm", "baddbmm", "conv1d", "conv2d", "conv3d",
    "convolution", "_convolution", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "scaled_dot_product_attention", "einsum",
}  # fmt: skip
_VIEWS = {
    "view", "_unsafe_view", "reshape", "transpose", "permute", "t", "flatten", "unflatten",
    "unsqueeze", "squeeze", "slice", "select", "expand", "clone", "contiguous", "alias", "detach",
    "cat", "stack", "dropout", "narrow", "repeat", "flip", "roll", "index_select", "gather",
}  # fmt: skip
_POINTWISE = {
    "relu", "relu_", "gelu", "silu", "sigmoid", "tanh", "hardswish", "hardsigmoid", "hardtanh",
    "relu6", "leaky_relu", "elu", "clamp", "clamp_min", "clamp_max", "add", "sub", "mul", "neg",
    "abs", "maximum", "minimum", "where", "max_pool2d", "max_pool1d",
}  # fmt: skip
# What torch.export keeps whole and AOTAutograd takes apart goes by both names.
_PARTS = {
    "softmax": {"_softmax"},
    "log_softmax": {"_log_softmax"},
    "layer_norm": {"native_layer_norm"},
    "group_norm": {"native_group_norm"},
    "batch_norm": {"native_batch_norm", "_native_batch_norm_legit_no_training"},
    "linear": {"addmm", "mm"},
    "conv1d": {"convolution"},
    "conv2d": {"convolution"},
    "conv3d": {"convolution"},
    "matmul": {"mm", "bmm"},
}


def _name(node: fx.Node) -> str:
    """The operator without namespace and overload."""
    target = node.target
    if isinstance(target, torch._ops.OpOverload) and target.namespace == "aten":
        return target._opname
    return ""


def _tensors(node: fx.Node) -> list[fx.Node]:
    """The nodes that it reads whose value is a float tensor."""
    return [n for n in node.all_input_nodes if _is_float(n)]


def _is_float(node: fx.Node) -> bool:
    value = node.meta.get("val")
    return isinstance(value, torch.Tensor) and value.is_floating_point()


class _Excluded:
    """What the settings keep in float32 whatever it is."""

    def __init__(self, settings: CompilationSettings) -> None:
        self.patterns = [re.compile(p) for p in settings.autocast_excluded_nodes]
        self.names = operator_names(settings.autocast_excluded_ops)
        packets = {name.split(".")[1] for name in self.names if name.count(".") >= 1}
        self.parts = {part for packet in packets for part in _PARTS.get(packet, ())}

    def has(self, node: fx.Node) -> bool:
        if any(pattern.match(node.name) for pattern in self.patterns):
            return True
        full = str(node.target).removeprefix("torch.ops.")
        packet = full.rsplit(".", 1)[0]
        return full in self.names or packet in self.names or _name(node) in self.parts


def _depth(node: fx.Node) -> int:
    """How many products are summed for one element of the result; 0 when that is not known."""
    name = _name(node)
    shapes = [n.meta["val"].shape for n in _tensors(node)]
    if not shapes or name not in _PRODUCTS:
        return 0
    if "conv" in name:
        sizes = list(shapes[1][1:])
    elif name == "scaled_dot_product_attention":
        sizes = [max(_int(shapes[0][-1]), _int(shapes[1][-2]))]
    else:
        operand = shapes[1] if name in ("addmm", "baddbmm") and len(shapes) == 3 else shapes[0]
        sizes = [operand[-1]] if operand else []
    return math.prod(_int(size) for size in sizes)


def _int(size: Any) -> int:
    return size if isinstance(size, int) else int(getattr(size.node, "hint", None) or 0)


def _bound(node: fx.Node, bounds: dict[fx.Node, float]) -> float | None:
    """The greatest absolute value that the result can have; None when that is not known."""
    name = _name(node)
    if name in ("sigmoid", "tanh", "hardsigmoid", "softmax", "_softmax"):
        return 1.0
    if name == "relu6":
        return 6.0
    if name in ("clamp", "hardtanh"):
        limits = [a for a in node.args[1:3] if isinstance(a, int | float)]
        if name == "hardtanh" and not limits:
            return 1.0
        return float(max(abs(v) for v in limits)) if len(limits) == 2 else None
    if name in _VIEWS or name in ("relu", "abs", "neg", "max_pool2d"):
        known = [bounds.get(n) for n in _tensors(node)]
        return max(known) if known and None not in known else None
    return None


class _Autocast:
    def __init__(
        self,
        gm: fx.GraphModule,
        settings: CompilationSettings,
        observed: dict[str, float] | None,
    ) -> None:
        self.graph = gm.graph
        self.low = settings.autocast_low_precision_type
        self.settings = settings
        self.excluded = _Excluded(settings)
        self.observed = observed
        self.bounds: dict[fx.Node, float] = {}
        self.lowered: set[fx.Node] = set()
        self.casts: dict[tuple[fx.Node, torch.dtype], fx.Node] = {}

    def run(self) -> int:
        """Cast what may be cast; give how many nodes that were."""
        for node in list(self.graph.nodes):
            if node.op == "output":
                node.args = fx.map_arg(node.args, self.as_float32)
            elif node.op == "call_function":
                self.visit(node)
        self.graph.lint()
        return len(self.lowered)

    def visit(self, node: fx.Node) -> None:
        if (bound := _bound(node, self.bounds)) is not None:
            self.bounds[node] = bound
        if self.takes_low(node):
            node.args = fx.map_arg(node.args, self.as_low)
            node.kwargs = fx.map_arg(node.kwargs, self.as_low)
            node.meta["val"] = cast_value(node.meta["val"], self.low)
            self.lowered.add(node)
        else:
            node.args = fx.map_arg(node.args, self.as_float32)
            node.kwargs = fx.map_arg(node.kwargs, self.as_float32)
        if logger.isEnabledFor(10):
            kind = str(self.low) if node in self.lowered else "unchanged"
            logger.debug("autocast: %s (%s): %s", node.name, node.target, kind)

    def takes_low(self, node: fx.Node) -> bool:
        inputs, name = _tensors(node), _name(node)
        value = node.meta.get("val")
        if (
            not inputs
            or not isinstance(value, torch.Tensor)
            or value.dtype != torch.float32
            or any(n.meta["val"].dtype not in (torch.float32, self.low) for n in inputs)
            or self.excluded.has(node)
            or self.too_large(node)
        ):
            return False
        if name in _PRODUCTS:
            most = self.settings.autocast_max_depth_of_reduction
            return most is None or _depth(node) <= most
        computed = [n for n in inputs if n.op == "call_function"]
        follows = bool(computed) and all(n in self.lowered for n in computed)
        return follows and (name in _VIEWS or name in _POINTWISE)

    def too_large(self, node: fx.Node) -> bool:
        bound = self.bounds.get(node)
        if self.observed is not None:
            bound = self.observed.get(node.name, bound)
        return bound is not None and bound > self.settings.autocast_max_output_threshold

    def as_low(self, node: fx.Node) -> fx.Node:
        floats = _is_float(node) and node not in self.lowered
        return self.cast(node, self.low) if floats else node

    def as_float32(self, node: fx.Node) -> fx.Node:
        return self.cast(node, torch.float32) if node in self.lowered else node

    def cast(self, node: fx.Node, dtype: torch.dtype) -> fx.Node:
        key = (node, dtype)
        if key not in self.casts:
            after = node
            if node.op == "placeholder":  # placeholders stand together
                after = [n for n in self.graph.nodes if n.op == "placeholder"][-1]
            with self.graph.inserting_after(after):
                new = self.graph.call_function(
                    torch.ops.aten._to_copy.default, (node,), {"dtype": dtype}
                )
            new.meta = {k: v for k, v in node.meta.items() if k in ("stack_trace",)}
            new.meta["val"] = cast_value(node.meta["val"], dtype)
            self.casts[key] = new
        return self.casts[key]


def autocast(
    gm: fx.GraphModule,
    settings: CompilationSettings,
    observed: dict[str, float] | None = None,
) -> None:
    """Change a graph of ATen operators, in place, as the autocast settings say.

    Args:
        gm: with torch.export's notes of shapes and types.
        settings: nothing is done without ``enable_autocast`` and ``autocast_low_precision_type``.
        observed: greatest absolute values by node, from :func:`observe`.
    """
    if not settings.enable_autocast or settings.autocast_low_precision_type is None:
        return
    count = _Autocast(gm, settings, observed).run()
    gm.recompile()
    logger.info("autocast: %d nodes in %s", count, settings.autocast_low_precision_type)


class _Observer(fx.Interpreter):
    """Runs a graph and keeps each node's greatest absolute value."""

    def __init__(self, gm: fx.GraphModule, seen: dict[str, float]) -> None:
        super().__init__(gm)
        self.seen = seen

    def run_node(self, n: fx.Node) -> Any:
        """Run a node and note its result."""
        result = super().run_node(n)
        if isinstance(result, torch.Tensor) and result.is_floating_point() and result.numel():
            most = result.detach().abs().max().item()
            self.seen[n.name] = max(most, self.seen.get(n.name, 0.0))
        return result


def observe(gm: fx.GraphModule, batches: Iterable[Any]) -> dict[str, float]:
    """Run a graph on a dataloader's batches: node → greatest absolute value.

    A batch is a tensor, a tuple or list of arguments, or a dict of keyword arguments. The random
    state is what it was before; the graph's buffers are put back.
    """
    seen: dict[str, float] = {}
    names = [n.name for n in gm.graph.nodes if n.op == "placeholder"]
    before = {k: v.clone() for k, v in gm.named_buffers()}
    with torch.no_grad(), torch.random.fork_rng():
        for batch in batches:
            if isinstance(batch, dict):
                values = [batch[name] for name in names]
            else:
                values = list(batch) if isinstance(batch, list | tuple) else [batch]
            _Observer(gm, seen).run(*values)
        for name, value in gm.named_buffers():
            value.copy_(before[name])
    return seen
