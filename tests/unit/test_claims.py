"""Claims are paired by seed and judged by the rule."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from harness.store import StoredResult
from harness.tables import ledger
from harness.tables.claims import judge
from harness.types import Budget
from tests.unit.claim_bench import HIGH, LOW, NONE, RESULTS, ROTATION, read, seeds, verdict_of
from tests.unit.stored_results import DATA, result


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
