"""Torch-TensorRT's names for the defaults of the settings, read off the settings themselves."""

from stator import CompilationSettings

_DEFAULTS = CompilationSettings()
CACHE_BUILT_ENGINES = _DEFAULTS.cache_built_engines
DEBUG = _DEFAULTS.debug
ENGINE_CACHE_DIR = _DEFAULTS.engine_cache_dir
ENGINE_CACHE_SIZE = _DEFAULTS.engine_cache_size
MIN_BLOCK_SIZE = _DEFAULTS.min_block_size
OPTIMIZATION_LEVEL = _DEFAULTS.optimization_level
REUSE_CACHED_ENGINES = _DEFAULTS.reuse_cached_engines
TIMING_CACHE_PATH = _DEFAULTS.timing_cache_path
USE_FAST_PARTITIONER = _DEFAULTS.use_fast_partitioner
WORKSPACE_SIZE = _DEFAULTS.workspace_size
