"""Tables of suite segmentation: settings apart, a trained oracle without a rank, classes, quarters, curves, sheets."""

from __future__ import annotations

import csv
import functools
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from harness import registry
from harness.metrics.card import parse_column
from harness.naming import TIERS
from harness.store import Store
from harness.tables import archive, label_curves, leaderboard, markdown
from harness.tables.claim_files import canonical, read_claims
from harness.tables.claims import judge
from harness.tables.columns import Part, part_of
from harness.tables.learning import Learning, learning_of
from harness.tables.ranks import ranks
from harness.tables.reported import read_published
from harness.tables.rows import Row, columns_of, gather, group_of, reference
from harness.tables.sheets import sheets
from harness.tables.styles_segmentation import STYLES
from harness.types import Budget
from suites.protocols.segmentation import METRICS
from tests.unit.segmentation_results import CLASSES, SCORES, STEPS, data, segmented, suite
from tests.unit.stored_results import Shelf, result

Files = dict[str, bytes]
DATA = {"uda": "streets 48 px, labelled=32, setting=uda", "ssl": "streets 48 px, labelled=8, setting=ssl"}


def written(results: list[Any], folder: Path) -> Files:
    store: Any = Shelf(results)
    paths = leaderboard.write(store, "segmentation", folder)
    return {path.relative_to(folder / "micro" / "segmentation").as_posix(): path.read_bytes() for path in paths}


def lines_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def row_of(rows: list[Row], label: str, setting: str = "uda") -> Row:
    return next(row for row in rows if row.label == label and row.options["setting"] == setting)


def pixels_of(content: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return written(suite(2, tmp_path_factory.mktemp("cells")), tmp_path_factory.mktemp("tables"))


@pytest.fixture(scope="module")
def page(files: Files) -> str:
    return files["leaderboard.md"].decode()


# ---------------------------------------------------------------------------------------------------------- columns
def test_every_style_has_a_card_of_the_same_direction_and_the_reverse() -> None:
    assert {card.name: card.better for card in METRICS} == {name: style.better for name, style in STYLES.items()}


@pytest.mark.parametrize(
    ("column", "part"),
    [
        ("miou", None),
        ("miou[classes=tail]", None),
        ("miou[network=teacher]", None),
        ("queue_fnr[negatives=any]", None),
        ("iou[class=traffic_sign]", Part("iou", "class", "traffic_sign")),
        ("pl_acc[quarter=3]", Part("pl_acc", "quarter", "3")),
    ],
)
def test_classes_and_quarters_are_parts_and_heads_and_tails_are_not(column: str, part: Part | None) -> None:
    assert part_of(column) == part


def test_classes_and_quarters_have_tables_of_their_own(files: Files, page: str) -> None:
    assert not [column for column in columns_of(gather(suite(1))) if part_of(column)]
    assert "class=" not in page.replace("classes=", "")
    assert "quarter=" not in page
    quarters = [line["quarter"] for line in lines_of(files["by_quarter.csv"]) if line["method"] == "fst"]
    assert quarters == ["1", "2", "3", "4"] * 2
    assert {line["class"] for line in lines_of(files["by_class.csv"])} == set(CLASSES)


def test_the_mean_over_classes_stands_before_the_classes(files: Files) -> None:
    table = files["breakdowns.md"].decode().split("### `iou` ↑ by class\n\n")[1].split("\n\n")[0].splitlines()
    assert table[0] == "|  | images | seeds | all | building | person | road |"
    fst = [text.strip(" *").split(" ")[0] for text in table[2].split("|")]
    assert fst[4] == fst[5]
    rows = gather(suite(2))
    assert float(fst[4]) == pytest.approx(row_of(rows, "fst").values["miou"].mean, abs=1e-3)


# ------------------------------------------------------------------------------------------- settings and oracles
def test_settings_are_never_ranked_in_one_table(page: str) -> None:
    rows = gather(suite(2))
    places = ranks(rows)
    for setting, scores in SCORES.items():
        mine = [row for row in rows if row.options["setting"] == setting and (id(row), "miou") in places]
        contenders = [name for name in scores if name != "fully_supervised"]
        assert {row.method for row in mine} == set(contenders)
        best = [row.method for row in mine if places[id(row), "miou"].best]
        assert best == [max(contenders, key=lambda name: scores[name])]
        assert max(places[id(row), "miou"].high or 0 for row in mine) <= len(mine)
    assert all(page.count(f"## {name}\n") == 1 for name in DATA.values())
    ssl = page.split(f"## {DATA['ssl']}\n")[1].split("## Figures")[0]
    assert "st\\_fast" not in ssl
    assert "u2pl" in ssl


def test_an_oracle_that_is_trained_bounds_the_others_and_holds_no_rank(page: str) -> None:
    rows = gather(suite(2))
    oracle = row_of(rows, "fully_supervised")
    assert (oracle.role, oracle.trained, oracle.budget) == ("oracle", True, "claims")
    assert not [key for key in ranks(rows) if key[0] == id(oracle)]
    uda = [row for row in rows if row.table == oracle.table]
    assert reference([row for row in uda if row.trained], "oracle", "miou") == oracle.values["miou"].mean
    assert "`fully_supervised` trained on labels that the setting hides from the others: a bound" in page
    lines = [line for line in page.splitlines() if line.startswith("| fully\\_supervised (claims)")]
    assert len(lines) == 4  # training and scores in both settings
    assert not [line for line in lines if "**" in line]


def test_a_bold_mean_is_never_that_of_the_oracle(page: str) -> None:
    table = page.split("### Segmentation\n\n")[1].split("\n\n")[0].splitlines()
    bold = [line.split("|")[1].strip() for line in table if "**" in line]
    assert bold == ["fst (claims)"]


def test_without_a_card_a_row_stays_a_method() -> None:
    (row,) = gather([result("elsewhere", 0, {"miou": 0.5})])
    assert row.role == "method"


# ----------------------------------------------------------------------------------------------------------- figures
def test_every_figure_is_drawn_and_shown(files: Files, page: str) -> None:
    places = {"uda": "claims-labelled=32_setting=uda", "ssl": "claims-labelled=8_setting=ssl"}
    titles = {
        "uda": ("learning_curves", "learning_curves-fst", "pseudo_labels_curve", "variants-fst"),
        "ssl": ("learning_curves", "learning_curves-u2pl", "pseudo_labels_curve", "variants-u2pl"),
    }
    drawn = {"uda": ("-s0", "-fst-s0"), "ssl": ("-s0", "-u2pl-s0")}
    names = {f"{title}-{places[setting]}" for setting, found in titles.items() for title in found}
    names |= {
        f"{kind}{title}-{places[setting]}"
        for setting, found in drawn.items()
        for title in found
        for kind in ("predictions", "pseudo_labels")
    }
    assert {name.removeprefix("pictures/") for name in files if name.endswith(".png")} == {f"{n}.png" for n in names}
    for name in names:
        assert page.count(f"(pictures/{name}.png)") == 1
        assert min(pixels_of(files[f"pictures/{name}.png"]).shape[:2]) > 100
    assert page.count("Classes that the first seed of every row predicts") == 1
    assert page.count("Pseudo-labels of the first seed at the end of the training") == 1


def test_tables_and_figures_come_back_from_the_archive_alone(files: Files, tmp_path: Path) -> None:
    place = tmp_path / "micro" / "segmentation"
    for name, content in files.items():
        if name == archive.NAME or name.startswith(("pictures/predictions", "pictures/pseudo_labels-")):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
    leaderboard.write(Store(tmp_path / "nothing"), "segmentation", tmp_path, kept=tmp_path)
    again = {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*.*")}
    assert {name for name in files if again.get(name) != files[name]} == set()


def learned(*found: tuple[str, dict[int, float]], **more: Any) -> list[Learning]:
    """Curves of constant accuracy by method and seed."""
    results = [segmented(method, seed, 0.5, **more) for method, by_seed in found for seed in by_seed]
    for one in results:
        level = dict(found)[one.cell.method][one.cell.seed]
        vars(one)["per_sample"] = {"probe_step": STEPS, "probe_pl_acc": np.full(len(STEPS), level)}
    return learning_of(results, gather(results))


def test_accuracies_of_pseudo_labels_are_paired_by_seed() -> None:
    fst, ordinary = learned(("fst", {0: 0.9, 2: 0.7, 1: 0.8}), ("self_training", {1: 0.7, 2: 0.65, 5: 0.1}))
    differences = label_curves.differences(fst, ordinary)
    assert differences is not None
    np.testing.assert_allclose(differences, [[0.1] * len(STEPS), [0.05] * len(STEPS)])
    (drawing,) = label_curves.draw([fst, ordinary], [fst.row, ordinary.row])
    assert "minus self_training, paired by seed" in drawing.caption
    (lonely,) = learned(("fst", {7: 0.9}))
    assert label_curves.differences(lonely, ordinary) is None
    assert label_curves.differences(replace(fst, steps=fst.steps * 2), ordinary) is None


def test_one_row_or_other_variants_make_no_comparison_of_pseudo_labels() -> None:
    assert list(label_curves.draw(*_with_rows(learned(("fst", {0: 0.9}))))) == []
    swept = learned(("fst", {0: 0.9}), overrides={"K": 2}) + learned(("st_fast", {0: 0.9}))
    assert list(label_curves.draw(*_with_rows(swept))) == []
    strict = learned(("fst", {0: 0.9}), overrides={"restore": "all"}) + learned(("st_fast", {0: 0.9}))
    (drawing,) = label_curves.draw(*_with_rows(strict))
    assert "minus" not in drawing.caption


def _with_rows(found: list[Learning]) -> tuple[list[Learning], list[Row]]:
    return found, [one.row for one in found]


# ------------------------------------------------------------------------------------------------------------ sheets
def test_a_sheet_shows_every_prediction_below_the_truth_and_the_oracle_last(tmp_path: Path) -> None:
    methods = ("self_training", "fst", "supervised", "fully_supervised")
    made = [segmented(method, 3, 0.5, folder=tmp_path) for method in methods]
    quick = segmented("fully_supervised", 3, 0.5, folder=tmp_path, budget=Budget("quick", 7))
    rows = gather([*made, quick])
    drawn = sheets(rows, {group_of(one.cell): one for one in (*made, quick)})
    assert set(drawn) == {"predictions-s3-claims", "pseudo_labels-s3-claims"}
    picture = pixels_of(drawn["predictions-s3-claims"])
    order = ("fst", "self_training", "supervised", "fully_supervised")
    assert picture.shape[0] == (2 + len(order)) * 96  # 48 rows are shown twice as large
    levels = [picture[(2 + place) * 96 + 40, -5, 0] for place in range(len(order))]
    assert levels == [10 * len(method) for method in order]
    assert np.array_equal(picture[:96, -1152:, 0], 255 - picture[96:192, -1152:, 0])
    picture = pixels_of(drawn["pseudo_labels-s3-claims"])
    assert picture.shape[0] == (2 + 2 * 2) * 96
    assert [picture[(2 + place) * 96 + 40, -5, 0] for place in range(4)] == [31, 255, 131, 255]


def test_a_picture_of_other_lines_is_left_out(tmp_path: Path) -> None:
    made = [segmented(method, 0, 0.5, folder=tmp_path) for method in ("fst", "self_training")]
    Image.fromarray(np.zeros((4 * 48, 576), np.uint8)).save(tmp_path / "predictions_fst.png")
    drawn = sheets(gather(made), {group_of(one.cell): one for one in made})
    assert pixels_of(drawn["predictions-s0-claims"]).shape[0] == 3 * 96


# ------------------------------------------------------------------------------------------------------------ claims
@functools.cache
def claims() -> dict[str, Any]:
    return {claim.id: claim for claim in read_claims(registry.suite("segmentation"))[0]}


def test_every_row_of_the_claims_can_exist_at_its_tiers() -> None:
    """A value that is the preset's own is no override, so that a row with it would never be found."""
    for claim in claims().values():
        setting = claim.data.get("setting", "uda")
        for term in (claim.treatment, *claim.controls):
            for label, tier in ((label, tier) for label in term.labels for tier in claim.tiers):
                method, _, changes = canonical(label).removesuffix("]").partition("[")
                preset = registry.methods()[method].preset(tier, setting)
                for change in filter(None, changes.split(",")):
                    key, _, value = change.partition("=")
                    usual = canonical(f"a[{key}={preset[key]}]")
                    assert usual != f"a[{key}={value}]", f"{claim.id}: {label} is the usual {method} at {tier}"


def test_the_controls_of_fst_move_and_step_as_often_as_it_does() -> None:
    for tier in TIERS:
        fst, fast, repeat = (registry.methods()[name].preset(tier) for name in ("fst", "st_fast", "st_repeat"))
        assert fast["teacher_speed"] == repeat["repeats"] == fst["K"] + 1, tier


def test_every_column_of_the_claims_is_one_of_the_protocol() -> None:
    cards = {card.name: card for card in METRICS}
    for claim in claims().values():
        terms = (claim.treatment, *claim.controls)
        for column in filter(None, (claim.metric, *(term.metric for term in terms))):
            parsed = parse_column(column)
            assert set(parsed.protocol) <= set(cards[parsed.metric].protocol), column


def test_claims_hold_their_setting_and_stand_on_its_rows_alone() -> None:
    results = suite(5)
    found = {verdict.claim.id: verdict for verdict in judge(list(claims().values()), results, "micro")}
    assert len(found) == len(claims())
    for name in ("S1", "S2", "S2b", "S2c", "S2-separable", "S5-q1", "S5-q4", "CAL-gap"):
        assert (found[name].verdict, found[name].data) == ("SUPPORTED", DATA["uda"]), name
    for name in ("S3", "S4-u2pl", "U-true", "U-true-band", "F-mt"):
        assert (found[name].verdict, found[name].data) == ("SUPPORTED", DATA["ssl"]), name
    assert found["U-few-8"].verdict == "UNTESTED"
    assert "supervised at labelled=16" in found["U-few-8"].reason


def test_gains_at_two_numbers_of_labels_are_compared() -> None:
    gains = {4: 0.1, 8: 0.05, 16: 0.049}
    results = [
        segmented(method, seed, 0.5 + gain * (method == "u2pl") + labelled / 100, spec=data("ssl", labelled))
        for labelled, gain in gains.items()
        for method in ("u2pl", "supervised")
        for seed in range(5)
    ]
    found = {v.claim.id: v for v in judge([claims()["U-few-4"], claims()["U-few-8"]], results, "micro")}
    assert found["U-few-4"].verdict == "SUPPORTED"
    assert found["U-few-4"].comparisons[0].effect == pytest.approx(0.05)
    assert found["U-few-8"].verdict == "REFUTED"
    assert found["U-few-8"].comparisons[0].effect == pytest.approx(0.001)


def test_published_numbers_are_fractions_with_a_source() -> None:
    published = read_published(["fst", "u2pl"])
    assert len({(one.method, one.dataset, one.protocol) for one in published}) == len(published)
    assert all(one.metric == "miou" and 0.3 < one.value < 0.9 for one in published)
    shown = markdown.page(gather(suite(1)), published)
    assert "| FST (DAFormer) | GTA5 to Cityscapes val | `miou` | 0.6956 |" in shown
