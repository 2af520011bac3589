"""How busy the machine was with other work while something was measured."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

BUSY = 0.1
"""CPUs that other processes may use on average before a measurement counts as made on a loaded machine."""
_STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Load:
    """``average`` is the one-minute load average at the start; ``others`` the CPUs that other processes used on average
    during the measurement, None where the system does not say; ``cpu_seconds`` this process's own; ``threads``
    torch's cap."""

    average: float
    others: float | None
    cpu_seconds: float
    threads: int

    @property
    def loaded(self) -> bool:
        """Whether other work may have changed wall times: such rows are marked and never ranked."""
        return self.average > self.threads + 0.5 if self.others is None else self.others > BUSY


class LoadMeter:
    """Watches from its making on."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._average = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
        self._wall, self._own, self._all = time.monotonic(), time.process_time(), _busy_seconds()

    def read(self) -> Load:
        """The load since then."""
        wall, own, everything = time.monotonic() - self._wall, time.process_time() - self._own, _busy_seconds()
        others = None
        if everything is not None and self._all is not None and wall > 0:
            others = max(0.0, (everything - self._all - own) / wall)
        return Load(self._average, others, own, self.threads)


def _busy_seconds() -> float | None:
    """CPU seconds that all processes of the machine have used since it started."""
    try:
        words = _STAT.read_text().split("\n", 1)[0].split()[1:]
        user, nice, system, _, _, hard, soft, steal = (int(word) for word in words[:8])
        tick = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    return (user + nice + system + hard + soft + steal) / tick
