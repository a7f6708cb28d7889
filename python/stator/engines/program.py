"""Puts a compilation together again: an FX graph whose engine segments are modules.

The C++ side decides what runs where; here its PyTorch segments become FX GraphModules of the
original operators, its engine segments become EngineModules, and one FX graph calls them in order,
under the names that the dry run prints.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import fx, nn

from stator import _native
from stator.engines.engine import Engine
from stator.engines.operator import EngineOperator
from stator.engines.pickling import ProgramModule
from stator.engines.tracing import is_fake_call, is_traced
from stator.graphs.hand_over import HandedOver
from stator.graphs.objects import fill, is_constant_of_fx
from stator.graphs.sizes import OPERATORS

__all__ = ["EngineModule", "PythonEngineModule", "build_program"]


class EngineModule(nn.Module):
    """One engine as a module: the tensors in, then the integers, a list of tensors out."""

    def __init__(
        self,
        engine: Engine,
        name: str,
        build_stats: dict[str, Any],
        symbols: Iterable[str] = (),
        releases_memory: bool = False,
    ) -> None:
        """Wrap an engine.

        Args:
            engine, name, build_stats: as they were built.
            symbols: the sizes that it takes after its tensors.
            releases_memory: intermediates have memory during calls alone.
        """
        super().__init__()
        self.releases_memory = releases_memory
        self.symbols = tuple(symbols)
        self.engine = engine
        self.name = name
        self.build_stats = build_stats

    def forward(self, *args: Any) -> list[torch.Tensor]:
        """Run the engine."""
        if is_traced():
            return self.as_operator()(*args)
        try:
            results = self.engine(*args)
        except TypeError:
            if is_fake_call(args):
                return self.as_operator()(*args)
            raise
        if self.releases_memory:
            self.engine.release_memory()
        return results

    def as_operator(self) -> EngineOperator:
        """The engine as an operator's call, which what traces can follow."""
        return EngineOperator(self.engine, self.name, self.symbols)

    @property
    def is_plain(self) -> bool:
        """Whether calling the engine is all that it does."""
        return type(self) is EngineModule and not self.releases_memory

    def extra_repr(self) -> str:
        """Inputs and outputs, for print(module)."""

        def text(infos: list[dict[str, Any]]) -> str:
            return ", ".join(f"{i['dtype']}[{', '.join(i['symbolic_shape'])}]" for i in infos)

        return f"{text(self.engine.inputs)} -> {text(self.engine.outputs)}"


class PythonEngineModule(EngineModule):
    """An engine that is called from Python to be looked at; it is not saved."""

    profiling = False

    def enable_profiling(self) -> None:
        """From now on each call measures its steps, which makes it slower."""
        self.profiling = True

    def disable_profiling(self) -> None:
        """Calls measure nothing."""
        self.profiling = False

    def forward(self, *args: Any) -> list[torch.Tensor]:
        """Run the engine; with profiling, `step_times` is (step, kernel, nanoseconds) of each."""
        results = super().forward(*args)
        if self.profiling and not is_traced():
            if any(isinstance(a, torch.Tensor) and a.is_cuda for a in args):
                torch.cuda.synchronize()
            self.step_times = self.engine.profile(*args)
        return results


def _symbols_of(tree: Any) -> Iterable[str]:
    """The symbols of an expression tree, or of any nest of arguments."""
    if isinstance(tree, tuple) and len(tree) == 2 and tree[0] == "symbol":
        yield tree[1]
    elif isinstance(tree, list | tuple):
        for item in tree:
            yield from _symbols_of(item)


def _in_order(tensor: torch.Tensor, order: list[int], name: str) -> torch.Tensor:
    """The argument, if its axes lie in memory as those of the example: the values depend on it."""
    if not tensor.permute(order).is_contiguous():
        raise ValueError(
            f"input '{name}' has strides {tuple(tensor.stride())}; the model reads memory by its "
            f"strides (as_strided), and was compiled for axes in the order {order}, slowest first. "
            "Compile it with an example of this layout, or give the tensor that layout"
        )
    return tensor


def _plain_symbol(size: Any) -> str | None:
    """The symbol that a size is, where it is no number and nothing more."""
    if isinstance(size, tuple) and size[1][0] == "symbol":
        return size[1][1]
    return None


def _gives_tuple(target: Any, was_tuple: bool) -> bool:
    """Whether a call gives a tuple; of what has no schema it is known from the tracing."""
    if isinstance(target, torch._ops.OpOverload):
        returns = target._schema.returns
        return len(returns) != 1 or isinstance(returns[0].type, torch.ListType)
    return was_tuple


def _resolve(target: str, handed: HandedOver) -> Callable[..., Any]:
    """The callable of an operator's name: the user's own, or one that lowering brought in."""
    if target in handed.targets:
        return handed.targets[target]
    namespace, *path = target.split(".")
    value: Any = getattr(torch.ops, namespace)
    for part in path:
        value = getattr(value, part)
    return value


class _Builder:
    """Shared by the graph of the program and those of its PyTorch segments: arguments, symbols."""

    def __init__(self, handed: HandedOver, compilation: _native.Compilation, root: nn.Module):
        self.handed = handed
        self.compilation = compilation
        self.root = root
        self.graph = fx.Graph()
        self.values: dict[int, Any] = {}
        self.copies: dict[tuple[int, str], fx.Node] = {}
        self.symbols: dict[str, Any] = {}
        self.objects: dict[int, fx.Node] = {}  # by id; the hand-over keeps them alive
        self.unsure: dict[int, torch.dtype] = {}  # value id → the type that tracing noted
        self.constants = {
            i["id"]: i for i in compilation.inputs() if i["input_kind"] != "user_input"
        }

    def value(self, value_id: int) -> Any:
        """The FX node of a value; constants become attributes of the module at first use."""
        if value_id == -1:
            return None
        if value_id not in self.values and value_id in self.constants:
            self.values[value_id] = self.constant(value_id)
        return self.values[value_id]

    def copy(self, value_id: int, memory_format: str) -> fx.Node:
        """A value as a copy in another order in memory, which lowering left to its users."""
        if (value_id, memory_format) not in self.copies:
            clone = torch.ops.aten.clone.default
            options = {"memory_format": getattr(torch, memory_format)}
            node = self.graph.call_function(clone, (self.value(value_id),), options)
            self.copies[value_id, memory_format] = node
        return self.copies[value_id, memory_format]

    def constant(self, value_id: int) -> fx.Node:
        tensor = self.handed.tensors.get(value_id)
        info = self.constants[value_id]
        if tensor is None:  # folded by lowering
            data = bytearray(self.compilation.constant_bytes(value_id))
            element = getattr(torch, info["dtype"])
            tensor = (
                torch.frombuffer(data, dtype=element) if data else torch.empty(0, dtype=element)
            )
            tensor = tensor.reshape(info["shape"]).to(self.handed.device)
        name = f"_constant_{value_id}"
        if isinstance(tensor, nn.Parameter):
            self.root.register_parameter(name, tensor)
        else:
            self.root.register_buffer(name, tensor, persistent=False)
        return self.graph.get_attr(name)

    def expression(self, tree: Any) -> Any:
        """An int, or an FX node that computes the expression."""
        if isinstance(tree, int | float):
            return tree
        if tree[0] == "symbol":
            if tree[1] not in self.symbols:
                raise RuntimeError(f"size {tree[1]} is read before a part of the program makes it")
            return self.symbols[tree[1]]
        function = OPERATORS[tree[0]]
        operands = [self.expression(t) for t in tree[1:]]
        if len(operands) == 1:
            return self.graph.call_function(function, (operands[0],))
        result, *rest = operands
        for operand in rest:
            result = self.graph.call_function(function, (result, operand))
        return result

    def argument(self, value: Any) -> Any:
        """An argument as bind_compiler.cpp gives it → what the FX node takes."""
        if not isinstance(value, tuple):
            return value
        tag, content = value
        if tag == "value":
            return self.value(content)
        if tag == "copy":
            return self.copy(*content)
        if tag == "expr":
            return self.expression(content)
        if tag == "list":
            return [self.argument(v) for v in content]
        if tag == "dtype" or tag == "memory_format" or tag == "layout":
            return getattr(torch, content)
        if tag == "device":
            return torch.device(content)
        if tag == "opaque":
            index, uses, sizes = content
            return fill(
                self.handed.objects[index],
                lambda i: self.argument(uses[i]),
                lambda i: self.expression(sizes[i] if isinstance(sizes[i], int) else sizes[i][1]),
                self.object,
            )
        raise AssertionError(f"unknown argument tag {tag}")

    def object(self, value: Any) -> Any:
        """An object as an argument: written into the code, or an attribute of the module."""
        if is_constant_of_fx(value):
            return value
        known = self.objects.get(id(value))
        if known is None:
            name = f"_object_{len(self.objects)}"
            if isinstance(value, nn.Module):
                self.root.add_module(name, value)
            elif isinstance(value, torch.Tensor):
                self.root.register_buffer(name, value, persistent=False)
            else:
                setattr(self.root, name, value)
            known = self.objects[id(value)] = self.graph.get_attr(name)
        return known

    def call_node(self, node: dict[str, Any]) -> None:
        """One operator in PyTorch."""
        target = _resolve(node["target"], self.handed)
        args, kwargs = [], {}
        has_schema = isinstance(target, torch._ops.OpOverload)
        keyword_only = set()
        if has_schema:
            keyword_only = {a.name for a in target._schema.arguments if a.kwarg_only}
        for name, value in node["args"]:
            if name in keyword_only or (name and (kwargs or not has_schema)):
                kwargs[name] = self.argument(value)
            else:
                args.append(self.argument(value))
        result = self.graph.call_function(target, tuple(args), kwargs)
        if not _gives_tuple(target, node["name"] in self.handed.tuples):
            for output in node["outputs"]:
                self.values[output] = result
            return
        for i, output in enumerate(node["outputs"]):
            self.values[output] = self.graph.call_function(operator.getitem, (result, i))


class _TorchSegment(_Builder):
    """A PyTorch segment as a GraphModule."""

    def __init__(
        self, handed: HandedOver, compilation: _native.Compilation, segment: dict[str, Any]
    ):
        super().__init__(handed, compilation, nn.Module())
        self.segment = segment
        self.input_symbols: list[str] = []

    def defined_symbols(self) -> dict[str, tuple[int, int | None]]:
        """Symbols first met here (data-dependent sizes): value id, and dimension or None."""
        found: dict[str, tuple[int, int | None]] = {}
        for node in self.segment["nodes"]:
            for output in node["outputs"]:
                info = self.compilation.value(output)
                if info["kind"] == "int" and (symbol := _plain_symbol(info["expr"])):
                    found.setdefault(symbol, (output, None))
                else:
                    for dim, size in enumerate(info.get("shape", ())):
                        if symbol := _plain_symbol(size):
                            found.setdefault(symbol, (output, dim))
        return found

    def build(self, known: set[str], needed_later: set[str]) -> tuple[fx.GraphModule, list[str]]:
        """The module, and the symbols that it returns after its tensors."""
        defined = {s: v for s, v in self.defined_symbols().items() if s not in known}
        used = dict.fromkeys(_symbols_of([node["args"] for node in self.segment["nodes"]]))
        self.input_symbols = [s for s in used if s in known]
        for value_id in self.segment["inputs"]:
            name = self.compilation.value(value_id)["name"]
            self.values[value_id] = self.graph.placeholder(name)
        for symbol in self.input_symbols:
            self.symbols[symbol] = self.graph.placeholder(symbol)
        for node in self.segment["nodes"]:
            self.call_node(node)
            self.define(node, defined)
        returned = [s for s in defined if s in needed_later]
        outputs = [self.value(v) for v in self.segment["outputs"]]
        self.graph.output(tuple(outputs + [self.symbols[s] for s in returned]))
        return ProgramModule(self.root, self.graph), returned

    def define(self, node: dict[str, Any], defined: dict[str, tuple[int, int | None]]) -> None:
        for symbol, (value_id, dim) in defined.items():
            if value_id in node["outputs"] and symbol not in self.symbols:
                value = self.values[value_id]
                if dim is not None:
                    value = self.graph.call_function(torch.ops.aten.sym_size.int, (value, dim))
                self.symbols[symbol] = value


class _Program(_Builder):
    """The top: user inputs, the segments in order, the outputs."""

    def build(self, engines: dict[str, EngineModule]) -> fx.GraphModule:
        self.placeholders()
        segments = self.compilation.segments()
        outputs = self.compilation.outputs()
        views = self.compilation.output_views()
        needed = [[node["args"] for node in views], [argument for _, argument, _ in outputs]]
        later: list[set[str]] = [set(_symbols_of(needed))]
        for segment in reversed(segments):
            uses = set(_symbols_of([n["args"] for n in segment["nodes"]])) | set(segment["symbols"])
            later.append(later[-1] | uses)
        later.reverse()
        for k, segment in enumerate(segments):
            if segment["name"] in engines:
                self.call_engine(segment, engines[segment["name"]])
            else:
                self.call_torch(segment, later[k + 1])
        self.outputs(outputs, views)
        self.remove_unused_sizes()
        return ProgramModule(self.root, self.graph)

    def outputs(self, outputs: list[tuple[str, Any, str]], views: list[dict[str, Any]]) -> None:
        """What the program returns; user outputs that are views are made here.

        Where the graph has a new value of an input or buffer, which is written back when the
        program has run, PyTorch has that tensor itself.
        """
        written = {i: self.argument(o[1]) for i, o in enumerate(outputs) if o[0] != "user_output"}
        for kind, argument, target in outputs:
            node = self.written_input(kind, target)
            if node is not None and isinstance(argument, tuple) and argument[0] == "value":
                self.values[argument[1]] = node
        for node in views:
            self.call_node(node)
        self.graph.output(
            [written[i] if i in written else self.argument(o[1]) for i, o in enumerate(outputs)]
        )

    def written_input(self, kind: str, target: str) -> fx.Node | None:
        """The placeholder that a mutation names, by its own name or the buffer's."""
        named_by = {"user_input_mutation": "name", "buffer_mutation": "target"}.get(kind)
        for info in self.compilation.inputs() if named_by else ():
            if info["input_kind"] == "user_input" and info[named_by] == target:
                return self.values[info["id"]]
        return None

    def constant(self, value_id: int) -> fx.Node:
        """A weight is given out as it is; what was computed from some is new in each call."""
        node = super().constant(value_id)
        if self.handed.tensors.get(value_id) is None:
            node = self.graph.call_function(torch.ops.aten.clone.default, (node,))
        return node

    def remove_unused_sizes(self) -> None:
        for node in reversed(list(self.graph.nodes)):
            if node.op == "call_function" and not node.users and node.target is not _in_order:
                self.graph.erase_node(node)

    def placeholders(self) -> None:
        sizes = []
        for info in self.compilation.inputs():
            if info["input_kind"] != "user_input":
                continue
            node = self.graph.placeholder(info["name"])
            self.values[info["id"]] = node
            if info["kind"] == "int" and (symbol := _plain_symbol(info["expr"])):
                self.symbols.setdefault(symbol, node)
            elif info["kind"] == "tensor":
                if self.compilation.sees_memory and info["order"] is not None:
                    args = (node, info["order"], info["name"])
                    self.values[info["id"]] = self.graph.call_function(_in_order, args)
                sizes += [(node, dim, size) for dim, size in enumerate(info["shape"])]
        for node, dim, size in sizes:
            symbol = _plain_symbol(size)
            if symbol and symbol not in self.symbols:
                value = self.graph.call_function(torch.ops.aten.sym_size.int, (node, dim))
                self.symbols[symbol] = value

    def call_engine(self, segment: dict[str, Any], engine: EngineModule) -> None:
        self.root.add_module(segment["name"], engine)
        args = [self.as_noted(v) for v in segment["inputs"]]
        args += [self.symbols[s] for s in segment["symbols"]]
        self.unpack(segment, self.graph.call_module(segment["name"], tuple(args)))

    def as_noted(self, value_id: int) -> Any:
        """A value for an engine, in the element type that the engine was built for."""
        value, dtype = self.value(value_id), self.unsure.get(value_id)
        if dtype is None:
            return value
        # Not `to`: torch.export has that check the noted type when the program is saved.
        return self.graph.call_function(torch.ops.aten._to_copy.default, (value,), {"dtype": dtype})

    def note_unsure_types(self, segment: dict[str, Any]) -> None:
        """Results in PyTorch whose element type may not be what tracing noted.

        Operators that work on halves and give float32 beside (batch normalization's statistics)
        give halves on some devices, whatever PyTorch's own shape functions say.
        """
        halves = ("float16", "bfloat16")
        for node in segment["nodes"]:
            results = [(v, self.compilation.value(v).get("dtype")) for v in node["outputs"]]
            types = {dtype for _, dtype in results}
            if types & set(halves) and "float32" in types:
                wide = [v for v, dtype in results if dtype == "float32"]
                self.unsure.update(dict.fromkeys(wide, torch.float32))

    def call_torch(self, segment: dict[str, Any], needed_later: set[str]) -> None:
        self.note_unsure_types(segment)
        part = _TorchSegment(self.handed, self.compilation, segment)
        module, returned = part.build(set(self.symbols), needed_later)
        self.root.add_module(segment["name"], module)
        args = [self.value(v) for v in segment["inputs"]]
        args += [self.symbols[s] for s in part.input_symbols]
        call = self.graph.call_module(segment["name"], tuple(args))
        self.unpack(segment, call)
        for i, symbol in enumerate(returned, start=len(segment["outputs"])):
            self.symbols[symbol] = self.graph.call_function(operator.getitem, (call, i))

    def unpack(self, segment: dict[str, Any], call: fx.Node) -> None:
        for i, value_id in enumerate(segment["outputs"]):
            self.values[value_id] = self.graph.call_function(operator.getitem, (call, i))


def build_program(
    handed: HandedOver, compilation: _native.Compilation, engines: dict[str, EngineModule]
) -> fx.GraphModule:
    """The FX GraphModule of a compilation: flat user inputs in, the list of graph outputs out.

    Args:
        handed: what hand_over gave for the graph.
        compilation: the partitioned graph.
        engines: built engines by segment name; segments without one run in PyTorch.
    """
    return _Program(handed, compilation, nn.Module()).build(engines)
