"""Tables: the same bytes for the same results, seeds counted, budgets kept apart, everything escaped."""

from __future__ import annotations

import csv
import io
import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness.store import StoredResult
from harness.tables import leaderboard, markdown
from harness.tables.ranks import ranks
from harness.tables.reported import FIELDS, read_published
from harness.tables.rows import columns_of, gather, reference
from harness.types import Budget, ConfigError
from tests.unit.stored_results import DATA, Shelf, result

FID, KID = "fid[proc-v1|n=2048]", "kid_full[proc-v1|n=2048]"
CLAIMS = Budget("claims", 64000)


def many() -> list[StoredResult]:
    made = [result("floor:noise", 0, {FID: 60.0}), result("oracle:held_out", 0, {FID: 0.5, "pose_corr": 0.99})]
    for seed in range(3):
        state = {"pose_state": "folded" if seed == 2 else "controlled", "judges": "abc"}
        made.append(result("hologan", seed, {FID: 2.0 + seed / 10, "pose_corr": 0.9 - seed / 100}, notes=state))
        made.append(
            result("dcgan", seed, {FID: 3.0 + seed / 10, "pose_corr": math.nan}, notes={"pose_corr": "no pose"})
        )
    made.append(result("pigan", 0, status="failed", reason="loss is nan | at step 7"))
    made.append(result("pigan", 1, {FID: 2.5}))
    made.append(result("hologan", 0, {FID: 1.5}, budget=CLAIMS))
    return made


def written(results: list[StoredResult], folder: Path) -> dict[str, bytes]:
    store: Any = Shelf(results)
    leaderboard.write(store, "3d_aware", folder)
    return {path.name: path.read_bytes() for path in sorted((folder / "micro" / "3d_aware").glob("*.*"))}


def table_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


# ----------------------------------------------------------------------------------------------------- bytes
def test_order_of_results_does_not_change_a_byte(tmp_path: Path) -> None:
    results = many()
    expected = written(results, tmp_path / "a")
    for number in range(3):
        random.Random(number).shuffle(results)
        assert written(results, tmp_path / str(number)) == expected
    names = {"metrics.csv", "leaderboard.csv", "leaderboard.md", "costs.csv", "costs.json", "cells.jsonl"}
    assert set(expected) == names


def test_only_costs_know_about_time(tmp_path: Path) -> None:
    slow = [replace(r, cost={"fit_cpu_seconds": 99.0}, env={"host": "elsewhere"}) for r in many()]
    first, second = written(many(), tmp_path / "a"), written(slow, tmp_path / "b")
    for name in ("costs.csv", "costs.json", "cells.jsonl"):
        assert first.pop(name) != second.pop(name)
    assert first == second


def test_tables_hold_no_path_of_this_machine(tmp_path: Path) -> None:
    for content in written(many(), tmp_path).values():
        assert str(tmp_path).encode() not in content


# ----------------------------------------------------------------------------------------------------- seeds
def test_seeds_are_aggregated_with_an_interval() -> None:
    (row,) = gather([result(seed=seed, metrics={FID: value}) for seed, value in enumerate((1.0, 2.0, 6.0))])
    value = row.values[FID]
    assert (value.mean, value.values, row.done) == (3.0, (1.0, 2.0, 6.0), (0, 1, 2))
    assert value.std == pytest.approx(math.sqrt(7))
    assert 1.0 <= value.low < 3.0 < value.high <= 6.0


def test_the_median_stands_beside_the_mean(tmp_path: Path) -> None:
    seeds = [
        result(seed=s, metrics={"pose_corr": v, "pose_slope": v / 2}, notes={"pose_state": "folded", "judges": "j"})
        for s, v in enumerate((0.9, 0.1, 0.8))
    ]
    files = written(seeds, tmp_path)
    line = table_of(files["metrics.csv"])[0]
    assert (line["metric"], line["mean"], line["median"], line["judge_digest"]) == ("pose_corr", "0.6", "0.8", "j")
    assert "medians: `pose_corr` 0.800, `pose_slope` 0.400" in files["leaderboard.md"].decode()


def test_one_seed_has_neither_deviation_nor_interval() -> None:
    (row,) = gather([result()])
    value = row.values[FID]
    assert value.mean == 1.0
    assert all(math.isnan(x) for x in (value.std, value.low, value.high))


def test_nan_seeds_are_left_out_of_the_mean_and_explained() -> None:
    (row,) = gather([result(seed=0, metrics={FID: 4.0}), result(seed=1, metrics={FID: math.nan}, notes={FID: "why"})])
    assert row.values[FID].mean == 4.0
    assert row.values[FID].note == "why"


def test_failed_skipped_and_corrupt_seeds_are_counted_and_named(tmp_path: Path) -> None:
    results = [
        result(seed=0),
        result(seed=1, status="failed", reason="loss is nan"),
        result(seed=2, status="skipped", reason="no weights"),
        result(seed=3, status="corrupt", reason="digest"),
        result(seed=4, status="running"),
    ]
    (row,) = gather(results)
    assert row.status == "1 done, 1 failed, 1 skipped, 1 corrupt"
    page = written(results, tmp_path)["leaderboard.md"].decode()
    for text in ("seed 1: loss is nan", "seed 2: no weights", "seed 3: digest"):
        assert text in page


def test_a_method_of_which_every_seed_failed_keeps_its_line(tmp_path: Path) -> None:
    files = written([result(status="failed", reason="boom"), result("dcgan", 0)], tmp_path)
    long = [line for line in table_of(files["metrics.csv"]) if line["method"] == "hologan"]
    assert [(line["n_seeds"], line["status"], line["note"]) for line in long] == [("0", "1 failed", "seed 0: boom")]
    assert "hologan" in {line["method"] for line in table_of(files["leaderboard.csv"])}


def test_stale_results_are_marked() -> None:
    (row,) = gather([result(seed=0), result(seed=1)], stale=lambda r: r.cell.seed == 1)
    assert row.stale == (1,)
    assert row.status == "done, 1 stale"


def test_staleness_compares_with_the_code_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaderboard, "_code", lambda *words: "c" * 64)
    assert not leaderboard.is_stale(result())
    monkeypatch.setattr(leaderboard, "_code", lambda *words: "d" * 64)
    assert leaderboard.is_stale(result())


def test_a_method_that_is_gone_is_not_called_stale() -> None:
    assert not leaderboard.is_stale(result("no_such_method"))


# --------------------------------------------------------------------------------------------------- budgets
def test_one_reference_serves_all_budgets() -> None:
    rows = gather([result("floor:noise", 0, {FID: 9.0}), result("floor:noise", 0, {FID: 9.0}, budget=CLAIMS)])
    assert len(rows) == 1
    assert rows[0].budget == ""


def test_unequal_budgets_are_not_ranked_together() -> None:
    rows = gather([result("a", 0), result("b", 0), result("a", 0, {FID: 0.1}, budget=CLAIMS)])
    places = ranks(rows)
    claims = next(row for row in rows if row.budget == "claims")
    assert (id(claims), FID) not in places
    assert len(places) == 2
    assert "never ranked together" in markdown.page(rows)


def test_ranks_are_intervals_and_the_best_is_marked() -> None:
    values = {"a": (1.0, 1.1, 1.2), "b": (1.1, 1.2, 1.3), "c": (5.0, 5.1, 5.2)}
    rows = gather([result(m, s, {FID: v}) for m, all_values in values.items() for s, v in enumerate(all_values)])
    places = {row.label: ranks(rows)[id(row), FID] for row in rows}
    assert [(places[m].low, places[m].high, places[m].best) for m in "abc"] == [
        (1, 2, True),
        (1, 2, False),
        (3, 3, False),
    ]


def test_what_is_shown_alike_is_marked_alike_and_nothing_where_all_are() -> None:
    def best(**values: float) -> list[str]:
        rows = gather([result(name, 0, {FID: value}) for name, value in values.items()])
        return [row.label for row in rows if ranks(rows)[id(row), FID].best]

    assert best(a=1.0, b=1.0 + 1e-9, c=2.0) == ["a", "b"]
    assert best(a=1.0, b=1.0 + 1e-9) == []


def test_higher_is_better_where_the_column_says_so() -> None:
    rows = gather([result("a", 0, {"pose_corr": 0.9}), result("b", 0, {"pose_corr": 0.2})])
    assert next(row.label for row in rows if ranks(rows)[id(row), "pose_corr"].best) == "a"


def test_rows_without_an_interval_have_no_rank(tmp_path: Path) -> None:
    content = written([result("a", 0), result("b", 0, {FID: 5.0})], tmp_path)["leaderboard.csv"]
    assert [line[f"{FID} rank"] for line in table_of(content)] == ["best ?", "?"]


def test_floor_and_oracle_stand_beside_every_value(tmp_path: Path) -> None:
    lines = table_of(written(many(), tmp_path)["metrics.csv"])
    line = next(x for x in lines if x["method"] == "hologan" and x["metric"] == FID and x["budget"] == "quick")
    assert (line["floor"], line["oracle"], line["better"], line["n_seeds"]) == ("60", "0.5", "lower", "3")
    rows = gather(many())
    assert math.isnan(reference(rows, "floor", "pose_corr"))


def test_a_floor_made_of_the_data_is_none() -> None:
    card = {FID: 0.5, "side[x100]": 7.0}
    rows = gather([*many(), result("floor:flat_card", 0, card), result("oracle:exact", 0, {"side[x100]": 1.0})])
    assert reference(rows, "floor", FID) == 60.0
    assert reference(rows, "floor", "side[x100]") == 7.0


def test_the_best_floor_counts() -> None:
    rows = gather([result("floor:a", 0, {FID: 9.0}), result("floor:b", 0, {FID: 7.0})])
    assert reference(rows, "floor", FID) == 7.0


# ----------------------------------------------------------------------------------------------- rows and text
def test_variants_tiers_data_and_precisions_are_rows_of_their_own(tmp_path: Path) -> None:
    other = replace(DATA, resolution=64)
    results = [
        result(), result(overrides={"train_rotation": "none"}), result(tier="small"), result(data=other),
        result(precision="fp32"), result(suite="another"),
    ]  # fmt: skip
    rows = gather(results, "3d_aware")
    assert len(rows) == 5
    labels = [row.label for row in rows if row.tier == "micro" and row.data.endswith("32 px")]
    assert sorted(labels) == ["hologan (auto)", "hologan (fp32)", "hologan[train_rotation=none]"]
    store: Any = Shelf(results)
    paths = leaderboard.write(store, "3d_aware", tmp_path)
    assert {path.relative_to(tmp_path).parts[:2] for path in paths} == {("micro", "3d_aware"), ("small", "3d_aware")}
    assert leaderboard.write(store, "3d_aware", tmp_path, tier="paper") == []


def test_columns_are_read_by_group_and_merge_only_under_one_name() -> None:
    rows = gather([result(metrics={"side[x100]": 1.0, KID: 0.1, FID: 1.0, "fid[proc-v1|n=32]": 2.0, "new": 3.0})])
    assert columns_of(rows) == [FID, "fid[proc-v1|n=32]", KID, "side[x100]", "new"]


def test_markdown_and_csv_survive_hostile_text(tmp_path: Path) -> None:
    nasty = '<b>|x|</b>\n"q", `c`'
    results = [result("pigan", 0, status="failed", reason=nasty), result(overrides={"note": nasty})]
    files = written(results, tmp_path)
    page = files["leaderboard.md"].decode()
    assert "<b>" not in page
    assert "&lt;b&gt;\\|x\\|" in page
    for line in page.splitlines():
        if line.startswith("|"):
            cells = line.replace("\\|", "").count("|")
            assert cells == page.splitlines()[page.splitlines().index(line)].replace("\\|", "").count("|")
    names = {line["method"] for line in table_of(files["leaderboard.csv"])}
    assert "pigan" in names
    assert any("<b>|x|</b>" in name for name in names)


def test_every_markdown_table_is_rectangular(tmp_path: Path) -> None:
    page = written(many(), tmp_path)["leaderboard.md"].decode()
    blocks = [block.splitlines() for block in page.split("\n\n") if block.startswith("|")]
    assert len(blocks) >= 3
    for block in blocks:
        widths = {line.replace("\\|", "").count("|") for line in block if line.startswith("|")}
        assert len(widths) == 1


def test_states_are_listed_by_seed(tmp_path: Path) -> None:
    files = written(many(), tmp_path)
    assert "controlled 2 of 3 (seeds 0, 1); folded 1 of 3 (seeds 2)" in files["leaderboard.md"].decode()
    line = next(x for x in table_of(files["leaderboard.csv"]) if x["method"] == "hologan" and x["budget"] == "quick")
    assert line["states"] == "controlled: 2, folded: 1"


def test_missing_values_show_their_reason_in_markdown(tmp_path: Path) -> None:
    results = many()
    assert "dcgan (quick) is not in this table: no pose" in written(results, tmp_path)["leaderboard.md"].decode()
    results.append(
        result("dcgan", 0, {"pose_corr": math.nan, "pose_mae": 3.0}, notes={"pose_corr": "why"}, budget=CLAIMS)
    )
    page = written(results, tmp_path)["leaderboard.md"].decode()
    assert "n/a <sup>a</sup>" in page
    assert "<sup>a</sup> why" in page


def test_different_judges_are_pointed_out() -> None:
    rows = gather([result(seed=0, notes={"judges": "aaa"}), result(seed=1, notes={"judges": "bbb"})])
    assert "different judges" in markdown.page(rows)


def test_costs_are_json_of_finished_cells(tmp_path: Path) -> None:
    costs = json.loads(written(many(), tmp_path)["costs.json"])
    assert all(entry["cost"] for entry in costs.values())
    assert "pigan" in {entry["method"] for entry in costs.values()}


def test_pictures_of_the_first_seed_and_a_strip_of_all_are_copied(tmp_path: Path) -> None:
    results = []
    for seed in range(4):
        source = tmp_path / f"cell{seed}"
        source.mkdir()
        pixels = np.full((128, 192, 3), 10 * seed, np.uint8)
        pixels[64:] = 255
        Image.fromarray(pixels).save(source / "turntable.png")
        shown = {"turntable": "turntable.png", "gone": "gone.png"}
        results.append(result(seed=seed, pictures=shown, folder=source))
    results.append(result("floor:noise", pictures=shown, folder=source))
    written(results, tmp_path)
    folder = tmp_path / "micro" / "3d_aware" / "pictures"
    names = ["hologan-quick-s0-turntable.png", "hologan-quick-seeds-turntable.png"]
    assert [path.name for path in sorted(folder.iterdir())] == names
    with Image.open(folder / names[1]) as picture:
        strip = np.asarray(picture)
    assert strip.shape == (4 * 64, 192, 3)
    assert [int(value) for value in strip[::64, 0, 0]] == [0, 10, 20, 30]
    page = (tmp_path / "micro" / "3d_aware" / "leaderboard.md").read_text()
    assert f"(pictures/{names[1]})" in page


def test_a_damaged_picture_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "turntable.png").write_bytes(b"no picture")
    results = [result(seed=s, pictures={"turntable": "turntable.png"}, folder=tmp_path) for s in range(2)]
    written(results, tmp_path)
    folder = tmp_path / "micro" / "3d_aware" / "pictures"
    assert [path.name for path in folder.iterdir()] == ["hologan-quick-s0-turntable.png"]


# ---------------------------------------------------------------------------------------------- published numbers
def test_published_numbers_are_shown_apart(tmp_path: Path) -> None:
    files = written(many(), tmp_path)
    page = files["leaderboard.md"].decode()
    assert "## Published numbers" in page
    assert "2.87 ± 0.09" in page
    assert all(line["reported"] == "" for line in table_of(files["metrics.csv"]))


def test_every_published_file_can_be_read() -> None:
    from harness.tables.reported import FOLDER

    for path in FOLDER.glob("*.csv"):
        rows = read_published([path.stem])
        assert rows
        assert all(row.source and row.checked and math.isfinite(row.value) for row in rows)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("m,d,fid,1.0,,p,,read", "needs a source"),
        ("m,d,fid,1.0,,p,paper,", "needs a source"),
        ("m,d,fid,one,,p,paper,read", "must be numbers"),
    ],
)
def test_untraceable_published_numbers_are_refused(tmp_path: Path, line: str, what: str) -> None:
    (tmp_path / "m.csv").write_text(f"{','.join(FIELDS)}\n{line}\n")
    with pytest.raises(ConfigError, match=what):
        read_published(["m"], tmp_path)


def test_a_published_file_without_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("method,value\nm,1\n")
    with pytest.raises(ConfigError, match="lacks the columns"):
        read_published(["m", "absent"], tmp_path)


# --------------------------------------------------------------------------------------------------------- curves
def with_curve(seed: int, folder: Path, method: str = "hologan") -> StoredResult:
    place = folder / f"{method}{seed}"
    place.mkdir(parents=True)
    np.save(place / "azimuth_commanded.npy", np.linspace(-1, 1, 5))
    np.save(place / "azimuth_mean_curve_deg.npy", np.linspace(-50, 50, 5) * (-1) ** seed)
    names = ("azimuth_commanded", "azimuth_mean_curve_deg")
    return replace(result(method, seed), folder=place, per_sample_files={name: f"{name}.npy" for name in names})


def test_mean_curves_of_all_seeds_are_drawn_the_same_every_time(tmp_path: Path) -> None:
    results = [with_curve(seed, tmp_path) for seed in range(3)] + [with_curve(0, tmp_path, "oracle:held_out")]
    written(results, tmp_path / "a")
    written(results[::-1], tmp_path / "b")
    first, second = (tmp_path / name / "micro" / "3d_aware" / "pictures" / "pose_curves.png" for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert "pictures/pose_curves.png" in (tmp_path / "a" / "micro" / "3d_aware" / "leaderboard.md").read_text()


def test_a_damaged_curve_costs_only_its_line(tmp_path: Path) -> None:
    results = [with_curve(seed, tmp_path) for seed in range(2)]
    (tmp_path / "hologan1" / "azimuth_mean_curve_deg.npy").write_bytes(b"torn")
    written(results, tmp_path / "a")
    assert (tmp_path / "a" / "micro" / "3d_aware" / "pictures" / "pose_curves.png").is_file()
