# SPDX-License-Identifier: Apache-2.0
"""Times the model zoo under Stator and its peers, and prints who is faster by how much.

How it measures. Each runner is a process of its own, so that thread pools and global settings of
one do not disturb another. They are built one after the other; then they take turns: in each round
every runner times one block of calls, after the machine has become idle. Each block records the
share of the machine that other processes took. The figures are those of the quiet half of the
blocks.

  python benchmarks/run.py                                  every model under every runner
  python benchmarks/run.py --models mlp bert_base           two models
  python benchmarks/run.py --runners eager openvino stator  three runners
  python benchmarks/run.py --small --seconds 0.5            a quick look that everything works
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import fcntl
import importlib.metadata
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benchmarks import machine, report  # noqa: E402
from benchmarks.models import ZOO  # noqa: E402
from benchmarks.runners import RUNNERS  # noqa: E402

# Tables keep their columns in a file or a pipe too.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
Record = dict[str, Any]


def _environment(threads: int, cache: str) -> dict[str, str]:
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(threads)
    environment["STATOR_NUM_THREADS"] = str(threads)
    environment["TORCHINDUCTOR_CACHE_DIR"] = (
        cache  # empty: build seconds are those of a first build
    )
    environment["HF_HUB_OFFLINE"] = "1"
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    )
    return environment


class WorkerProcess:
    """A `worker.py` process and the pipe to it."""

    def __init__(self, model: str, runner: str, folder: Path, args: argparse.Namespace) -> None:
        """Start the process; its messages to standard error go to a log in `folder`."""
        self.log = folder / f"{model}.{runner}.log"
        command = [sys.executable, "-m", "benchmarks.worker", "--model", model]
        command += ["--runner", runner, "--reference", str(folder / f"{model}.npz")]
        command += ["--threads", str(args.threads), *(["--small"] if args.small else [])]
        command += ["--int8"] if args.int8 else []
        cache = tempfile.mkdtemp(prefix=f"{runner}-cache-", dir=folder)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=_environment(args.threads, cache),
            )

    def ask(self, **message: Any) -> Record:
        """Send a message and wait for the answer; a process that died answers with an error."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(message) + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self.process.wait()
            tail = self.log.read_text(errors="replace").strip().split("\n")[-1][:200]
            return {"error": f"the process ended with status {code}: {tail}"}
        return json.loads(line)

    def stop(self) -> None:
        """End the process."""
        if self.process.poll() is None:
            with contextlib.suppress(BrokenPipeError):
                assert self.process.stdin
                self.process.stdin.write('{"do": "stop"}\n')
                self.process.stdin.flush()
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@contextlib.contextmanager
def _locked(paths: list[str]) -> Iterator[None]:
    """Hold exclusive locks on all `paths`, taken in order."""
    with contextlib.ExitStack() as stack:
        for path in paths:
            file = stack.enter_context(Path(path).open("a"))
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(
    model: str, runners: list[str], folder: Path, args: argparse.Namespace
) -> tuple[dict[str, WorkerProcess], dict[str, Record]]:
    """Start and build every runner of one model, one after the other."""
    workers: dict[str, WorkerProcess] = {}
    records: dict[str, Record] = {}
    for name in runners:
        missing = RUNNERS[name].missing()
        if missing:
            records[name] = {"error": missing, "missing": True}
            console.print(f"  [yellow]{RUNNERS[name].title}: {missing}")
            continue
        with console.status(f"{ZOO[model].title}: building {RUNNERS[name].title}"):
            worker = WorkerProcess(model, name, folder, args)
            with _locked(args.build_lock):
                record = worker.ask(do="build")
                if "error" not in record:
                    record |= worker.ask(do="build_again")
        records[name] = record
        if "error" in record:
            worker.stop()
            console.print(f"  [red]{RUNNERS[name].title}: {record['error']}")
        else:
            workers[name] = worker
            console.print(f"  {RUNNERS[name].title}: built in {record['build_s']:.1f} s")
    return workers, records


def _time(model: str, workers: dict[str, WorkerProcess], args: argparse.Namespace) -> dict:
    """Let the runners of one model take turns; the blocks of each, in order."""
    blocks: dict[str, list[Record]] = {name: [] for name in workers}
    for round_ in range(args.blocks):
        with _locked(args.lock), console.status(f"{ZOO[model].title}: round {round_ + 1}"):
            # Each round begins with another runner, so that none always follows the same one.
            names = list(workers)
            for name in names[round_ % len(names) :] + names[: round_ % len(names)]:
                machine.wait_until_idle(args.idle_limit)
                block = workers[name].ask(do="block", seconds=args.seconds / args.blocks)
                if "error" in block:
                    console.print(f"  [red]{RUNNERS[name].title}: {block['error']}")
                else:
                    blocks[name].append(block)
    return blocks


def measure(model: str, runners: list[str], args: argparse.Namespace) -> dict[str, Record]:
    """Build and time one model under every runner."""
    with tempfile.TemporaryDirectory(prefix="stator-bench-") as folder:
        workers, records = _build(model, runners, Path(folder), args)
        try:
            for name, blocks in (_time(model, workers, args) if workers else {}).items():
                if blocks:
                    records[name] |= report.summarize(blocks) | {"blocks": blocks}
                else:
                    records[name]["error"] = "every block failed"
        finally:
            for worker in workers.values():
                worker.stop()
    return records


def _about(args: argparse.Namespace) -> dict[str, Any]:
    versions = {}
    for package in ("torch", "openvino", "onnxruntime", "stator"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    return {
        **machine.describe(),
        "threads": args.threads,
        "date": datetime.date.today().isoformat(),
        "versions": versions,
        "command": shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]]),
    }


def _print(results: dict[str, dict[str, Record]], runners: list[str]) -> None:
    for title, header, rows in report.tables(results, runners):
        table = Table(title=title, title_justify="left")
        for i, column in enumerate(header):
            table.add_column(column, justify="left" if i == 0 else "right")
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in report.failures(results):
        console.print(f"[red]{line}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python benchmarks/run.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="models:  " + ", ".join(ZOO) + "\nrunners: " + ", ".join(RUNNERS),
    )
    add = parser.add_argument
    add("--models", nargs="+", choices=list(ZOO), metavar="MODEL", help="default: all")
    add("--runners", nargs="+", choices=list(RUNNERS), metavar="RUNNER", help="default: all")
    add("--seconds", type=float, default=6.0, help="timed for each model and runner (%(default)s)")
    add("--blocks", type=int, default=10, help="turns that each runner takes (%(default)s)")
    add("--threads", type=int, default=2, help="threads of each runner (%(default)s)")
    add("--idle-limit", type=float, default=20.0, metavar="S",
        help="wait at most so long for an idle machine before a block (%(default)s)")  # fmt: skip
    add("--small", action="store_true", help="small variants of the models")
    add("--int8", action="store_true", help="quantize the models after training, by torchao")
    add("--json", metavar="FILE", help="write everything measured as JSON")
    add("--markdown", metavar="FILE", help="write the tables as markdown")
    add("--lock", action="append", default=[], metavar="FILE",
        help="hold an exclusive lock on FILE during each round, so that several measurements on "
        "one machine take turns; may be repeated")  # fmt: skip
    add("--build-lock", action="append", default=[], metavar="FILE",
        help="the same, during each build")  # fmt: skip
    return parser.parse_args()


def main() -> None:
    """Measure what the command line asks for."""
    args = _parse()
    runners = list(args.runners or RUNNERS)
    if "eager" in runners:
        runners.remove("eager")
    runners.insert(0, "eager")  # the reference of every figure
    results: dict[str, dict[str, Record]] = {}
    for model in args.models or ZOO:
        console.print(f"[bold]{ZOO[model].title}")
        results[model] = measure(model, runners, args)
        about = _about(args)
        if args.json:  # after each model: an interrupted run leaves what it has
            Path(args.json).write_text(
                json.dumps({"about": about, "results": results}, indent=1) + "\n"
            )
        if args.markdown:
            Path(args.markdown).write_text(report.markdown(results, runners, about))
    _print(results, runners)


if __name__ == "__main__":
    main()
