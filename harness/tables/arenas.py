"""What may be compared: rows of one data set, protocol setting, budget and precision, paired by seed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from harness.store import StoredResult
from harness.tables.claim_files import canonical
from harness.tables.claim_terms import Term
from harness.types import Cell

Seeds = Mapping[int, StoredResult]


@dataclass(frozen=True)
class Arena:
    """Rows by label; ``data`` names the data set with the options that tell it from others, ``options`` has them all.

    ``run`` is what else its rows have in common: protocol, settings, budget, precision. Reference rows are not trained
    and stand in every arena of their data.
    """

    data: str
    digest: str
    options: Mapping[str, Any]
    budget: str
    images: int
    run: tuple[Any, ...]
    rows: Mapping[str, Seeds]

    def missing(self, labels: Sequence[str]) -> list[str]:
        """The labels without a finished seed."""
        finished = {label for label, row in self.rows.items() if any(r.status == "done" for r in row.values())}
        return [label for label in labels if label not in finished]


def borrowing(arena: Arena, terms: Sequence[Term], grounds: Sequence[Arena]) -> Arena:
    """The arena with the rows that terms need from other data, under the names of ``Term.rows``: data whose options
    differ in just those that the term states, under the same protocol, budget and precision."""
    rows = dict(arena.rows)
    for term in terms:
        wanted = {**arena.options, **term.data}
        for other in grounds if term.data else ():
            if (other.options, other.run) == (wanted, arena.run):
                found = zip(term.rows, term.labels, strict=True)
                rows |= {name: other.rows[label] for name, label in found if label in other.rows}
    return replace(arena, rows=rows)


def arenas(results: Sequence[StoredResult]) -> list[Arena]:
    """All arenas of ended results, in a fixed order; the last of several results for one seed counts."""
    trained: dict[tuple[Any, ...], dict[str, dict[int, StoredResult]]] = defaultdict(lambda: defaultdict(dict))
    fixed: dict[tuple[Any, ...], dict[str, dict[int, StoredResult]]] = defaultdict(lambda: defaultdict(dict))
    cells: dict[tuple[Any, ...], Cell] = {}
    for result in results:
        cell = result.cell
        table = (cell.data.recipe_digest, cell.protocol, tuple(sorted((k, str(v)) for k, v in cell.settings.items())))
        run = (*table, cell.budget.name, cell.budget.images, cell.precision)
        cells[run] = cell
        rows = trained[run] if cell.role == "method" else fixed[table]
        rows[canonical(cell.variant)][cell.seed] = result
    return [
        Arena(
            data=_name(cells[run], cells.values()),
            digest=cells[run].data.recipe_digest,
            options={"name": cells[run].data.name, **cells[run].data.options},
            budget=cells[run].budget.name,
            images=cells[run].budget.images,
            run=run[1:],
            rows={**fixed[run[:3]], **rows},
        )
        for run, rows in sorted(trained.items())
    ]


def paired(
    treatment: Term, control: Term, metric: str, rows: Mapping[str, Seeds]
) -> tuple[dict[int, tuple[float, float]], dict[int, str]]:
    """(values of both sides by seed, why a seed has no pair by seed). A reference that was scored once stands beside
    every seed of the others."""
    seeds = {s for term in (treatment, control) for label in term.rows if not _once(rows[label]) for s in rows[label]}
    pairs: dict[int, tuple[float, float]] = {}
    unpaired: dict[int, str] = {}
    for seed in sorted(seeds):
        sides = [_value(term, metric, seed, rows) for term in (treatment, control)]
        gaps = [side for side in sides if isinstance(side, str)]
        if gaps:
            unpaired[seed] = "; ".join(dict.fromkeys(gaps))
        else:
            treated, controlled = (float(side) for side in sides)
            pairs[seed] = treated, controlled
    return pairs, unpaired


def replicated(labels: Sequence[str], seeds: Sequence[int], rows: Mapping[str, Seeds]) -> bool:
    """Whether the seeds of at least one of the rows differ in some metric. One metric may well be equal in all of them,
    such as a fall of 0; equal in everything they are copies of one observation."""
    told = ({repr(sorted(rows[label][s].metrics.items())) for s in seeds if s in rows[label]} for label in labels)
    return any(len(texts) > 1 for texts in told)


def _name(cell: Cell, others: Iterable[Cell]) -> str:
    name = f"{cell.data.name} {cell.data.resolution} px"
    alike = [
        o.data.options for o in others if (o.data.name, o.data.resolution) == (cell.data.name, cell.data.resolution)
    ]
    telling = [key for key, value in sorted(cell.data.options.items()) if any(o.get(key) != value for o in alike)]
    return ", ".join([name, *(f"{key}={cell.data.options[key]}" for key in telling)])


def _once(row: Seeds) -> bool:
    return len(row) == 1 and all(result.cell.role != "method" for result in row.values())


def _value(term: Term, metric: str, seed: int, rows: Mapping[str, Seeds]) -> float | str:
    """The term's value at a seed, or why there is none."""
    if term.constant is not None:
        return term.constant
    metric = term.metric or metric
    values = []
    for label in term.rows:
        row = rows[label]
        result = next(iter(row.values())) if _once(row) else row.get(seed)
        if result is None:
            return f"{label} was not run"
        if result.status != "done":
            return f"{label} {result.status}"
        value = result.metrics.get(metric)
        if value is None or not math.isfinite(value):
            why = result.notes.get(metric)
            return f"{label} has no {metric}{f' ({why})' if why else ''}"
        values.append(value)
    return float(values[0] - sum(values[1:])) * term.times
