"""Learning rates as a function of the step."""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer

Schedule = Literal["constant", "linear_to_zero"]


def rate_factor(step: int, total: int, schedule: Schedule, hold: float = 0.5, floor: float = 0.0) -> float:
    """Factor on the base learning rate at ``step`` of ``total``.

    ``linear_to_zero`` is 1 for the first ``hold`` of the steps and then falls linearly to ``floor`` at the last step.
    """
    if schedule == "constant":
        return 1.0
    start = hold * total
    if step <= start:
        return 1.0
    return max(floor, (total - step) / max(total - start, 1.0))


def set_rate(optimiser: Optimizer, rate: float) -> None:
    """Give every parameter group the learning rate ``rate``."""
    for group in optimiser.param_groups:
        group["lr"] = rate
