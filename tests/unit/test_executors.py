"""Executors: order, busy cells, crashing workers, dependent cells, missing packages."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from harness.leases import Busy
from harness.running.executors.levels import levels, remotely
from harness.running.executors.local import InProcess, ProcessPool
from harness.running.executors.ray import Ray
from harness.running.executors.slurm import Slurm
from harness.running.settings import Progress
from harness.store import Store
from harness.types import Cell, MissingAsset, Outcome
from tests.unit import light_cells
from tests.unit.light_cells import light_cell
from tests.unit.tiny_cells import tiny_cell, tiny_settings

ROOT = Path(__file__).resolve().parents[2]


def test_in_process_runs_in_order_and_puts_busy_cells_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.running.executors.local.POLL_SECONDS", 0.01)
    refusals = {1: 2}

    def worked(cell: Cell, store: Store, settings: Any, observer: Any) -> Outcome:
        if refusals.get(cell.seed, 0):
            refusals[cell.seed] -= 1
            raise Busy("in other hands")
        return Outcome(cell.key, str(cell.seed), "done")

    seen: list[Progress] = []
    executor = InProcess(Store(tmp_path), tiny_settings(tmp_path), seen.append, work=worked)
    outcomes = list(executor.map([tiny_cell(seed=seed) for seed in (0, 1, 2)]))
    assert [outcome.label for outcome in outcomes] == ["0", "2", "1"]
    assert {progress.stage for progress in seen} == {"busy"}


def test_a_crashing_worker_costs_its_cell_only(tmp_path: Path) -> None:
    store, seen = Store(tmp_path / "runs"), []
    pool = ProcessPool(store, tiny_settings(tmp_path), seen.append, workers=2, work=light_cells.work)
    cells = [light_cell(seed) for seed in (13, 0, 1)]
    outcomes = {outcome.key: outcome for outcome in pool.map([*cells, light_cell(2, cells[1].key)])}
    dead = outcomes.pop(cells[0].key)
    assert (dead.status, "SIGKILL" in dead.reason) == ("failed", True)
    assert store.read(dead.key).reason == dead.reason
    assert len(outcomes) == 3
    assert {outcome.status for outcome in outcomes.values()} == {"done"}
    assert {store.status(key) for key in outcomes} == {"done"}
    assert {progress.label for progress in seen} == {"0", "1", "2"}
    assert not list(store.root.glob("*/lease"))


def test_ctrl_c_lets_workers_save_and_leaves_none_behind(tmp_path: Path) -> None:
    cell = light_cell(14)
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job of a background shell ignores it
        "from harness.running.executors.local import ProcessPool\n"
        "from harness.running.settings import RunSettings\n"
        "from harness.store import Store\n"
        "from tests.unit.light_cells import light_cell, work\n"
        "if __name__ == '__main__':\n"
        f"    store = Store({str(tmp_path)!r})\n"
        "    pool = ProcessPool(store, RunSettings(), lambda p: print('working', flush=True), work=work, workers=1)\n"
        "    try:\n"
        "        list(pool.map([light_cell(14)]))\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(130)\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, cwd=ROOT, env=environment) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == b"working\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130
    store = Store(tmp_path)
    assert (store.folder(cell.key) / "saved").exists()
    assert store.status(cell.key) == "partial"


def test_levels_put_upstream_cells_first() -> None:
    first, other = tiny_cell(seed=0), tiny_cell(seed=1)
    second = replace(tiny_cell(seed=2), upstream={"a": first.key, "elsewhere": "0" * 64})
    third = replace(tiny_cell(seed=3), upstream={"b": second.key})
    assert list(levels([first, other, second, third])) == [[first, other], [second], [third]]


def test_a_job_waits_for_a_busy_cell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    answers: list[Any] = [Busy("wait"), Outcome("k", "l", "done")]

    def worked(cell: Cell, store: Store, settings: Any, observer: Any) -> Outcome:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    assert remotely(worked, tiny_cell(), tmp_path, tiny_settings(tmp_path)).status == "done"


@pytest.mark.parametrize(("executor", "package"), [(Slurm, "submitit"), (Ray, "ray")])
def test_a_cluster_without_its_package_says_what_to_install(tmp_path: Path, executor: Any, package: str) -> None:
    if importlib.util.find_spec(package):
        pytest.skip(f"{package} is installed")
    with pytest.raises(MissingAsset, match=rf"{package} is not installed.*parallax-harness\["):
        executor(Store(tmp_path), tiny_settings(tmp_path))


def test_slurm_jobs_write_into_the_store(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    store, cells = Store(tmp_path), [light_cell(seed) for seed in (0, 15, 1)]
    executor = Slurm(store, tiny_settings(tmp_path), cluster="debug", work=one_that_fails)
    outcomes = list(executor.map([*cells, light_cell(2, cells[0].key)]))
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done", "done"]
    assert "gave no outcome" in outcomes[1].reason
    assert store.read(cells[1].key).status == "failed"


class PretendedRay(ModuleType):
    """The few functions of ray that the executor calls, answered in this process."""

    def __init__(self) -> None:
        super().__init__("ray")
        self.asked: dict[str, Any] = {}

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        self.asked |= options

    def remote(self, **options: Any) -> Any:
        self.asked |= options
        return lambda function: SimpleNamespace(remote=lambda *arguments: Future(function, arguments))

    def wait(self, pending: list[Future]) -> tuple[list[Future], list[Future]]:
        return pending[-1:], pending[:-1]

    def get(self, future: Future) -> Outcome:
        return future.function(*future.arguments)


class Future:
    def __init__(self, function: Callable[..., Outcome], arguments: tuple[Any, ...]) -> None:
        self.function, self.arguments = function, arguments


def test_ray_tasks_write_into_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = PretendedRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    store, cells = Store(tmp_path), [light_cell(seed) for seed in (0, 15, 1)]
    executor = Ray(store, tiny_settings(tmp_path), workers=3, work=one_that_fails)
    outcomes = {outcome.key: outcome for outcome in executor.map([*cells, light_cell(2, cells[0].key)])}
    assert [outcome.status for outcome in outcomes.values()] == ["done", "failed", "done", "done"]
    assert {store.status(key) for key in outcomes} == {"done", "failed"}
    assert (ray.asked["num_cpus"], ray.asked["num_gpus"], ray.asked["max_retries"]) == (1, 0, 0)


def one_that_fails(cell: Cell, store: Store, settings: Any, observer: Any) -> Outcome:
    if cell.seed == 15:
        raise MemoryError
    return light_cells.work(cell, store, settings, observer)
