"""CompilationSettings: every option of a compilation, with its type, range and default."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import math
import os
import re
import tempfile
from collections.abc import Callable, Collection
from typing import Any

import torch
from torch.utils import _pytree as pytree

from stator._log import logger
from stator.device import Device
from stator.types import EngineCapability, dtype

__all__ = ["INVALIDATING_SETTINGS", "CompilationSettings", "make_settings", "operator_names"]

_CACHE_DIR = os.path.join(tempfile.gettempdir(), "torch_tensorrt_engine_cache")
_NOT_YET = "this version does not do it yet"
_NVIDIA_ONLY = "it is for NVIDIA devices"
_NO_DLA = "there is no DLA backend"

Check = Callable[[str, Any], Any]

#: Settings whose change makes cached engines useless; the rest act through the graph, or after the
#: build. One place for the cache's key, the documentation and the tests.
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


def _fail(name: str, value: Any, allowed: str) -> None:
    raise ValueError(f"CompilationSettings: {name}={value!r} is not allowed; {name} is {allowed}")


def _flag(name: str, value: Any) -> Any:
    if not isinstance(value, bool):
        _fail(name, value, "True or False")
    return value


def _optional_flag(name: str, value: Any) -> Any:
    return value if value is None else _flag(name, value)


def _integer(least: int, greatest: int | None = None, *, optional: bool = False) -> Check:
    limits = f"an integer of at least {least}"
    if greatest is not None:
        limits = f"an integer from {least} to {greatest}"
    limits += " or None" if optional else ""

    def check(name: str, value: Any) -> Any:
        if value is None and optional:
            return value
        if not isinstance(value, int) or isinstance(value, bool):
            _fail(name, value, limits)
        if value < least or (greatest is not None and value > greatest):
            _fail(name, value, limits)
        return value

    return check


def _number(least: float) -> Check:
    def check(name: str, value: Any) -> Any:
        if not isinstance(value, int | float) or isinstance(value, bool) or not value >= least:
            _fail(name, value, f"a number of at least {least}")
        return value

    return check


def _block_size(name: str, value: Any) -> Any:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(value, float) and math.isinf(value) and value > 0:
        return value
    if not whole or value < 1:
        _fail(name, value, 'a positive integer or float("inf")')
    return value


def _one_of(*allowed: Any) -> Check:
    def check(name: str, value: Any) -> Any:
        if value not in allowed:
            _fail(name, value, "one of " + ", ".join(map(repr, allowed)))
        return value

    return check


def _path(name: str, value: Any) -> Any:
    if not isinstance(value, str | os.PathLike):
        _fail(name, value, "a path")
    return os.fspath(value)


def _path_or_flag(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str | os.PathLike):
        _fail(name, value, "True, False or the path of a file for the report")
    return os.fspath(value)


def _precisions(name: str, value: Any) -> Any:
    allowed = {dtype.f32, dtype.f16, dtype.bf16, dtype.i8, dtype.f8}
    if isinstance(value, str) or not isinstance(value, Collection):
        _fail(name, value, "a set of dtypes")
    precisions = {dtype.of(v) for v in value}
    if not precisions <= allowed:
        _fail(name, value, "a set of " + ", ".join(sorted(map(repr, allowed))))
    return precisions


def _operators(name: str, value: Any) -> Any:
    known = (str, torch._ops.OpOverload, torch._ops.OpOverloadPacket)
    if isinstance(value, str) or not isinstance(value, Collection):
        _fail(name, value, "a collection of torch.ops operators or their names")
    for item in value:
        if not isinstance(item, known) and not callable(item):
            _fail(name, item, "a collection of torch.ops operators or their names")
    return set(value)


def _patterns(name: str, value: Any) -> Any:
    if isinstance(value, str) or not isinstance(value, Collection):
        _fail(name, value, "a set of regular expressions")
    for pattern in value:
        try:
            re.compile(pattern)
        except (re.error, TypeError) as error:
            raise ValueError(
                f"CompilationSettings: {name} holds {pattern!r}, no regular expression: {error}"
            ) from None
    return set(value)


def _low_precision(name: str, value: Any) -> Any:
    if value not in (None, torch.float16, torch.bfloat16):
        _fail(name, value, "torch.float16, torch.bfloat16 or None")
    return value


def _device(name: str, value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        value = Device(gpu_id=value)
    text = value if value is None else str(value)
    if text is not None and text.split(":")[0] not in ("cpu", "cuda", "reference"):
        _fail(name, value, "None (where the model's tensors are), 'cpu', 'cuda' or 'reference'")
    return value


def _cache_object(name: str, value: Any) -> Any:
    if value is not None and not (
        callable(getattr(value, "save", None)) and callable(getattr(value, "load", None))
    ):
        _fail(name, value, "an object with save(hash, blob) and load(hash), or None")
    return value


def _anything(name: str, value: Any) -> Any:
    return value


def _setting(default: Any, check: Check, no_effect: str = "") -> Any:
    metadata = {"check": check, "no_effect": no_effect}
    if isinstance(default, set):
        return dataclasses.field(default_factory=lambda: set(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass
class CompilationSettings:
    """Options of a compilation; constructed with any subset by keyword.

    A setting that has no meaning for the CPU, or that this version does not act on, is checked and
    stored, and answered by one warning at each compilation.

    Raises:
        ValueError: a value that the setting does not allow; the message says what it does.
    """

    enabled_precisions: set[Any] = _setting({dtype.f32}, _precisions, _NOT_YET)
    min_block_size: int | float = _setting(5, _block_size)
    torch_executed_ops: Collection[Any] = _setting(set(), _operators)
    require_full_compilation: bool = _setting(False, _flag)
    device: Any = _setting(None, _device)
    use_python_runtime: bool | None = _setting(False, _optional_flag, _NOT_YET)
    pass_through_build_failures: bool = _setting(False, _flag)
    optimization_level: int | None = _setting(None, _integer(0, 5, optional=True))
    workspace_size: int = _setting(0, _integer(0))
    num_avg_timing_iters: int = _setting(1, _integer(1, 1000))
    max_aux_streams: int | None = _setting(None, _integer(0, optional=True), _NVIDIA_ONLY)
    tiling_optimization_level: str = _setting(
        "none", _one_of("none", "fast", "moderate", "full"), _NOT_YET
    )
    l2_limit_for_tiling: int = _setting(-1, _integer(-1), _NOT_YET)
    sparse_weights: bool = _setting(False, _flag, "the CPU has no sparse kernels")
    disable_tf32: bool = _setting(False, _flag)  # the CPU's float32 is always IEEE
    truncate_double: bool = _setting(False, _flag, _NOT_YET)
    use_fp32_acc: bool = _setting(False, _flag)  # products of halves always accumulate in float32
    use_explicit_typing: bool = _setting(True, _flag)
    enable_autocast: bool = _setting(False, _flag)
    autocast_low_precision_type: torch.dtype | None = _setting(None, _low_precision)
    autocast_excluded_nodes: Collection[str] = _setting(set(), _patterns)
    autocast_excluded_ops: Collection[Any] = _setting(set(), _operators)
    autocast_max_output_threshold: float = _setting(512.0, _number(0))
    autocast_max_depth_of_reduction: int | None = _setting(None, _integer(0, optional=True))
    autocast_calibration_dataloader: Any = _setting(None, _anything)
    immutable_weights: bool = _setting(True, _flag)
    refit_identical_engine_weights: bool = _setting(False, _flag, _NOT_YET)
    strip_engine_weights: bool = _setting(False, _flag, _NOT_YET)
    enable_weight_streaming: bool = _setting(False, _flag, _NVIDIA_ONLY)
    version_compatible: bool = _setting(False, _flag, _NOT_YET)
    hardware_compatible: bool = _setting(False, _flag)
    engine_capability: EngineCapability = _setting(
        EngineCapability.STANDARD, _one_of(*EngineCapability), _NVIDIA_ONLY
    )
    enable_cross_compile_for_windows: bool = _setting(False, _flag, _NOT_YET)
    enable_resource_partitioning: bool = _setting(False, _flag, _NOT_YET)
    cpu_memory_budget: int | None = _setting(None, _integer(1, optional=True), _NOT_YET)
    offload_module_to_cpu: bool = _setting(False, _flag, "the model is on the CPU already")
    dynamically_allocate_resources: bool = _setting(False, _flag, _NOT_YET)
    use_fast_partitioner: bool = _setting(True, _flag)
    assume_dynamic_shape_support: bool = _setting(False, _flag)
    enable_experimental_decompositions: bool = _setting(False, _flag)
    use_distributed_mode_trace: bool = _setting(False, _flag, _NOT_YET)
    dryrun: bool | str = _setting(False, _path_or_flag)
    lazy_engine_init: bool = _setting(False, _flag, _NOT_YET)
    debug: bool = _setting(False, _flag)
    cache_built_engines: bool = _setting(False, _flag)
    reuse_cached_engines: bool = _setting(False, _flag)
    timing_cache_path: str = _setting(os.path.join(_CACHE_DIR, "timing_cache.bin"), _path)
    engine_cache_dir: str = _setting(_CACHE_DIR, _path)
    engine_cache_size: int = _setting(5 << 30, _integer(0))
    custom_engine_cache: Any = _setting(None, _cache_object)
    dla_sram_size: int = _setting(1 << 20, _integer(0), _NO_DLA)
    dla_local_dram_size: int = _setting(1 << 30, _integer(0), _NO_DLA)
    dla_global_dram_size: int = _setting(1 << 29, _integer(0), _NO_DLA)
    build_time_budget: float = _setting(0.0, _number(0))
    disabled_passes: Collection[str] = _setting(set(), _patterns)
    dump_directory: str = _setting("", _path)

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

    def warn_of_settings_without_effect(self) -> None:
        """One warning for each setting away from its default that this backend does not act on."""
        defaults = type(self)()
        for f in dataclasses.fields(self):
            value, reason = getattr(self, f.name), f.metadata["no_effect"]
            if reason and value != getattr(defaults, f.name):
                logger.warning("%s=%r has no effect on the CPU: %s", f.name, value, reason)

    def canonical(self, name: str) -> str:
        """A setting's value as text that depends neither on hash seeds nor on object identity."""
        value = getattr(self, name)
        if name == "optimization_level":
            return str(3 if value is None else value)
        if isinstance(value, set | frozenset):
            return "{" + ", ".join(sorted(map(str, value))) + "}"
        if name == "autocast_calibration_dataloader" and value is not None:
            return digest_of_batches(value)
        return repr(value)

    def backend(self, tensors: str) -> str:
        """The backend's name: `device`, or where the model's tensors are ("cpu", "cuda")."""
        return tensors if self.device is None else str(self.device).split(":")[0]

    @property
    def tensor_device(self) -> str | None:
        """Where tensors lie, when `device` says so: "cpu" for the reference backend too."""
        name = None if self.device is None else str(self.device)
        return "cpu" if name is not None and name.startswith("reference") else name

    def native(self, tensors: str = "cpu") -> dict[str, str]:
        """The part that the C++ side reads, as text; `tensors`: where the model's tensors are."""
        fields = {
            "min_block_size": "inf"
            if math.isinf(self.min_block_size)
            else str(self.min_block_size),
            "torch_executed_ops": ",".join(sorted(operator_names(self.torch_executed_ops))),
            "device": self.backend(tensors),
            "optimization_level": str(
                3 if self.optimization_level is None else self.optimization_level
            ),
            "timing_cache_path": self.timing_cache_path,
            "disabled_passes": ",".join(sorted(self.disabled_passes)),
            "dump_directory": self.dump_directory,
            "build_time_budget": str(float(self.build_time_budget)),
        }
        for name in ("workspace_size", "num_avg_timing_iters"):
            fields[name] = str(getattr(self, name))
        for name in (
            "require_full_compilation",
            "use_fast_partitioner",
            "assume_dynamic_shape_support",
            "hardware_compatible",
            "disable_tf32",
        ):
            fields[name] = "true" if getattr(self, name) else "false"
        return fields


def digest_of_batches(loader: Any) -> str:
    """A digest of what a dataloader yields: the same data gives the same text in every process."""
    digest = hashlib.sha256()
    for batch in loader:
        for leaf in pytree.tree_leaves(batch):
            if isinstance(leaf, torch.Tensor):
                digest.update(f"{leaf.dtype}{tuple(leaf.shape)}".encode())
                digest.update(leaf.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
            else:
                digest.update(repr(leaf).encode())
    return digest.hexdigest()


def operator_names(ops: Collection[Any]) -> set[str]:
    """Name OpOverloads "aten.add.Tensor", packets "aten.add"; names lose "torch.ops."."""
    return {str(op).removeprefix("torch.ops.").replace("::", ".") for op in ops}


def make_settings(options: dict[str, Any]) -> CompilationSettings:
    """Settings from keywords; ``settings=`` gives a whole object that the others override.

    Raises:
        TypeError: an unknown name; the message has the nearest known one.
    """
    options = dict(options)
    base = options.pop("settings", None)
    if base is not None and not isinstance(base, CompilationSettings):
        raise TypeError(f"settings must be a CompilationSettings, got {type(base).__name__}")
    names = [f.name for f in dataclasses.fields(CompilationSettings)]
    if "truncate_long_and_double" in options:
        logger.warning("truncate_long_and_double is deprecated; use truncate_double")
        options["truncate_double"] = options.pop("truncate_long_and_double")
    for name in options:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1, 0.0)
            raise TypeError(f"there is no setting {name!r}; did you mean {near[0]!r}?")
    if base is None:
        return CompilationSettings(**options)
    return dataclasses.replace(base, **options)
