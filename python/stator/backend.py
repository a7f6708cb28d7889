"""Just in time: torch.compile(model, backend="stator", options={…})."""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.backends.registry import register_backend
from torch.utils._python_dispatch import (
    _disable_current_modes,
    is_traceable_wrapper_subclass,
)

from stator import _native
from stator._log import debugging, logger
from stator.compile import build_engines, plan_compilation
from stator.dynamo import compile_call, frame_place, in_training_mode
from stator.engines.direct_call import outputs_of, whole_engine
from stator.engines.program import build_program
from stator.graphs.doubles import double_outputs, has_doubles, restore, single, truncate
from stator.graphs.failures import failure_of
from stator.graphs.fx_graphs import returned
from stator.graphs.hand_over import Placeholder, hand_over, offloaded
from stator.graphs.tracing_state import restored_state
from stator.graphs.weights import FreezeAgain, WatchedWeights
from stator.lowering.autocast import autocast
from stator.lowering.passes import lower
from stator.reports import print_report, summarize, warn_of_nothing, why_nothing
from stator.settings.compilation_settings import CompilationSettings, make_settings
from stator.verification import verify_engines

__all__ = ["documents_backend", "register_backends", "stator_backend"]


def register_backends() -> None:
    """Make the backend known to torch.compile under its names."""
    register_backend(stator_backend, name="stator")
    for name in ("torch_tensorrt", "tensorrt"):
        register_backend(documents_backend, name=name)
    _let_sizes_of_one_vary()


def _let_sizes_of_one_vary() -> None:
    """Let ``mark_dynamic(x, 0, min=1)`` hold when x's batch is 1.

    PyTorch takes sizes 0 and 1 as fixed and then raises ConstraintViolationError for such a mark.
    From the first such mark on, its option ``backed_size_oblivious`` is on in this process, for all
    backends; programs that make none are not touched.
    """
    mark = torch._dynamo.mark_dynamic
    if hasattr(mark, "_lets_sizes_of_one_vary"):
        return

    @functools.wraps(mark)
    def mark_dynamic(t: Any, index: Any, *args: Any, **kwargs: Any) -> None:
        indices = [index] if isinstance(index, int) else list(index)
        if any(t.shape[i] <= 1 for i in indices):
            from torch.fx.experimental import _config

            _config.backed_size_oblivious = True
        mark(t, index, *args, **kwargs)

    mark_dynamic._lets_sizes_of_one_vary = True  # type: ignore[attr-defined]
    torch._dynamo.mark_dynamic = mark_dynamic


def stator_backend(
    gm: fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: dict[str, Any] | None = None,
    **_: Any,
) -> Callable[..., Any]:
    """Compile one graph that Dynamo captured.

    Parameters and buffers that the graph only reads are compiled into the engine; they are looked
    at in each call, and where one was changed or replaced the graph is compiled anew. A change is
    known by the tensor's version (what PyTorch's operators do), by its address (``p.data = new``),
    and in host memory by its bytes (``p.data += d``, NumPy): all of them up to 4 KiB, a sample of
    4 KiB of more. Who writes to less than that shows, or on a GPU through ``.data``, says so by
    ``torch.autograd.graph.increment_version(p)`` (docs/forms.md). A graph that
    trains (a module in training mode, or an input that requires a gradient, with gradients
    enabled) is left to eager PyTorch, and so is one that the compiler fails at; a warning says why.
    """
    return _compile_graph(gm, example_inputs, make_settings(options or {}, own_door=True), options)


def documents_backend(
    gm: fx.GraphModule,
    example_inputs: Sequence[Any],
    *,
    options: dict[str, Any] | None = None,
    **_: Any,
) -> Callable[..., Any]:
    """The same under Torch-TensorRT's names, with its documents' default of min_block_size."""
    return _compile_graph(gm, example_inputs, make_settings(options or {}), options)


def _compile_graph(
    gm: fx.GraphModule, example_inputs: Sequence[Any], settings: CompilationSettings, options: Any
) -> Callable[..., Any]:
    tensors = [v for v in example_inputs if isinstance(v, torch.Tensor)]
    lies = "cuda" if any(v.device.type == "cuda" for v in tensors) else "cpu"
    settings.warn_of_settings_without_effect(settings.backend(lies))
    _native.Compilation.check(settings.native(lies))
    if reason := _trains(gm, example_inputs):
        call = compile_call()
        if not call.warned and not call.compiled:
            call.warned = True
            warn_of_nothing(frame_place(), reason)
        return gm
    return _Graph(gm, example_inputs, settings, options)


def _is_weight(node: fx.Node, value: Any) -> bool:
    """Whether a placeholder is a parameter or buffer of the user's module."""
    if not isinstance(value, torch.Tensor):
        return False
    tensor_dict = node.meta.get("tensor_dict") or {}
    return isinstance(value, torch.nn.Parameter) or bool(
        tensor_dict.get("_dynamo_static_input_type")
    )


def _trains(gm: fx.GraphModule, example_inputs: Sequence[Any]) -> str:
    """Why gradients are wanted of this graph; "" when they are not."""
    if not torch.is_grad_enabled():
        return ""
    placeholders = [n for n in gm.graph.nodes if n.op == "placeholder"]
    needs_gradient = False
    for node, value in zip(placeholders, example_inputs, strict=False):
        if isinstance(value, torch.Tensor) and value.requires_grad:
            if not _is_weight(node, value):
                return (
                    f"its input {node.name} requires a gradient, and engines compute none; call it "
                    "under torch.no_grad()"
                )
            needs_gradient = True
    if needs_gradient and (name := in_training_mode()):
        return (
            f"the module {name} is in training mode, and engines do not train; call .eval() on it, "
            "or run it under torch.no_grad()"
        )
    return ""


class _TrainsError(Exception):
    """Results of the graph require a gradient, as its tracing under its own modes found."""


def _refuse_training(_graph: fx.GraphModule, _fake: Sequence[Any]) -> Any:
    raise _TrainsError


class _Graph:
    """One captured graph: compiled now, and again when a weight has changed."""

    def __init__(
        self,
        gm: fx.GraphModule,
        example_inputs: Sequence[Any],
        settings: CompilationSettings,
        call: Any = None,
    ) -> None:
        self.gm = gm
        self.call = call  # torch.compile's options: the same object for all graphs of one call
        self.settings = settings
        self.place = frame_place()
        self.of = compile_call()
        self.gradients = torch.is_grad_enabled()  # at the graph's first node; Dynamo guards it
        self.report: Callable[[], None] | None = None  # the dry run's, at the first call
        self.freezes = True  # else all weights are inputs, and every change is seen
        self.freeze_again = FreezeAgain()
        self.mutated: set[int] | None = None  # inputs that the graph writes
        self.compiled = self.compile(example_inputs, example_inputs)

    def traced(self, args: Sequence[Any]) -> list[Any]:
        """What to trace with in place of a call's arguments.

        As when Dynamo traced, sizes and numbers that vary are symbols, and weights' are not.
        """
        nodes = [n for n in self.gm.graph.nodes if n.op == "placeholder"]
        return [node.meta.get("example_value", arg) for node, arg in zip(nodes, args, strict=True)]

    def for_inference(self, traced: Sequence[Any]) -> list[Any]:
        """The same, but that weights require no gradient where gradients are switched on.

        Where they are off, a part under torch.enable_grad() is there for its gradients: it is
        traced as it is, and left to PyTorch if its results require any.
        """
        if not self.gradients:
            return list(traced)
        nodes = [n for n in self.gm.graph.nodes if n.op == "placeholder"]
        return [
            node.meta.get("example_value", value).detach()
            if isinstance(value, torch.Tensor) and value.requires_grad
            else value
            for node, value in zip(nodes, traced, strict=True)
        ]

    def compile(self, args: Sequence[Any], traced: Sequence[Any]) -> Callable[..., Any]:
        """The compiled graph, or the graph itself where compiling fails."""
        begin = time.monotonic()
        try:
            with restored_state():
                compiled = self.compile_dynamo(args, traced)
            self.freeze_again.note(begin)
            return compiled
        except _TrainsError:
            logger.warning(
                "%s was not compiled and runs in PyTorch: torch.enable_grad() in the model makes "
                "its results require a gradient, and engines compute none; torch.func.grad in the "
                "model is compiled",
                self.place,
            )
            self.weights = WatchedWeights()
            return self.gm
        except Exception as error:
            failure_of(error, self.settings, self.place, lambda: str(self.gm.graph))
            self.weights = WatchedWeights()
            return self.gm

    def compile_dynamo(self, args: Sequence[Any], traced: Sequence[Any]) -> Callable[..., Any]:
        """Dynamo's graph → a function of its inputs."""
        placeholders = [n for n in self.gm.graph.nodes if n.op == "placeholder"]
        weights = [_is_weight(node, value) for node, value in zip(placeholders, args, strict=True)]
        if any(is_traceable_wrapper_subclass(value) for value in args):
            # One distributed tensor is several inputs of the graph: all of them stay inputs.
            weights = [False] * len(weights)
        freezable = {
            i
            for i, (value, weight) in enumerate(zip(args, weights, strict=True))
            if weight and not value.is_inference() and self.freezes
        }
        self.frozen: set[int] = set()

        def inner(graph: fx.GraphModule, _fake: Sequence[Any]) -> Callable[..., Any]:
            with _disable_current_modes():  # weights are real tensors, the tracer's are not
                return self.compile_aten(graph, args, freezable)

        # In the mode that Dynamo traced in: torch.func.grad inside needs gradients switched on.
        with torch.set_grad_enabled(self.gradients), debugging(self.settings.debug):
            backend = aot_autograd(fw_compiler=_refuse_training, inference_compiler=inner)
            compiled = backend(self.gm, self.for_inference(traced))
        with _disable_current_modes():
            self.weights = WatchedWeights((i, args[i]) for i in sorted(self.frozen))
        return compiled

    def compile_aten(
        self, graph: fx.GraphModule, args: Sequence[Any], freezable: set[int]
    ) -> Callable[..., Any]:
        """The inference graph of ATen operators → a function of its flat inputs."""
        whole, begin = graph, time.monotonic()
        graph = fx.GraphModule(graph, copy.deepcopy(graph.graph))
        nodes = [n for n in graph.graph.nodes if n.op == "placeholder"]
        if self.mutated is None:  # later compilations are outside of Dynamo
            self.mutated = _mutated_inputs(len(nodes))
        if len(nodes) == len(args):  # as Dynamo passes them; else all stay inputs
            self.frozen = freezable - self.mutated
        graph = lower(graph, self.settings, {nodes[i]: args[i] for i in self.frozen})
        autocast(graph, self.settings)
        doubles: list[bool] = []
        if self.settings.truncate_double and has_doubles(graph):
            which = double_outputs(returned(graph))
            doubles = which if truncate(graph) else []
        nodes = [n for n in graph.graph.nodes if n.op == "placeholder"]
        placeholders = [Placeholder() for _ in nodes]
        for i in self.frozen:
            kept_as = single([args[i]])[0] if doubles else args[i]
            placeholders[i] = Placeholder("parameter", nodes[i].name, kept_as)
        results = [("user_output", value, "") for value in returned(graph)]
        handed = hand_over(graph, placeholders, results)
        compilation = plan_compilation(handed, self.settings)
        if self.settings.dryrun:
            self.report = lambda: print_report(compilation, self.settings, self.call)
            return _boxed(fx.Interpreter(whole).run)
        with offloaded(handed, self.settings.offload_module_to_cpu):
            engines = build_engines(compilation, self.settings)
        self.tell(compilation, engines, time.monotonic() - begin)
        kept = [i for i in range(len(nodes)) if i not in self.frozen]
        if self.settings.verify and len(nodes) == len(args):
            inputs = [args[i] for i in kept]
            inputs = single(inputs) if doubles else inputs
            engines = verify_engines(handed, compilation, engines, inputs, self.settings)
        program = build_program(handed, compilation, engines)
        if doubles:
            return _boxed(lambda *flat: restore(program(*single([flat[i] for i in kept])), doubles))
        whole = whole_engine(program)
        run = program if whole is None else outputs_of(*whole)
        if len(kept) == len(nodes):
            return _boxed(run)
        return _boxed(lambda *flat: run(*[flat[i] for i in kept]))

    def tell(
        self, compilation: _native.Compilation, engines: dict[str, Any], seconds: float
    ) -> None:
        """The summary, and where nothing of the whole call was compiled so far, one warning."""
        summarize(self.place, compilation, engines, seconds)
        self.of.compiled |= bool(engines)
        why = why_nothing(compilation, self.settings, engines)
        if why and not self.of.compiled and not self.of.warned:
            self.of.warned = True
            warn_of_nothing(self.place, why)

    def __call__(self, *args: Any) -> Any:
        if not self.weights.are_noted(args) and self.weights.have_changed(args):
            self.freezes = self.freeze_again.at_a_change()
            logger.info(
                "a weight has changed; the graph is compiled again, weights %s",
                "compiled in" if self.freezes else "as its inputs",
            )
            self.compiled = self.compile(args, self.traced(args))
        if self.report is not None:
            self.report()
            self.report = None
        return self.compiled(*args)


def _mutated_inputs(count: int) -> set[int]:
    """Positions of the inputs that the graph writes to; all of them when that is not known."""
    context = torch._guards.TracingContext.try_get()
    metadata = context.fw_metadata if context is not None else None
    if metadata is None or len(metadata.input_info) != count:
        return set(range(count))
    return {
        i
        for i, info in enumerate(metadata.input_info)
        if info.mutates_data or info.mutates_metadata
    }


def _boxed(function: Callable[..., Any]) -> Callable[..., Any]:
    """AOTAutograd's calling convention: one list of arguments, which the callee empties."""

    def call(args: list[Any]) -> list[Any]:
        flat = list(args)
        args.clear()
        return list(function(*flat))

    call._boxed_call = True  # type: ignore[attr-defined]
    return call
