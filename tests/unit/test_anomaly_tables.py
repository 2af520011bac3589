"""Tables of an anomaly suite: parts of the data, learning curves, variants apart, and figures from small arrays."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from harness.metrics.card import Column, parse_column
from harness.store import Store, StoredResult
from harness.tables import archive, breakdown, leaderboard, learning_curves, markdown
from harness.tables.columns import PARTS, Part, part_of
from harness.tables.intervals import paired_differences, setting_changes, variant_scores
from harness.tables.learning import learning_of, peaks_table
from harness.tables.ranks import ranks
from harness.tables.reported import FOLDER
from harness.tables.rows import Row, columns_of, gather, group_of
from harness.tables.sections import families, main_rows, variants
from harness.tables.sheets import sheets
from harness.tables.styles_anomaly import STYLES
from suites.protocols.anomalies.detection import SIZES
from suites.protocols.anomaly import METRICS
from tests.unit.anomaly_results import CLAIMS, DATA, STEPS, anomaly, overlays, suite
from tests.unit.stored_results import Shelf, result

Files = dict[str, bytes]


def written(results: list[StoredResult], folder: Path) -> Files:
    store: Any = Shelf(results)
    paths = leaderboard.write(store, "anomaly", folder)
    return {path.relative_to(folder / "micro" / "anomaly").as_posix(): path.read_bytes() for path in paths}


def lines_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode())))


def cell(method: str = "uniad", seed: int = 0, metrics: dict[str, float] | None = None, **more: Any) -> StoredResult:
    return result(
        method,
        seed,
        metrics or {"image_auroc": 0.9},
        budget=CLAIMS,
        data=DATA,
        suite="anomaly",
        protocol="anomaly",
        **more,
    )


def row_of(rows: list[Row], label: str) -> Row:
    return next(row for row in rows if row.label == label)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return written(suite(2, tmp_path_factory.mktemp("cells")), tmp_path_factory.mktemp("tables"))


# ---------------------------------------------------------------------------------------------------------- columns
def test_every_style_has_a_card_of_the_same_direction_and_the_reverse() -> None:
    assert {card.name: card.better for card in METRICS} == {name: style.better for name, style in STYLES.items()}


@pytest.mark.parametrize(
    ("column", "part"),
    [
        ("image_auroc", None),
        ("aupro[limit=0.3]", None),
        ("fid[proc-v1|n=2048]", None),
        ("image_auroc[category=weave]", Part("image_auroc", "category", "weave")),
        ("aupro[limit=0.3|defect=hole]", Part("aupro[limit=0.3]", "defect", "hole")),
        ("fid[proc-v1|size=small|n=8]", Part("fid[proc-v1|n=8]", "size", "small")),
        ("iou[category=a|defect=b]", Part("iou[defect=b]", "category", "a")),
        ("note[my_category=a]", None),
    ],
)
def test_a_column_says_which_part_of_the_data_it_covers(column: str, part: Part | None) -> None:
    assert part_of(column) == part


WORDS = st.from_regex(r"[A-Za-z0-9_.+\-@]{1,6}", fullmatch=True)


@settings(deadline=None, max_examples=100)
@given(st.none() | WORDS, st.dictionaries(WORDS | st.sampled_from(list(PARTS)), WORDS, max_size=4))
def test_a_part_is_its_whole_with_one_field_more(space: str | None, protocol: dict[str, str]) -> None:
    part = part_of(str(Column("fid", space, protocol)))
    fields = [field for field in protocol if field in PARTS]
    if part is None:
        assert not fields
    else:
        assert (part.field, part.member) == (fields[0], protocol[fields[0]])
        rest = {field: value for field, value in protocol.items() if field != fields[0]}
        assert parse_column(part.whole) == Column("fid", space, rest)


# ------------------------------------------------------------------------------------------------------------ parts
def test_parts_stay_out_of_the_main_tables_and_in_the_long_form(files: Files) -> None:
    assert "[category=bottle]" in (FOLDER / "uniad.csv").read_text()  # published, and kept out of the page as well
    for name in ("leaderboard.csv", "leaderboard.md"):
        for field in ("category=", "defect=", "size="):
            assert field not in files[name].decode()
    assert "image_auroc[category=gear]" in {line["metric"] for line in lines_of(files["metrics.csv"])}
    assert not [column for column in columns_of(gather(suite(1))) if part_of(column)]


def test_a_file_per_kind_of_part_has_a_line_per_row_metric_and_member(files: Files) -> None:
    lines = lines_of(files["by_defect.csv"])
    assert {line["metric"] for line in lines} == {"aupro[limit=0.3]"}
    uniad = {line["defect"]: line for line in lines if line["method"] == "uniad"}
    assert list(uniad) == ["colour", "hole", "scratch"]
    long = {line["metric"]: line for line in lines_of(files["metrics.csv"]) if line["method"] == "uniad"}
    for member, line in uniad.items():
        same = long[f"aupro[limit=0.3|defect={member}]"]
        assert all(line[name] == same[name] for name in ("mean", "std", "ci_lo", "ci_hi", "n_seeds", "better"))
    sizes = [line["size"] for line in lines_of(files["by_size.csv"]) if line["method"] == "uniad"]
    assert sizes == ["small", "medium", "large"]


def test_the_page_of_parts_has_a_table_per_metric_with_the_whole_first(files: Files) -> None:
    page = files["breakdowns.md"].decode()
    table = page.split("### `image_auroc` ↑ by category\n\n")[1].split("\n\n")[0].splitlines()
    assert table[0] == "|  | images | seeds | all | gear | stripes | weave |"
    cnn = next(line for line in table if line.startswith("| recon\\_cnn (claims)"))
    assert cnn.count("**") == 8
    assert not [line for line in table if "jitter" in line]
    assert "small up to 1 %, medium up to 4 %" in page
    assert [(name, high) for name, _, high in SIZES] == [("small", 0.01), ("medium", 0.04), ("large", 1.0)]
    assert "[breakdowns.md](breakdowns.md)" in files["leaderboard.md"].decode()


def test_without_parts_there_are_no_such_files() -> None:
    assert breakdown.files(gather([cell()])) == {}


def test_a_mean_that_lacks_a_part_says_so() -> None:
    note = {"image_auroc": "left out of the mean: weave"}
    page = markdown.page(gather([cell(notes=note), cell("padim")]))
    assert "0.900 <sup>a</sup>" in page
    assert "<sup>a</sup> left out of the mean: weave" in page


# ------------------------------------------------------------------------------------------- settings and variants
def test_rows_of_another_task_are_ranked_among_themselves() -> None:
    scores = {"uniad": 0.7, "padim": 0.6}
    unified = [cell(method, 0, {"image_auroc": score}) for method, score in scores.items()]
    easier = [
        cell(method, 0, {"image_auroc": 1 - score / 10}, overrides={"mode": "separate"})
        for method, score in scores.items()
    ]
    rows = gather([*unified, *easier])
    best = {row.label for row in rows if ranks(rows)[id(row), "image_auroc"].best}
    assert best == {"uniad", "padim[mode=separate]"}
    assert [row.label for row in main_rows(rows)][:2] == ["padim", "uniad"]
    assert "`mode=separate` (one model per category) solve another task" in markdown.page(rows)


@pytest.mark.parametrize(("count", "apart"), [(3, False), (4, True)])
def test_many_variants_stand_apart_and_hold_no_rank(count: int, apart: bool) -> None:
    made = [cell("padim", 0, {"image_auroc": 0.8}), cell("uniad", 0, {"image_auroc": 0.7})]
    made += [cell("uniad", 0, {"image_auroc": 0.9}, overrides={"jitter": number}) for number in range(count)]
    rows = gather(made)
    assert len(variants(rows)) == (count if apart else 0)
    places = ranks(rows)
    assert ((id(row_of(rows, "uniad[jitter=0]")), "image_auroc") in places) is not apart
    assert places[id(row_of(rows, "padim")), "image_auroc"].best is apart
    page = markdown.page(rows)
    assert ("### Variants" in page) is apart
    assert [row.label for row in families(rows)[0]] == ["uniad", *(f"uniad[jitter={n}]" for n in range(count))]


def test_variants_stand_in_natural_order() -> None:
    changes: list[dict[str, Any]] = [
        {"jitter": 20}, {"jitter": 5, "mask": 3}, {"jitter": 5}, {"jitter": 0.5}, {"jitter": "off"}, {"decoder": "none"}
    ]  # fmt: skip
    (family,) = families(gather([cell(overrides=change) for change in changes]))
    assert [", ".join(row.changes) for row in family] == [
        "decoder=none", "jitter=0.5", "jitter=5", "jitter=5, mask=3", "jitter=20", "jitter=off",
    ]  # fmt: skip


def test_variants_follow_their_method_in_the_page(files: Files) -> None:
    main, apart = files["leaderboard.md"].decode().split("### Variants")
    detection = main.split("### Detection")[1].split("### Localisation")[0]
    assert "jitter" not in detection
    assert detection.index("| uniad (claims)") < detection.index("| patchcore\\[mode=separate\\]")
    first = apart.split("#### Detection\n\n")[1].splitlines()
    assert first[2].startswith("| uniad (claims)")
    assert first[3].startswith("| uniad\\[decoder=first\\_layer\\]")


def test_every_table_of_the_pages_is_rectangular(files: Files) -> None:
    for name in ("leaderboard.md", "breakdowns.md"):
        blocks = [block.splitlines() for block in files[name].decode().split("\n\n") if block.startswith("|")]
        assert len(blocks) >= 4
        for block in blocks:
            assert len({line.replace("\\|", "").count("|") for line in block if line.startswith("|")}) == 1


# ---------------------------------------------------------------------------------------------------------- learning
def curve(values: list[float], seed: int = 0, losses: list[float] | None = None, **more: Any) -> StoredResult:
    steps = 100.0 * np.arange(1, len(values) + 1)
    arrays = {"probe_step": steps, "probe_pixel_auroc": values, "probe_loss": losses or values}
    return cell("recon_mlp", seed, arrays=arrays, **more)


def test_peak_end_and_fall_are_taken_seed_by_seed() -> None:
    results = [curve([0.5, 0.9, 0.8], 0, [3.0, 2.0, 1.0]), curve([0.7, 0.6, 0.6], 1, [4.0, 2.0, 0.5])]
    table = peaks_table(learning_of(results, gather(results)))
    cells = [text.strip() for text in table.splitlines()[2].split("|")]
    assert cells[2:4] == ["300", "2"]
    assert cells[4:8] == ["0.800 ± 0.141 (150)", "0.700 ± 0.141", "0.100 ± 0.000", "3 → 0.75"]


def test_undefined_points_and_other_steps_leave_a_seed_out() -> None:
    results = [curve([0.5, 0.6], 0), curve([0.5, math.nan], 1), curve([0.5, 0.6, 0.7], 2), cell("recon_mlp", 3)]
    (learned,) = learning_of(results, gather(results))
    assert learned.curves["pixel_auroc"].shape == (2, 2)
    assert "0.600 (200)" in peaks_table([learned])
    assert peaks_table(learning_of([curve([math.nan] * 2)], gather([curve([math.nan] * 2)]))).count("n/a") == 1


def test_rows_without_measured_scores_have_no_curves() -> None:
    results = [cell(arrays={"probe_step": STEPS, "probe_loss": STEPS}), cell("padim", arrays={"probe_loss": STEPS})]
    assert learning_of(results, gather(results)) == []
    assert peaks_table([]) == ""


# ----------------------------------------------------------------------------------------------------------- figures
def test_every_figure_is_drawn_and_shown(files: Files) -> None:
    page = files["leaderboard.md"].decode()
    names = {
        "learning_curves-claims", "learning_curves-uniad-claims", "learning_curves-mode=separate-claims",
        "change-mode=separate-claims", "variants-uniad-claims",
        "overlays-s0-claims", "overlays-mode=separate-s0-claims", "overlays-uniad-s0-claims",
    }  # fmt: skip
    assert {name.removeprefix("pictures/") for name in files if name.endswith(".png")} == {f"{n}.png" for n in names}
    for name in names:
        assert page.count(f"(pictures/{name}.png)") == 1
        with Image.open(io.BytesIO(files[f"pictures/{name}.png"])) as picture:
            assert min(picture.size) > 100


def test_tables_and_figures_come_back_from_the_archive_alone(files: Files, tmp_path: Path) -> None:
    # An archive is ordered by key: results in another order give the same bytes.
    place = tmp_path / "micro" / "anomaly"
    for name, content in files.items():
        if name == archive.NAME or name.startswith("pictures/overlays"):
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
    leaderboard.write(Store(tmp_path / "nothing"), "anomaly", tmp_path, kept=tmp_path)
    again = {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*.*")}
    assert {name for name in files if again.get(name) != files[name]} == set()


def test_undefined_points_survive_the_archive(tmp_path: Path) -> None:
    made = curve([0.5, math.nan, math.inf])
    (tmp_path / archive.NAME).write_bytes(archive.lines([made]))
    (back,) = archive.read(tmp_path / archive.NAME)
    np.testing.assert_equal(dict(back.per_sample), dict(made.per_sample))


@pytest.mark.filterwarnings("error")
def test_figures_survive_hostile_labels_and_undefined_points() -> None:
    nasty = "$\\frac{a}$_|<b>"
    results = [
        anomaly("uniad", 0),
        anomaly("uniad", 0, {"_note": nasty}),
        curve([0.5, math.nan]),
        curve([math.nan] * 2, 1),
    ]
    rows = gather(results)
    drawings = [*learning_curves.draw(learning_of(results, rows), rows), *variant_scores(rows)]
    names = [drawing.name for drawing in drawings]
    assert names == ["learning_curves-claims", "learning_curves-uniad-claims", "variants-uniad-claims"]


def test_differences_are_paired_by_seed() -> None:
    one = [cell("uniad", seed, {"image_auroc": value}) for seed, value in ((0, 0.5), (1, 0.6), (2, math.nan))]
    two = [
        cell("uniad", seed, {"image_auroc": value}, overrides={"mode": "separate"})
        for seed, value in ((1, 0.9), (2, 0.9), (0, 0.7))
    ]
    rows = gather([*one, *two])
    usual, easier = row_of(rows, "uniad"), row_of(rows, "uniad[mode=separate]")
    assert paired_differences(usual, easier, "image_auroc") == pytest.approx([-0.2, -0.3])
    assert paired_differences(usual, easier, "pixel_auroc") == []
    (drawing,) = setting_changes(rows)
    assert drawing.table.splitlines()[2] == "| uniad | 2 | -0.250 ± 0.071 [-0.300, -0.200] |"
    assert drawing.table in markdown.page(rows, extras=markdown.Extras(drawings=[drawing]))


def test_without_pairs_and_variants_there_are_no_such_figures() -> None:
    rows = gather([cell(), cell("padim", overrides={"mode": "separate"}), cell("a", 0, {"fid": 1.0})])
    assert [*setting_changes(rows), *variant_scores(rows)] == []


def test_figures_of_several_data_sets_and_budgets_have_names_of_their_own() -> None:
    made = [anomaly("uniad", 0, changes) for changes in ({}, {"jitter": 1})]
    data = replace(DATA, options={"categories": 1})
    other = [replace(one, cell=replace(one.cell, data=data)) for one in made]
    names = [drawing.name for drawing in variant_scores(gather([*made, *other]))]
    assert sorted(names) == [f"variants-uniad-claims-categories={number}" for number in (1, 3)]


# ------------------------------------------------------------------------------------------------------------ sheets
def test_a_sheet_shows_what_is_shared_once_and_a_line_per_row(tmp_path: Path) -> None:
    names = {method: tmp_path / overlays(tmp_path, level) for method, level in (("padim", 10), ("uniad", 200))}
    odd = tmp_path / "odd.png"
    Image.fromarray(np.zeros((192, 192, 3), np.uint8)).save(odd)
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"torn")
    shown = {**names, "zodd": odd, "ztorn": torn}
    made = [cell(method, 3, pictures={"overlays": path.name}, folder=tmp_path) for method, path in shown.items()]
    rows = gather([*made, cell("znone", 3)])
    (sheet,) = sheets(rows, {group_of(one.cell): one for one in made}).items()
    assert sheet[0] == "overlays-s3-claims"
    with Image.open(io.BytesIO(sheet[1])) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    assert pixels.shape[0] == 4 * 64
    assert pixels[2 * 64 + 5, -5].tolist() == [10] * 3
    assert pixels[3 * 64 + 5, -5].tolist() == [200] * 3
    assert np.array_equal(pixels[:64, -192:, 0], 255 - pixels[64:128, -192:, 0])


# --------------------------------------------------------------------------------------------------- names of data
def test_data_sets_of_one_name_are_told_apart_by_what_differs() -> None:
    def on(**changes: Any) -> StoredResult:
        made = cell()
        return replace(made, cell=replace(made.cell, data=replace(DATA, **changes)))

    options = {"categories": 3, "task": "semantic"}
    rows = gather([on(), on(options=options), on(options={**options, "categories": 6})])
    assert [row.data for row in rows] == [
        "defects/mixed 64 px, categories=3",
        "defects/mixed 64 px, categories=3, task=semantic",
        "defects/mixed 64 px, categories=6, task=semantic",
    ]
    assert all(row.data.startswith("defects/mixed 64 px, ") for row in gather([on(), on(seed=1)]))
    assert len({row.data for row in gather([on(), on(seed=1)])}) == 2
    assert {row.data for row in gather([on(), on(resolution=32)])} == {"defects/mixed 64 px", "defects/mixed 32 px"}
