"""kill -9 of whole smoke runs at random moments: the same command afterwards ends with the same tables.

Two moments by default; PARALLAX_KILL_MOMENTS=20 tries twenty.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import signal
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from harness import cli, registry

MOMENTS = int(os.environ.get("PARALLAX_KILL_MOMENTS", "2"))
TABLES = ("metrics.csv", "leaderboard.csv", "leaderboard.md")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, so that a run starts with torch loaded"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def command(cache: Path, store: Path, log: Path) -> None:
    """``run suite=3d_aware tier=smoke`` in a process group of its own."""
    os.setsid()
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
        code = cli.main(["run", "suite=3d_aware", "tier=smoke", f"cache={cache}", f"store={store}"])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def start(cache: Path, store: Path) -> BaseProcess:
    store.mkdir(parents=True, exist_ok=True)
    process = multiprocessing.get_context("fork").Process(target=command, args=(cache, store, store / "log.txt"))
    process.start()
    return process


def tables(store: Path) -> dict[str, bytes]:
    return {name: (store / "tables" / "smoke" / "3d_aware" / name).read_bytes() for name in TABLES}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], float]:
    """The cache, tables and seconds of a run that nobody touches."""
    for name in ("torch._dynamo", "harness.running.stages", "harness.data.cache", "harness.metrics.features"):
        importlib.import_module(name)
    for method in registry.suite("3d_aware").methods:
        registry.load(method)
    folder = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    process = start(folder / "cache", folder / "runs")
    process.join()
    assert process.exitcode == 0, (folder / "runs" / "log.txt").read_text()
    return folder / "cache", tables(folder / "runs"), time.monotonic() - started


@pytest.mark.parametrize("number", range(MOMENTS))
def test_a_killed_run_ends_with_the_same_tables(
    undisturbed: tuple[Path, dict[str, bytes], float], tmp_path: Path, number: int
) -> None:
    cache, expected, seconds = undisturbed
    if number % 4 == 0:
        # Every fourth run builds its own data and judges, so that these are interrupted too.
        cache = tmp_path / "cache"
    moment = random.Random(number).uniform(0.0, 1.0 if number % 4 == 0 else 0.7) * seconds
    process = start(cache, tmp_path / "runs")
    process.join(moment)
    if process.is_alive():
        assert process.pid is not None
        os.killpg(process.pid, signal.SIGKILL)
    process.join()
    process = start(cache, tmp_path / "runs")
    process.join()
    assert process.exitcode == 0, (tmp_path / "runs" / "log.txt").read_text()
    assert tables(tmp_path / "runs") == expected
