"""The ledger of claims: the same bytes from the same results, and the verb that writes it."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path
from typing import Any

import pytest

from harness import cli, registry
from harness.store import StoredResult
from harness.tables import ledger
from harness.tables.claim_files import claimed_suites
from harness.types import Budget
from tests.unit.claim_bench import HIGH, LOW, NONE, RESULTS, ROTATION, read, seeds, suite_with, verdict_of
from tests.unit.stored_results import Shelf


def ledger_of(folder: Path, results: list[StoredResult], *claims: dict[str, Any]) -> tuple[str, str]:
    store: Any = Shelf(results)
    ledger.write(store, registry.suite(str(suite_with(folder, *claims))), folder / "out")
    place = folder / "out" / "micro" / "mine"
    return (place / "claims.csv").read_text(encoding="utf-8"), (place / "claims.md").read_text(encoding="utf-8")


def test_the_order_of_results_does_not_change_a_byte(tmp_path: Path) -> None:
    claims = [ROTATION, {**ROTATION, "id": "both", "control": ["pigan", 0.3]}]
    results = [*RESULTS, *seeds(LOW, "pigan"), *seeds(LOW, "pigan", budget=Budget("quick", 7))]
    expected = ledger_of(tmp_path, results, *claims)
    random.Random(3).shuffle(results)
    assert ledger_of(tmp_path, results, *claims) == expected


def test_a_line_per_comparison_with_the_digest_of_the_claim(tmp_path: Path) -> None:
    both = {**ROTATION, "control": ["hologan[train_rotation=none]", "dcgan"]}
    untestable = {"id": "never", "text": "Looks good.", "source": "a paper", "untestable": "it needs eyes"}
    text, _ = ledger_of(tmp_path, [*RESULTS, *seeds(HIGH, "dcgan")], both, untestable)
    lines = list(csv.DictReader(io.StringIO(text)))
    assert [line["control"] for line in lines] == ["hologan[train_rotation=none]", "dcgan", ""]
    assert [line["comparison"] for line in lines] == ["SUPPORTED", "REFUTED", ""]
    assert {line["verdict"] for line in lines[:2]} == {"REFUTED"}
    assert lines[0]["claim_digest"] == lines[1]["claim_digest"] != lines[2]["claim_digest"]
    assert lines[2]["verdict"] == "UNTESTED"
    assert (lines[0]["p"], lines[0]["p_two_sided"], lines[0]["n_pairs"]) == ("0.03125", "0.0625", "5")
    assert lines[0]["differences"].startswith("[0.8 0.5")
    assert None not in lines[0]
    assert None not in lines[0].values()


def test_the_page_is_plain_markdown(tmp_path: Path) -> None:
    noted = {**ROTATION, "note": "<b>bold</b> | bar"}
    _, page = ledger_of(tmp_path, RESULTS, noted)
    assert "<" not in page
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.replace("\\|", "").count("|") in (9, 8)
    assert "Rotation \\| matters." in page
    assert "(stale) |" in page
    assert "- Stale, the code has changed since: hologan seeds 0 1 2 3 4; hologan" in page
    assert "| 0.650 \\[0.500, 0.800\\] |" in page


def test_a_claim_supported_by_its_own_test_only_is_marked(tmp_path: Path) -> None:
    second = {**ROTATION, "id": "second", "control": 0.5}
    text, page = ledger_of(tmp_path, RESULTS, ROTATION, second)
    assert page.count("SUPPORTED\\*") >= 4
    assert {line["passes_holm"] for line in csv.DictReader(io.StringIO(text))} == {"no"}
    text, page = ledger_of(tmp_path, RESULTS, ROTATION)
    assert {line["passes_holm"] for line in csv.DictReader(io.StringIO(text))} == {"yes"}
    assert "## rotation: SUPPORTED\n" in page


def test_claims_about_other_tiers_are_left_out(tmp_path: Path) -> None:
    text, _ = ledger_of(tmp_path, RESULTS, ROTATION, {**ROTATION, "id": "large", "tier": "small"})
    assert [line["claim"] for line in csv.DictReader(io.StringIO(text))] == ["rotation"]


def test_the_console_shows_the_seeds_that_would_decide(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    unsure = verdict_of(claim, [*seeds([0.9, 0.8, 0.95, 0.85, 0.1]), *seeds(LOW, overrides=NONE)])
    lines = ledger.console_rows([unsure, verdict_of(claim, RESULTS), verdict_of(claim, [])])
    shown = [dict(zip(ledger.CONSOLE, line, strict=True)) for line in lines]
    assert shown[0]["to decide"] == f"about {unsure.comparisons[0].needed}"
    assert [line["to decide"] for line in shown[1:]] == ["decided", ""]


def test_without_results_the_ledger_says_so(tmp_path: Path) -> None:
    text, page = ledger_of(tmp_path, [], ROTATION)
    assert "UNTESTED" in text
    assert "no finished rows" in page


# ------------------------------------------------------------------------------------------------ the command line
def test_the_verb_writes_and_shows_the_ledger_and_a_verdict_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = registry.ROOT / "results"
    words = ["claims", "suite=3d_aware", f"store={tmp_path / 'none'}", f"kept={kept}", f"out={tmp_path}"]
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    assert "H3-shape" in shown
    assert "REFUTED" in shown
    folder = tmp_path / "micro" / "3d_aware"
    assert {path.name for path in folder.iterdir()} == {"claims.csv", "claims.md"}


def test_without_a_suite_every_suite_with_claims_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["claims", f"store={tmp_path}", f"out={tmp_path}"]) == 0
    shown = capsys.readouterr().out
    assert all(f"{name}, tier micro" in shown for name in claimed_suites())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["suite=3d_awar"], "Did you mean 3d_aware"),
        (["tier=mikro"], "Did you mean micro"),
        (["suit=3d_aware"], "Did you mean suite"),
    ],
)
def test_wrong_words_are_one_message(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["claims", *words]) == 2
    assert message in capsys.readouterr().err
