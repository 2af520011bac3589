"""The suite 3d_aware at smoke: every method and reference, one command."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from harness import cli, registry


@pytest.fixture(scope="module")
def tables(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("runs")
    assert cli.main(["run", "suite=3d_aware", "tier=smoke", f"cache={cache}", f"store={store}"]) == 0
    return store / "tables" / "smoke" / "3d_aware"


def test_every_row_is_done_and_scored(tables: Path) -> None:
    with (tables / "leaderboard.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    suite = registry.suite("3d_aware")
    assert {row["status"] for row in lines} == {"done"}
    fid = next(name for name in lines[0] if name.startswith("fid[") and not name.endswith("rank"))
    parts = {"objects/head": [suite, suite.in_part("regimes")], "rooms": [suite.in_part("rooms")]}
    for data, members in parts.items():
        rows = {row["method"]: row for row in lines if row["data"].startswith(data)}
        methods = {name for part in members for name in part.methods}
        assert set(rows) == methods.union(*(part.references for part in members))
        assert all(math.isfinite(float(row[fid])) for row in rows.values())
        assert float(rows["oracle:held_out"][fid]) < min(float(rows[name][fid]) for name in methods)


def test_the_tables_are_there_and_every_metric_says_its_direction(tables: Path) -> None:
    assert (tables / "leaderboard.md").read_text().startswith("# 3d")
    assert list((tables / "pictures").glob("*.png"))
    with (tables / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["better"] for row in rows} <= {"lower", "higher", "none"}
    assert {row["suite"] for row in rows} == {"3d_aware"}
