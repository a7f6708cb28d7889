# SPDX - License - Identifier : Apache - 2.0
"""CompilationSettings: every option of a compilation, with its type, range and default."""

from __future__ import annotations

import dataclasses
import difflib
import os
import tempfile
from collections.abc import Callable, Collection
from typing import Any

import torch

from stator._log import logger
from stator.settings import checks as allow
from stator.settings.types import EngineCapability, dtype
from stator.settings.values import available_memory, digest_of_batches, operator_names

__all__ = [
    "INVALIDATING_SETTINGS",
    "CompilationSettings",
    "make_settings",
    "no_effect_on",
    "settings_table",
]

_CACHE_DIR = os.path.join(tempfile.gettempdir(), "torch_tensorrt_engine_cache")
_NOT_YET = "this version does not do it yet"
_NO_DLA = "there is no DLA backend"

# : Settings whose change makes cached engines useless; the rest act through the graph, or after the
# : build.One place for the cache's key, the documentation and the tests.
INVALIDATING_SETTINGS = (
    "enabled_precisions",
    "max_aux_streams",
    "version_compatible",
    "optimization_level",
    "disable_tf32",
    "sparse_weights",
    "engine_capability",
    "hardware_compatible",
    "refit_identical_engine_weights",
    "immutable_weights",
    "enable_weight_streaming",
    "tiling_optimization_level",
    "l2_limit_for_tiling",
    "enable_autocast",
    "autocast_low_precision_type",
    "autocast_excluded_nodes",
    "autocast_excluded_ops",
    "autocast_max_output_threshold",
    "autocast_max_depth_of_reduction",
    "autocast_calibration_dataloader",
)


def _setting(
    default: Any, check: allow.Check, meaning: str, no_effect: str | dict[str, str] = ""
) -> Any:
    """Declare a field.

    `no_effect`: why it has none, on every backend, or by backend ("" for all others).
    """
    metadata = {"check": check, "meaning": meaning, "no_effect": no_effect}
    if isinstance(default, set):
        return dataclasses.field(default_factory=lambda: set(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass
class CompilationSettings:
    """Options of a compilation; constructed with any subset by keyword.

    A setting that has no meaning on the chosen backend, or that this version does not act on, is
    checked and stored, and answered by one warning at each compilation.

    Raises:
        ValueError: a value that the setting does not allow; the message says what it does.
    """

    enabled_precisions: set[Any] = _setting(
        {dtype.f32},
        allow.precisions,
        "Deprecated: what products of float32 may run in where use_explicit_typing is False; "
        "bfloat16, which has float32's range, goes before float16.",
    )
    min_block_size: int | float | None = _setting(
        5,
        allow.block_size,
        "Least number of operators of an engine; smaller blocks run in PyTorch. None: a graph that "
        "is whole (nothing needs PyTorch) is compiled whatever its size, else blocks of two and "
        "more, which are never slower than PyTorch. Where it is not given it is None through "
        "`stator`'s own doors, 5 through `torch_tensorrt`'s. `float(\"inf\")`: nothing is "
        "compiled, coverage is reported.",
    )
    torch_executed_ops: Collection[Any] = _setting(
        set(),
        allow.operators,
        "Operators that run in PyTorch whatever converters exist: overloads, packets or names.",
    )
    require_full_compilation: bool = _setting(
        False,
        allow.flag,
        "Raise when any operator would run in PyTorch, or the compiler fails; min_block_size is "
        "not applied then.",
    )
    device: Any = _setting(
        None,
        allow.device,
        "What to compile for: a Device, a torch.device or a name; None: where the model's "
        "tensors are.",
    )
    use_python_runtime: bool | None = _setting(
        False,
        allow.optional_flag,
        "True: modules that can be profiled call by call and are not saved; else, and with None, "
        "plain calls into C++.",
    )
    pass_through_build_failures: bool = _setting(
        False,
        allow.flag,
        "Raise when an engine cannot be built, or the compiler fails otherwise; else that part, or "
        "the whole model, runs in PyTorch, with a warning.",
    )
    optimization_level: int | None = _setting(
        None,
        allow.integer(0, 5, optional=True),
        "0: first guess of every kernel; 5: every candidate is timed; None: 3.",
    )
    workspace_size: int = _setting(
        0,
        allow.integer(0),
        "Most bytes of scratch memory that a kernel may take; 0: no limit.",
    )
    num_avg_timing_iters: int = _setting(
        1,
        allow.integer(1, 1000),
        "Runs averaged when a kernel is timed.",
    )
    max_aux_streams: int | None = _setting(
        None,
        allow.integer(0, optional=True),
        "Most streams besides the main one for branches that could run side by side (on the CPU: "
        "threads, each with a branch of its own). 0: steps run one after another; None: branches "
        "of short steps run side by side.",
        {"reference": "it runs steps one after another"},
    )
    tiling_optimization_level: str = _setting(
        "none",
        allow.one_of("none", "fast", "moderate", "full"),
        'How many more tile shapes compete: "none", "fast", "moderate", "full".',
        {"reference": "it has no tiles"},
    )
    l2_limit_for_tiling: int = _setting(
        -1,
        allow.integer(-1),
        "Bytes that a tile's operands may take; -1: no limit.",
        {"reference": "it has no tiles"},
    )
    sparse_weights: bool = _setting(
        False,
        allow.flag,
        "Allow kernels for weights with two zeros in every four.",
        {"cpu": "the CPU has no sparse kernels", "reference": "it has no sparse kernels"},
    )
    disable_tf32: bool = _setting(
        False,
        allow.flag,
        "No rounding of float32 operands to TF32 on NVIDIA GPUs; the CPU's float32 is always IEEE.",
    )
    truncate_double: bool = _setting(
        False,
        allow.flag,
        "Compute float64 values in float32.",
    )
    use_fp32_acc: bool = _setting(
        False,
        allow.flag,
        "Accumulate products of halves in float32: always so.",
    )
    use_explicit_typing: bool = _setting(
        True,
        allow.flag,
        "The model's dtypes are kept. False: products, convolutions and attention of float32 run "
        "in a half of enabled_precisions. enable_autocast switches it on.",
        {"cpu": "products of halves are not faster there", "reference": "it keeps all dtypes"},
    )
    enable_autocast: bool = _setting(
        False,
        allow.flag,
        "Run products and convolutions of float32 models in autocast_low_precision_type.",
    )
    autocast_low_precision_type: torch.dtype | None = _setting(
        None,
        allow.low_precision,
        "torch.float16 or torch.bfloat16; None: nothing is cast.",
    )
    autocast_excluded_nodes: Collection[str] = _setting(
        set(),
        allow.patterns,
        "Regular expressions; nodes of the exported graph whose names match stay in float32.",
    )
    autocast_excluded_ops: Collection[Any] = _setting(
        set(),
        allow.operators,
        "Operators that stay in float32.",
    )
    autocast_max_output_threshold: float = _setting(
        512.0,
        allow.number(0),
        "Nodes whose results can exceed this absolute value stay in float32.",
    )
    autocast_max_depth_of_reduction: int | None = _setting(
        None,
        allow.integer(0, optional=True),
        "Products that sum more terms than this stay in float32; None: no limit.",
    )
    autocast_calibration_dataloader: Any = _setting(
        None,
        allow.anything,
        "Batches to run the model on; what is seen decides about the threshold (ahead of time"
        " only).",
    )
    immutable_weights: bool = _setting(
        True,
        allow.flag,
        "Weights are part of the engine for good. Engines are cached only with False.",
    )
    refit_identical_engine_weights: bool = _setting(
        False,
        allow.flag,
        "Refit equal weights of several engines together; needs immutable_weights=False.",
        _NOT_YET,
    )
    strip_engine_weights: bool = _setting(
        False,
        allow.flag,
        "Engine files without their weights.",
        _NOT_YET,
    )
    enable_weight_streaming: bool = _setting(
        False,
        allow.flag,
        "Weights stay on the host and are streamed within a budget.",
        {"cpu": "weights stay in the mapped file", "": _NOT_YET},
    )
    version_compatible: bool = _setting(
        False,
        allow.flag,
        "Engines that later versions of the runtime can run.",
        _NOT_YET,
    )
    hardware_compatible: bool = _setting(
        False,
        allow.flag,
        "Engines for other machines than this one: x86-64-v3 or AArch64 baseline, PTX for "
        "NVIDIA GPUs from Ampere on.",
    )
    engine_capability: EngineCapability = _setting(
        EngineCapability.STANDARD,
        allow.one_of(*EngineCapability),
        "STANDARD, SAFETY or DLA_STANDALONE.",
        "there is no safety or DLA backend",
    )
    enable_cross_compile_for_windows: bool = _setting(
        False,
        allow.flag,
        "Engines for Windows, built on Linux.",
        _NOT_YET,
    )
    enable_resource_partitioning: bool = _setting(
        False,
        allow.flag,
        "Split engines whose build would take more than cpu_memory_budget.",
    )
    cpu_memory_budget: int | None = _setting(
        None,
        allow.integer(1, optional=True),
        "Bytes of memory for each engine's build; None: what is free.",
    )
    offload_module_to_cpu: bool = _setting(
        False,
        allow.flag,
        "Move the model's weights to host memory during the build.",
        {"cuda": "", "": "the model is on the CPU already"},
    )
    dynamically_allocate_resources: bool = _setting(
        False,
        allow.flag,
        "Intermediates have memory during calls alone: less between them, each call slower.",
    )
    use_fast_partitioner: bool = _setting(
        True,
        allow.flag,
        "True: in one walk over the graph; False: fewest and largest engines.",
    )
    assume_dynamic_shape_support: bool = _setting(
        False,
        allow.flag,
        "Take every converter as able to convert dynamic shapes.",
    )
    enable_experimental_decompositions: bool = _setting(
        False,
        allow.flag,
        "All decompositions of PyTorch for operators without a converter, not the core ones alone.",
    )
    use_distributed_mode_trace: bool = _setting(
        False,
        allow.flag,
        "Models that hold distributed tensors are traced through aot_autograd: torch.compile "
        "always does so, and compiling ahead of time names this setting.",
    )
    dryrun: bool | str = _setting(
        False,
        allow.path_or_flag,
        "Report what would be compiled and build nothing; a path also saves the report.",
    )
    lazy_engine_init: bool = _setting(
        False,
        allow.flag,
        "Load engines after all of them are built.",
    )
    debug: bool = _setting(
        False,
        allow.flag,
        "Log at DEBUG during the compilation.",
    )
    cache_built_engines: bool = _setting(
        False,
        allow.flag,
        "Write built engines to the engine cache.",
    )
    reuse_cached_engines: bool = _setting(
        False,
        allow.flag,
        "Take engines from the engine cache instead of building them.",
    )
    timing_cache_path: str = _setting(
        os.path.join(_CACHE_DIR, "timing_cache.bin"),
        allow.path,
        'File that remembers which kernel won; makes later builds quick. "": none.',
    )
    engine_cache_dir: str = _setting(
        _CACHE_DIR,
        allow.path,
        "Folder of the engine cache.",
    )
    engine_cache_size: int = _setting(
        5 << 30,
        allow.integer(0),
        "Most bytes that the engine cache takes; the least recently used go first.",
    )
    custom_engine_cache: Any = _setting(
        None,
        allow.cache_object,
        "An object with save(hash, blob) and load(hash) in place of the folder.",
    )
    dla_sram_size: int = _setting(
        1 << 20,
        allow.integer(0),
        "Of NVIDIA's DLA.",
        _NO_DLA,
    )
    dla_local_dram_size: int = _setting(
        1 << 30,
        allow.integer(0),
        "Of NVIDIA's DLA.",
        _NO_DLA,
    )
    dla_global_dram_size: int = _setting(
        1 << 29,
        allow.integer(0),
        "Of NVIDIA's DLA.",
        _NO_DLA,
    )
    build_time_budget: float = _setting(
        0.0,
        allow.number(0),
        "Seconds after which no further kernel is timed; 0: no limit.",
    )
    disabled_passes: Collection[str] = _setting(
        set(),
        allow.passes,
        "Names of lowering passes to leave out (`stator opt --list` lists them).",
    )
    dump_directory: str = _setting(
        "",
        allow.path,
        "Folder for every form after every pass, as text.",
    )
    verify: bool = _setting(
        False,
        allow.flag,
        "Compare every engine with PyTorch on the example inputs; one that is off runs in PyTorch.",
    )
    decompose_attention: bool = _setting(
        False,
        allow.flag,
        "Take attention apart into products and softmax before the converters see it.",
        _NOT_YET,
    )
    attn_bias_is_causal: bool = _setting(
        True,
        allow.flag,
        "Accepted and never acted on: a mask is a mask, whatever its shape.",
    )
    fallback_data_dependent_ops: bool = _setting(
        False,
        allow.flag,
        "Run operators whose results' sizes depend on data in PyTorch: always so.",
    )
    disabled_constant_fold_exclusions: Collection[str] = _setting(
        set(),
        allow.no_names,
        "Names of rules that keep constants from being folded; there are none.",
    )
    use_complex_decomposition: bool = _setting(
        False,
        allow.flag,
        "Complex arithmetic as real arithmetic on pairs; it runs in PyTorch.",
        "complex values run in PyTorch",
    )

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            setattr(self, f.name, f.metadata["check"](f.name, getattr(self, f.name)))
        if self.enable_autocast:
            self.use_explicit_typing = True
        if self.use_fp32_acc and not self.use_explicit_typing:
            raise ValueError(
                "CompilationSettings: use_fp32_acc=True needs use_explicit_typing=True"
            )
        if self.refit_identical_engine_weights and self.immutable_weights:
            raise ValueError(
                "CompilationSettings: refit_identical_engine_weights=True needs "
                "immutable_weights=False"
            )

    def warn_of_settings_without_effect(self, backend: str) -> None:
        """One warning for each setting away from its default that `backend` does not act on."""
        defaults = type(self)()
        for f in dataclasses.fields(self):
            reason = no_effect_on(f, backend)
            value = getattr(self, f.name)
            if reason and value != getattr(defaults, f.name):
                logger.warning("%s=%r has no effect on %s: %s", f.name, value, backend, reason)
        for precision in sorted({dtype.i8, dtype.f8} & self.enabled_precisions, key=str):
            logger.warning(
                "%r in enabled_precisions quantizes nothing: the model must be quantized first, "
                "with quantize and dequantize operators in it",
                precision,
            )
        if self.cpu_memory_budget is not None and not self.enable_resource_partitioning:
            logger.warning("cpu_memory_budget is used by enable_resource_partitioning=True alone")

    @property
    def _level(self) -> int:
        return 3 if self.optimization_level is None else self.optimization_level

    def canonical(self, name: str) -> str:
        """A setting's value as text that depends neither on hash seeds nor on object identity."""
        value = getattr(self, name)
        if name == "optimization_level":
            return str(self._level)
        if isinstance(value, set | frozenset):
            return "{" + ", ".join(sorted(map(str, value))) + "}"
        if name == "autocast_calibration_dataloader" and value is not None:
            return digest_of_batches(value)
        return repr(value)

    def backend(self, tensors: str) -> str:
        """The backend's name: `device`, or where the model's tensors are ("cpu", "cuda")."""
        return (tensors if self.device is None else str(self.device)).split(":")[0]

    @property
    def tensor_device(self) -> str | None:
        """Where tensors lie, when `device` says so: "cpu" for the reference backend too."""
        name = None if self.device is None else str(self.device)
        return "cpu" if name is not None and name.startswith("reference") else name

    def native(self, tensors: str = "cpu") -> dict[str, str]:
        """The part that the C++ side reads, as text; `tensors`: where the model's tensors are."""
        fields = {
            "min_block_size": str(self.min_block_size),  # "None" and "inf" too
            "torch_executed_ops": ",".join(sorted(operator_names(self.torch_executed_ops))),
            "device": tensors if self.device is None else str(self.device),
            "optimization_level": str(self._level),
            "enabled_precisions": ",".join(sorted(p.value for p in self.enabled_precisions)),
            "timing_cache_path": self.timing_cache_path,
            "disabled_passes": ",".join(sorted(self.disabled_passes)),
            "dump_directory": self.dump_directory,
            "build_time_budget": str(float(self.build_time_budget)),
            "max_aux_streams": str(self.max_aux_streams),
        }
        if self.enable_resource_partitioning:
            budget = self.cpu_memory_budget
            fields["cpu_memory_budget"] = str(available_memory() if budget is None else budget)
        for name in (
            "workspace_size", "num_avg_timing_iters", "tiling_optimization_level",
            "l2_limit_for_tiling",
        ):  # fmt: skip
            fields[name] = str(getattr(self, name))
        for name in (
            "require_full_compilation",
            "use_fast_partitioner",
            "assume_dynamic_shape_support",
            "hardware_compatible",
            "disable_tf32",
            "use_explicit_typing",
            "sparse_weights",
        ):
            fields[name] = "true" if getattr(self, name) else "false"
        return fields


def no_effect_on(field: dataclasses.Field[Any], backend: str) -> str:
    """Why a setting has no effect on a backend; "" where it has one."""
    reason = field.metadata["no_effect"]
    if isinstance(reason, str):
        return reason
    return reason.get(backend, reason.get("", ""))


def settings_table() -> str:
    """Every setting with type, default and meaning, as Markdown."""
    lines = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    defaults = CompilationSettings()
    for f in dataclasses.fields(CompilationSettings):
        value = repr(getattr(defaults, f.name)).replace(tempfile.gettempdir(), "/tmp")
        meaning = f.metadata["meaning"]
        notes = {b: no_effect_on(f, b) for b in ("cpu", "cuda")}
        if notes["cpu"] and notes["cpu"] == notes["cuda"]:
            meaning += f" No effect: {notes['cpu']}."
        else:
            meaning += "".join(f" No effect on {b}: {r}." for b, r in notes.items() if r)
        if f.name in INVALIDATING_SETTINGS:
            meaning += " (i)"
        kind = str(f.type).replace("|", "\\|")
        lines.append(f"| `{f.name}` | `{kind}` | `{value}` | {meaning} |")
    return "\n".join(lines) + "\n"


_OLD_NAMES: tuple[tuple[str, str, Callable[[Any], Any]], ...] = (
    ("truncate_long_and_double", "truncate_double", lambda v: v),
    ("refit", "immutable_weights", lambda v: not v),
    ("make_refittable", "immutable_weights", lambda v: not v),
)


def make_settings(options: dict[str, Any], *, own_door: bool = False) -> CompilationSettings:
    """Settings from keywords; ``settings=`` gives a whole object that the others override.

    Args:
        options: names and values.
        own_door: through a name of stator's, where a min_block_size that nobody gave is None.

    Raises:
        TypeError: an unknown name; the message has the nearest known one.
    """
    options = dict(options)
    base = options.pop("settings", None)
    if base is not None and not isinstance(base, CompilationSettings):
        raise TypeError(f"settings must be a CompilationSettings, got {type(base).__name__}")
    names = [f.name for f in dataclasses.fields(CompilationSettings)]
    if "enabled_precisions" in options:
        logger.warning(
            "enabled_precisions is deprecated: dtypes stay the model's unless "
            "use_explicit_typing=False; cast the model or its inputs, or use enable_autocast"
        )
    for old, new, convert in _OLD_NAMES:
        if old in options:
            logger.warning("%s is deprecated; use %s", old, new)
            options[new] = convert(options.pop(old))
    if options.pop("torch_executed_modules", None):
        logger.warning("torch_executed_modules has no effect: operators are excluded, not modules")
    for name in options:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.0)
            raise TypeError(f"there is no setting {name!r}; did you mean {near[0]!r}?")
    if base is None:
        if own_door:
            options.setdefault("min_block_size", None)
        return CompilationSettings(**options)
    return dataclasses.replace(base, **options)


CompilationSettings.__doc__ = (
    (CompilationSettings.__doc__ or "")
    + "\n    Fields:\n"
    + "".join(
        f"        {f.name}: {f.metadata['meaning']}\n"
        for f in dataclasses.fields(CompilationSettings)
    )
)
