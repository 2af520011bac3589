"""Energy of a stretch of work: sampled board power of an NVIDIA GPU, or the package counters of a CPU."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

INTERVAL = 0.05
"""Seconds between two samples of the board power, which the driver itself renews about every 20 to 100 ms."""
_POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True)
class Energy:
    """``joules`` of the whole stretch, idle power not subtracted; ``idle_watts`` before it; ``reason`` where there is
    no figure."""

    joules: float | None
    idle_watts: float | None = None
    reason: str = ""


class EnergyMeter:
    """Measures between ``start`` and ``stop``."""

    def __init__(self, device: torch.device) -> None:
        self._watts: Callable[[], float] | None = None
        self._reason = ""
        if device.type == "cuda":
            self._watts, self._reason = _board_power(device)
        self._before: Mapping[Path, int] = {}
        self._samples: list[tuple[float, float]] = []
        self._idle: float | None = None
        self._done = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin; a GPU's power is sampled by a thread of its own."""
        if self._watts is None:
            self._before = _package_counters()
            return
        self._idle = self._watts()
        self._samples, self._done = [(time.monotonic(), self._idle)], threading.Event()
        self._thread = threading.Thread(target=self._sample, args=(self._watts,), daemon=True)
        self._thread.start()

    def stop(self) -> Energy:
        """End, and say what was used."""
        if self._watts is not None and self._thread is not None:
            self._done.set()
            self._thread.join()
            self._samples.append((time.monotonic(), self._watts()))
            return Energy(trapezoid(self._samples), self._idle)
        if self._reason:
            return Energy(None, reason=self._reason)
        return _spent(self._before, _package_counters())

    def _sample(self, watts: Callable[[], float]) -> None:
        while not self._done.wait(INTERVAL):
            self._samples.append((time.monotonic(), watts()))


def trapezoid(samples: Sequence[tuple[float, float]]) -> float:
    """Joules of power in watts sampled at times in seconds."""
    return sum((t1 - t0) * (w0 + w1) / 2 for (t0, w0), (t1, w1) in itertools.pairwise(samples))


def _board_power(device: torch.device) -> tuple[Callable[[], float] | None, str]:
    """A function that reads the board's power in watts, or the reason why there is none."""
    try:
        import pynvml
    except ImportError:
        return None, "nvidia-ml-py is not installed"
    try:
        pynvml.nvmlInit()
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
        pynvml.nvmlDeviceGetPowerUsage(handle)
    except pynvml.NVMLError as error:
        return None, f"NVML does not answer: {error}"
    return lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3, ""


def _package_counters() -> dict[Path, int]:
    """Microjoules by CPU package; empty where they may not be read."""
    found = {}
    for folder in sorted(_POWERCAP.glob("intel-rapl:[0-9]*")):
        if folder.name.count(":") == 1:  # the others are parts of a package
            try:
                found[folder] = int((folder / "energy_uj").read_text())
            except (OSError, ValueError):
                return {}
    return found


def _spent(before: Mapping[Path, int], after: Mapping[Path, int]) -> Energy:
    if not before or set(before) != set(after):
        return Energy(None, reason="this machine shows no energy counters of its CPU packages")
    joules = 0.0
    for folder, last in after.items():
        used = last - before[folder]
        if used < 0:  # the counter has started anew
            used += int((folder / "max_energy_range_uj").read_text())
        joules += used / 1e6
    return Energy(joules)
