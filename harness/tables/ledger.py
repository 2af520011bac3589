"""Verdicts as files: claims.csv (a line per comparison) and claims.md (the ledger that people read).

Same results and claims, same bytes: nothing here depends on time, order or this machine.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.atomic import write_bytes
from harness.store import Store, StoredResult
from harness.suite_files import Suite
from harness.tables import archive, stats
from harness.tables.claim_files import read_claims
from harness.tables.claim_terms import JUDGED_TIERS, Claim
from harness.tables.claims import Comparison, Verdict, judge
from harness.tables.columns import style
from harness.tables.leaderboard import is_stale
from harness.tables.text import cell, code, count, csv_bytes, fixed, markdown_table, number

FIELDS = (
    "suite", "tier", "data", "budget", "budget_images", "claim", "text", "source", "metric", "direction", "treatment",
    "control", "smallest_effect", "unit", "test", "n_pairs", "seeds", "differences", "effect", "std", "ci_lo", "ci_hi",
    "ci_coverage", "boot_lo", "boot_hi", "p", "p_two_sided", "claim_p", "claim_holm", "passes_holm", "mde",
    "seeds_to_decide", "comparison", "verdict", "reason", "unpaired", "stale", "data_digest", "claim_digest",
)  # fmt: skip
CONSOLE = ("claim", "verdict", "effect", "p", "Holm", "seeds", "to decide", "why")
WORDS = ("SUPPORTED", "REFUTED", "INCONCLUSIVE", "UNTESTED")


def write(
    store: Store,
    suite: Suite,
    out: Path,
    tier: str | None = None,
    kept: Path | None = None,
    *,
    stale: Callable[[StoredResult], bool] = is_stale,
) -> dict[str, list[Verdict]]:
    """Judge the claims of a suite and write claims.csv and claims.md to ``out``/<tier>/<suite>/; verdicts by tier.

    Reads the store and, where ``kept`` is given, the archives below that folder. Without any result the ledger of the
    suite's own tier says that nothing was tested. Claims about other tiers are left out. Raises ConfigError for claims
    and StoreError for files.
    """
    claims, about = read_claims(suite)
    known = archive.merged(store.results(), kept, suite.name) if kept else store.results()
    results = [result for result in known if result.cell.suite == suite.name]
    tiers: list[str] = [tier] if tier else sorted({result.cell.tier for result in results}) or [suite.tier]
    judged = {name: judge(about_tier(claims, name), results, name, stale) for name in tiers}
    for name, verdicts in judged.items():
        folder = out / name / suite.name
        write_bytes(folder / "claims.csv", table(verdicts))
        write_bytes(folder / "claims.md", page(verdicts, about).encode())
    return judged


def about_tier(claims: Sequence[Claim], tier: str) -> list[Claim]:
    """The claims that the ledger of a tier lists."""
    return [claim for claim in claims if tier in claim.tiers or claim.tiers == JUDGED_TIERS]


def console_rows(verdicts: Sequence[Verdict]) -> list[list[str]]:
    """Claim, verdict, effect with interval, p, Holm's p, pairs, the pairs that would decide and why, as plain text."""
    lines = []
    for name, verdict in named(verdicts):
        _, word, effect, _, p, holm, pairs = (part.replace("\\", "") for part in _summary(verdict))
        wanted = seeds_needed(weakest(verdict)) if verdict.comparisons else ""
        lines.append([name, word, effect, p, holm, pairs, wanted, verdict.reason])
    return lines


# ---------------------------------------------------------------------------------------------------- claims.csv
def table(verdicts: Sequence[Verdict]) -> bytes:
    """One line per claim, data set and control; figures are empty where nothing was compared."""
    return csv_bytes(FIELDS, [line for verdict in verdicts for line in _lines(verdict)])


def _lines(verdict: Verdict) -> list[list[str]]:
    claim = verdict.claim
    head = [claim.suite, verdict.tier, verdict.data, verdict.budget, str(verdict.images or ""), claim.id, claim.text]
    head += [claim.source, claim.metric, claim.direction if claim.metric else "", str(claim.treatment)]
    test = [number(claim.smallest_effect) if claim.metric else "", claim.unit, claim.test if claim.metric else ""]
    stale = "; ".join(f"{label}: {_seeds(seeds)}" for label, seeds in verdict.stale.items())
    tail = [stale, verdict.data_digest[:12], claim.digest]
    if not verdict.comparisons:
        controls = " and ".join(map(str, claim.controls))
        blank = [""] * (FIELDS.index("verdict") - FIELDS.index("n_pairs"))
        return [[*head, controls, *test, *blank, verdict.verdict, verdict.reason, "", *tail]]
    whole = [number(verdict.p), number(verdict.holm), passes_holm(verdict)]
    lines = []
    for c in verdict.comparisons:
        alone = [_finite(c.detectable), str(c.needed or ""), c.verdict]
        ending = [verdict.verdict, verdict.reason, gaps_of(c), *tail]
        lines.append([*head, c.control, *test, *_figures(c), *whole, *alone, *ending])
    return lines


def _figures(c: Comparison) -> list[str]:
    spans = [_finite(x) for x in (*c.interval, c.coverage if math.isfinite(c.interval[0]) else math.nan, *c.bootstrap)]
    differences = " ".join(map(number, c.differences))
    shown = [number(c.effect), number(c.deviation), *spans, number(c.p), number(c.p_two_sided)]
    return [str(len(c.seeds)), _seeds(c.seeds), f"[{differences}]", *shown]


# ----------------------------------------------------------------------------------------------------- claims.md
def page(verdicts: Sequence[Verdict], about: str = "") -> str:
    """The ledger of one suite and tier: the rule, one line per claim, then each claim with its differences."""
    first = verdicts[0]
    parts = [f"# Claims of suite {cell(first.claim.suite)}, tier {cell(first.tier)}\n", _preface(verdicts)]
    parts += [f"**About these claims.** {cell(about)}\n"] if about else []
    header = ["claim", "what it says", "verdict", "effect", "matters from", "p", "Holm", "seeds"]
    parts.append(markdown_table(header, [[cell(n), *_summary(v)] for n, v in named(verdicts)], left=3))
    parts += [_section(name, verdict) for name, verdict in named(verdicts)]
    return "\n".join(parts)


def _preface(verdicts: Sequence[Verdict]) -> str:
    counts = Counter[str](verdict.verdict for verdict in verdicts)
    told = ", ".join(f"{counts[word]} {word}" for word in WORDS if counts[word])
    judged = [verdict for verdict in verdicts if verdict.judged]
    pairs = min(map(fewest_pairs, judged), default=stats.FEWEST_PAIRS)
    chance = sum(math.floor(stats.ALPHA * 2 ** fewest_pairs(v)) / 2 ** fewest_pairs(v) for v in judged)
    enough = math.ceil(math.log2(max(len(judged), 1) / stats.ALPHA))
    lines = [
        f"{told}. A verdict is about this implementation, these data and this budget, not about the paper's own "
        "numbers; seeds vary the training, not the data. INCONCLUSIVE and REFUTED are results.",
        "**How it is decided.** Differences are paired by seed and positive in the claimed direction. SUPPORTED: their "
        "mean is at least the smallest effect that matters, and the exact one-sided sign-flip test rejects no effect "
        f"at {stats.ALPHA}. REFUTED: the same test rejects the smallest effect that matters. INCONCLUSIVE: neither; "
        f"also fewer than {stats.FEWEST_PAIRS} pairs, another budget than the claim's, or a refuted gate, "
        "without which the claim means nothing (void). UNTESTED: a row is missing. "
        "In brackets the effects that the test does not reject (with 5 seeds: the smallest and the largest difference, "
        "coverage 0.94). A claim against several controls must hold against each; the line shows the one that decides.",
        f"**Many claims.** Holm's column adjusts p for the {len(judged)} claims judged here and changes no verdict: "
        f"with {pairs} seeds no p is below 1/{2**pairs}, and only from {enough} seeds on could a claim pass it at all. "
        "SUPPORTED\\* is supported by its own test alone. Were every effect zero, chance would still support up to "
        f"{fixed(chance, 1)} of them.",
    ]
    return "\n\n".join(lines) + "\n"


def _summary(verdict: Verdict) -> list[str]:
    claim = verdict.claim
    if not verdict.comparisons:
        return [cell(claim.text), verdict.verdict, "", "", "", "", ""]
    return [
        cell(claim.text),
        f"{_word(verdict)} (stale)" if verdict.stale else _word(verdict),
        _effect(weakest(verdict), claim),
        f"{claim.smallest_effect:g}",
        _p(verdict.p),
        _p(verdict.holm),
        str(fewest_pairs(verdict)),
    ]


def weakest(verdict: Verdict) -> Comparison:
    """Of the comparisons that decided, the one that says least for the claim."""
    deciding = [c for c in verdict.comparisons if c.verdict == verdict.verdict]
    return max(deciding, key=lambda c: (c.p, -c.effect))


def _section(name: str, verdict: Verdict) -> str:
    claim = verdict.claim
    lines = [f"## {cell(name)}: {_word(verdict)}\n", f"{cell(claim.text)}\n"]
    facts = [f"Why: {cell(verdict.reason)}.", f"Source: {cell(claim.source)}."]
    if claim.metric:
        controls = " and than ".join(cell(str(control)) for control in claim.controls)
        facts.append(
            f"Compared: {code(claim.metric)} of {cell(str(claim.treatment))}, {claim.direction} than {controls}."
        )
        unit = cell(claim.unit)
        facts.append(f"Smallest effect that matters: {claim.smallest_effect:g} ({unit}), fixed in the claim's file.")
    if verdict.comparisons:
        images = f"budget {verdict.budget}, {count(verdict.images)} images"
        facts.append(f"On: {cell(verdict.data)} (recipe {code(verdict.data_digest[:12])}), {images}.")
    gaps = [(c.control, gaps_of(c)) for c in verdict.comparisons if c.unpaired]
    facts += [f"Seeds without a pair against {cell(control)}: {cell(text)}." for control, text in gaps]
    if verdict.stale:
        old = "; ".join(f"{cell(row)} seeds {_seeds(seeds)}" for row, seeds in verdict.stale.items())
        facts.append(f"Stale, the code has changed since: {old}.")
    if claim.note:
        facts.append(f"Note: {cell(claim.note)}")
    facts.append(f"SHA-256 of the claim: {code(claim.digest)}")
    if verdict.comparisons:
        lines += [_numbers(verdict), _by_seed(verdict)]
    return "\n".join(lines) + "\n" + "".join(f"- {fact}\n" for fact in facts)


def _numbers(verdict: Verdict) -> str:
    header = ["against", "effect", "bootstrap-t", "p", "two-sided p", "detectable", "seeds to decide", "verdict"]
    claim = verdict.claim
    lines = []
    for c in verdict.comparisons:
        tested = [_effect(c, claim), _span(c.bootstrap, claim), _p(c.p), _p(c.p_two_sided)]
        lines.append([cell(c.control), *tested, digits(c.detectable, claim), seeds_needed(c), c.verdict])
    return markdown_table(header, lines)


def _by_seed(verdict: Verdict) -> str:
    """Values and differences of every pair, with their mean and standard deviation."""
    seeds = sorted({seed for c in verdict.comparisons for seed in c.seeds})
    header = [f"{code(verdict.claim.metric)} by seed", *map(str, seeds), "mean", "std"]
    lines: list[list[str]] = []

    def line(name: str, c: Comparison, values: Sequence[float]) -> None:
        known = dict(zip(c.seeds, values, strict=True))
        shown = [digits(known[seed], verdict.claim) if seed in known else "" for seed in seeds]
        line = [name, *shown, *(digits(x, verdict.claim) for x in stats.mean_and_deviation(values))]
        if line not in lines:
            lines.append(line)

    for control, c in zip(verdict.claim.controls, verdict.comparisons, strict=True):
        line(cell(str(verdict.claim.treatment)), c, c.treated)
        if control.constant is None:
            line(cell(c.control), c, c.controlled)
        line(f"**in favour of the claim**, against {cell(c.control)}", c, c.differences)
    return markdown_table(header, lines)


# --------------------------------------------------------------------------------------------------------- words
def named(verdicts: Sequence[Verdict]) -> list[tuple[str, Verdict]]:
    """Claims by their name, with the data where one was judged on several."""
    times = Counter(verdict.claim.id for verdict in verdicts)
    return [(v.claim.id if times[v.claim.id] == 1 else f"{v.claim.id} on {v.data}", v) for v in verdicts]


def _word(verdict: Verdict) -> str:
    return f"{verdict.verdict}\\*" if passes_holm(verdict) == "no" else verdict.verdict


def fewest_pairs(verdict: Verdict) -> int:
    """Pairs of the comparison that has fewest."""
    return min(len(c.seeds) for c in verdict.comparisons)


def passes_holm(verdict: Verdict) -> str:
    """Whether a supported claim is so after Holm's adjustment too."""
    if verdict.verdict != "SUPPORTED":
        return ""
    return "yes" if verdict.holm <= stats.ALPHA else "no"


def seeds_needed(c: Comparison) -> str:
    """How many seeds would decide, in words."""
    if c.verdict in ("SUPPORTED", "REFUTED"):
        return "decided"
    if not math.isfinite(c.deviation):
        return "n/a"
    return f"about {c.needed}" if c.needed else f"over {stats.MOST_SEEDS}"


def _effect(c: Comparison, claim: Claim) -> str:
    return f"{digits(c.effect, claim)} {_span(c.interval, claim)}".rstrip()


def _span(span: tuple[float, float], claim: Claim) -> str:
    return (
        ""
        if any(map(math.isnan, span)) or span == (-math.inf, math.inf)
        else f"\\[{digits(span[0], claim)}, {digits(span[1], claim)}\\]"
    )


def digits(value: float, claim: Claim) -> str:
    """A number in the unit of the claim."""
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    return fixed(value, max(style(claim.metric).digits, 3))


def _p(value: float) -> str:
    return "" if math.isnan(value) else fixed(value, 3)


def _finite(value: float) -> str:
    return number(value) if math.isfinite(value) else ""


def gaps_of(c: Comparison) -> str:
    """Every seed without a pair, and why."""
    return "; ".join(f"seed {seed}: {why}" for seed, why in c.unpaired.items())


def _seeds(seeds: Sequence[int]) -> str:
    return " ".join(map(str, seeds))
