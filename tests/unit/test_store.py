"""The store: atomic files, leases between processes, damage, full disks, readers."""

from __future__ import annotations

import errno
import json
import math
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from harness import atomic, leases
from harness.atomic import replacing, write_bytes
from harness.leases import Busy, Lease, Owner
from harness.priors import PRIORS
from harness.store import Store
from harness.store_files import from_number, to_json, to_number
from harness.types import StoreError
from tests.unit.tiny_cells import tiny_cell

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "runs")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    write_bytes(path, b"old")

    def fail_halfway() -> None:
        with replacing(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


def test_a_full_disk_is_a_clear_error_and_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_bytes(path, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(StoreError, match=r"file: the disk is full.*Free some space"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_left_half_written_is_swept(store: Store) -> None:
    cell = tiny_cell()
    folder = store.record(cell)
    (folder / "predictions").mkdir()
    for part in (folder / ".part-x-1-0.tmp", folder / "predictions" / ".part-y-1-0.tmp"):
        part.write_bytes(b"half")
    store.record(cell)
    assert not list(folder.rglob("*.tmp"))


# ---------------------------------------------------------------------------------------------------- leases
def test_a_lease_excludes_and_ends(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    with Lease(path) as lease:
        lease.check()
        assert leases.is_held(path)
        with pytest.raises(Busy, match=f"process {os.getpid()}"), Lease(path):
            pass
    assert not path.exists()
    with Lease(path):
        pass


def test_two_processes_and_a_killed_owner(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    code = (
        "import sys, time; from pathlib import Path; from harness.leases import Lease\n"
        f"with Lease(Path({str(path)!r})):\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(Busy), Lease(path):
            pass
        owner.kill()
        # Not waited for yet: the dead owner is still in the process table.
        deadline = time.monotonic() + 10
        while leases.is_held(path) and time.monotonic() < deadline:
            time.sleep(0.01)
        with Lease(path) as lease:
            lease.check()


def test_one_of_many_processes_takes_over_a_stale_lease(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    path.write_text(json.dumps(asdict(replace(Owner.me(), pid=2**22 + 1, born="1"))))
    code = (
        "import sys; from pathlib import Path; from harness.leases import Busy, Lease\n"
        "sys.stdin.readline()\n"
        "try:\n"
        f"    with Lease(Path({str(path)!r})):\n        print('won', flush=True); sys.stdin.readline()\n"
        "except Busy:\n    print('busy', flush=True)"
    )
    racers = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT)
        for _ in range(3)
    ]
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write(b"go\n")
        racer.stdin.flush()
    answers = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
    for racer in racers:
        racer.communicate(b"end\n")
    assert sorted(answers) == [b"busy", b"busy", b"won"]


def test_another_machine_is_judged_by_its_heartbeat(tmp_path: Path) -> None:
    path = tmp_path / "lease"
    path.write_text(json.dumps(asdict(replace(Owner.me(), node="elsewhere", host="elsewhere"))))
    with pytest.raises(Busy, match="elsewhere"), Lease(path):
        pass
    old = time.time() - leases.EXPIRY - 1
    os.utime(path, (old, old))
    with Lease(path) as lease:
        lease.check()
        path.write_text(json.dumps(asdict(replace(Owner.me(), pid=1))))
        with pytest.raises(Busy, match="taken over"):
            lease.check()


# ---------------------------------------------------------------------------------------------------- readers
def _finish(store: Store, cell: Any, metrics: dict[str, float]) -> None:
    store.record(cell)
    numbers = {name: to_number(value) for name, value in metrics.items()}
    result = {
        "key": cell.key,
        "metrics": numbers,
        "notes": {},
        "facts": {"params": 3},
        "per_sample": {},
        "pictures": {},
    }
    store.write(cell.key, "result.json", result)
    store.stamp(cell.key, "score", ("result.json",), {}, cell.code)
    store.finish(cell.key, "done")


def test_a_result_comes_back_as_it_was_stored(store: Store) -> None:
    cell = tiny_cell(code="abc")
    cell = replace(cell, data=replace(cell.data, prior=PRIORS["wide60"]), overrides={"lr": 0.5})
    assert store.status(cell.key) == "absent"
    _finish(store, cell, {"fid[pixels]": 0.1 + 0.2, "nothing": math.nan, "far": math.inf})
    [result] = store.results()
    assert (result.status, result.cell, result.code, result.facts["params"]) == ("done", cell, "abc", 3)
    assert result.metrics["fid[pixels]"] == 0.1 + 0.2
    assert math.isnan(result.metrics["nothing"])
    assert result.metrics["far"] == math.inf
    assert result.stale("def")
    assert not result.stale("abc")


@pytest.mark.parametrize("damage", [b"", b"{}", b"not json", None])
def test_a_damaged_result_is_reported_and_hides_no_other(store: Store, damage: bytes | None) -> None:
    good, bad = tiny_cell(seed=1), tiny_cell(seed=2)
    for cell in (good, bad):
        _finish(store, cell, {"m": 1.0})
    path = store.folder(bad.key) / "result.json"
    if damage is None:
        path.unlink()
    else:
        path.write_bytes(damage)
    found = {result.key: result for result in store.results()}
    assert found[good.key].status == "done"
    assert found[bad.key].status == "corrupt"
    assert not found[bad.key].metrics
    assert "result.json" in found[bad.key].reason
    assert "run command again" in found[bad.key].reason
    assert "result.json" in store.damage(bad.key, "score")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"suite": "x"}', b"\xff\xfe"])
def test_an_unreadable_cell_goes_to_the_reporter(store: Store, content: bytes) -> None:
    good, bad = tiny_cell(seed=1), tiny_cell(seed=2)
    for cell in (good, bad):
        _finish(store, cell, {"m": 1.0})
    (store.folder(bad.key) / "cell.json").write_bytes(content)
    problems: list[StoreError] = []
    assert [result.key for result in store.results(problems.append)] == [good.key]
    assert bad.key in str(problems[0])
    with pytest.warns(UserWarning, match=r"cell\.json"):
        list(store.results())


def test_a_changed_cell_does_not_pass_for_another(store: Store) -> None:
    cell = tiny_cell()
    _finish(store, cell, {"m": 1.0})
    store.write(cell.key, "cell.json", asdict(replace(cell, seed=5)))
    problems: list[StoreError] = []
    assert not list(store.results(problems.append))
    assert "does not belong to its folder" in str(problems[0])


def test_the_status_tells_running_from_interrupted(store: Store) -> None:
    cell = tiny_cell()
    with store.lease(cell.key):
        store.record(cell)
        assert store.status(cell.key) == "running"
    assert store.status(cell.key) == "partial"
    store.finish(cell.key, "failed", "because")
    assert store.status(cell.key) == "failed"
    assert store.read(cell.key).reason == "because"
    (store.folder(cell.key) / "status.json").write_bytes(b"{")
    assert store.status(cell.key) == "partial"


@pytest.mark.parametrize("value", [0.0, -1.5, 1e300, math.inf, -math.inf])
def test_numbers_survive_json(value: float) -> None:
    assert from_number(json.loads(json.dumps(to_number(value), allow_nan=False))) == value


def test_json_is_canonical_and_refuses_objects() -> None:
    assert to_json({"b": 1, "a": 2}) == to_json({"a": 2, "b": 1})
    with pytest.raises(StoreError, match="cannot be stored as JSON"):
        to_json({"a": object()})
    with pytest.raises(StoreError):
        to_json({"a": math.nan})


def test_the_store_loads_neither_torch_nor_pandas() -> None:
    code = "import sys, harness.store, harness.running.cell, harness.running.executors.local\n"
    code += "print(sorted({'torch', 'pandas', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
