"""Ahead of time: compile(module_or_exported_program, inputs=…, **settings)."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from stator import _native
from stator._log import debugging, logger, sync_level
from stator.debugger import active_debugger
from stator.engines.arguments import Arguments
from stator.engines.engine import Engine
from stator.engines.engine_cache import EngineStore
from stator.engines.just_in_time import JustInTimeModule
from stator.engines.module import CompilationReport, CompiledModule, UncompiledModule
from stator.engines.program import EngineModule, PythonEngineModule, build_program
from stator.graphs.doubles import single
from stator.graphs.failures import Failure, failure_of
from stator.graphs.hand_over import HandedOver, offloaded
from stator.graphs.sizes import ProgramCheck
from stator.lowering.capture import capture, export_module
from stator.lowering.export_errors import ExportError
from stator.lowering.results import give_objects, with_held
from stator.reports import log_report, print_report, summarize, warn_of_nothing, why_nothing
from stator.settings.compilation_settings import CompilationSettings, make_settings
from stator.settings.input import Input, examples_of
from stator.verification import verify_engines

__all__ = ["build_engines", "compile", "plan_compilation", "trace"]


def plan_compilation(handed: HandedOver, settings: CompilationSettings) -> _native.Compilation:
    """Lower and partition; nothing is built."""
    sync_level()
    native = settings.native(handed.device)
    if (debugger := active_debugger()) is not None and debugger.dump_directory:
        native["dump_directory"] = debugger.dump_directory
    return _native.Compilation.create(handed.graph, native, handed.hints, repr(settings))


def report_of(
    compilation: _native.Compilation, engines: dict[str, EngineModule]
) -> CompilationReport:
    """What the compiler did, as `module.stator_report` gives it."""
    return CompilationReport(
        compilation.total_operators,
        compilation.supported_operators,
        list(engines.values()),
        compilation.fallbacks(),
        compilation.report(),
    )


def build_engines(
    compilation: _native.Compilation, settings: CompilationSettings
) -> dict[str, EngineModule]:
    """Build every engine segment; one that cannot be built stays in PyTorch, with a warning."""
    engines: dict[str, EngineModule] = {}
    log_report(compilation)
    store = EngineStore(settings)
    waiting: list[tuple[str, bytes]] = []  # lazy_engine_init: loaded when all are built
    segments = [(i, s) for i, s in enumerate(compilation.segments()) if s["engine"]]

    def module_of(engine: Engine | None, segment: dict[str, Any], stats: dict[str, Any]) -> Any:
        kind = PythonEngineModule if settings.use_python_runtime else EngineModule
        return kind(
            engine, segment["name"], stats, segment["symbols"],
            settings.dynamically_allocate_resources,
        )  # fmt: skip

    for index, segment in segments:
        name = segment["name"]
        try:
            key = store.key(compilation, index)
            if (cached := store.load(key, name, compilation.device)) is not None:
                engines[name] = module_of(cached, segment, {"cached": True})
                continue
            with _progress(name) as progress:
                native, stats = compilation.build(index, progress)
        except Exception as error:
            failure_of(error, settings, name, verb="built")
            continue
        engines[name] = module_of(Engine(native), segment, stats)
        if (debugger := active_debugger()) is not None:
            debugger.note(engines[name])
        store.save(key, engines[name].engine)
        logger.info("%s: %d operators, %s", name, segment["operator_count"], stats)
        if settings.lazy_engine_init:
            waiting.append((name, engines[name].engine.bytes()))
            del native
            engines[name].engine = None
    for name, data in waiting:
        engines[name].engine = Engine.from_bytes(data, name, compilation.device)
        logger.info("%s: loaded", name)
    return engines


class _progress:
    """A progress bar on a terminal, for builds that take longer than a second."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bar: Any = None
        self.task: Any = None
        self.begin = time.monotonic()

    def __enter__(self) -> Callable[[int, int, str], None] | None:
        return self.update if sys.stderr.isatty() else None

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, done: int, total: int, what: str) -> None:
        if self.bar is None:
            if time.monotonic() - self.begin < 1:
                return
            from rich.console import Console
            from rich.progress import Progress

            self.bar = Progress(console=Console(stderr=True), transient=True)
            self.bar.start()
            self.task = self.bar.add_task(self.name, total=total)
        self.bar.update(self.task, completed=done, total=total, description=f"{self.name}: {what}")


def compile(
    module: nn.Module | ExportedProgram,
    inputs: Sequence[Any] | None = None,
    *,
    arg_inputs: Sequence[Any] | None = None,
    kwarg_inputs: dict[str, Any] | None = None,
    ir: str = "dynamo",
    **settings: Any,
) -> nn.Module:
    """Compile a model ahead of time.

    Args:
        module: an ``nn.Module`` (exported here) or what ``torch.export.export`` gives.
        inputs: example tensors or :class:`stator.Input`, positional arguments in order; may be
            nested as the model takes them. One tensor or Input is one argument. The same as
            `arg_inputs`.
        arg_inputs: see `inputs`.
        kwarg_inputs: the same by keyword.
        ir: "dynamo" or "default": torch.export; "torch_compile": at the first call.
        settings: fields of :class:`stator.CompilationSettings`, or a whole one as ``settings=``.

    Returns:
        A module that is called as `module` is. With ``dryrun`` the report is printed, no engine is
        built, and what comes back runs in PyTorch. So does what the compiler failed at, with a
        warning; its ``stator_report`` has the reason. A model in which the values of tensors decide
        what is computed is compiled by torch.compile, part by part, when it is called.

    Raises:
        TypeError: an unknown setting, inputs that are not the model's arguments, or a module that
            is neither of the two.
        ValueError: a setting's value, or an Input that does not fit the model.
        ExportError: torch.export cannot follow the module, and torch.compile could not either or
            ``require_full_compilation`` forbids it.
        UnsupportedError: ``require_full_compilation`` and something must run in PyTorch.
    """
    chosen = make_settings(settings, own_door=True)
    if ir not in ("dynamo", "default", "torch_compile"):
        raise ValueError(f"ir={ir!r} is not allowed; ir is 'dynamo', 'default' or 'torch_compile'")
    if ir == "torch_compile":
        return torch.compile(module, backend="stator", options=settings)
    if inputs is not None and arg_inputs is not None:
        raise ValueError("give either inputs or arg_inputs, they mean the same")
    args, kwargs = examples_of(inputs if inputs is not None else arg_inputs, kwarg_inputs)
    if isinstance(module, UncompiledModule):
        module = module.exported_program
    if isinstance(module, CompiledModule | JustInTimeModule):
        raise TypeError("the module is compiled already; compile the model that it was made of")
    if isinstance(module, ExportedProgram):
        program = with_held(module)
        _check_inputs(program, args, kwargs)
    elif isinstance(module, nn.Module):
        if not args and not kwargs:
            raise ValueError("a module is exported with example inputs; give inputs=[...]")
        try:
            program = export_module(module, args, kwargs, chosen.tensor_device)
        except ExportError as error:
            return _just_in_time(module, error, chosen, settings, _leaves(args, kwargs))
    else:
        raise TypeError(
            f"compile takes an nn.Module or an ExportedProgram, got {type(module).__name__}"
        )
    if chosen.verify and program.example_inputs is None:
        raise ValueError("verify=True needs example inputs, and the exported program holds none")
    arguments = Arguments.of(program, module if isinstance(module, nn.Module) else None)
    leaves = _leaves(args, kwargs)
    trains = isinstance(module, nn.Module) and module.training
    advice = ". The model is in training mode; call .eval() before it is compiled" if trains else ""
    with debugging(chosen.debug):
        if chosen.device is not None:  # else where the model's tensors are
            _native.Compilation.check(chosen.native())
        try:
            return _compile_program(program, arguments, leaves, chosen, advice)
        except Exception as error:
            failure = failure_of(error, chosen, "the model", lambda: str(program))
            return UncompiledModule(program, arguments, _report_of_failure(program, failure))


def _just_in_time(
    module: nn.Module,
    error: ExportError,
    chosen: CompilationSettings,
    settings: dict[str, Any],
    leaves: list[Any],
) -> JustInTimeModule:
    """What torch.compile makes of a model whose graph it can break where torch.export fails.

    Raises:
        ExportError: it cannot, or another compilation than a whole one was not asked for.
    """
    if not error.breaks_graph or chosen.require_full_compilation:
        raise error
    if chosen.pass_through_build_failures:
        raise error
    reason = str(error).split("\n")[0]
    logger.warning(
        "%s is not compiled ahead of time; torch.compile breaks its graph there and compiles the "
        "parts when it is called, so that it cannot be saved. %s. require_full_compilation=True "
        "makes it an error",
        type(module).__name__, reason,
    )  # fmt: skip
    dynamic = any(isinstance(leaf, Input) and leaf.is_dynamic for leaf in leaves)
    return JustInTimeModule(module, reason, settings, dynamic)


def _leaves(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    return pytree.tree_leaves((args, kwargs), is_leaf=lambda v: isinstance(v, Input))


def _check_inputs(program: ExportedProgram, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse Inputs that are not of an exported program's arguments; tensors are examples only."""
    leaves = _leaves(args, kwargs)
    if not any(isinstance(leaf, Input) for leaf in leaves):
        return
    values = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    names = program.graph_signature.user_inputs
    if len(leaves) != len(names):
        raise ValueError(
            f"{len(leaves)} inputs were given, and the exported program takes {len(names)}: "
            f"{', '.join(map(str, names))}"
        )
    for name, leaf in zip(names, leaves, strict=True):
        value = values.get(name)
        if not isinstance(leaf, Input):
            continue
        if not isinstance(value, torch.Tensor):
            raise ValueError(f"argument {name!r} of the exported program is no tensor, got {leaf}")
        if value.dim() != len(leaf.opt_shape):
            raise ValueError(
                f"argument {name!r} of the exported program has {value.dim()} dimensions, got "
                f"{leaf}"
            )
        if value.dtype != leaf.dtype:
            logger.warning(
                "argument %r of the exported program is %s; the Input's dtype=%s has no effect",
                name, value.dtype, leaf.dtype,
            )  # fmt: skip


def _report_of_failure(program: ExportedProgram, failure: Failure) -> CompilationReport:
    total = sum(n.op == "call_function" for n in program.graph.nodes)
    text = f"The model was not compiled, all of it runs in PyTorch: {failure}"
    return CompilationReport(total, 0, [], [failure.fallback()], text)


def _compile_program(
    program: ExportedProgram,
    arguments: Arguments,
    leaves: list[Any],
    chosen: CompilationSettings,
    advice: str,
) -> nn.Module:
    begin = time.monotonic()
    captured = capture(program, leaves, chosen)
    chosen.warn_of_settings_without_effect(chosen.backend(captured.handed.device))
    compilation = plan_compilation(captured.handed, chosen)
    if chosen.dryrun:
        print_report(compilation, chosen)
        return UncompiledModule(program, arguments, report_of(compilation, {}))
    with offloaded(captured.handed, chosen.offload_module_to_cpu):
        engines = build_engines(compilation, chosen)
    if chosen.verify:
        examples = enumerate(pytree.tree_leaves(program.example_inputs))
        flat = [v for i, v in examples if i not in captured.constant_inputs]
        engines = verify_engines(
            captured.handed, compilation, engines,
            single([*captured.state, *flat]) if captured.doubles else [*captured.state, *flat],
            chosen,
        )  # fmt: skip
    graph_module = build_program(captured.handed, compilation, engines)
    summarize("the model", compilation, engines, time.monotonic() - begin)
    if why := why_nothing(compilation, chosen, engines):
        warn_of_nothing("the model", why + advice)
    return CompiledModule(
        graph_module,
        report_of(compilation, engines),
        arguments,
        captured.out_spec,
        captured.constant_inputs,
        captured.finish,
        captured.state,
        captured.doubles,
        captured.free_dims,
        ProgramCheck(compilation.input_check),
    )


def trace(
    module: nn.Module,
    inputs: Sequence[Any] | None = None,
    *,
    arg_inputs: Sequence[Any] | None = None,
    kwarg_inputs: dict[str, Any] | None = None,
    strict: bool = False,
    **_: Any,
) -> ExportedProgram:
    """Export a module with example tensors or Inputs, for :func:`compile`.

    Args:
        module: what to export.
        inputs, arg_inputs, kwarg_inputs: as :func:`compile` takes them.
        strict: True is not possible; tracing is always non-strict.
    """
    if strict:
        logger.warning("strict=True has no effect: modules are traced by torch.export non-strictly")
    args, kwargs = examples_of(arg_inputs if arg_inputs is not None else inputs, kwarg_inputs)
    program = export_module(module, args, kwargs, changes=False)
    give_objects(program)
    return program
