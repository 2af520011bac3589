"""Where cells are worked on if nobody said so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.running import hardware
from harness.running.placement import SHORT, WORKER_GIB, Placement, place
from harness.running.plan import Plan, State
from harness.running.settings import RunSettings
from harness.types import Tier
from tests.unit.tiny_cells import tiny_cell

HERE = Placement("local", 1)
CPU = RunSettings(device="cpu")


def plan(count: int, seconds: float | None = SHORT, tier: Tier = "micro", state: State = "to do") -> Plan:
    cells = [replace(tiny_cell(seed=seed), tier=tier) for seed in range(count)]
    return Plan(
        tuple(cells), dict.fromkeys([cell.key for cell in cells], seconds), dict.fromkeys([c.key for c in cells], state)
    )


@pytest.fixture(autouse=True)
def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cores", lambda: 4)
    monkeypatch.setattr(hardware, "memory_gib", lambda: 64.0)
    monkeypatch.setattr(hardware, "has_gpu", lambda: False)


def test_long_work_takes_every_core_that_has_a_cell() -> None:
    assert place("auto", None, CPU, plan(9)) == Placement("processes", 4)
    assert place("auto", None, CPU, plan(3)) == Placement("processes", 3)
    assert place("auto", None, CPU, plan(9, seconds=None)) == Placement("processes", 4)
    assert place("auto", None, replace(CPU, threads=2), plan(9)) == Placement("processes", 2)


def test_short_work_smoke_and_single_cells_stay_here() -> None:
    assert place("auto", None, CPU, plan(9, seconds=1.0)) == HERE
    assert place("auto", None, CPU, plan(9, tier="smoke")) == HERE
    assert place("auto", None, CPU, plan(1)) == HERE
    assert place("auto", None, CPU, plan(9, state="done")) == HERE


def test_what_was_said_is_done() -> None:
    assert place("local", None, CPU, plan(9)) == HERE
    assert place("auto", 1, CPU, plan(9)) == HERE
    assert place("auto", 2, CPU, plan(9, tier="smoke")) == Placement("processes", 2)
    assert place("processes", None, CPU, plan(9, tier="smoke")) == Placement("processes", 4)
    assert place("processes", 7, CPU, plan(2)) == Placement("processes", 7)
    assert place("slurm", None, CPU, plan(9)) == Placement("slurm", 1)
    assert place("ray", 3, CPU, plan(9)) == Placement("ray", 3)


def test_a_gpu_is_not_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    assert place("auto", None, replace(CPU, device="cuda:1"), plan(9)) == HERE
    assert place("auto", None, replace(CPU, device="auto"), plan(9)) == Placement("processes", 4)
    monkeypatch.setattr(hardware, "has_gpu", lambda: True)
    assert place("auto", None, replace(CPU, device="auto"), plan(9)) == HERE
    assert place("auto", None, CPU, plan(9)) == Placement("processes", 4)


def test_little_memory_holds_few_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "memory_gib", lambda: 2.5 * WORKER_GIB)
    assert place("auto", None, CPU, plan(9)) == Placement("processes", 2)
    monkeypatch.setattr(hardware, "memory_gib", lambda: 0.0)  # the system does not say
    assert place("auto", None, CPU, plan(9)) == HERE
