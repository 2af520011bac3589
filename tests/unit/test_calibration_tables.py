"""The checks on drawn segmentation data: levels, gap, dead classes, missing seeds, and the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.data import catalogue
from harness.store import StoredResult
from harness.tables import calibration
from harness.types import Budget
from tests.unit.stored_results import result

DATA = catalogue.spec("streets", tier="micro")
ORACLE, ALONE, EARLY = (0.92, 0.91, 0.93, 0.92, 0.92), (0.75, 0.72, 0.78, 0.74, 0.76), (0.8, 0.8, 0.9, 0.8, 0.7)


def cells(alone: tuple[float, ...] = ALONE, seeds: int = 5, sign: tuple[float, ...] = (0.3,) * 5) -> list[StoredResult]:
    made = []
    for seed in range(seeds):
        scores = {
            "fully_supervised": {"miou": ORACLE[seed]},
            "supervised": {"miou": alone[seed], "iou[class=road]": 0.9, "iou[class=sign]": sign[seed]},
            "self_training": {"miou": 0.8, "pl_acc[quarter=1]": EARLY[seed]},
        }
        made += [
            result(method, seed, metrics, data=DATA, suite="segmentation", protocol="segmentation")
            for method, metrics in scores.items()
        ]
    return made


def outcome(results: list[StoredResult]) -> dict[str, tuple[float, bool | None]]:
    (one,) = calibration.calibrations(results)
    return {check.name: (check.value, check.passed) for check in one.checks}


def test_all_checks_hold_with_their_numbers() -> None:
    (one,) = calibration.calibrations(cells())
    assert one.passed is True
    assert (one.family, one.version, one.data) == ("streets", DATA.version, DATA.recipe_digest)
    found = outcome(cells())
    assert found["oracle"][0] == pytest.approx(0.92)
    assert found["source-only"][0] == pytest.approx(0.75)
    assert found["oracle minus source-only"][0] == pytest.approx(0.17)
    assert found["pseudo-labels in the first quarter"][0] == pytest.approx(0.8)
    assert found["seeds on which the weakest class lives"][0] == 5
    assert found["deviation of source-only"][0] == pytest.approx(0.02236, abs=1e-4)


def test_too_easy_and_too_uneven_source_only_fail() -> None:
    found = outcome(cells(alone=(0.95, 0.95, 0.85, 0.75, 0.95)))
    assert [name for name, (_, passed) in found.items() if passed is False] == [
        "source-only",
        "oracle minus source-only",
        "deviation of source-only",
    ]
    assert calibration.calibrations(cells(alone=(0.95,) * 5))[0].passed is False


def test_a_class_may_die_on_one_seed_only() -> None:
    assert outcome(cells(sign=(0.3, 0.3, 0.3, 0.3, 0.01)))["seeds on which the weakest class lives"] == (4, True)
    assert outcome(cells(sign=(0.3, 0.3, 0.3, 0.0, 0.05)))["seeds on which the weakest class lives"] == (3, False)


def test_fewer_than_five_seeds_decide_nothing() -> None:
    (one,) = calibration.calibrations(cells(seeds=4))
    assert {check.passed for check in one.checks} == {None}
    assert one.passed is None


def test_missing_methods_leave_their_checks_open() -> None:
    found = outcome([r for r in cells() if r.cell.method == "supervised"])
    assert found["oracle"][1] is found["pseudo-labels in the first quarter"][1] is None
    assert found["source-only"][1] is True


def test_other_methods_settings_and_families_do_not_count() -> None:
    ssl = catalogue.spec("streets", tier="micro", setting="ssl")
    others = [replace(r, cell=replace(r.cell, data=ssl)) for r in cells()]
    assert calibration.calibrations(others) == ()
    changed = [replace(r, cell=replace(r.cell, overrides={"lr": 1.0})) for r in cells(alone=(0.1,) * 5)]
    assert calibration.calibrations([*changed, *cells()]) == calibration.calibrations(cells())
    assert calibration.calibrations([r for r in cells() if r.cell.method != "supervised"]) == ()


def test_budgets_and_recipes_are_apart() -> None:
    more = [replace(r, cell=replace(r.cell, budget=Budget("claims", 48000))) for r in cells()]
    harder = catalogue.spec("streets", tier="micro", shift=0.5)
    shifted = [replace(r, cell=replace(r.cell, data=harder)) for r in cells()]
    assert len(calibration.calibrations([*cells(), *more, *shifted])) == 3


def test_the_file_is_the_same_for_the_same_results(tmp_path: Path) -> None:
    for name, results in (("a", cells()), ("b", cells()[::-1])):
        calibration.write(calibration.calibrations(results), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    (one,) = json.loads((tmp_path / "a").read_text())["calibrations"]
    assert (one["version"], one["passed"], len(one["checks"])) == (DATA.version, True, 6)
    calibration.write(calibration.calibrations(cells()[:1]), tmp_path / "none")
    assert json.loads((tmp_path / "none").read_text()) == {"calibrations": []}
    calibration.write(calibration.calibrations(cells()[1:2]), tmp_path / "few")
    (few,) = json.loads((tmp_path / "few").read_text())["calibrations"]
    assert few["checks"][0]["value"] is None


def test_console_rows_say_what_is_undecided() -> None:
    rows = calibration.console_rows(calibration.calibrations(cells(seeds=1))[0])
    assert rows[0] == ["oracle", "0.920", "0.90", "1.00", "1", "undecided"]
    assert all(len(row) == len(calibration.HEADER) for row in rows)
