"""When GeoD's head learns and how much its guidance weighs, as a function of the training step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Unit = Literal["share", "kimg"]


@dataclass(frozen=True)
class Clock:
    """Turns steps into the unit of a schedule: the share of the whole training, or thousands of images."""

    unit: Unit
    total_steps: int
    batch_size: int

    def at(self, step: int) -> float:
        """Time of ``step``, that is before it is taken."""
        return step / self.total_steps if self.unit == "share" else step * self.batch_size / 1000

    def step(self, time: float) -> int:
        """The first step at or after ``time``."""
        steps = time * self.total_steps if self.unit == "share" else time * 1000 / self.batch_size
        return math.ceil(steps)


@dataclass(frozen=True)
class Ramp:
    """A weight that is 0 up to ``start``, goes linearly from ``low`` to ``high`` until ``full``, stays there, and is 0
    again from ``stop`` on (GeoD, released ``loss_pose.py``). ``full`` = ``start`` is a jump to ``high``."""

    start: float
    full: float
    stop: float
    low: float
    high: float

    def active(self, time: float) -> bool:
        """Whether the weight counts at ``time``."""
        return self.start < time < self.stop

    def weight(self, time: float) -> float:
        """The weight at ``time``."""
        if not self.active(time):
            return 0.0
        progress = (time - self.start) / (self.full - self.start + 1e-7)
        return self.low + (self.high - self.low) * min(progress, 1.0)
