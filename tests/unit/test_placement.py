"""Where cells are worked on if nobody said so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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
    monkeypatch.setattr(hardware, "usable_gib", lambda: 64.0)
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


def test_rows_that_are_not_trained_take_no_process_of_their_own() -> None:
    floors = [replace(tiny_cell(seed=seed), method="floor:noise", tier="micro") for seed in range(9)]
    training = plan(1)
    cells = (*floors, *training.cells)
    mixed = Plan(cells, {cell.key: SHORT for cell in cells}, {cell.key: "to do" for cell in cells})
    assert place("auto", None, CPU, mixed) == HERE
    assert mixed.expected_with(4) == 2.5 * SHORT
    assert training.expected_with(4) == SHORT


def test_limits_of_a_container_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(hardware, "CGROUP", tmp_path)
    free, memory = hardware.cores(), hardware.usable_gib()
    assert memory == hardware.memory_gib()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert hardware.cores() == free
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert hardware.cores() == 1
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert hardware.cores() == free
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("50000\n")
    assert hardware.cores() == 1
    (tmp_path / "memory.max").write_text(f"{2**29}\n")
    assert hardware.usable_gib() == 0.5
    (tmp_path / "memory.max").write_text("max\n")
    assert hardware.usable_gib() == memory


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
    monkeypatch.setattr(hardware, "usable_gib", lambda: 2.5 * WORKER_GIB)
    assert place("auto", None, CPU, plan(9)) == Placement("processes", 2)
    monkeypatch.setattr(hardware, "usable_gib", lambda: 0.0)  # the system does not say
    assert place("auto", None, CPU, plan(9)) == HERE
