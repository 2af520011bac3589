"""A method in training as something that can be called again and again, at step numbers of a real schedule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from harness.running.profiling.phases import PhaseRecorder
from harness.running.training import Trainer

LONGEST_PERIOD = 64
EVERY = "_every"


def declared_intervals(config: Mapping[str, Any]) -> dict[str, int]:
    """Intervals of lazy phases by their name: the preset's keys ``<phase>_every`` of whole numbers from 1 on."""
    return {
        key.removesuffix(EVERY): value
        for key, value in config.items()
        if key.endswith(EVERY) and isinstance(value, int) and not isinstance(value, bool) and value > 0
    }


def period_of(config: Mapping[str, Any]) -> int:
    """After how many steps the pattern of phases begins again: 1 for a method without lazy phases."""
    period = math.lcm(*declared_intervals(config).values()) if declared_intervals(config) else 1
    return min(period, LONGEST_PERIOD)


class Steps:
    """Calls ``trainer``'s steps from ``start`` to the end of its schedule and then again from ``start``.

    Both are multiples of ``period``, so that any ``period`` calls in a row hold every lazy phase as often as it is due.
    """

    def __init__(self, trainer: Trainer, recorder: PhaseRecorder, start: int, period: int) -> None:
        self.trainer, self.recorder, self.start, self.period = trainer, recorder, start, period
        self.end = trainer.schedule.steps // period * period

    def __call__(self) -> None:
        if self.trainer.step >= self.end:
            self.trainer.step = self.start
        self.recorder.begin()
        self.trainer.advance()
        self.recorder.end()

    def align(self) -> None:
        """Go on to the next step at which every lazy phase is due."""
        step = -(-self.trainer.step // self.period) * self.period
        self.trainer.step = step if step < self.end else self.start
