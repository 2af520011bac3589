"""Tables made from the archive beside them equal tables made from the store."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from harness.priors import named_prior
from harness.store import Store, StoredResult
from harness.tables import archive, leaderboard
from harness.types import Budget, Cell, DataSpec, StoreError


def _result(seed: int, folder: Path, **changes: object) -> StoredResult:
    data = DataSpec("objects/head", 32, {"train": 8}, prior=named_prior("wide60"))
    cell = Cell("s", "generation_3d", "dcgan", "micro", seed, Budget("quick", 8), data, source="/somewhere/dcgan")
    result = StoredResult(
        cell=cell,
        key=cell.key,
        folder=folder,
        status="done",
        metrics={"fid[proc-v1|n=8]": 1.5 + seed, "side[x100]": float("nan"), "density": float("inf")},
        notes={"side[x100]": "no geometry"},
        facts={"params": 7},
        code="c0de",
        cost={"fit_seconds": 1.0},
    )
    vars(result)["per_sample"] = {"curve": np.array([1.0, 2.0]), "long": np.zeros(1000)}
    return replace(result, **changes) if changes else result


def _write(path: Path, results: list[StoredResult]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(archive.lines(results))
    return path


def test_an_archive_gives_back_what_it_was_given(tmp_path: Path) -> None:
    results = [_result(seed, tmp_path) for seed in (1, 0)]
    path = _write(tmp_path / "micro" / "s" / archive.NAME, results)
    read = {result.key: result for result in archive.read(path)}
    assert set(read) == {result.key for result in results}
    for result in results:
        again = read[result.key]
        assert again.cell == replace(result.cell, source="")
        np.testing.assert_equal(dict(again.metrics), dict(result.metrics))
        assert (again.notes, again.facts, again.code, again.cost) == (
            result.notes,
            result.facts,
            result.code,
            result.cost,
        )
        assert list(again.per_sample) == ["curve"]
    assert archive.lines(read.values()) == path.read_bytes()
    assert archive.lines(reversed(results)) == archive.lines(results)
    assert b"/somewhere" not in path.read_bytes()


def test_the_store_wins_over_the_archive_unless_its_cell_never_ended(tmp_path: Path) -> None:
    kept = _result(0, tmp_path)
    _write(tmp_path / "micro" / "s" / archive.NAME, [kept, _result(1, tmp_path)])
    better = _result(0, tmp_path, metrics={"fid[proc-v1|n=8]": 9.0})
    begun = _result(1, tmp_path, status="partial", metrics={})
    merged = {r.cell.seed: r for r in archive.merged([better, begun], tmp_path, "s")}
    assert merged[0].metrics == {"fid[proc-v1|n=8]": 9.0}
    assert merged[1].metrics["fid[proc-v1|n=8]"] == 2.5


def test_tables_come_back_from_the_archive_alone(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _write(out / "micro" / "s" / archive.NAME, [_result(seed, tmp_path) for seed in (0, 1)])
    empty = Store(tmp_path / "nothing")
    first = {path.name: path.read_bytes() for path in leaderboard.write(empty, "s", out, kept=out)}
    second = {path.name: path.read_bytes() for path in leaderboard.write(empty, "s", out, kept=out)}
    assert first == second
    assert b"dcgan" in first["leaderboard.csv"]
    assert not leaderboard.write(empty, "s", tmp_path / "elsewhere")


@pytest.mark.parametrize("damage", ["{", "[]", "{}", None])
def test_a_damaged_line_is_named(tmp_path: Path, damage: str | None) -> None:
    path = _write(tmp_path / archive.NAME, [_result(0, tmp_path), _result(1, tmp_path)])
    first, second = path.read_text().splitlines()
    if damage is None:
        entry = json.loads(second)
        entry["cell"]["seed"] = 5
        damage = json.dumps(entry)
    path.write_text(f"{first}\n{damage}\n")
    with pytest.raises(StoreError, match=r"cells\.jsonl:2"):
        list(archive.read(path))
