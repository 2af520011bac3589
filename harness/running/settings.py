"""How to run cells on this machine: nothing here is part of a cell's key. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Rerun = Literal["failed", "never", "stale", "score"]
RERUNS: tuple[Rerun, ...] = ("failed", "never", "stale", "score")


def default_cache() -> Path:
    """Place of built data and judges: ``PARALLAX_CACHE`` or ``~/.cache/parallax``."""
    return Path(os.environ.get("PARALLAX_CACHE") or Path.home() / ".cache" / "parallax")


@dataclass(frozen=True)
class RunSettings:
    """Where and how cells run.

    ``device`` is ``auto``, ``cpu``, ``cuda`` or ``cuda:<n>``. ``threads`` is the cap for torch and BLAS: one thread per
    process keeps result bytes independent of the number of cores, and processes scale better than threads.
    ``rerun`` says what to do again beyond cells that were never finished: ``failed`` (the default) failed and skipped
    ones, ``never`` nothing, ``stale`` also results of older code, ``score`` scores every finished cell anew from its
    stored predictions. ``checkpoint_seconds`` is the wall time between checkpoints, ``log_every`` the steps between log
    records (None: a hundredth of the run, 10 to 50), ``predictions_cap`` the bytes of predictions kept per cell.
    """

    device: str = "auto"
    cache: Path = field(default_factory=default_cache)
    threads: int = 1
    rerun: Rerun = "failed"
    checkpoint_seconds: float = 60.0
    log_every: int | None = None
    predictions_cap: int = 2 << 30
    deterministic: bool = True
    channels_last: bool = True
    data_workers: int = 1

    @property
    def judges(self) -> Path:
        """Folder of the judge networks."""
        return self.cache / "judges"


@dataclass(frozen=True)
class Progress:
    """A sign of life of a running cell: ``stage`` is data, fit, predict, score or note; ``step`` of ``total`` training
    steps; mean losses since the last one; ``seconds`` spent in the stage; ``message`` for notes such as a repair."""

    key: str
    label: str
    stage: str
    step: int = 0
    total: int = 0
    seconds: float = 0.0
    losses: Mapping[str, float] = field(default_factory=dict)
    message: str = ""


Observer = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """An observer that shows nothing."""
