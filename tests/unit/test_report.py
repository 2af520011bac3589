"""The report page: everything in it, nothing from outside, the same bytes, honest about what is missing."""

from __future__ import annotations

import base64
import hashlib
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.tables import archive, loss_curves, report, report_boards, report_pictures, svg
from harness.tables.rows import gather
from harness.types import Budget, ConfigError
from tests.unit import anomaly_results, segmentation_results
from tests.unit.report_bench import CLAIMS, FID, QUICK, Page, Rack, arm, changed, endings, heads, written
from tests.unit.stored_results import result


@pytest.fixture(scope="module")
def heads_page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("heads")
    return Page(written([*heads(folder), *endings()], folder))


# ----------------------------------------------------------------------------------------------------- structure
def test_the_page_is_whole_and_every_link_leads_somewhere(heads_page: Page) -> None:
    page = heads_page
    ids = [value for (_, name), values in page.attributes.items() if name == "id" for value in values]
    assert len(ids) == len(set(ids))
    links = page.attributes["a", "href"]
    assert links
    assert all(link.removeprefix("#") in ids for link in links)
    labels = [value for (_, name), values in page.attributes.items() if name == "aria-labelledby" for value in values]
    assert set(labels) <= set(ids)
    assert sum(count for (tag, _), count in page.tags.items() if tag == "h1") == 1
    assert not page.open
    for title in ("Standings", "Claims", "Leaderboard", "Quality against cost", "Learning curves", "Pictures"):
        assert title in page.texts
    assert all(alt for alt in page.attributes["img", "alt"][:-1])  # the last one is the viewer's, filled when it opens


def test_nothing_comes_from_outside_and_the_policy_admits_just_what_is_inside(heads_page: Page) -> None:
    page = heads_page
    sources = [*page.attributes["img", "src"], *page.attributes["link", "href"]]
    assert all(source.startswith("data:") for source in sources)
    assert not [name for _, name in page.attributes if name.startswith("on") or name == "style"]
    assert {"iframe", "object", "embed", "base", "form"}.isdisjoint(tag for tag, _ in page.tags)
    policy = dict(part.split(" ", 1) for part in page.attributes["meta", "content"][0].split("; "))
    assert policy["default-src"] == "'none'"
    for kind in ("style", "script"):
        digest = base64.b64encode(hashlib.sha256(page.raw[kind].encode()).digest()).decode()
        assert policy[f"{kind}-src"] == f"'sha256-{digest}'"
    assert "url(" not in page.raw["style"]
    assert "@import" not in page.raw["style"]
    assert not re.search(r"fetch|XMLHttp|import\(|eval|innerHTML", page.raw["script"])


def test_equal_results_give_equal_bytes_in_any_order(tmp_path: Path) -> None:
    results = [*heads(tmp_path), *endings()]
    first = written(results, tmp_path)
    assert written(results[::-1], tmp_path) == first
    assert not re.search(r"\b20\d\d-\d\d-\d\d\b", Page(first).text)


def test_a_report_loads_no_torch(tmp_path: Path) -> None:
    code = "import sys; from harness.tables import report; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# -------------------------------------------------------------------------------------------------- what it tells
def test_verdicts_stand_with_their_evidence(heads_page: Page) -> None:
    claims = heads_page.attributes["details", "data-word"]
    assert {"SUPPORTED", "UNTESTED"} <= set(claims)
    assert sum(claims.count(word) for word in report.WORDS) == len(claims)
    assert "H1-2d" in heads_page.text
    assert "the effect is large enough and the seeds agree" in heads_page.text
    assert "Smallest effect that matters" in heads_page.text
    assert "SHA-256 of the claim" in heads_page.text


def test_cells_that_are_not_done_are_counted_with_their_reasons(heads_page: Page) -> None:
    text = heads_page.text
    assert "5 of 23 cells are not done:" in text
    for words in ("loss_d is NaN at step 7", "weights are not here", "result.json is damaged", "begun and interrupted"):
        assert words in text
    for state in ("1 failed", "1 skipped", "1 corrupt", "1 running", "1 partial"):
        assert state in text


def test_a_run_without_any_finished_cell_makes_a_page_that_says_so(tmp_path: Path) -> None:
    page = Page(written(endings(), tmp_path, damaged=["cell.json is not valid JSON <b>"]))
    assert "No cell is finished yet" in page.text
    assert "1 folders of the store cannot be read" in page.text
    assert "cell.json is not valid JSON <b>" in page.text
    assert "claims are untested" in page.text


def test_provenance_says_what_was_recorded_and_what_was_not(heads_page: Page) -> None:
    assert "444444444444 with uncommitted changes" in heads_page.text
    assert "torch 2.15.0" in heads_page.text
    assert "git state, packages and hardware of 7 cells" in heads_page.text


def test_unequal_budgets_stand_in_blocks_of_their_own(tmp_path: Path) -> None:
    rows = gather(heads(tmp_path), "3d_aware")
    board = report_boards.board(rows)
    assert [(block.reference, len(block.lines)) for block in board.blocks] == [(True, 2), (False, 3), (False, 1)]
    assert "claims, 48 000 images" in board.blocks[1].title
    quick = board.blocks[2].lines[0]
    place = [column.name for column in board.columns].index(FID)
    assert quick.scores[place].rank == ""
    assert not quick.scores[place].best
    assert ("one seed", "no interval, so its rank is unknown") in quick.marks
    best = board.blocks[1].lines[0]
    assert (best.label, best.scores[place].best, best.scores[place].rank) == ("hologan", True, "1")
    assert re.fullmatch(r"\[10\.\d+, 11\.\d+\]", best.scores[place].interval)
    assert [column.name for column in board.columns[:2]] == [FID, "pose_corr"]
    assert board.columns[-2].name == "CPU-seconds"
    assert best.scores[-2].text == "80"


def test_reported_numbers_stand_beside_and_are_never_mixed(heads_page: Page) -> None:
    assert "Reported by the papers" in heads_page.text
    assert "never ranked with them" in heads_page.text


@pytest.mark.parametrize("module", [anomaly_results, segmentation_results])
def test_other_suites_have_their_curves_sheets_and_variants(module: object, tmp_path: Path) -> None:
    page = Page(written(module.suite(folder=tmp_path), tmp_path))
    assert "Learning curves" in page.text
    assert "variants" in page.text
    assert "chosen before any run" in page.text
    assert "labelling network" in page.text or "Heat maps" in page.text


def test_a_suite_that_is_not_known_here_is_shown_without_claims(tmp_path: Path) -> None:
    results = [changed(one) for one in (result("mine", seed, suite="elsewhere") for seed in (0, 1))]
    text = Page(written(results, tmp_path)).text
    assert "Suite elsewhere" in text
    assert "claims cannot be judged" in text


def test_throughput_tables_are_shown_as_they_are(tmp_path: Path) -> None:
    place = tmp_path / "nvidia-h100" / "throughput"
    place.mkdir(parents=True)
    (place / "throughput.csv").write_text("method,images_s\nhologan,1234.5\n<i>,\n", encoding="utf-8")
    (place / "phases.csv").write_text("method,phase\nhologan,generator\n", encoding="utf-8")
    page = Page(written([result(suite="elsewhere")], tmp_path, kept=tmp_path))
    assert "nvidia-h100: throughput" in page.text
    assert "1234.5" in page.texts
    assert "<i>" in page.texts
    assert page.tags["th", ("class", "scope")] >= 1  # numbers are aligned as such


def test_bad_requests_name_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no cell of suite anomaly.*kept=results"):
        report.write(Rack([]), tmp_path / "page.html", "anomaly")
    with pytest.raises(ConfigError, match=r"ends in \.html"):
        report.write(Rack(endings()), tmp_path)


# ------------------------------------------------------------------------------------------------------- archive
def test_the_page_of_an_archive_shows_the_same_curves_and_pictures(tmp_path: Path) -> None:
    results = heads(tmp_path / "runs")
    kept = tmp_path / "kept" / "micro" / "3d_aware"
    kept.mkdir(parents=True)
    (kept / archive.NAME).write_bytes(archive.lines(results))
    (kept / loss_curves.NAME).write_bytes(loss_curves.lines(loss_curves.losses_of(results)))
    pictures = report_pictures.collect(results, gather(results, "3d_aware"))
    (kept / "pictures").mkdir()
    for stem, content in pictures.items():
        (kept / "pictures" / f"{stem}.png").write_bytes(content)
    ours, theirs = (
        Page(written(results, tmp_path)),
        Page(written([], tmp_path, kept=tmp_path / "kept")),
    )
    assert ours.attributes["img", "src"] == theirs.attributes["img", "src"]
    assert ours.attributes["polyline", "points"] == theirs.attributes["polyline", "points"]
    assert ours.text.partition("Provenance")[0] == theirs.text.partition("Provenance")[0]


def test_losses_are_thinned_and_come_back(tmp_path: Path) -> None:
    (one,) = arm(tmp_path, "hologan", [0.5])
    losses = loss_curves.losses_of([one])
    made = losses[one.key]
    assert len(made.steps) == loss_curves.POINTS
    assert made.steps[-1] == 400
    assert made.values["loss_d"][0] == pytest.approx(np.mean([1, 0.5]), rel=1e-3)
    path = tmp_path / loss_curves.NAME
    path.write_bytes(loss_curves.lines(losses))
    assert loss_curves.read(path) == losses
    assert loss_curves.losses_of([changed(one, folder=tmp_path)]) == losses
    path.write_text('{"key": 1}\n', encoding="utf-8")
    with pytest.raises(Exception, match=r"curves\.jsonl:1"):
        loss_curves.read(path)


def test_gaps_infinities_and_cut_lines_of_a_log_do_no_harm(tmp_path: Path) -> None:
    (one,) = arm(tmp_path, "hologan", [0.5], suite="elsewhere")
    lines = ['{"step": 1, "losses": {"a": null, "b": "inf"}}', '{"step": 2, "losses": {"a": 2.0}}', '{"step": 3, "lo']
    (one.folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    made = loss_curves.losses_of([one])[one.key]
    assert made.steps == (1, 2)
    assert math.isnan(made.values["a"][0])
    assert made.values["b"][0] == math.inf
    assert "Learning curves" in Page(written([one], tmp_path)).text


# ------------------------------------------------------------------------------------------------------ pictures
def test_pictures_become_small_and_the_least_telling_are_named_instead(tmp_path: Path) -> None:
    results = heads(tmp_path)
    rows = gather(results, "3d_aware")
    found = report_pictures.candidates(results, rows, None)
    (every,) = report_pictures.galleries([found])
    assert sum(len(gallery.shown) for gallery in every) == len(found) == 7  # four rows, three strips of seeds
    assert all(one.pixelated and one.uri.startswith("data:image/webp;base64,") for g in every for one in g.shown)
    sizes = sorted(len(report_pictures.encode(one.png)[0]) for one in found)
    (few,) = report_pictures.galleries([found], limit=sum(sizes[-4:]))
    shown = [one.caption for gallery in few for one in gallery.shown]
    left = [caption for gallery in few for caption in gallery.left]
    assert len(shown) + len(left) == 7
    assert sum("seed 0" in caption for caption in shown) == 4  # first every row's first seed
    assert all("a line per seed" in caption for caption in left)


def test_what_is_no_picture_is_left_out() -> None:
    assert report_pictures.encode(b"no picture") is None
    assert report_pictures.encode(b"") is None


# --------------------------------------------------------------------------------------------------------- plots
def test_a_scale_puts_numbers_in_order_and_ticks_inside() -> None:
    across = svg.scale([0.0, 10.0, math.nan, math.inf], 0, 100, margin=0)
    assert across is not None
    assert (across(0), across(5), across(10), across(99)) == (0, 50, 100, 100)
    assert [words for _, words in across.ticks()] == ["0", "2", "4", "6", "8", "10"]
    by_size = svg.scale([10.0, 1000.0], 0, 100, logarithmic=True)
    assert by_size is not None
    assert by_size(100) == pytest.approx(50)
    assert "100" in [words for _, words in by_size.ticks()]
    assert svg.scale([math.nan], 0, 1) is None
    assert svg.scale([1e300, -1e300], 0, 1) is not None
    assert svg.plain(12000) == "12\u202f000"


def test_a_plot_escapes_what_is_put_into_it() -> None:
    made = svg.picture(10, 10, '"><script>', [svg.text(1, 2, "</svg><b>&"), svg.dot(1, 1, 1, "seed", "<i>")])
    page = Page(made)
    assert [tag for tag, _ in page.tags] == ["svg", "text", "circle", "title"]
    assert page.attributes["svg", "aria-label"] == ['"><script>']
    assert page.texts == ["</svg><b>&", "<i>"]


def test_the_strongest_row_of_the_largest_comparison_leads(tmp_path: Path) -> None:
    results = [*heads(tmp_path), *arm(tmp_path, "pigan", [0.99], Budget("claims", 10))]
    (part,) = report.write(Rack(results), tmp_path / "page.html")
    (largest,) = part.largest
    assert largest.places[0].name == "hologan"
    assert [standing.title.split(",")[0] for standing in part.standings] == ["budget claims"] * 2 + ["budget quick"]
    assert report.console_rows([part])[0][:4] == ["3d_aware", "micro", "19 done", "7"]
    assert (CLAIMS.name, QUICK.name) == ("claims", "quick")
