# SPDX-License-Identifier: Apache-2.0
"""Calls a second of one model that several threads call, and beside busy processes.

Each runner is a process of its own with one compiled model; 1, 2, 4 and 8 of its threads call it at
a time. The runners take turns, and the figures are medians over the rounds. "busy" is one caller
while as many other processes as there are cores do nothing but compute.

  python benchmarks/callers.py
  python benchmarks/callers.py --model bert_base --runners eager stator --seconds 1
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch import nn  # noqa: E402

from benchmarks import machine  # noqa: E402
from benchmarks.models import ZOO  # noqa: E402
from benchmarks.runners import RUNNERS, Built  # noqa: E402

CALLERS = (1, 2, 4, 8)
BUSY = "busy"


def _encoder() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """Four encoder layers of width 256 over 128 positions."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(256, 4, 1024, batch_first=True, activation="gelu")
    return nn.TransformerEncoder(layer, 4, enable_nested_tensor=False).eval(), (
        torch.randn(1, 128, 256),
    )


def _calls_per_second(calls: list[Callable[[], Any]], seconds: float) -> float:
    """All callers begin together; what they did in that time."""
    counts = [0] * len(calls)
    start, end = threading.Barrier(len(calls) + 1), [0.0]

    def caller(k: int) -> None:
        with torch.no_grad():
            calls[k]()
            start.wait()
            while time.perf_counter() < end[0]:
                calls[k]()
                counts[k] += 1

    threads = [threading.Thread(target=caller, args=(k,)) for k in range(len(calls))]
    for thread in threads:
        thread.start()
    end[0] = time.perf_counter() + 3600  # until all have begun
    start.wait()
    begin = time.perf_counter()
    end[0] = begin + seconds
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - begin)


def work(args: argparse.Namespace) -> None:
    """The process of one runner: a line "callers seconds" in, calls a second out."""
    torch.set_num_threads(args.threads)
    if args.model == "encoder":
        network, inputs = _encoder()
    else:
        network, inputs = ZOO[args.model].network(), ZOO[args.model].example_inputs()
    with torch.no_grad():
        built: Built = RUNNERS[args.worker].build(network, inputs, args.threads)
        calls = [built.another_caller() for _ in range(max(CALLERS))]
        for _ in range(5):
            calls[0]()
    print("ready", flush=True)
    for line in sys.stdin:
        count, seconds = line.split()
        print(_calls_per_second(calls[: int(count)], float(seconds)), flush=True)


def _compute_for_ever() -> None:
    while True:
        pass


@contextlib.contextmanager
def _busy_processes(count: int) -> Iterator[None]:
    make = multiprocessing.get_context("spawn").Process
    processes = [make(target=_compute_for_ever, daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    if processes:
        time.sleep(3.0)  # until they compute
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.join()


class Worker:
    """The process of one runner."""

    def __init__(self, runner: str, args: argparse.Namespace) -> None:
        """Start it and wait until its model is compiled."""
        environment = dict(os.environ)
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "STATOR_NUM_THREADS"):
            environment[name] = str(args.threads)
        command = [sys.executable, __file__, "--worker", runner, "--model", args.model]
        command += ["--threads", str(args.threads)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=environment,
        )  # fmt: skip
        while (line := self.process.stdout.readline()) and line.strip() != "ready":
            pass
        if not line:
            raise RuntimeError(f"the runner {runner} failed; run: {' '.join(command)}")

    def rate(self, callers: int, seconds: float) -> float:
        """Calls a second."""
        self.process.stdin.write(f"{callers} {seconds}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="encoder", choices=["encoder", *ZOO])
    parser.add_argument("--runners", nargs="+", default=list(RUNNERS), choices=list(RUNNERS))
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    args = _parse()
    if args.worker:
        work(args)
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    workers = {}
    for runner in args.runners:
        if missing := RUNNERS[runner].missing():
            console.print(f"{runner}: {missing}")
        else:
            workers[runner] = Worker(runner, args)
    rates: dict[tuple[str, Any], list[float]] = {}
    for _ in range(args.rounds):
        for callers in (*CALLERS, BUSY):
            for runner, worker in workers.items():
                machine.wait_until_idle(5.0)
                busy = args.threads if callers == BUSY else 0
                with _busy_processes(busy):
                    rate = worker.rate(1 if callers == BUSY else callers, args.seconds)
                rates.setdefault((runner, callers), []).append(rate)
    for worker in workers.values():
        worker.stop()
    table = Table(
        title=f"{args.model}, {args.threads} threads: calls a second (against one caller)"
    )
    table.add_column("runner")
    for callers in (*CALLERS, BUSY):
        table.add_column(str(callers), justify="right")
    for runner in workers:
        of = [statistics.median(rates[runner, callers]) for callers in (*CALLERS, BUSY)]
        table.add_row(runner, *[f"{rate:.1f} ({rate / of[0]:.2f})" for rate in of])
    console.print(table)


if __name__ == "__main__":
    main()
