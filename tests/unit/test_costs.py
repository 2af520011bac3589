"""What a result costs: units by device, stages that add up, money at a price."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest

from harness import cli
from harness.console import leaderboard_text
from harness.store import StoredResult
from harness.tables import costs
from harness.tables.rows import gather
from tests.unit.stored_results import result

ON_CPU = {"fit_cpu_seconds": 90.0, "fit_seconds": 100.0, "predict_cpu_seconds": 8.0, "score_cpu_seconds": 2.0}
ON_GPU = {"fit_cpu_seconds": 90.0, "fit_seconds": 10.0, "predict_seconds": 1.0, "score_seconds": 1.0}


def cell(seed: int, cost: dict[str, float], device: str = "cpu") -> StoredResult:
    made = result(seed=seed)
    return replace(made, cost=cost, facts={**made.facts, "device": device})


def lines(results: list[StoredResult], price: float | None = None) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(costs.table(gather(results), price).decode())))


def test_a_cpu_costs_cpu_time_and_another_device_wall_time() -> None:
    (one,) = costs.costs_of([cell(0, ON_CPU)])
    assert (one.unit, one.mean, dict(one.stages)) == ("CPU-seconds", 100.0, {"fit": 90.0, "predict": 8.0, "score": 2.0})
    (other,) = costs.costs_of([cell(0, ON_GPU, "NVIDIA H100")])
    assert (other.unit, other.mean) == ("device-seconds", 12.0)


def test_seeds_are_averaged_by_device() -> None:
    found = lines([cell(0, ON_CPU), cell(1, {**ON_CPU, "fit_cpu_seconds": 290.0}), cell(2, ON_GPU, "NVIDIA H100")])
    assert [(line["device"], line["n_seeds"]) for line in found] == [("NVIDIA H100", "1"), ("cpu", "2")]
    assert (found[1]["cost_per_result"], found[1]["least"], found[1]["most"]) == ("200", "100", "300")
    assert sum(float(found[1][stage]) for stage in ("fit", "predict", "score")) == 200.0


def test_money_stands_only_where_there_is_a_price(tmp_path: Path) -> None:
    assert "money_per_result" not in lines([cell(0, ON_CPU)])[0]
    (line,) = lines([cell(0, ON_CPU)], price=36.0)
    assert (line["price_per_hour"], line["money_per_result"]) == ("36", "1")
    path = tmp_path / "costs.csv"
    assert costs.price_in(path) is None
    path.write_bytes(costs.table(gather([cell(0, ON_CPU)])))
    assert costs.price_in(path) is None
    path.write_bytes(costs.table(gather([cell(0, ON_CPU)]), 36.0))
    assert costs.price_in(path) == 36.0


def test_rows_that_recorded_nothing_or_failed_have_no_line() -> None:
    assert lines([cell(0, {}), result("pigan", status="failed")]) == []


def test_the_console_shows_the_unit_and_the_money() -> None:
    rows = gather([cell(0, ON_CPU), replace(result("pigan"), cost={})])
    shown = leaderboard_text(rows, 160).splitlines()
    assert "CPU-seconds" in shown[0]
    assert "100" in next(line for line in shown if line.startswith("hologan"))
    assert "money" not in shown[0]
    assert "money" in leaderboard_text(rows, 160, price=36.0).splitlines()[0]
    assert "seconds" not in leaderboard_text(gather([replace(result(), cost={})]), 160)


@pytest.mark.parametrize("price", ["0", "-1", "nan", "inf", "2,5", "cheap"])
def test_a_price_is_a_number_above_zero(price: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["leaderboard", "suite=3d_aware", f"price_per_hour={price}"]) == 2
    assert "price_per_hour=2.5" in capsys.readouterr().err
