"""From stored results to rows: seeds aggregated, floors and oracles beside them, failures counted and named."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from harness import registry
from harness.store import StoredResult
from harness.tables.column_style import Better
from harness.tables.columns import order, part_of, style
from harness.tables.costs import Cost, costs_of
from harness.tables.labels import tell_apart
from harness.tables.stats import bootstrap_interval, mean_and_deviation
from harness.types import Cell

UNFINISHED = ("running", "partial", "absent")
ROLES = ("floor", "method", "oracle")
"""In the order in which tables show them."""
_SETTINGS = {"mode=separate": "one model per category"}
_LIMITED = "train_images="


def meaning(override: str) -> str:
    """What ``name=value`` says where it changes the task and not the method, else nothing.

    Rows of one such setting are compared among themselves.
    """
    if override.startswith(_LIMITED):
        return f"{override.removeprefix(_LIMITED)} training images"
    return _SETTINGS.get(override, "")


@dataclass(frozen=True)
class Value:
    """One metric of one row over its seeds; NaN where undefined, with the reason in ``note``.

    ``seeds`` names the seed of each of ``values``: those where the metric is finite.
    """

    column: str
    values: tuple[float, ...]
    mean: float
    median: float
    std: float
    low: float
    high: float
    note: str = ""
    seeds: tuple[int, ...] = ()

    @property
    def better(self) -> Better:
        return style(self.column).better


@dataclass(frozen=True)
class Row:
    """One line of a table: a method variant (or reference) on one data set under one budget, over its seeds.

    ``group`` is what its seeds have in common. ``done``, ``failed``, ``skipped``, ``corrupt`` and ``stale`` list seeds;
    ``reasons`` maps a seed that is not done to why; ``notes`` maps a note's name to its text per seed, ``facts`` a
    fact's name to its distinct values as text, ``overrides`` a changed setting of the method to its value,
    ``options`` an option of the data to its value. ``costs`` says what a finished seed cost, by device.
    """

    group: tuple[Any, ...]
    suite: str
    data: str
    data_digest: str
    tier: str
    budget: str
    images: int
    label: str
    method: str
    role: str
    precision: str
    protocol: str
    values: Mapping[str, Value]
    done: tuple[int, ...] = ()
    failed: tuple[int, ...] = ()
    skipped: tuple[int, ...] = ()
    corrupt: tuple[int, ...] = ()
    stale: tuple[int, ...] = ()
    reasons: Mapping[int, str] = field(default_factory=dict)
    notes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    facts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    codes: tuple[str, ...] = ()
    overrides: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    costs: tuple[Cost, ...] = ()

    @property
    def trained(self) -> bool:
        """Whether it is a method, contender or oracle, and no reference."""
        return bool(self.budget)

    @property
    def setting(self) -> tuple[str, ...]:
        """The task where it is not the usual one, e.g. ``("mode=separate",)``."""
        return tuple(text for text in self._overridden() if meaning(text))

    @property
    def changes(self) -> tuple[str, ...]:
        """What makes this row a variant of its method, e.g. ``("decoder=none",)``."""
        return tuple(text for text in self._overridden() if not meaning(text))

    def _overridden(self) -> list[str]:
        return [f"{name}={value}" for name, value in self.overrides.items()]

    @property
    def status(self) -> str:
        """``done``, or how many seeds ended otherwise, e.g. ``4 done, 1 failed``."""
        parts = {"done": self.done, "failed": self.failed, "skipped": self.skipped, "corrupt": self.corrupt}
        ends = [f"{len(seeds)} {name}" for name, seeds in parts.items() if seeds]
        ended = "done" if self.done and len(ends) == 1 else ", ".join(ends)
        return f"{ended}, {len(self.stale)} stale" if self.stale else ended

    @property
    def table(self) -> tuple[str, str, str]:
        """What must be equal for two rows to stand in one table: suite, data and tier."""
        return self.suite, self.data_digest, self.tier

    def summary(self, name: str) -> str:
        """A note over seeds, e.g. ``controlled: 4, folded: 1``; empty when no seed has it."""
        counts = Counter(self.notes.get(name, {}).values())
        return ", ".join(
            f"{text}: {count}" for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        )


def gather(
    results: Iterable[StoredResult],
    suite: str | None = None,
    stale: Callable[[StoredResult], bool] = lambda result: False,
) -> list[Row]:
    """Rows of all ended results (of one suite), sorted; the order of ``results`` does not matter.

    Seeds of one (suite, data, tier, budget, variant, settings, precision) make one row. A reference row is not trained,
    so equal references of several budgets are one row. ``stale`` tells results of older code.
    """
    groups: dict[tuple[Any, ...], dict[int, StoredResult]] = defaultdict(dict)
    # Where two results claim one seed (a reference under two budgets), a finished and fresh one wins.
    for result in sorted(results, key=lambda r: (r.status == "done", not stale(r), r.key)):
        if result.status not in UNFINISHED and suite in (None, result.cell.suite):
            groups[group_of(result.cell)][result.cell.seed] = result
    rows = [_row([by_seed[seed] for seed in sorted(by_seed)], stale) for by_seed in groups.values()]
    return sorted(tell_apart(rows), key=_position)


def columns_of(rows: Sequence[Row]) -> list[str]:
    """Every metric column of the rows on the whole test data, in reading order."""
    return sorted({column for row in rows for column in row.values if part_of(column) is None}, key=order)


def reference(rows: Sequence[Row], role: str, column: str) -> float:
    """The mean of the best row with this role (``floor`` or ``oracle``) in a metric; NaN without one.

    The best floor is the hardest to beat. A floor that scores what an oracle scores holds the data themselves (the
    pictures on a flat card are real) and is none for that metric. For metrics without a direction the first reference
    row with a value counts.
    """
    means = _finite_means(rows, role, column)
    if role == "floor":
        truths = _finite_means(rows, "oracle", column)
        means = [mean for mean in means if not any(math.isclose(mean, truth, rel_tol=1e-9) for truth in truths)]
    if not means:
        return math.nan
    better = style(column).better
    return min(means) if better == "lower" else max(means) if better == "higher" else means[0]


def _finite_means(rows: Sequence[Row], role: str, column: str) -> list[float]:
    means = [row.values[column].mean for row in rows if row.role == role and column in row.values]
    return [mean for mean in means if math.isfinite(mean)]


def group_of(cell: Cell) -> tuple[Any, ...]:
    """What the seeds of one row have in common."""
    budget = (cell.budget.name, cell.budget.images) if cell.role == "method" else ("", 0)
    settings = tuple(sorted((key, str(value)) for key, value in cell.settings.items()))
    overrides = tuple(sorted((key, str(value)) for key, value in cell.overrides.items()))
    precision = cell.precision if cell.role == "method" else ""
    data = (cell.suite, cell.protocol, cell.data.recipe_digest, cell.tier, settings)
    return (*data, *budget, cell.method, overrides, precision)


def _row(results: Sequence[StoredResult], stale: Callable[[StoredResult], bool]) -> Row:
    cell = results[0].cell
    done = [result for result in results if result.status == "done"]
    notes: dict[str, dict[int, str]] = defaultdict(dict)
    for result in done:
        for name, text in result.notes.items():
            notes[name][result.cell.seed] = text
    facts: dict[str, set[str]] = defaultdict(set)
    for result in done:
        for name, value in result.facts.items():
            facts[name].add(str(value))
    columns = sorted({column for result in done for column in result.metrics})
    trained = cell.role == "method"
    return Row(
        group=group_of(cell),
        suite=cell.suite,
        data=f"{cell.data.name} {cell.data.resolution} px",
        data_digest=cell.data.recipe_digest,
        tier=cell.tier,
        budget=cell.budget.name if trained else "",
        images=cell.budget.images if trained else 0,
        label=cell.variant,
        method=cell.method,
        role=_role(cell),
        precision=cell.precision if trained else "",
        protocol=cell.protocol,
        values={column: _value(column, done, notes.get(column, {})) for column in columns},
        done=_seeds(done),
        failed=_seeds(r for r in results if r.status == "failed"),
        skipped=_seeds(r for r in results if r.status == "skipped"),
        corrupt=_seeds(r for r in results if r.status == "corrupt"),
        stale=_seeds(r for r in done if stale(r)),
        reasons={r.cell.seed: r.reason for r in results if r.status != "done"},
        notes={name: dict(sorted(texts.items())) for name, texts in sorted(notes.items())},
        facts={name: tuple(sorted(texts)) for name, texts in sorted(facts.items())},
        codes=tuple(sorted({r.code for r in done if r.code})),
        overrides={name: str(value) for name, value in sorted(cell.overrides.items())},
        options={name: str(value) for name, value in sorted(cell.data.options.items())},
        costs=costs_of(done),
    )


def _role(cell: Cell) -> str:
    """The cell's role; a method whose card says so is an oracle, though it is trained."""
    known = registry.methods().get(cell.method)
    return "oracle" if known is not None and known.card.oracle else cell.role


def _seeds(results: Iterable[StoredResult]) -> tuple[int, ...]:
    return tuple(sorted(result.cell.seed for result in results))


def _value(column: str, done: Sequence[StoredResult], reasons: Mapping[int, str]) -> Value:
    known = [(r.cell.seed, r.metrics[column]) for r in done if math.isfinite(r.metrics.get(column, math.nan))]
    finite = [value for _, value in known]
    mean, std = mean_and_deviation(finite)
    low, high = bootstrap_interval(finite)
    missing = sorted(set(reasons.values()))
    return Value(
        column=column,
        values=tuple(finite),
        mean=mean,
        median=median(finite) if finite else math.nan,
        std=std,
        low=low,
        high=high,
        note="; ".join(missing),
        seeds=tuple(seed for seed, _ in known),
    )


def _position(row: Row) -> tuple[Any, ...]:
    role = ROLES.index(row.role)
    return row.suite, row.data, row.data_digest, row.tier, role, row.images, row.budget, row.label
