# SPDX-License-Identifier: Apache-2.0
"""What the machine does while we measure: who else runs, how much memory we took.

Figures come from /proc: honest timing needs to know the share of the machine that others took, and
time stolen by a hypervisor counts as theirs.
"""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_MB = 1 << 20


@dataclass(frozen=True)
class CpuClock:
    """Seconds of processor time since the start: of the whole machine, and of this process."""

    wall: float
    machine_busy: float
    own: float

    @staticmethod
    def now() -> CpuClock:
        """Read the clocks."""
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(f) for f in fields[:8])
        busy = user + nice + system + irq + softirq + steal
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        return CpuClock(time.perf_counter(), busy / _TICKS, own)

    def others_share(self, since: CpuClock) -> float:
        """The share of all processor time since `since` that other processes took, 0 to 1."""
        capacity = (self.wall - since.wall) * (os.cpu_count() or 1)
        others = (self.machine_busy - since.machine_busy) - (self.own - since.own)
        return max(0.0, others / capacity) if capacity > 0 else 0.0


def wait_until_idle(limit_s: float, threshold: float = 0.05, sample_s: float = 0.15) -> bool:
    """Wait until other processes take less than `threshold` of the machine.

    Returns False when it was still busy after `limit_s` seconds: the block then runs anyhow and
    its record says how much others took.
    """
    end = time.perf_counter() + limit_s
    while True:
        before = CpuClock.now()
        time.sleep(sample_s)
        if CpuClock.now().others_share(before) < threshold:
            return True
        if time.perf_counter() >= end:
            return False


def _status_mb(key: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024 / _MB
    return 0.0


def resident_mb() -> float:
    """Memory that this process holds now, in MiB."""
    return _status_mb("VmRSS")


def peak_mb() -> float:
    """The most memory that this process held since `reset_peak`, in MiB."""
    return _status_mb("VmHWM")


def reset_peak() -> None:
    """Start the count of `peak_mb` again from what is held now, where the kernel allows it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def children_peak_mb() -> float:
    """The most memory that one finished child process (a compiler, say) held, in MiB."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / _MB


def describe() -> dict[str, str | int]:
    """The machine in words, for the record: processor, its vector extensions, cores, memory."""
    model, flags = "unknown processor", ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() == "flags":
            flags = value
            break
    known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": model,
        "extensions": " ".join(name for name in known if name in flags.split()),
        "cores": os.cpu_count() or 1,
        "memory_gb": round(memory / (1 << 30)),
    }
