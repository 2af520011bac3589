"""Is a drawn segmentation set neither too easy nor too hard? Checks on finished trainings, with their numbers.

The oracle trains on the target's truth, source-only on the labelled source alone; pseudo-labels are those of plain
self-training. A change of the generator's version or of an option needs a calibration of its own.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.atomic import write_bytes
from harness.store import StoredResult
from harness.store_files import to_json, to_number
from harness.tables.rows import UNFINISHED, Row, gather
from harness.tables.text import fixed

SOURCE_ONLY, ORACLE, SELF_TRAINING = "supervised", "fully_supervised", "self_training"
SEEDS = 5  # a check on fewer seeds is not decided
ALIVE = 0.05  # IoU above which source-only has learnt a class at all
SPARED = 1  # seeds on which a class may be dead
METHODS = (SOURCE_ONLY, ORACLE, SELF_TRAINING)
NAME = "calibration.json"
HEADER = ("check", "value", "from", "to", "seeds", "holds")


@dataclass(frozen=True)
class Check:
    """``value``, over ``seeds``, must lie in [``low``, ``high``]; ``passed`` is None on fewer than five seeds."""

    name: str
    value: float
    low: float
    high: float
    seeds: tuple[int, ...]

    @property
    def passed(self) -> bool | None:
        if len(self.seeds) < SEEDS or not math.isfinite(self.value):
            return None
        return self.low <= self.value <= self.high


@dataclass(frozen=True)
class Calibration:
    """The checks of one data set (``family`` at ``version``, ``data`` = recipe digest) under one budget."""

    family: str
    version: str
    data: str
    options: Mapping[str, Any]
    tier: str
    budget: str
    images: int
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool | None:
        """Whether every check holds; None where none fails and some are not decided."""
        found = [check.passed for check in self.checks]
        return False if False in found else None if None in found else True


def calibrations(
    results: Iterable[StoredResult], family: str = "streets", setting: str = "uda"
) -> tuple[Calibration, ...]:
    """One calibration per data set and budget on which a source-only training has finished, in a fixed order.

    Rows with overrides do not count: they are other methods.
    """
    groups: dict[tuple[str, str, str, int], list[StoredResult]] = defaultdict(list)
    for result in results:
        cell, options = result.cell, result.cell.data.options
        usual = cell.role == "method" and not cell.overrides and result.status not in UNFINISHED
        if usual and cell.data.family == family and options.get("setting") == setting:
            groups[cell.tier, cell.data.recipe_digest, cell.budget.name, cell.budget.images].append(result)
    made = []
    for (tier, data, budget, images), members in sorted(groups.items()):
        rows, spec = {row.method: row for row in gather(members)}, members[0].cell.data
        if SOURCE_ONLY in rows and rows[SOURCE_ONLY].done:
            options = dict(sorted(spec.options.items()))
            made.append(Calibration(family, spec.version, data, options, tier, budget, images, checks(rows)))
    return tuple(made)


def checks(rows: Mapping[str, Row]) -> tuple[Check, ...]:
    """The six conditions on a data set, from the rows by method."""
    alone, best = _seeds(rows, SOURCE_ONLY, "miou"), _seeds(rows, ORACLE, "miou")
    early = _seeds(rows, SELF_TRAINING, "pl_acc[quarter=1]")
    gaps = {seed: best[seed] - alone[seed] for seed in alone if seed in best}
    spread = rows[SOURCE_ONLY].values["miou"].std if alone else math.nan
    columns = [name for name in rows[SOURCE_ONLY].values if name.startswith("iou[class=")]
    living = [sum(value > ALIVE for value in _seeds(rows, SOURCE_ONLY, name).values()) for name in columns]
    least = len(alone) - SPARED
    return (
        _mean("oracle", best, 0.9, 1.0),
        _mean("source-only", alone, 0.6, 0.8),
        _mean("oracle minus source-only", gaps, 0.1, 0.25),
        _mean("pseudo-labels in the first quarter", early, 0.7, 1.0),
        Check("seeds on which the weakest class lives", min(living, default=math.nan), least, len(alone), tuple(alone)),
        Check("deviation of source-only", spread, 0.0, 0.06, tuple(alone)),
    )


def _seeds(rows: Mapping[str, Row], method: str, column: str) -> dict[int, float]:
    value = rows[method].values.get(column) if method in rows else None
    return dict(zip(value.seeds, value.values, strict=True)) if value else {}


def _mean(name: str, values: Mapping[int, float], low: float, high: float) -> Check:
    mean = sum(values.values()) / len(values) if values else math.nan
    return Check(name, mean, low, high, tuple(sorted(values)))


def console_rows(one: Calibration) -> list[list[str]]:
    """A line per check, see ``HEADER``."""
    word = {True: "yes", False: "no", None: "undecided"}
    return [
        [c.name, fixed(c.value, 3), fixed(c.low, 2), fixed(c.high, 2), str(len(c.seeds)), word[c.passed]]
        for c in one.checks
    ]


def write(made: Sequence[Calibration], path: Path) -> None:
    """Write all calibrations as JSON; the same results give the same bytes."""
    write_bytes(path, to_json({"calibrations": [_plain(one) for one in made]}))


def _plain(one: Calibration) -> dict[str, Any]:
    checks = [{**asdict(c), "value": to_number(c.value), "passed": c.passed} for c in one.checks]
    return {**asdict(one), "checks": checks, "passed": one.passed}
