"""The suite anomaly at smoke: every method unified, one of them separate, and the ledger of its claims."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pytest

from harness import cli, registry

SUITE = "suite=anomaly"


@pytest.fixture(scope="module")
def store(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("runs")
    words = [SUITE, "tier=smoke", f"cache={cache}", f"store={store}"]
    assert cli.main(["run", *words]) == 0
    assert cli.main(["run", *words, "methods=[recon_mlp]", "recon_mlp.mode=separate", "references=[]"]) == 0
    return store


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_row_is_done_and_scored(store: Path) -> None:
    tables = store / "tables" / "smoke" / "anomaly"
    rows = {row["method"]: row for row in rows_of(tables / "leaderboard.csv")}
    suite = registry.suite("anomaly")
    assert set(rows) == {*suite.methods, *suite.references, "recon_mlp[mode=separate]"}
    assert {row["status"] for row in rows.values()} == {"done"}
    assert all(math.isfinite(float(row["image_auroc"])) for row in rows.values())
    assert float(rows["oracle:clean_twin"]["image_auroc"]) == 1.0
    assert math.isfinite(float(rows["uniad"]["shortcut_ratio"]))
    assert rows["patchcore"]["shortcut_ratio"] == ""


def test_breakdowns_and_pictures_stand_beside_the_table(store: Path) -> None:
    tables = store / "tables" / "smoke" / "anomaly"
    assert {"scratch", "hole", "foreign"} <= {row["defect"] for row in rows_of(tables / "by_defect.csv")}
    assert len({row["category"] for row in rows_of(tables / "by_category.csv")}) == 6
    assert list((tables / "pictures").glob("*overlays*.png"))


def test_claims_of_a_smoke_run_decide_nothing(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["claims", SUITE, "tier=smoke", f"store={store}"]) == 0
    assert "SUPPORTED" not in capsys.readouterr().out
