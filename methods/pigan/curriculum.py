"""Progressive growing as data: which image size, batch and learning rates hold at a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from methods.pigan.options import Options


@dataclass(frozen=True)
class Phase:
    """Steps ``start`` <= step < ``end`` at ``resolution`` with at most ``batch`` images in ``splits`` parts."""

    resolution: int
    start: int
    end: int
    batch: int
    splits: int
    g_lr: float
    d_lr: float


def phases(options: Options, total_steps: int) -> tuple[Phase, ...]:
    """Cut ``total_steps`` by ``stage_shares``; the other ``stage_*`` options have one entry per resolution."""
    shares = options.stage_shares
    ends = [round(total_steps * sum(shares[: k + 1]) / sum(shares)) for k in range(len(shares))]
    per_stage = (options.stage_batches, options.stage_splits, options.stage_g_lr, options.stage_d_lr)
    return tuple(map(Phase, options.resolutions, [0, *ends[:-1]], ends, *per_stage))


def phase_at(plan: Sequence[Phase], step: int) -> Phase:
    """The phase of ``step``; the last one for steps beyond the plan."""
    return next((phase for phase in plan if step < phase.end), plan[-1])


def fade(plan: Sequence[Phase], step: int, fade_steps: float, first: bool) -> float:
    """Weight of the newest resolution: grows to 1 over ``fade_steps``; always 1 in the first phase unless ``first``."""
    phase = phase_at(plan, step)
    if fade_steps <= 0 or (phase is plan[0] and not first):
        return 1.0
    return min(1.0, (step - phase.start) / fade_steps)
