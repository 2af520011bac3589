"""The suite segmentation at smoke: every method in both of its settings, and the ledger of its claims."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from harness import cli, registry

SUITE = "suite=segmentation"


@pytest.fixture(scope="module")
def store(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("runs")
    for setting in ("uda", "ssl"):
        assert cli.main(["run", SUITE, f"setting={setting}", "tier=smoke", f"cache={cache}", f"store={store}"]) == 0
    return store


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_of_both_settings_is_done_and_scored(store: Path) -> None:
    rows = rows_of(store / "tables" / "smoke" / "segmentation" / "leaderboard.csv")
    suite = registry.suite("segmentation")
    for setting in ("uda", "ssl"):
        names = {row["method"] for row in rows if setting in row["data"]}
        assert names == {*suite.in_setting(setting).methods, *suite.references}
    assert {row["status"] for row in rows} == {"done"}
    assert all(math.isfinite(float(row["miou"])) for row in rows)
    for row in rows:
        labels = row["method"] not in ("supervised", "fully_supervised") and ":" not in row["method"]
        assert bool(row["pl_acc"]) == labels, row["method"]
        assert bool(row["queue_fnr"]) == (row["method"] == "u2pl"), row["method"]


def test_breakdowns_curves_and_pictures_stand_beside_the_table(store: Path) -> None:
    tables = store / "tables" / "smoke" / "segmentation"
    assert {"road", "sign", "person"} <= {row["class"] for row in rows_of(tables / "by_class.csv")}
    assert len({row["quarter"] for row in rows_of(tables / "by_quarter.csv")} - {""}) == 4
    assert list((tables / "pictures").glob("*predictions*.png"))


def test_claims_of_a_smoke_run_decide_nothing(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["claims", SUITE, "tier=smoke", f"store={store}"]) == 0
    assert "SUPPORTED" not in capsys.readouterr().out
