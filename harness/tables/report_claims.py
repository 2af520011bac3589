"""The claim ledger as the report page shows it: verdict, effect with its interval, and the evidence behind them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.tables import report_plots, stats
from harness.tables.claims import Comparison, Verdict
from harness.tables.ledger import digits, fewest_pairs, gaps_of, named, passes_holm, seeds_needed, weakest
from harness.tables.text import count, fixed

MEANINGS = {
    "SUPPORTED": "the effect is at least the smallest one that matters, and chance is ruled out at 0.05",
    "REFUTED": "an effect of the size that matters is ruled out",
    "INCONCLUSIVE": "neither; or too few seeds, another budget than the claim's, a refuted gate",
    "UNTESTED": "a row was not run, or the claim cannot be tested here",
}


@dataclass(frozen=True)
class Against:
    """A comparison with one control, as texts, and its plot."""

    control: str
    verdict: str
    effect: str
    interval: str
    bootstrap: str
    p: str
    detectable: str
    needed: str
    unpaired: str
    plot: Markup | None
    seeds: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Ruling:
    """One claim: what it says, what became of it, why, and by which numbers."""

    name: str
    text: str
    word: str
    starred: bool
    reason: str
    effect: str
    needed: str
    pairs: str
    p: str
    holm: str
    stale: str
    plot: Markup | None
    facts: tuple[tuple[str, str], ...]
    against: tuple[Against, ...]


def rulings(verdicts: Sequence[Verdict]) -> list[Ruling]:
    """What the page says about every verdict, in the order of the claims' file."""
    return [_ruling(name, verdict) for name, verdict in named(verdicts)]


def preface(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts chance alone would give, and what Holm's adjustment says about that."""
    judged = [verdict for verdict in verdicts if verdict.judged]
    chance = sum(math.floor(stats.ALPHA * 2 ** fewest_pairs(v)) / 2 ** fewest_pairs(v) for v in judged)
    return (
        f"{len(judged)} claims were judged. Were every effect zero, chance would still support up to "
        f"{fixed(chance, 1)} of them; a * marks a verdict that stands on its own test alone and not after Holm's "
        "adjustment over all of them."
    )


def _ruling(name: str, verdict: Verdict) -> Ruling:
    claim = verdict.claim
    decisive = weakest(verdict) if verdict.comparisons else None
    return Ruling(
        name=name,
        text=claim.text,
        word=verdict.verdict,
        starred=passes_holm(verdict) == "no",
        reason=verdict.reason,
        effect=_effect(decisive, verdict) if decisive else "",
        needed=seeds_needed(decisive) if decisive else "",
        pairs=str(fewest_pairs(verdict)) if decisive else "",
        p=_p(verdict.p),
        holm=_p(verdict.holm),
        stale="; ".join(f"{row} seeds {' '.join(map(str, seeds))}" for row, seeds in verdict.stale.items()),
        plot=report_plots.effect(decisive, claim, small=True) if decisive else None,
        facts=tuple(_facts(verdict)),
        against=tuple(_against(c, verdict) for c in verdict.comparisons),
    )


def _facts(verdict: Verdict) -> list[tuple[str, str]]:
    claim = verdict.claim
    facts = [("Source", claim.source)]
    if claim.metric:
        controls = " and than ".join(map(str, claim.controls))
        facts.append(("Compared", f"{claim.metric} of {claim.treatment}, {claim.direction} than {controls}"))
        facts.append(("Smallest effect that matters", f"{claim.smallest_effect:g} {claim.unit}, fixed before the run"))
    if verdict.comparisons:
        images = f"{verdict.data}, budget {verdict.budget}, {count(verdict.images)} images"
        facts.append(("On", f"{images} (recipe {verdict.data_digest[:12]})"))
    if verdict.stale:
        old = "; ".join(f"{row} seeds {' '.join(map(str, seeds))}" for row, seeds in verdict.stale.items())
        facts.append(("Stale", f"the code has changed since: {old}"))
    if claim.note:
        facts.append(("Note", claim.note))
    return [*facts, ("SHA-256 of the claim", claim.digest)]


def _against(c: Comparison, verdict: Verdict) -> Against:
    claim = verdict.claim
    return Against(
        control=c.control,
        verdict=c.verdict,
        effect=digits(c.effect, claim),
        interval=_span(c.interval, verdict),
        bootstrap=_span(c.bootstrap, verdict),
        p=_p(c.p),
        detectable=digits(c.detectable, claim),
        needed=seeds_needed(c),
        unpaired=gaps_of(c),
        plot=report_plots.effect(c, claim),
        seeds=tuple(
            (str(seed), *(digits(value, claim) for value in values))
            for seed, *values in zip(c.seeds, c.treated, c.controlled, c.differences, strict=True)
        ),
    )


def _effect(c: Comparison, verdict: Verdict) -> str:
    return f"{digits(c.effect, verdict.claim)} {_span(c.interval, verdict)}".rstrip()


def _span(span: tuple[float, float], verdict: Verdict) -> str:
    if any(map(math.isnan, span)) or all(map(math.isinf, span)):
        return ""
    return f"[{digits(span[0], verdict.claim)}, {digits(span[1], verdict.claim)}]"


def _p(value: float) -> str:
    return "" if math.isnan(value) else fixed(value, 3)
