"""What this machine has, read without torch so that the planner may ask."""

from __future__ import annotations

import functools
import os
import platform
import shutil
from contextlib import suppress
from pathlib import Path

BF16_FLAGS = ("amx_bf16", "avx512_bf16")
"""CPU instructions that multiply in bfloat16; without one of them bf16 autocast is slower than fp32."""


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
    with suppress(OSError, ValueError):  # "max 100000" where nothing is capped
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(found, int(quota) // int(period)))
    return found


def has_gpu() -> bool:
    """Whether a driver for NVIDIA GPUs is installed."""
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None


def memory_gib() -> float:
    """Main memory in GiB, rounded to a tenth; 0 where the system does not say."""
    with suppress(OSError, ValueError):
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    return 0.0
