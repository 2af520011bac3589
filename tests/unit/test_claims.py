"""Claims: read with care, paired by seed, judged by the rule, written as the same bytes."""

from __future__ import annotations

import csv
import io
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import cli, registry
from harness.store import StoredResult
from harness.tables import ledger
from harness.tables.claim_files import canonical, claimed_suites, read_claims
from harness.tables.claim_terms import Claim
from harness.tables.claims import Verdict, judge
from harness.types import Budget, ConfigError
from tests.unit.stored_results import DATA, Shelf, result

CLAIMS = Budget("claims", 48000)
NONE = {"train_rotation": "none"}
ROTATION = {
    "id": "rotation",
    "text": "Rotation | matters.",
    "source": "a paper",
    "metric": "pose_corr",
    "direction": "higher",
    "treatment": "hologan",
    "control": "hologan[train_rotation=none]",
    "smallest_effect": 0.2,
    "unit": "correlation",
}


def suite_with(folder: Path, *claims: dict[str, Any], **more: Any) -> Path:
    """A suite file with claims beside it."""
    path = folder / "mine.yaml"
    text = registry.suites()["3d_aware"].read_text(encoding="utf-8")
    path.write_text(text.replace("name: 3d_aware", "name: mine"), encoding="utf-8")
    (folder / "claims").mkdir(exist_ok=True)
    content = yaml.safe_dump({"claims": list(claims), **more}, sort_keys=False)
    (folder / "claims" / "mine.yaml").write_text(content, encoding="utf-8")
    return path


def read(folder: Path, *claims: dict[str, Any], **more: Any) -> list[Claim]:
    return read_claims(registry.suite(str(suite_with(folder, *claims, **more))))[0]


def seeds(
    values: list[float], method: str = "hologan", metric: str = "pose_corr", budget: Budget = CLAIMS, **more: Any
) -> list[StoredResult]:
    return [
        result(method, seed, {metric: value}, budget=budget, suite="mine", **more) for seed, value in enumerate(values)
    ]


HIGH, LOW = [0.9, 0.8, 0.95, 0.85, 0.9], [0.1, 0.3, 0.2, 0.15, 0.4]
RESULTS = [*seeds(HIGH), *seeds(LOW, overrides=NONE)]


def verdict_of(claim: Claim, results: list[StoredResult], tier: str = "micro") -> Verdict:
    (verdict,) = judge([claim], results, tier)
    return verdict


# ------------------------------------------------------------------------------------------------------- reading
def test_every_committed_claim_can_be_read() -> None:
    assert {"3d_aware", "anomaly", "segmentation"} <= set(claimed_suites())
    for name in claimed_suites():
        claims, about = read_claims(registry.suite(name))
        assert about
        assert len({claim.digest for claim in claims}) == len(claims)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrik": "fid"}, "unknown field 'metrik'. Did you mean metric"),
        ({"metric": "pose_cor"}, "unknown metric 'pose_cor'. Did you mean pose_corr"),
        ({"treatment": "hologn"}, "unknown method 'hologn'. Did you mean hologan"),
        ({"control": "hologan[train_rotatoin=none]"}, "Did you mean train_rotation"),
        ({"control": "hologan[train_rotation=nine]"}, "Did you mean none"),
        ({"control": "floor:nose"}, "Did you mean floor:noise"),
        ({"control": {"row": "hologan", "plus": "dcgan"}}, "unknown field 'plus'"),
        ({"control": {"row": "hologan"}}, "is no row, number or difference"),
        ({"control": {"row": "hologan", "minus": 3}}, "is no row, number or difference"),
        ({"control": {"row": "hologan", "metric": "pose_cor"}}, "Did you mean pose_corr"),
        ({"control": {"row": "hologan", "data": "head"}}, "data: must map"),
        ({"control": "a b[c"}, "is no row label"),
        ({"control": []}, "the list is empty"),
        ({"control": True}, "is no row, number or difference"),
        ({"direction": "up"}, "unknown direction: 'up'"),
        ({"smallest_effect": -0.1}, "must be a number of at least 0"),
        ({"smallest_effect": "much"}, "must be a number of at least 0"),
        ({"source": None}, "the field 'source' is missing"),
        ({"text": ["a"]}, "must be text"),
        ({"test": "t_test"}, "unknown test: 't_test'"),
        ({"tier": "mikro"}, "Did you mean micro"),
        ({"budget": "claim"}, "Did you mean claims"),
        ({"data": "head"}, "data: must map"),
        ({"control": {"row": "hologan", "times": 0}}, "times: 0 must be a number above 0"),
        ({"gate": 3}, "must be the id of a claim"),
        ({"gate": "rotatoin"}, "unknown gate 'rotatoin'"),
        ({"gate": "rotation"}, "unknown gate 'rotation'"),
    ],
)
def test_a_wrong_claim_says_where_and_what(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, {**ROTATION, **change})
    assert message in str(caught.value)
    assert "mine.yaml: rotation" in str(caught.value)


def test_a_wrong_file_says_what(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two claims are called 'rotation'"):
        read(tmp_path, ROTATION, ROTATION)
    with pytest.raises(ConfigError, match="Did you mean defaults"):
        read(tmp_path, ROTATION, default={})
    with pytest.raises(ConfigError, match="must be a list of claims"):
        read(tmp_path)
    with pytest.raises(ConfigError, match="a claim without id"):
        read(tmp_path, {"text": "nameless"})
    path = suite_with(tmp_path, ROTATION)
    (tmp_path / "claims" / "mine.yaml").write_text("claims: !!python/name:os.system", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml"):
        read_claims(registry.suite(str(path)))
    (tmp_path / "claims" / "mine.yaml").unlink()
    with pytest.raises(ConfigError, match="states no claims"):
        read_claims(registry.suite(str(path)))


def test_the_digest_holds_everything_but_the_note(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    (noted,) = read(tmp_path, {**ROTATION, "note": "Explained."})
    assert noted.digest == claim.digest
    for change in ({"smallest_effect": 0.3}, {"direction": "lower"}, {"text": "Other."}, {"control": "dcgan"}):
        (changed,) = read(tmp_path, {**ROTATION, **change})
        assert changed.digest != claim.digest
    (spelt,) = read(tmp_path, {**ROTATION, "smallest_effect": 2e-1}, defaults={"budget": "claims"})
    assert spelt.digest == claim.digest


def test_claims_keep_the_digests_of_their_stored_verdicts() -> None:
    for name in ("3d_aware", "anomaly"):
        stored = (registry.ROOT / "results" / "micro" / name / "claims.csv").read_text(encoding="utf-8")
        claims, _ = read_claims(registry.suite(name))
        lines = csv.DictReader(io.StringIO(stored))
        assert {line["claim_digest"] for line in lines} == {claim.digest for claim in claims}


def test_the_column_and_the_data_of_a_term_are_part_of_the_digest(tmp_path: Path) -> None:
    terms: list[Any] = [
        "dcgan",
        {"row": "dcgan", "metric": "pose_slope"},
        {"row": "dcgan", "data": {"name": "objects/car"}},
    ]
    claims = read(tmp_path, *({**ROTATION, "id": str(place), "control": term} for place, term in enumerate(terms)))
    assert len({replace(claim, id="").digest for claim in claims}) == 3
    assert [str(claim.controls[0]) for claim in claims] == [
        "dcgan",
        "pose_slope of dcgan",
        "dcgan at name=objects/car",
    ]


def test_labels_have_one_spelling() -> None:
    assert canonical("a[y=1.0, x=True]") == canonical("a[x=true,y=1]") == "a[x=true,y=1]"
    assert canonical("a[b=['c', 'd'],a=0]") == canonical("a[a=0.0,b=[c,d]]")
    assert canonical("floor:noise") == "floor:noise"


# ------------------------------------------------------------------------------------------------------- verdicts
def test_seeds_that_agree_support_a_claim(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    verdict = verdict_of(claim, RESULTS)
    (compared,) = verdict.comparisons
    assert (verdict.verdict, verdict.judged) == ("SUPPORTED", True)
    assert compared.differences == pytest.approx((0.8, 0.5, 0.75, 0.7, 0.5))
    assert compared.effect == pytest.approx(0.65)
    assert compared.interval == pytest.approx((0.5, 0.8))
    assert (verdict.p, verdict.holm) == (1 / 32, 1 / 32)


def test_the_other_direction_is_refuted(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, {**ROTATION, "direction": "lower"})
    verdict = verdict_of(claim, RESULTS)
    assert verdict.verdict == "REFUTED"
    assert verdict.reason == "the effect goes the other way"


def test_an_effect_too_small_to_matter_is_refuted(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, {**ROTATION, "smallest_effect": 0.9})
    assert verdict_of(claim, RESULTS).verdict == "REFUTED"
    (claim,) = read(tmp_path, {**ROTATION, "smallest_effect": 0.7})
    verdict = verdict_of(claim, RESULTS)
    assert verdict.verdict == "INCONCLUSIVE"
    assert "on average smaller" in verdict.reason


def test_seeds_that_disagree_decide_nothing(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    verdict = verdict_of(claim, [*seeds([0.9, 0.8, 0.95, 0.85, 0.1]), *seeds(LOW, overrides=NONE)])
    assert verdict.verdict == "INCONCLUSIVE"
    assert verdict.reason == "large enough on average, but the seeds disagree"
    needed = verdict.comparisons[0].needed
    assert needed is not None
    assert needed > 5


@pytest.mark.parametrize(
    ("results", "word", "reason"),
    [
        (RESULTS[:9], "INCONCLUSIVE", "4 paired seeds, a verdict needs 5"),
        (RESULTS[:5], "UNTESTED", "not run: hologan[train_rotation=none]"),
        ([], "UNTESTED", "no finished rows"),
        ([replace(r, status="failed") for r in RESULTS], "UNTESTED", "not run: hologan, hologan[train_rotation=none]"),
        (
            [*seeds(HIGH, budget=Budget("quick", 9)), *seeds(LOW, budget=Budget("quick", 9), overrides=NONE)],
            "INCONCLUSIVE",
            "budget quick: verdicts come only from budget claims",
        ),
        ([*seeds(HIGH), *seeds(LOW, budget=Budget("quick", 9), overrides=NONE)], "UNTESTED", "not run: "),
        ([*seeds([0.9] * 5), *seeds([0.1] * 5, overrides=NONE)], "INCONCLUSIVE", "the seeds replicate nothing"),
    ],
)
def test_what_cannot_be_judged_says_why(tmp_path: Path, results: list[StoredResult], word: str, reason: str) -> None:
    (claim,) = read(tmp_path, ROTATION)
    verdict = verdict_of(claim, results)
    assert verdict.verdict == word
    assert reason in verdict.reason


def test_seeds_that_agree_in_one_metric_only_are_replicates(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    results = [*seeds([0.9] * 5), *seeds([0.1] * 5, overrides=NONE)]
    varied = [replace(r, metrics={**r.metrics, "pose_slope": 0.1 * r.cell.seed}) for r in results]
    verdict = verdict_of(claim, varied)
    assert (verdict.verdict, verdict.judged, verdict.p) == ("SUPPORTED", True, 1 / 32)
    assert verdict.comparisons[0].interval == pytest.approx((0.8, 0.8))


def test_smoke_gives_no_verdict(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    results = [*seeds(HIGH, tier="smoke"), *seeds(LOW, tier="smoke", overrides=NONE)]
    verdict = verdict_of(claim, results, "smoke")
    assert (verdict.verdict, verdict.judged) == ("INCONCLUSIVE", False)
    assert math.isnan(verdict.holm)


def test_only_common_seeds_with_a_value_are_paired(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    control = seeds([*LOW, 0.2, math.nan], overrides=NONE)
    treated = [r for r in seeds([*HIGH, 0.9, 0.9, 0.9]) if r.cell.seed != 2]
    treated[0] = replace(treated[0], status="failed", metrics={})
    (compared,) = verdict_of(claim, [*control, *treated]).comparisons
    assert compared.seeds == (1, 3, 4, 5)
    assert compared.unpaired == {
        0: "hologan failed",
        2: "hologan was not run",
        6: "hologan[train_rotation=none] has no pose_corr",
        7: "hologan[train_rotation=none] was not run",
    }


def test_the_claims_budget_counts_even_beside_a_larger_quick_one(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    quick = Budget("quick", 99000)
    verdict = verdict_of(claim, [*RESULTS, *seeds(LOW, budget=quick), *seeds(HIGH, budget=quick, overrides=NONE)])
    assert (verdict.verdict, verdict.budget, verdict.images) == ("SUPPORTED", "claims", 48000)


def test_a_claim_against_several_must_hold_against_each(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, {**ROTATION, "control": ["hologan[train_rotation=none]", "pigan"]})
    equal = [value + 0.001 * i for i, value in enumerate(HIGH)]
    assert verdict_of(claim, [*RESULTS, *seeds(LOW, "pigan")]).verdict == "SUPPORTED"
    verdict = verdict_of(claim, [*RESULTS, *seeds(equal, "pigan")])
    assert verdict.verdict == "REFUTED"
    assert verdict.reason == "against pigan: an effect of the smallest size that matters is ruled out"
    assert ledger.console_rows([verdict])[0][2].startswith("-0.002 [")
    assert verdict.p == max(c.p for c in verdict.comparisons)
    assert verdict_of(claim, RESULTS).verdict == "UNTESTED"


def test_a_difference_of_differences(tmp_path: Path) -> None:
    drop = {"row": "hologan", "minus": "hologan[train_rotation=none]"}
    rival = {"row": "pigan", "minus": "dcgan"}
    (claim,) = read(tmp_path, {**ROTATION, "treatment": drop, "control": rival})
    results = [*RESULTS, *seeds([0.5, 0.6, 0.5, 0.6, 0.5], "pigan"), *seeds([0.4] * 5, "dcgan")]
    (compared,) = verdict_of(claim, results).comparisons
    assert compared.differences == pytest.approx((0.7, 0.3, 0.65, 0.5, 0.4))
    assert verdict_of(claim, results).verdict == "SUPPORTED"


def test_a_row_times_a_number_is_a_margin_in_parts_of_it(tmp_path: Path) -> None:
    control = {"row": "hologan[train_rotation=none]", "times": 0.1}
    (claim,) = read(tmp_path, {**ROTATION, "control": control, "smallest_effect": 0})
    (comparison,) = verdict_of(claim, RESULTS).comparisons
    assert comparison.control == "0.1 x hologan[train_rotation=none]"
    assert comparison.differences == pytest.approx([high - 0.1 * low for high, low in zip(HIGH, LOW, strict=True)])
    (plain,) = read(tmp_path, {**ROTATION, "control": {**control, "times": 1, "metric": "pose_corr"}})
    assert plain.controls[0].times == 1
    assert claim.digest != plain.digest


def test_a_refuted_gate_voids_what_stands_behind_it(tmp_path: Path) -> None:
    gate = {**ROTATION, "id": "gate", "direction": "lower", "smallest_effect": 0}
    claims = read(tmp_path, {**ROTATION, "gate": "gate"}, gate)
    assert claims[0].digest != read(tmp_path, ROTATION)[0].digest
    void, closed = judge(claims, RESULTS, "micro")
    assert (closed.verdict, void.verdict, void.judged) == ("REFUTED", "INCONCLUSIVE", False)
    assert void.reason.startswith("void: gate refuted; ")
    claims = read(tmp_path, {**ROTATION, "gate": ["gate"]}, {**gate, "direction": "higher"})
    assert [verdict.verdict for verdict in judge(claims, RESULTS, "micro")] == ["SUPPORTED", "SUPPORTED"]


def test_columns_of_one_row_are_compared(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, {**ROTATION, "control": {"row": "hologan", "metric": "pose_slope"}})
    both = [replace(r, metrics={**r.metrics, "pose_slope": 0.1 * r.cell.seed}) for r in seeds(HIGH)]
    (compared,) = verdict_of(claim, both).comparisons
    assert compared.differences == pytest.approx((0.9, 0.7, 0.75, 0.55, 0.5))
    assert verdict_of(claim, seeds(HIGH)).comparisons[0].unpaired[0] == "hologan has no pose_slope"


LARGE = replace(DATA, options={"width": 2})
ACROSS = {**ROTATION, "control": {"row": "hologan", "data": {"width": 2}}, "data": {"width": 1}}


def test_a_row_on_other_data_is_paired_where_nothing_but_the_stated_options_differs(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ACROSS)
    here = seeds(HIGH, data=replace(DATA, options={"width": 1}))
    verdict = verdict_of(claim, [*here, *seeds(LOW, data=LARGE)])
    assert (verdict.verdict, verdict.data) == ("SUPPORTED", "objects/head 32 px, width=1")
    assert verdict.comparisons[0].differences == pytest.approx((0.8, 0.5, 0.75, 0.7, 0.5))
    for other in (
        seeds(LOW, data=replace(LARGE, options={"width": 2, "noise": 1})),
        seeds(LOW, data=replace(LARGE, name="objects/car")),
        seeds(LOW, data=LARGE, budget=Budget("claims", 9)),
        seeds(LOW, data=LARGE, precision="bf16"),
    ):
        verdict = verdict_of(claim, [*here, *other])
        assert (verdict.verdict, verdict.reason) == ("UNTESTED", "not run: hologan at width=2")


def test_constants_and_references_stand_beside_every_seed(tmp_path: Path) -> None:
    (constant,) = read(tmp_path, {**ROTATION, "control": 0.5})
    (floor,) = read(tmp_path, {**ROTATION, "control": "floor:noise"})
    results = [*RESULTS, result("floor:noise", 0, {"pose_corr": 0.25}, suite="mine", budget=Budget("quick", 1))]
    assert verdict_of(constant, results).comparisons[0].differences[0] == pytest.approx(0.4)
    assert verdict_of(floor, results).comparisons[0].differences[0] == pytest.approx(0.65)
    assert verdict_of(floor, results).verdict == "SUPPORTED"


def test_rows_of_other_data_or_precision_are_never_paired(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    other = replace(DATA, name="objects/car")
    assert verdict_of(claim, [*seeds(HIGH), *seeds(LOW, data=other, overrides=NONE)]).verdict == "UNTESTED"
    assert verdict_of(claim, [*seeds(HIGH), *seeds(LOW, precision="bf16", overrides=NONE)]).verdict == "UNTESTED"
    both = [*RESULTS, *seeds(LOW, data=other), *seeds(HIGH, data=other, overrides=NONE)]
    words = {v.data: v.verdict for v in judge([claim], both, "micro")}
    assert words == {"objects/head 32 px": "SUPPORTED", "objects/car 32 px": "REFUTED"}
    (selected,) = read(tmp_path, {**ROTATION, "data": {"name": "objects/car"}})
    assert verdict_of(selected, both).verdict == "REFUTED"
    assert "on data with name=objects/car" in verdict_of(selected, RESULTS).reason


def test_stale_seeds_are_named(tmp_path: Path) -> None:
    (claim,) = read(tmp_path, ROTATION)
    (verdict,) = judge([claim], RESULTS, "micro", lambda r: not r.cell.overrides and r.cell.seed > 2)
    assert verdict.verdict == "SUPPORTED"
    assert verdict.stale == {"hologan": (3, 4)}


def test_holm_counts_the_claims_that_were_judged(tmp_path: Path) -> None:
    second = {**ROTATION, "id": "second", "control": 0.5}
    untested = {**ROTATION, "id": "untested", "control": "pigan"}
    untestable = {"id": "never", "text": "Looks good.", "source": "a paper", "untestable": "it needs eyes"}
    verdicts = judge(read(tmp_path, ROTATION, second, untested, untestable), RESULTS, "micro")
    assert [v.verdict for v in verdicts] == ["SUPPORTED", "SUPPORTED", "UNTESTED", "UNTESTED"]
    assert [v.holm for v in verdicts[:2]] == [2 / 32, 2 / 32]
    assert all(math.isnan(v.holm) for v in verdicts[2:])
    assert "it needs eyes" in verdicts[3].reason


# ------------------------------------------------------------------------------------------------------ the files
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
