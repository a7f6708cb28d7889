# SPDX-License-Identifier: Apache-2.0
"""Processes that check cases, so that a crash or a hang costs one case and no more."""

from __future__ import annotations

import faulthandler
import json
import os
import queue
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Task", "run_tasks", "serve"]

_TASKS_PER_PROCESS = 120  # then a new one, so that what PyTorch keeps of each export goes
_START_LIMIT = 300.0  # seconds until a process has imported PyTorch
_PATIENCE = 5  # a case that does not work is waited for so many times its limit


@dataclass(frozen=True)
class Task:
    """All cases of an operator for one element type."""

    op: str
    dtype: str
    dynamic: bool


@dataclass(frozen=True)
class Options:
    """What all tasks of a sweep share."""

    device: str
    samples: int
    reference: bool
    time_limit: float
    inplace: bool = False


def serve() -> None:
    """The process: reads a task a line, writes a line before and after each case."""
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what operators print is not for the reader of `out`
    faulthandler.enable()
    import torch

    from .check import check
    from .samples import cases

    torch.set_num_threads(1)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False

    def say(**message: Any) -> None:
        out.write(json.dumps(message) + "\n")

    say(kind="ready")
    for line in sys.stdin:
        given = json.loads(line)
        task, options = Task(**given["task"]), Options(**given["options"])
        say(kind="samples")
        place = "cuda" if options.device == "cuda" else "cpu"
        each = cases(
            task.op, task.dtype, place, options.samples, options.reference, options.inplace
        )
        try:
            for index, case in enumerate(each):
                if index < given["skip"]:
                    continue
                say(kind="begin", case=case.name)
                result = check(case, options.device, task.dynamic)
                if result is not None:
                    say(kind="result", case=case.name, **result)
                else:
                    say(kind="nothing")
        except Exception as error:  # of PyTorch's samples: not ours to judge
            say(kind="result", case="samples", outcome="not_exportable", detail=repr(error)[:300])
        say(kind="done")


class _Process:
    """One process as its driver sees it."""

    def __init__(self) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115, closed with the process
        script = Path(__file__).resolve().parent.parent / "sweep_operators.py"
        environment = dict(os.environ, OMP_NUM_THREADS="1", STATOR_NUM_THREADS="1")
        self.process = subprocess.Popen(
            [sys.executable, str(script), "--worker"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=environment,
        )  # fmt: skip
        self.buffer = b""
        self.tasks = 0
        self.read(_START_LIMIT)

    def read(self, limit: float) -> dict[str, Any]:
        """The next message; kind "crash" or "hang" where none comes."""
        assert self.process.stdout is not None
        begin, spent = time.monotonic(), self.processor_seconds()
        while b"\n" not in self.buffer:
            ready, _, _ = select.select([self.process.stdout], [], [], min(1.0, limit))
            if not ready:
                working = self.processor_seconds() - spent
                waiting = time.monotonic() - begin
                if working > limit or waiting > _PATIENCE * limit:
                    detail = f"no answer after {working:.0f} s of work in {waiting:.0f} s"
                    return {"kind": "hang", "detail": detail}
                continue
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            if not data:
                return {"kind": "crash", "detail": self.last_words()}
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        return json.loads(line)

    def processor_seconds(self) -> float:
        """What the process has worked: on a busy machine it may wait long for its turn."""
        try:
            text = Path(f"/proc/{self.process.pid}/stat").read_text()
        except OSError:
            return 0.0
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def last_words(self) -> str:
        code = self.process.wait()
        name = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        self.errors.seek(max(0, self.errors.seek(0, 2) - 1500))
        return name + ": " + self.errors.read().decode(errors="replace")

    def send(self, message: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write((json.dumps(message) + "\n").encode())
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.errors.close()


class _Driver:
    """Runs tasks in one process after another."""

    def __init__(self, options: Options, record: Callable[[dict[str, Any]], None]) -> None:
        self.options = options
        self.record = record
        self.process: _Process | None = None

    def run(self, task: Task) -> None:
        skip = 0
        while True:
            if self.process is None or self.process.tasks >= _TASKS_PER_PROCESS:
                self.end()
                self.process = _Process()
            self.process.tasks += 1
            checked, finished = self.attempt(task, skip)
            if finished:
                self.record({**asdict(task), "done": True})
                return
            skip += checked
            self.end()

    def attempt(self, task: Task, skip: int) -> tuple[int, bool]:
        """Cases that were checked (the one that ended the process too), and whether all were."""
        assert self.process is not None
        self.process.send({"task": asdict(task), "options": asdict(self.options), "skip": skip})
        checked, case = 0, ""
        while True:
            message = self.process.read(self.options.time_limit)
            kind = message.pop("kind")
            if kind == "done":
                return checked, True
            if kind in ("crash", "hang"):
                if case:
                    self.record({**asdict(task), "case": case, "outcome": kind, **message})
                    return checked + 1, False
                # PyTorch itself, while it makes samples.
                detail = f"{kind} in the samples: {message['detail']}"
                outcome = {"case": "samples", "outcome": "not_exportable", "detail": detail}
                self.record({**asdict(task), **outcome})
                return checked, self.give_up()
            if kind == "begin":
                case = message["case"]
            elif kind in ("result", "nothing"):
                checked, case = checked + 1, ""
                if kind == "result":
                    self.record({**asdict(task), **message})

    def give_up(self) -> bool:
        self.end()
        return True

    def end(self) -> None:
        if self.process is not None:
            self.process.end()
            self.process = None


def run_tasks(
    tasks: list[Task], options: Options, jobs: int, record: Callable[[dict[str, Any]], None]
) -> None:
    """Run every task, `jobs` at a time; `record` gets a line for each case and each task's end."""
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    lock = threading.Lock()

    def locked(line: dict[str, Any]) -> None:
        with lock:
            record(line)

    def work() -> None:
        driver = _Driver(options, locked)
        try:
            while True:
                driver.run(waiting.get_nowait())
        except queue.Empty:
            pass
        finally:
            driver.end()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
