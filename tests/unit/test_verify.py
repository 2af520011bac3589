"""Committed tables against their archives, and archived cells against kept predictions: what is wrong is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import cli, verifying
from harness.running import cell_check, rescoring
from harness.running.cell import run_cell
from harness.running.cell_check import Check, check_cell
from harness.running.settings import RunSettings
from harness.store import Store, StoredResult
from harness.tables import archive, leaderboard, reproduction
from harness.types import ConfigError, MissingAsset, Scores, StoreError
from tests.unit.tiny_cells import TinyProtocol, TinySources, tiny_cell, tiny_settings

CELLS = (*(tiny_cell(images=64, seed=seed) for seed in range(3)), tiny_cell(images=64, method="floor:black"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four cells and the tables that were committed of it."""
    root = tmp_path_factory.mktemp("made")
    store = Store(root / "runs")
    for cell in CELLS:
        assert run_cell(cell, store, tiny_settings(root), sources=TinySources()).status == "done"
    leaderboard.write(store, "tiny", root / "results")
    return root


@pytest.fixture
def place(made: Path, tmp_path: Path) -> Path:
    """A copy of ``made`` that a test may damage."""
    return shutil.copytree(made, tmp_path / "copy")


def store_of(place: Path) -> Store:
    return Store(place / "runs")


def tables_of(place: Path) -> Path:
    return place / "results" / "smoke" / "tiny"


def archived(place: Path, number: int = 0) -> StoredResult:
    found = {result.key: result for result in archive.read(tables_of(place) / archive.NAME)}
    return found[CELLS[number].key]


def check(place: Path, result: StoredResult | None = None, sources: TinySources | None = None) -> Check:
    return check_cell(
        result or archived(place), store_of(place), tiny_settings(place), sources=sources or TinySources()
    )


def compare(place: Path) -> reproduction.Tables:
    return reproduction.compare(place / "results", "smoke", "tiny", place / "scratch")


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -------------------------------------------------------------------------------------------------------- cells
def test_kept_predictions_give_the_committed_metrics_and_the_store_stays(place: Path) -> None:
    before = content(place / "runs")
    for number in range(len(CELLS)):
        assert check(place, archived(place, number)).state == "agrees"
    assert content(place / "runs") == before


def test_the_last_bit_of_a_metric_counts(place: Path) -> None:
    result = archived(place)
    nudged = float(np.nextafter(result.metrics["mean[x1]"], np.inf))
    found = check(place, replace(result, metrics={**result.metrics, "mean[x1]": nudged}))
    assert found.state == "differs"
    assert f"1 of 2 metrics differ, most of all mean[x1] {nudged!r} committed" in found.reason
    assert repr(result.metrics["mean[x1]"]) in found.reason


def test_a_metric_that_only_one_side_has_differs(place: Path) -> None:
    result = archived(place)
    more = check(place, replace(result, metrics={**result.metrics, "gone": float("nan")}))
    assert "1 of 3 metrics differ, most of all gone nan committed, absent re-scored" in more.reason
    fewer = check(place, replace(result, metrics={"mean[x1]": result.metrics["mean[x1]"]}))
    assert "none absent committed, nan re-scored" in fewer.reason


@pytest.mark.parametrize(
    "name", ["predictions/images.npy", "result.json", "stages/score.json", "cell.json", "model.json"]
)
@pytest.mark.parametrize("how", ["cut", "gone"])
def test_damaged_files_and_stamps_are_named(place: Path, name: str, how: str) -> None:
    path = store_of(place).folder(CELLS[0].key) / name
    if how == "cut":
        path.write_bytes(path.read_bytes()[:-2])
    else:
        path.unlink()
    found = check(place)
    assert found.state == "differs"
    assert (Path(name).stem if name.startswith("stages") else name) in found.reason


def test_a_broken_stamp_of_the_predictions_is_an_error_and_none_kept_is_not(place: Path) -> None:
    folder = store_of(place).folder(CELLS[0].key)
    (folder / "stages" / "predict.json").write_text("{")
    found = check(place)
    assert found.state == "differs"
    assert "the stamp of stage predict is missing or damaged" in found.reason
    shutil.rmtree(folder / "predictions")
    (folder / "stages" / "predict.json").unlink()
    assert (check(place).state, check(place).reason) == ("not re-scored", cell_check.NO_PREDICTIONS)


def test_a_cell_that_is_elsewhere_or_at_work_is_not_scored(place: Path) -> None:
    store = store_of(place)
    with store.lease(CELLS[0].key):
        assert check(place).reason == "another process is working on it"
    (store.folder(CELLS[0].key) / "status.json").unlink()
    assert check(place).reason == "partial in the store"
    shutil.rmtree(store.folder(CELLS[0].key))
    assert check(place).reason == "not in the store"


class Scoring(TinySources):
    """Sources whose protocol scores in its own way."""

    def __init__(self, made: Scores | Exception) -> None:
        super().__init__()
        self.made = made

    def protocol(self, name: str) -> Any:
        made = self.made

        class Changed(TinyProtocol):
            def score(self, predictions: Mapping[str, np.ndarray], *others: Any) -> Scores:
                if isinstance(made, Exception):
                    raise made
                return made

        return Changed()


def test_absent_weights_are_no_difference_but_a_broken_protocol_is(place: Path) -> None:
    assert check(place, sources=Scoring(MissingAsset("no weights"))).state == "not re-scored"
    broken = check(place, sources=Scoring(KeyError("images")))
    assert broken.state == "differs"
    assert broken.reason == "cannot be scored: KeyError: 'images'"


def test_other_judges_and_another_training_are_pointed_out(place: Path) -> None:
    result = archived(place)
    other = replace(result, notes={**result.notes, "judges": "aaa"}, facts={**result.facts, "checkpoint": "b" * 64})
    reason = check(place, other, Scoring(Scores({"mean[x1]": 1.0}, notes={"judges": "ccc"}))).reason
    assert "judges aaa then, ccc here" in reason
    assert "another training" in reason


def test_threads_are_capped_once_the_protocol_has_loaded_its_libraries(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = TinySources()

    @contextmanager
    def capped(device: object, settings: RunSettings) -> Iterator[None]:
        sources.calls.append(f"{settings.threads} threads")
        yield

    monkeypatch.setattr(rescoring.devices, "configured", capped)
    store_of(place).update(CELLS[0].key, "env.json", {"threads": 3})
    assert check(place, sources=sources).state == "agrees"
    assert sources.calls == ["protocol", "3 threads"]


def test_the_largest_deviation_is_told() -> None:
    committed, found = {"a": 1.0, "b": 100.0, "c": float("nan")}, {"a": 1.5, "b": 100.1, "c": float("nan")}
    deviations = cell_check.deviations(committed, found)
    assert [one.metric for one in deviations] == ["a", "b"]
    assert max(deviations, key=lambda one: one.relative).metric == "a"
    assert "relative 0.33" in str(deviations[0])


# ------------------------------------------------------------------------------------------------------- tables
def test_tables_made_from_their_archive_are_the_committed_ones(place: Path) -> None:
    before = content(place / "results")
    tables = compare(place)
    assert tables.differences == {}
    assert {"leaderboard.csv", "metrics.csv", "leaderboard.md", "costs.csv", "costs.json", archive.NAME} <= set(
        tables.compared
    )
    assert content(place / "results") == before


def test_an_edited_digit_is_found_by_line_and_column(place: Path) -> None:
    path = tables_of(place) / "metrics.csv"
    lines = path.read_text().split("\n")
    column = lines[0].split(",").index("mean")
    number = next(k for k, line in enumerate(lines) if ",mean[x1]," in line and ",tiny," in line)
    fields = lines[number].split(",")
    edited = fields[column][:-1] + str((int(fields[column][-1]) + 1) % 10)
    path.write_text(
        "\n".join([*lines[:number], ",".join([*fields[:column], edited, *fields[column + 1 :]]), *lines[number + 1 :]])
    )
    (name, how), *others = compare(place).differences.items()
    assert (name, others) == ("metrics.csv", [])
    assert how.startswith(f"line {number + 1}, column mean: ")
    assert edited in how
    assert fields[column] in how


def test_missing_and_shortened_files_are_found(place: Path) -> None:
    folder = tables_of(place)
    (folder / "costs.json").unlink()
    page = folder / "leaderboard.md"
    page.write_text(page.read_text() + "one more\n")
    found = compare(place).differences
    assert found["costs.json"] == "is missing"
    assert "'one more' committed, '' made from the archive" in found["leaderboard.md"]


def test_an_edited_metric_of_the_archive_is_seen_in_the_tables(place: Path) -> None:
    path = tables_of(place) / archive.NAME
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    next(line for line in lines if line["cell"]["method"] == "tiny")["metrics"]["mean[x1]"] += 1.0
    path.write_text("".join(json.dumps(line, sort_keys=True, separators=(",", ":")) + "\n" for line in lines))
    assert {"leaderboard.csv", "metrics.csv", "leaderboard.md"} <= set(compare(place).differences)


def test_an_empty_archive_is_not_taken_for_agreement(place: Path) -> None:
    (tables_of(place) / archive.NAME).write_text("")
    assert compare(place).differences == {archive.NAME: "holds no finished cell of this tier"}


def test_code_that_changed_after_the_tables_is_told_apart(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "is_stale", lambda result: result.cell.method == "tiny")
    tables = compare(place)
    assert (tables.differences, tables.aged) == ({}, True)
    page = tables_of(place) / "leaderboard.csv"
    page.write_text(page.read_text() + "\n")
    shutil.rmtree(place / "scratch")
    assert "leaderboard.csv" in compare(place).differences


def test_a_price_in_the_committed_costs_is_kept(place: Path) -> None:
    leaderboard.write(store_of(place), "tiny", place / "results", price=2.5)
    assert "money_per_result" in (tables_of(place) / "costs.csv").read_text()
    assert compare(place).differences == {}


# ------------------------------------------------------------------------------------------------- whole command
def wanted(place: Path, **changes: Any) -> verifying.Wanted:
    return verifying.Wanted(place / "results", store_of(place), tiny_settings(place), **changes)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the command find the tiny protocol and data."""
    monkeypatch.setattr("harness.running.rescoring.Registered", TinySources)


@pytest.mark.usefixtures("tiny")
def test_the_report_counts_and_the_code_is_0_or_3(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(store_of(place).folder(CELLS[2].key))
    assert verifying.run(wanted(place)) == 0
    shown = capsys.readouterr().out.splitlines()
    summary = next(line.split() for line in shown if line.startswith("tiny  "))
    assert int(summary[2]) >= 6
    assert summary[3:] == ["0", "4", "3", "3", "0", "1", "0"]
    assert "not re-scored: smoke/tiny: not in the store: 1 cells (row and seeds: tiny 2)" in shown
    path = tables_of(place) / "leaderboard.csv"
    path.write_text(path.read_text().replace("done", "dome"))
    assert verifying.run(wanted(place)) == 3
    assert "differs: smoke/tiny: leaderboard.csv line 2, column status: " in capsys.readouterr().out


@pytest.mark.usefixtures("tiny")
def test_a_limit_takes_the_same_cells_every_time(place: Path) -> None:
    chosen = [
        [
            check.result.key
            for report in verifying.verify(wanted(place, limit=1))
            for check in report.checks
            if not check.reason
        ]
        for _ in range(2)
    ]
    assert chosen[0] == chosen[1]
    assert chosen[0] == [CELLS[3].key, min(cell.key for cell in CELLS[:3])]
    (report,) = verifying.verify(wanted(place, limit=0))
    assert report.count("not re-scored") == len(report.checks) == len(CELLS)
    (report,) = verifying.verify(wanted(place, methods=("floor:black",)))
    assert [check.result.cell.method for check in report.checks] == ["floor:black"]


def test_a_damaged_archive_is_a_difference_with_its_line(place: Path) -> None:
    path = tables_of(place) / archive.NAME
    path.write_text(path.read_text().replace('"status":"done"', '"status":done', 1))
    (report,) = verifying.verify(wanted(place, limit=0))
    assert f"{archive.NAME}:1" in report.problems[0]


@pytest.mark.usefixtures("tiny")
def test_cells_are_scored_though_the_tables_cannot_be_made(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*words: object, **more: object) -> None:
        raise ConfigError("no such base")

    monkeypatch.setattr(leaderboard, "write", fails)
    (report,) = verifying.verify(wanted(place))
    assert report.problems == ["the tables cannot be made: no such base"]
    assert report.count("agrees") == len(CELLS)


def test_wrong_places_and_names_say_what_to_do(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        list(verifying.verify(replace(wanted(place), results=tmp_path / "nowhere")))
    with pytest.raises(ConfigError, match="leaderboard suite=NAME"):
        list(verifying.verify(replace(wanted(place), results=tmp_path)))
    with pytest.raises(ConfigError, match="suite=tiny tier=smoke"):
        list(verifying.verify(wanted(place, suite="tinny")))
    with pytest.raises(ConfigError, match=r"unknown method 'tinny'.*tiny"):
        list(verifying.verify(wanted(place, methods=("tinny",))))
    (tables_of(place) / archive.NAME).unlink()
    with pytest.raises(StoreError, match=r"cells\.jsonl is missing"):
        list(verifying.verify(wanted(place)))


@pytest.mark.parametrize(
    "words", [["a", "b"], ["limit=few"], ["limit=-1"], ["suit=3d_aware"], ["store=nowhere"], ["nowhere"]]
)
def test_words_that_cannot_be_used_are_code_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", *words]) == 2
    assert "error: " in capsys.readouterr().err
