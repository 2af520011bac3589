"""Progressive growing as data: which image size, batch and learning rates hold at a training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from harness.types import ConfigError


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


def phases(config: Any, total_steps: int) -> tuple[Phase, ...]:
    """Cut ``total_steps`` by ``stage_shares``; the other ``stage_*`` lists have one entry per resolution.

    Raises ConfigError if the lists differ in length, the shares are not positive, or a resolution shrinks.
    """
    keys = ("stage_shares", "stage_batches", "stage_splits", "stage_g_lr", "stage_d_lr")
    resolutions = [int(value) for value in config["resolutions"]]
    lists: dict[str, Sequence[float]] = {key: list(config[key]) for key in keys}
    for key, values in lists.items():
        if len(values) != len(resolutions):
            raise ConfigError(
                f"{key} has {len(values)} entries for {len(resolutions)} resolutions",
                where="pigan",
                remedy="Give one each.",
            )
    shares = lists["stage_shares"]
    if min(shares) <= 0:
        raise ConfigError(f"stage_shares must be positive, got {list(shares)}", where="pigan")
    if resolutions != sorted(set(resolutions)):
        raise ConfigError(f"resolutions must grow, got {resolutions}", where="pigan")
    ends = [round(total_steps * sum(shares[: k + 1]) / sum(shares)) for k in range(len(shares))]
    return tuple(
        Phase(size, start, end, int(batch), int(splits), float(g_lr), float(d_lr))
        for size, start, end, batch, splits, g_lr, d_lr in zip(
            resolutions, [0, *ends[:-1]], ends, *(lists[key] for key in keys[1:]), strict=True
        )
    )


def phase_at(plan: Sequence[Phase], step: int) -> Phase:
    """The phase of ``step``; the last one for steps beyond the plan."""
    return next((phase for phase in plan if step < phase.end), plan[-1])


def fade(plan: Sequence[Phase], step: int, fade_steps: float, first: bool) -> float:
    """Weight of the newest resolution: grows to 1 over ``fade_steps``; always 1 in the first phase unless ``first``."""
    phase = phase_at(plan, step)
    if fade_steps <= 0 or (phase is plan[0] and not first):
        return 1.0
    return min(1.0, (step - phase.start) / fade_steps)
