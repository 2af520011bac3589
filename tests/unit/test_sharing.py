"""Two commands at once on one store: every cell is worked on once, and both end with all of them."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from harness.running.executors import local
from harness.running.executors.local import InProcess
from harness.store import Store
from tests.unit.tiny_cells import tiny_cell, tiny_settings, work

CELLS = [tiny_cell(seed=seed, sleep=0.005) for seed in range(4)]


def command(root: Path, name: str) -> None:
    local.POLL_SECONDS = 0.02
    executor = InProcess(Store(root / "runs"), tiny_settings(root), work=work)
    lines = [f"{outcome.key} {outcome.status} {outcome.cached}" for outcome in executor.map(CELLS)]
    (root / name).write_text("\n".join(lines))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, so that a child starts with torch loaded")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_two_commands_share_the_work(tmp_path: Path) -> None:
    names = ("first", "second")
    processes = [multiprocessing.get_context("fork").Process(target=command, args=(tmp_path, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    found = [line.split() for name in names for line in (tmp_path / name).read_text().splitlines()]
    assert len(found) == 2 * len(CELLS)
    assert {status for _, status, _ in found} == {"done"}
    assert sorted(key for key, _, cached in found if cached == "False") == sorted(cell.key for cell in CELLS)
