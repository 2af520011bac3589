"""Where the cells of a run are worked on, as far as nobody said: here, or by processes beside one another."""

from __future__ import annotations

from dataclasses import dataclass

from harness.running import hardware
from harness.running.plan import Plan
from harness.running.settings import RunSettings

SHORT = 60.0
"""Seconds of work below which further processes do not pay: each takes seconds to start."""
WORKER_GIB = 2.0
"""Main memory for one process, torch included: ample at micro."""


@dataclass(frozen=True)
class Placement:
    """The executor by name, and how many cells it works on at once."""

    executor: str
    workers: int


def place(executor: str, workers: int | None, settings: RunSettings, plan: Plan) -> Placement:
    """Settle what was left open: executor ``auto``, ``workers`` None.

    On a CPU there are as many processes as cores, memory and trainings allow; a GPU is not shared. Smoke, short
    work and single cells stay in this process, unless more than one worker was asked for.
    """
    if executor not in ("auto", "processes"):
        return Placement(executor, workers or 1)
    if executor == "auto" and workers is None and not _is_long(plan):
        return Placement("local", 1)
    fitting = workers or _fitting(settings, sum(cell.role == "method" for cell in plan.waiting))
    return Placement("local" if executor == "auto" and fitting == 1 else "processes", fitting)


def _fitting(settings: RunSettings, trainings: int) -> int:
    if settings.device.startswith("cuda") or (settings.device == "auto" and hardware.has_gpu()):
        return 1
    memory = int(hardware.usable_gib() / WORKER_GIB) or 1
    return max(1, min(hardware.cores() // settings.threads, memory, trainings))


def _is_long(plan: Plan) -> bool:
    beyond_smoke = any(cell.tier != "smoke" for cell in plan.waiting)
    return beyond_smoke and (plan.expected_seconds >= SHORT or plan.unknown > 0)
