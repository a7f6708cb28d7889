"""Hands an FX graph of ATen operators over to the C++ Graph, node by node.

Both doors come through here: an ExportedProgram (ahead of time) and the graph that AOTAutograd
makes for torch.compile. From here on everything is C++; Python keeps only the objects that C++
cannot hold (callables, unknown arguments).
"""

from __future__ import annotations

import contextlib
import functools
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy
import torch
from torch import fx
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._sympy.numbers import int_oo

from stator import _native
from stator.graphs.noted_strides import correct_noted_strides
from stator.graphs.objects import Template

__all__ = ["HandedOver", "Placeholder", "hand_over", "offloaded"]


correct_noted_strides()


@dataclass
class Placeholder:
    """What one placeholder of the FX graph stands for."""

    kind: str = "user_input"  # "user_input", "parameter", "buffer", "constant"
    target: str = ""
    tensor: torch.Tensor | None = None
    held: Any = None  # an object that is no tensor: a TorchBind object


@dataclass
class HandedOver:
    """The C++ graph, and the Python objects it refers to by index or name."""

    graph: _native.Graph
    targets: dict[str, Callable[..., Any]] = field(default_factory=dict)
    tuples: set[str] = field(default_factory=set)  # names of nodes that give tuples of values
    objects: list[Any] = field(default_factory=list)  # with holes, see objects.py
    tensors: dict[int, torch.Tensor] = field(default_factory=dict)  # value id → weight or constant
    hints: dict[str, int] = field(default_factory=dict)  # symbol → the size seen while tracing
    device: str = "cpu"  # "cuda:0" when an input or weight lies there, the first that does


def _expr(value: Any) -> int | str:
    """An int or SymInt as the C++ side reads it."""
    return value if isinstance(value, int) else str(value.node.expr)


_UNKNOWN = object()  # of a node that notes no value


def _text(value: Any) -> str:
    """An object in a few words, for messages."""
    kind = type(value).__name__
    if isinstance(value, torch.nn.Module | torch.Tensor):
        return f"a {kind}"
    return str(value)[:80]


def _is_size(value: Any) -> bool:
    """Whether C++ can compute with an int or SymInt; else PyTorch alone does."""
    return isinstance(value, int) or _has_size(value.node.expr)


@functools.lru_cache(maxsize=4096)
def _has_size(expression: sympy.Expr) -> bool:
    return _native.has_size(str(expression))


def _short(value: Any) -> str:
    """The name of a dtype or layout, without "torch."."""
    return str(value).removeprefix("torch.")


def _peculiarity(t: torch.Tensor) -> str:
    """What a tensor is that the graph's types cannot say; "" of a plain one."""
    if t.is_nested:
        return "a nested tensor"
    if t.is_quantized:
        return "a quantized tensor"
    if t.layout != torch.strided:
        return f"a {_short(t.layout)} tensor"
    if not _native.has_dtype(_short(t.dtype)):
        return f"a tensor of {_short(t.dtype)}"
    if not all(map(_is_size, (*t.shape, *t.stride()))):
        return f"a tensor of shape {_text(tuple(t.shape))}, which has a size of an unknown form"
    if is_traceable_wrapper_subclass(t):
        return f"a {type(t).__name__}, a subclass of torch.Tensor"
    return ""


def _sizes(t: torch.Tensor) -> list[int | torch.SymInt]:
    """The sizes of a tensor; of a nested one none, for they are no numbers."""
    return [] if t.is_nested or not all(map(_is_size, t.shape)) else list(t.shape)


def _tensor_spec(name: str, t: torch.Tensor) -> tuple[Any, ...]:
    shape = [_expr(s) for s in _sizes(t)]
    if what := _peculiarity(t):
        return ("opaque", name, what, shape, [], "", None)
    strides = [_expr(s) for s in t.stride()]
    return ("tensor", name, _short(t.dtype), shape, strides, str(t.device), None)


def _value_spec(name: str, value: Any) -> tuple[Any, ...]:
    """One value for add_node, add_input: (kind, name, dtype, shape, strides, device, expr)."""
    if isinstance(value, torch.Tensor):
        return _tensor_spec(name, value)
    if isinstance(value, bool | torch.SymBool):
        return ("bool", name, "", [], [], "", None)
    if isinstance(value, int | torch.SymInt) and not _is_size(value):
        return ("opaque", name, f"the number {_text(value)}", [], [], "", None)
    if isinstance(value, int | torch.SymInt):
        return ("int", name, "", [], [], "", _expr(value))
    if isinstance(value, float | torch.SymFloat):
        return ("float", name, "", [], [], "", None)
    if value is None:
        return ("none", name, "", [], [], "", None)
    return ("opaque", name, f"a Python object ({type(value).__name__})", [], [], "", None)


_FRAME = re.compile(
    r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)\n\s*(?P<text>[^\n]*)'
)


def _frames(node: fx.Node) -> list[tuple[str, int, str, str]]:
    """The user's lines of a node, outermost first."""
    trace = node.meta.get("stack_trace") or ""
    frames = [
        (m["file"], int(m["line"]), m["function"], m["text"].strip())
        for m in _FRAME.finditer(trace)
    ]
    own = [
        f for f in frames if "/torch/nn/modules/" not in f[0] and "/torch/nn/functional" not in f[0]
    ]
    return own or frames


def _module_path(node: fx.Node) -> str:
    stack = node.meta.get("nn_module_stack")
    if not stack:
        return ""
    entry = list(stack.values())[-1]
    path = entry[0] if isinstance(entry, tuple) else str(entry)
    return re.sub(r"^L\['self'\]\.?", "", str(path))


def _target_name(target: Any) -> str:
    """Name an OpOverload ("aten.add.Tensor"), and anything else in a stable way."""
    if isinstance(target, torch._ops.OpOverload):
        return str(target)
    if isinstance(target, torch._ops.HigherOrderOperator):
        return f"higher_order.{target.name()}"
    module = getattr(target, "__module__", "") or ""
    name = getattr(target, "__name__", None) or type(target).__name__
    return f"{module}.{name}" if module else name


class _HandOver:
    def __init__(
        self,
        gm: fx.GraphModule,
        placeholders: list[Placeholder],
        ranges: Mapping[str, tuple[int | None, int | None]],
        skipped: set[str],
    ) -> None:
        self.gm = gm
        self.placeholders = placeholders
        self.ranges = ranges
        self.skipped = skipped
        self.out = HandedOver(_native.Graph())
        self.values: dict[fx.Node, list[int] | int] = {}  # value id, or ids of a tuple
        self.held: dict[fx.Node, Any] = {}  # placeholders that are objects of the model
        self.symbols: set[str] = set()
        self.sizes: set[str] = set()  # of them those that are dimensions

    # -------------------------------------------------------------- symbols

    def note_symbols(self, value: Any) -> None:
        """Gives C++ the range of every symbol in a size or number, once."""
        if isinstance(value, torch.Tensor):
            sizes = _sizes(value)
            for size in sizes:
                self.note_symbol_of_size(size)
            for size in (*sizes, *(() if _peculiarity(value) else value.stride())):
                self.note_symbols(size)
        elif isinstance(value, list | tuple):
            for item in value:
                self.note_symbols(item)
        elif isinstance(value, torch.SymInt) and _is_size(value):
            env = value.node.shape_env
            for symbol in value.node.expr.free_symbols:
                if str(symbol) not in self.symbols:
                    self.symbols.add(str(symbol))
                    self.set_range(env, symbol)

    def note_symbol_of_size(self, size: int | torch.SymInt) -> None:
        """A symbol that is a dimension is 0 or more, also where it came as a number."""
        symbol = size.node.expr if isinstance(size, torch.SymInt) else None
        if symbol is not None and symbol.is_symbol and str(symbol) not in self.sizes:
            self.sizes.add(str(symbol))
            self.symbols.add(str(symbol))
            self.set_range(size.node.shape_env, symbol)

    def set_range(self, env: Any, symbol: Any) -> None:
        name, vr = str(symbol), env.var_to_range.get(symbol)
        least, greatest = None, None
        if name in self.ranges:
            least, greatest = self.ranges[name]
        elif vr is not None:
            if vr.lower not in (-int_oo, -sympy.oo) and int(vr.lower) > -(2**62):
                # 2 says only that 0 and 1 were not traced
                least = 0 if int(vr.lower) == 2 else int(vr.lower)
            if vr.upper not in (int_oo, sympy.oo) and int(vr.upper) < 2**62:
                greatest = int(vr.upper)
        if name in self.sizes:
            least = max(0, least or 0)
        self.out.graph.set_range(name, least, greatest)
        hints = getattr(env, "backed_var_to_val", None) or getattr(env, "var_to_val", {})
        # The size of a jagged dimension is a symbol whose value is no number.
        if isinstance(hints.get(symbol), int | sympy.Integer):
            self.out.hints[name] = int(hints[symbol])

    # -------------------------------------------------------------- arguments

    def opaque(self, value: Any) -> tuple[str, Any]:
        """An argument that C++ cannot hold: Python keeps it, with holes for what it refers to."""
        template = Template(value, self.referred)
        self.out.objects.append(template.value)
        text = _text(value)
        return ("opaque", (len(self.out.objects) - 1, text, template.uses, template.sizes))

    def referred(self, leaf: fx.Node | torch.SymInt) -> Any:
        """What a node or SymInt inside of an object is."""
        if isinstance(leaf, fx.Node) and leaf not in self.values:
            return ("opaque", self.object_of(leaf))
        return self.argument(leaf)

    def object_of(self, node: fx.Node) -> Any:
        """What a node without a value stands for: an attribute or an argument that is no tensor."""
        return self.held[node] if node in self.held else self.attribute(node.target)

    def argument(self, value: Any) -> Any:
        """One FX argument in the form that bind_graph.cpp reads."""
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, fx.Node):
            return self.node_argument(value)
        if isinstance(value, torch.SymInt):
            self.note_symbols(value)
            return ("expr", _expr(value))
        if isinstance(value, list | tuple):
            return self.list_argument(value)
        if isinstance(value, torch.dtype) and _native.has_dtype(_short(value)):
            return ("dtype", _short(value))
        if isinstance(value, torch.device):
            return ("device", str(value))
        if isinstance(value, torch.memory_format):
            return ("memory_format", _short(value))
        if isinstance(value, torch.layout):
            return ("layout", _short(value))
        return self.opaque(value)

    def node_argument(self, node: fx.Node) -> Any:
        value = self.values.get(node)
        if value is None:
            return self.opaque(self.object_of(node))
        if isinstance(value, list):
            return ("values", value)
        meta = node.meta.get("val", _UNKNOWN)
        if meta is None:  # nothing: an optional result that was not made
            return None
        if isinstance(meta, torch.SymInt) and _is_size(meta):
            return ("expr", _expr(meta))
        if isinstance(meta, int) and not isinstance(meta, bool):
            return meta
        return ("value", value)

    def list_argument(self, items: list[Any] | tuple[Any, ...]) -> Any:
        if any(isinstance(i, fx.Node) and self.is_tensor(i) for i in items):
            if all(i is None or (isinstance(i, fx.Node) and self.is_tensor(i)) for i in items):
                return ("values", [-1 if i is None else self.values[i] for i in items])
            return self.opaque(list(items))
        converted = [self.argument(i) for i in items]
        if all((isinstance(c, int) and not isinstance(c, bool)) or _is_expr(c) for c in converted):
            return ("exprs", [c if isinstance(c, int) else c[1] for c in converted])
        if all(isinstance(c, bool) for c in converted):
            return ("bools", converted)
        if all(isinstance(c, int | float) for c in converted):
            return ("floats", [float(c) for c in converted])
        if all(isinstance(c, str) for c in converted):
            return ("strings", converted)
        return self.opaque(list(items))

    def is_tensor(self, node: fx.Node) -> bool:
        """Whether a node is one value, and that a tensor."""
        value = node.meta.get("val")
        if value is None and node.op == "get_attr":
            value = self.attribute(node.target)
        return isinstance(value, torch.Tensor) and isinstance(self.values.get(node), int)

    def attribute(self, target: str) -> Any:
        value: Any = self.gm
        for part in target.split("."):
            value = getattr(value, part)
        return value

    # -------------------------------------------------------------- nodes

    def placeholder(self, node: fx.Node, spec: Placeholder) -> None:
        if spec.held is not None:
            self.held[node] = spec.held
            return
        # A node called like a builtin has another name than the model's argument: input, input_1.
        name = str(node.target) if node.op == "placeholder" else node.name
        value = node.meta.get("val")
        if value is None:
            value = spec.tensor
        self.note_symbols(value)
        tensor = spec.tensor
        if tensor is not None:
            tensor = tensor.detach()
            value_spec = _tensor_spec(name, tensor)
            if tensor.device.type in ("cpu", "cuda") and not _peculiarity(tensor):
                tensor = tensor.contiguous().resolve_conj().resolve_neg()
                value_spec = _tensor_spec(name, tensor)
                tensor = tensor.cpu()  # an engine's weights are built from the host's memory
            else:
                tensor = None
        else:
            value_spec = _value_spec(name, value)
        for held in (value, spec.tensor):
            on_gpu = isinstance(held, torch.Tensor) and held.device.type == "cuda"
            if on_gpu and self.out.device == "cpu":
                self.out.device = str(held.device)
        value_id = self.out.graph.add_input(spec.kind, value_spec, spec.target, tensor)
        self.values[node] = value_id
        if spec.tensor is not None:
            self.out.tensors[value_id] = spec.tensor

    def get_attr(self, node: fx.Node) -> None:
        value = self.attribute(node.target)
        if isinstance(value, torch.Tensor):
            self.placeholder(node, Placeholder("constant", str(node.target), value))

    def outputs_of(self, node: fx.Node) -> tuple[list[tuple[Any, ...]], bool]:
        """The specs of a node's outputs, and whether they are a tuple's elements."""
        value = node.meta.get("val")
        self.note_symbols(value)
        if isinstance(node.target, torch._ops.OpOverload) and not node.target._schema.returns:
            return [], True  # an assertion
        if not isinstance(value, list | tuple):
            return [_value_spec(node.name, value)], False
        names = {}
        for user in node.users:
            if user.target is operator.getitem:
                names.setdefault(user.args[1], user.name)
        return [
            _value_spec(names.get(i, f"{node.name}_{i}"), item) for i, item in enumerate(value)
        ], True

    def call(self, node: fx.Node) -> None:
        if node.target is operator.getitem and isinstance(self.values.get(node.args[0]), list):
            self.values[node] = self.values[node.args[0]][node.args[1]]
            return
        name = self.name_of(node.target)
        args = self.named_arguments(node)
        outputs, is_tuple = self.outputs_of(node)
        ids = self.out.graph.add_node(
            node.name, name, args, outputs, _frames(node), _module_path(node)
        )
        if is_tuple:
            self.out.tuples.add(node.name)
        self.values[node] = ids if is_tuple else ids[0]

    def name_of(self, target: Any) -> str:
        """A name by which the target is found again; two functions may be called the same."""
        name = base = _target_name(target)
        count = 1
        while self.out.targets.setdefault(name, target) is not target:
            count += 1
            name = f"{base}#{count}"
        return name

    def named_arguments(self, node: fx.Node) -> list[tuple[str, Any]]:
        names: list[str] = []
        if isinstance(node.target, torch._ops.OpOverload):
            names = [a.name for a in node.target._schema.arguments]
            convert = self.argument
        else:
            convert = self.unschematic_argument
        args = [(names[i] if i < len(names) else "", convert(a)) for i, a in enumerate(node.args)]
        return args + [(k, convert(v)) for k, v in node.kwargs.items()]

    def unschematic_argument(self, value: Any) -> Any:
        """An argument of a function without a schema, which may tell a tuple from a list."""
        return self.opaque(value) if isinstance(value, list | tuple) else self.argument(value)

    def run(self) -> HandedOver:
        specs = iter(self.placeholders)
        for node in self.gm.graph.nodes:
            if node.op == "placeholder":
                spec = next(specs)
                if str(node.target) not in self.skipped:
                    self.placeholder(node, spec)
            elif node.op == "get_attr":
                self.get_attr(node)
            elif node.op == "call_function":
                self.call(node)
            elif node.op != "output":
                raise RuntimeError(f"node {node.name}: {node.op} cannot be handed over")
        return self.out


def _is_expr(value: Any) -> bool:
    return isinstance(value, tuple) and value[0] == "expr"


@contextlib.contextmanager
def offloaded(handed: HandedOver, wanted: bool) -> Iterator[None]:
    """Weights on GPUs in host memory, where that is wanted; afterwards back where they were.

    The same tensors, so that the user's module and the parts in PyTorch see nothing of it.
    """
    moved: list[tuple[torch.Tensor, torch.device]] = []
    try:
        for tensor in handed.tensors.values() if wanted else ():
            if tensor.device.type == "cuda":  # not one that has just been moved
                moved.append((tensor, tensor.device))
                tensor.data = tensor.data.cpu()
        if moved:
            torch.cuda.empty_cache()
        yield
    finally:
        for tensor, device in moved:
            tensor.data = tensor.data.to(device)


def hand_over(
    gm: fx.GraphModule,
    placeholders: list[Placeholder],
    outputs: list[tuple[str, Any, str]],
    ranges: Mapping[str, tuple[int | None, int | None]] | None = None,
    skipped: set[str] = frozenset(),
) -> HandedOver:
    """Build the C++ Graph of `gm`.

    Args:
        gm: ATen operators with ``meta["val"]``.
        placeholders: what each placeholder is, in order.
        outputs: (kind, FX node or constant, target) of every output; kinds as in graph.h.
        ranges: least and greatest value of symbols, where the caller knows better than the tracer.
        skipped: names of placeholders that are constants of the graph and no inputs.
    """
    job = _HandOver(gm, placeholders, ranges or {}, set(skipped))
    result = job.run()
    for kind, value, target in outputs:
        result.graph.add_output(kind, job.argument(value), target)
    return result
