"""From stored results and claims to verdicts.

The rule, fixed before any run of suite anomaly but for one case (suites/claims/README.md):

- SUPPORTED: the mean of the paired differences is at least the smallest effect that matters, and the exact one-sided
  sign-flip test rejects "no effect" at 0.05 (the interval lies above 0);
- REFUTED: the same test, turned round, rejects the smallest effect that matters (the interval lies below it);
- INCONCLUSIVE: neither; or fewer than 5 pairs, seeds equal in every metric, another budget than the claim's, a tier
  without verdicts;
- UNTESTED: a row is missing, or the claim says why it cannot be tested.

A claim whose gate is REFUTED is void: INCONCLUSIVE whatever its own seeds say, and not counted by Holm.

A claim against several controls is SUPPORTED only against each, and REFUTED by any; its p is the largest. Seeds pair
only within one data set, one setting of the protocol, one budget and one precision. Holm's adjustment runs over all
claims of the ledger that may reach a verdict; it stands beside every verdict and changes none, because with 5 seeds no
p is below 1/32 and no claim out of two or more could ever pass it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.store import StoredResult
from harness.tables import stats
from harness.tables.arenas import Arena, arenas, borrowing, paired, replicated
from harness.tables.claim_terms import Claim, Term
from harness.tables.rows import UNFINISHED

Word = Literal["SUPPORTED", "REFUTED", "INCONCLUSIVE", "UNTESTED"]
_PRECEDENCE: tuple[Word, ...] = ("REFUTED", "UNTESTED", "INCONCLUSIVE", "SUPPORTED")


@dataclass(frozen=True)
class Comparison:
    """Treatment against one control: ``differences`` of the paired ``seeds``, positive in the claimed direction, of the
    values ``treated`` and ``controlled``; ``unpaired`` says why a seed has no pair, ``replicated`` whether the seeds
    differ in anything at all."""

    control: str
    seeds: tuple[int, ...]
    treated: tuple[float, ...]
    controlled: tuple[float, ...]
    differences: tuple[float, ...]
    effect: float
    deviation: float
    interval: tuple[float, float]
    coverage: float
    bootstrap: tuple[float, float]
    p: float
    p_two_sided: float
    detectable: float
    needed: int | None
    verdict: Word
    reason: str
    unpaired: Mapping[int, str]
    replicated: bool = True


@dataclass(frozen=True)
class Verdict:
    """What became of a claim on one data set; ``judged`` tells whether it could reach a verdict and counts for Holm.

    ``stale`` maps a row to its seeds that older code computed.
    """

    claim: Claim
    tier: str
    data: str
    data_digest: str
    budget: str
    images: int
    comparisons: tuple[Comparison, ...]
    verdict: Word
    reason: str
    judged: bool = False
    p: float = math.nan
    holm: float = math.nan
    stale: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


def judge(
    claims: Sequence[Claim],
    results: Iterable[StoredResult],
    tier: str,
    stale: Callable[[StoredResult], bool] = lambda result: False,
) -> list[Verdict]:
    """A verdict per claim (and per data set, where its rows stand on several) from the results of one tier.

    The order of ``results`` does not matter; a finished and fresh one wins where two claim one seed.
    """
    ended = [r for r in results if r.cell.tier == tier and r.status not in UNFINISHED]
    grounds = arenas(sorted(ended, key=lambda r: (r.status == "done", not stale(r), r.key)))
    verdicts = _gated([verdict for claim in claims for verdict in _verdicts(claim, grounds, tier, stale)])
    judged = [verdict.p if verdict.judged else math.nan for verdict in verdicts]
    return [replace(v, holm=adjusted) for v, adjusted in zip(verdicts, stats.holm(judged), strict=True)]


def decide(differences: Sequence[float], smallest: float, *, replicated: bool = True) -> tuple[Word, str]:
    """The rule above for one comparison: the verdict and why. ``replicated`` False: the seeds gave the same results in
    everything, so that they are one observation."""
    if obstacle := _undecidable(differences, replicated):
        return "INCONCLUSIVE", obstacle
    effect, _ = stats.mean_and_deviation(differences)
    p, _ = stats.sign_flip(differences)
    _, high, _ = stats.sign_flip_interval(differences)
    if p <= stats.ALPHA and effect >= smallest:
        return "SUPPORTED", "the effect is large enough and the seeds agree"
    if high < 0:
        return "REFUTED", "the effect goes the other way"
    if high < smallest:
        return "REFUTED", "an effect of the smallest size that matters is ruled out"
    if p <= stats.ALPHA:
        return "INCONCLUSIVE", "there is an effect, on average smaller than what matters; more is not ruled out"
    if effect >= smallest:
        return "INCONCLUSIVE", "large enough on average, but the seeds disagree"
    return "INCONCLUSIVE", "neither no effect nor one that matters is ruled out"


def _undecidable(differences: Sequence[float], replicated: bool) -> str:
    if len(differences) < stats.FEWEST_PAIRS:
        return f"{len(differences)} paired seeds, a verdict needs {stats.FEWEST_PAIRS}"
    return "" if replicated else "every seed gave the same results: the seeds replicate nothing"


def _gated(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The same with those void that have a gate which is refuted on their data."""
    closed = {(verdict.claim.id, verdict.data_digest) for verdict in verdicts if verdict.verdict == "REFUTED"}
    void = [[gate for gate in v.claim.gates if (gate, v.data_digest) in closed] for v in verdicts]
    return [
        replace(v, verdict="INCONCLUSIVE", judged=False, reason=f"void: {', '.join(gates)} refuted; {v.reason}")
        if gates
        else v
        for v, gates in zip(verdicts, void, strict=True)
    ]


# ------------------------------------------------------------------------------------------------------ verdicts
def _verdicts(
    claim: Claim, grounds: Sequence[Arena], tier: str, stale: Callable[[StoredResult], bool]
) -> list[Verdict]:
    if claim.untestable:
        return [_untested(claim, tier, f"not testable here: {claim.untestable}")]
    fitting = [a for a in grounds if all(a.options.get(key) == value for key, value in claim.data.items())]
    if not fitting:
        wanted = ", ".join(f"{key}={value}" for key, value in sorted(claim.data.items()))
        return [_untested(claim, tier, f"no finished rows{f' on data with {wanted}' if wanted else ''}")]
    needed = claim.rows
    fitting = [borrowing(arena, (claim.treatment, *claim.controls), grounds) for arena in fitting]
    complete = [arena for arena in fitting if not arena.missing(needed)]
    if not complete:
        arena = min(fitting, key=lambda a: (len(a.missing(needed)), a.budget != claim.budget, -a.images, a.digest))
        where = f" (budget {arena.budget})" if arena.budget != claim.budget else ""
        return [_untested(claim, tier, f"not run: {', '.join(arena.missing(needed))}{where}")]
    best: dict[str, Verdict] = {}
    for verdict in (_verdict(claim, arena, tier, stale) for arena in complete):
        known = best.get(verdict.data_digest)
        if known is None or _weight(verdict) > _weight(known):
            best[verdict.data_digest] = verdict
    return sorted(best.values(), key=lambda v: (v.data, v.data_digest))


def _weight(verdict: Verdict) -> tuple[bool, int, int]:
    """Of several budgets on one data set the claim's own counts, then the one with most pairs."""
    pairs = min(len(c.seeds) for c in verdict.comparisons)
    return verdict.budget == verdict.claim.budget and pairs > 0, pairs, verdict.images


def _untested(claim: Claim, tier: str, reason: str) -> Verdict:
    return Verdict(claim, tier, "", "", "", 0, (), "UNTESTED", reason)


def _verdict(claim: Claim, arena: Arena, tier: str, stale: Callable[[StoredResult], bool]) -> Verdict:
    barred = ""
    if arena.budget != claim.budget:
        barred = f"budget {arena.budget}: verdicts come only from budget {claim.budget}"
    elif tier not in claim.tiers:
        barred = f"tier {tier}: this claim gets verdicts at {', '.join(claim.tiers)}"
    comparisons = tuple(_compare(claim, control, arena, barred) for control in claim.controls)
    words = [comparison.verdict for comparison in comparisons]
    word = next(candidate for candidate in _PRECEDENCE if candidate in words)
    judged = not barred and not any(_undecidable(c.differences, c.replicated) for c in comparisons)
    old = {
        label: tuple(seed for seed, r in sorted(arena.rows[label].items()) if r.status == "done" and stale(r))
        for label in claim.rows
    }
    return Verdict(
        claim,
        tier,
        arena.data,
        arena.digest,
        arena.budget,
        arena.images,
        comparisons,
        word,
        _why([comparison for comparison in comparisons if comparison.verdict == word], len(comparisons)),
        judged,
        math.nan if any(math.isnan(c.p) for c in comparisons) else max(c.p for c in comparisons),
        stale={label: seeds for label, seeds in old.items() if seeds},
    )


def _why(deciding: Sequence[Comparison], compared: int) -> str:
    """The reasons of the comparisons that decided, each once, and how many seeds they had to leave out."""
    against: dict[str, list[str]] = {}
    for comparison in deciding:
        against.setdefault(comparison.reason, []).append(comparison.control)
    told = [
        reason if len(names) == compared else f"against {', '.join(names)}: {reason}"
        for reason, names in against.items()
    ]
    left_out = max(len(comparison.unpaired) for comparison in deciding)
    return "; ".join(told) + (f" ({left_out} seed{'s' if left_out > 1 else ''} without a pair)" if left_out else "")


def _compare(claim: Claim, control: Term, arena: Arena, barred: str) -> Comparison:
    sign = 1.0 if claim.direction == "higher" else -1.0
    pairs, unpaired = paired(claim.treatment, control, claim.metric, arena.rows)
    values = tuple(sign * (treated - controlled) for treated, controlled in pairs.values())
    effect, deviation = stats.mean_and_deviation(values)
    low, high, coverage = stats.sign_flip_interval(values)
    p, p_two_sided = stats.sign_flip(values)
    replicates = replicated((*claim.treatment.rows, *control.rows), tuple(pairs), arena.rows)
    verdict, reason = decide(values, claim.smallest_effect, replicated=replicates)
    if barred:
        verdict, reason = "INCONCLUSIVE", barred
    return Comparison(
        control=str(control),
        seeds=tuple(pairs),
        treated=tuple(treated for treated, _ in pairs.values()),
        controlled=tuple(controlled for _, controlled in pairs.values()),
        differences=values,
        effect=effect,
        deviation=deviation,
        interval=(low, high),
        coverage=coverage,
        bootstrap=stats.studentised_bootstrap(values),
        p=p,
        p_two_sided=p_two_sided,
        detectable=stats.minimum_detectable_effect(len(values), deviation),
        needed=stats.seeds_to_decide(effect, deviation, claim.smallest_effect),
        verdict=verdict,
        reason=reason,
        unpaired=unpaired,
        replicated=replicates,
    )
