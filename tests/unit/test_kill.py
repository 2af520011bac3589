"""kill -9 at any moment: the same command afterwards ends with the same result bytes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import atomic
from harness.running.cell import run_cell
from harness.store import Store
from tests.unit.tiny_cells import TinySources, tiny_cell, tiny_settings

CELL = tiny_cell(images=160)
FILES = ("result.json", "checkpoint.safetensors", "predictions/images.npy", "pictures/grid.png")
WRITES = 18
"""Files that the cell's run writes."""

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, so that a child starts with torch loaded"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def run(root: Path) -> None:
    outcome = run_cell(CELL, Store(root), tiny_settings(root), sources=TinySources())
    assert outcome.status == "done", outcome.reason


def content(root: Path) -> list[bytes]:
    return [(Store(root).folder(CELL.key) / name).read_bytes() for name in FILES]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    root = tmp_path_factory.mktemp("undisturbed")
    run(root)
    return content(root)


def child(work: Callable[..., None], *arguments: Any) -> Any:
    process = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    process.start()
    return process


def killed_at_write(root: Path, number: int, before_rename: bool) -> None:
    """Run the cell and be killed at its ``number``-th file, before or after it gets its name."""
    rename, count = os.replace, 0

    def replace(source: Path, target: Path) -> None:
        nonlocal count
        count += 1
        if count == number and before_rename:
            os.kill(os.getpid(), signal.SIGKILL)
        rename(source, target)
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    atomic.os.replace = replace  # type: ignore[assignment]
    run(root)


@pytest.mark.parametrize("before_rename", [True, False], ids=["unnamed", "named"])
@pytest.mark.parametrize("number", range(1, WRITES + 1))
def test_killed_at_every_file(tmp_path: Path, expected: list[bytes], number: int, before_rename: bool) -> None:
    process = child(killed_at_write, tmp_path, number, before_rename)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    run(tmp_path)
    assert content(tmp_path) == expected
    assert not list(tmp_path.rglob("*.tmp"))


def test_killed_again_and_again_at_random_moments(tmp_path: Path, expected: list[bytes]) -> None:
    moments = random.Random(0)
    for _ in range(10):
        process = child(run, tmp_path)
        time.sleep(moments.uniform(0.0, 0.15))
        process.kill()
        process.join(60)
    run(tmp_path)
    assert content(tmp_path) == expected
