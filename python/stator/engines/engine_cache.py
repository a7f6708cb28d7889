# SPDX-License-Identifier: Apache-2.0
"""Built engines kept between compilations, by a digest of everything they depend on."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from stator import _native
from stator._log import logger
from stator.engines.engine import Engine
from stator.settings.compilation_settings import INVALIDATING_SETTINGS, CompilationSettings

_PIECE = 1 << 20  # bytes

__all__ = ["BaseEngineCache", "DiskEngineCache", "EngineStore", "engine_key"]


class BaseEngineCache(ABC):
    """Where engines are kept; derive from it and give an object as ``custom_engine_cache``."""

    @abstractmethod
    def save(self, hash: str, blob: bytes, *args: Any, **kwargs: Any) -> None:
        """Keep an engine file's bytes under `hash` (hexadecimal)."""

    @abstractmethod
    def load(self, hash: str, *args: Any, **kwargs: Any) -> bytes | None:
        """Give the bytes kept under `hash`, or None."""


class DiskEngineCache(BaseEngineCache):
    """Engine files in a folder; those used least recently go when they take more than `size` bytes.

    Safe with several processes on one folder: files are written under another name and renamed,
    and one that has gone meanwhile is a miss. What a killed process left half written, the next
    writer removes; until then it counts toward the size.
    """

    def __init__(self, folder: str, size: int) -> None:
        """Keep engines in `folder`, which is made when something is saved."""
        self.folder, self.size = Path(folder), size

    def path(self, hash: str) -> Path:
        """The file of an engine."""
        return self.folder / f"{hash}.engine"

    def save(self, hash: str, blob: bytes, *args: Any, **kwargs: Any) -> None:
        """Write the file, after making room for it."""
        self._write(hash, lambda path: Path(path).write_bytes(blob))

    def load(self, hash: str, *args: Any, **kwargs: Any) -> bytes | None:
        """Read the file, and note that it was used."""
        try:
            blob = self.path(hash).read_bytes()
            os.utime(self.path(hash))
        except FileNotFoundError:
            return None
        except OSError as error:
            logger.warning("the engine cache %r cannot be read: %s", str(self.folder), error)
            return None
        return blob

    def save_engine(self, hash: str, engine: Engine) -> None:
        """The same without the bytes in memory."""
        self._write(hash, lambda path: engine.save(path, hash))

    def _write(self, hash: str, write: Callable[[str], Any]) -> None:
        """Let `write` make a file under another name, and take it in if it is not too large."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._writing():
                handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".new-")
                os.close(handle)
                try:
                    write(temporary)
                    size = os.stat(temporary).st_size
                    if size > self.size:
                        logger.warning(
                            "an engine of %d bytes is not cached: engine_cache_size is %d",
                            size, self.size,
                        )  # fmt: skip
                    else:
                        self._make_room(size, Path(temporary))
                        os.replace(temporary, self.path(hash))
                finally:
                    Path(temporary).unlink(missing_ok=True)
        except OSError as error:
            logger.warning("an engine was not cached in %r: %s", str(self.folder), error)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Say to other processes that this one writes; if no other does, remove leftovers.

        Writers share a lock on the folder that dies with them: whoever gets it alone is the only
        one alive.
        """
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # another one writes, or there are no locks here
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for path in self._unfinished():
                    path.unlink(missing_ok=True)
                    logger.debug("%s, which a killed process left, was removed", path.name)
            with contextlib.suppress(OSError):
                fcntl.flock(lock, fcntl.LOCK_SH)
            yield
        finally:
            os.close(lock)

    def _unfinished(self) -> list[Path]:
        """Files under the names that they are written under."""
        return [*self.folder.glob(".new-*"), *self.folder.glob("*.engine.tmp.*")]

    def load_engine(self, hash: str, device: str) -> Engine | None:
        """Map the file for a device, and note that it was used."""
        path = self.path(hash)
        if not path.exists():
            return None
        engine = Engine.load(path, device)
        with contextlib.suppress(OSError):
            os.utime(path)
        return engine

    def _make_room(self, wanted: int, mine: Path) -> None:
        files = []
        total = 0
        for path in self._unfinished():
            with contextlib.suppress(FileNotFoundError):
                total += 0 if path == mine else path.stat().st_size
        for path in self.folder.glob("*.engine"):
            try:
                stat = path.stat()
            except FileNotFoundError:
                continue
            files.append((stat.st_mtime_ns, stat.st_size, path))
        total += sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total + wanted <= self.size:
                break
            path.unlink(missing_ok=True)
            total -= size
            logger.debug("engine %s was evicted", path.name)


def engine_key(compilation: _native.Compilation, index: int, settings: CompilationSettings) -> str:
    """The digest of everything that the engine of segment `index` depends on."""
    digest = hashlib.sha256()
    for name in INVALIDATING_SETTINGS:
        digest.update(f"{name}={settings.canonical(name)}\n".encode())
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:

        def update(data: memoryview) -> None:
            """Weights come in as the digests of their pieces, which several threads take."""
            if len(data) <= _PIECE:
                digest.update(data)
                return
            pieces = [data[at : at + _PIECE] for at in range(0, len(data), _PIECE)]
            for piece in pool.map(lambda p: hashlib.sha256(p).digest(), pieces):
                digest.update(piece)

        compilation.describe_segment(index, update)
    return digest.hexdigest()


class EngineStore:
    """What one compilation reads from and writes to the cache that its settings name."""

    def __init__(self, settings: CompilationSettings) -> None:
        """Warn where caching was asked for and cannot be."""
        self.settings = settings
        asked = settings.cache_built_engines or settings.reuse_cached_engines
        self.active = asked and not settings.immutable_weights
        if asked and settings.immutable_weights:
            logger.warning(
                "engines are built anew and not cached: caching needs immutable_weights=False"
            )
        custom = settings.custom_engine_cache
        self.cache = (
            custom
            if custom is not None
            else DiskEngineCache(settings.engine_cache_dir, settings.engine_cache_size)
        )

    def key(self, compilation: _native.Compilation, index: int) -> str | None:
        """The engine's key; None when nothing is cached."""
        return engine_key(compilation, index, self.settings) if self.active else None

    def load(self, key: str | None, name: str, device: str) -> Engine | None:
        """The cached engine on a device; a damaged one is a miss, with a warning."""
        if key is None or not self.settings.reuse_cached_engines:
            return None
        try:
            if isinstance(self.cache, DiskEngineCache):
                engine = self.cache.load_engine(key, device)
            else:
                blob = self.cache.load(key)
                engine = None if blob is None else Engine.from_bytes(blob, name, device)
        except Exception as error:  # also of a cache that users wrote
            logger.warning("the cached engine %s is not used: %s", key, error)
            return None
        if engine is not None and engine.native.key != key:
            logger.warning(
                "the cached engine %s is not used: it was built from something else, its key is %r",
                key, engine.native.key,
            )  # fmt: skip
            return None
        if engine is None:
            logger.debug("engine cache: no engine for %s (%s)", name, key)
            return None
        logger.info("engine cache: hit for %s (%s)", name, key)
        return engine

    def save(self, key: str | None, engine: Engine) -> None:
        """Keep an engine that was built."""
        if key is None or not self.settings.cache_built_engines:
            return
        if isinstance(self.cache, DiskEngineCache):
            self.cache.save_engine(key, engine)
        else:
            self.cache.save(key, engine.bytes(key))
