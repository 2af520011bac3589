"""What this machine has, read without torch so that the planner may ask."""

from __future__ import annotations

import functools
import math
import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path

BF16_FLAGS = ("amx_bf16", "avx512_bf16")
"""CPU instructions that multiply in bfloat16; without one of them bf16 autocast is slower than fp32."""
CGROUP = Path("/sys/fs/cgroup")
"""Where a container finds its limits."""


@functools.cache
def cpu_flags() -> frozenset[str]:
    """Instruction set extensions of the CPU; empty where the system does not say."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("flags"):
                return frozenset(line.partition(":")[2].split())
    return frozenset()


@functools.cache
def cpu_model() -> str:
    """Marketing name of the CPU."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def cpu_has_bf16() -> bool:
    """Whether ``precision=auto`` resolves to bf16 on this CPU."""
    return not cpu_flags().isdisjoint(BF16_FLAGS)


def cores() -> int:
    """CPU cores this process may use, which in a container are fewer than the machine has."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(found, _cpu_quota())))


def _cpu_quota() -> float:
    """Cores that the cgroup of a container may use; infinite where it is not capped."""
    with suppress(OSError, ValueError):  # version 2 says "max 100000" where nothing is capped
        quota, period = (CGROUP / "cpu.max").read_text().split()
        return int(quota) / int(period)
    with suppress(OSError, ValueError):  # version 1 says -1
        capped, every = (int((CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return capped / every if capped > 0 else math.inf
    return math.inf


def memory_gib() -> float:
    """Main memory in GiB, rounded to a tenth; 0 where the system does not say."""
    with suppress(OSError, ValueError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return 0.0


def usable_gib() -> float:
    """Main memory that this process may use: that of the machine, or less in a container."""
    found = [memory_gib()]
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        with suppress(OSError, ValueError):
            found.append(int((CGROUP / name).read_text()) / 2**30)
    return min(found)


def has_gpu() -> bool:
    """Whether a driver for GPUs of NVIDIA or AMD is installed."""
    places = (Path("/proc/driver/nvidia"), Path("/dev/kfd"))
    return any(place.exists() for place in places) or shutil.which("nvidia-smi") is not None
