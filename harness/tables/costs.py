"""What a result costs: device-seconds of its cell and, at a price per hour, money.

Seconds differ between equal runs, so these columns stand in files of their own (costs.csv by row, costs.json by cell).
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.store import STAGES, StageName, StoredResult
from harness.tables.text import csv_bytes, fixed, number

if TYPE_CHECKING:
    from harness.tables.rows import Row

CPU = "cpu"
CPU_SECONDS, DEVICE_SECONDS = "CPU-seconds", "device-seconds"
HEADER = (
    "suite", "data", "tier", "budget", "budget_images", "method", "role", "device", "unit", "n_seeds",
    "cost_per_result", "least", "most", *STAGES,
)  # fmt: skip
PRICED = ("price_per_hour", "money_per_result")
LEGEND = (
    "the cost of a result: its training, prediction and scoring, in CPU-seconds (all cores) on a CPU and in seconds of "
    "the device on a GPU; data sets, judges and the cells it builds on are not counted"
)


class Recorded(Protocol):
    """The parts of a stored result that say what it cost and where."""

    @property
    def cost(self) -> Mapping[str, Any]: ...

    @property
    def facts(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Cost:
    """Mean cost of the finished seeds of one row on one kind of device, in ``unit``; ``least`` and ``most`` of them,
    and how the mean divides over the stages."""

    device: str
    seeds: int
    mean: float
    least: float
    most: float
    stages: Mapping[StageName, float]

    @property
    def unit(self) -> str:
        return CPU_SECONDS if self.device == CPU else DEVICE_SECONDS

    def money(self, price: float) -> float:
        """What a result costs at a price per hour of the device (on a CPU: of one core)."""
        return self.mean * price / 3600


def by_stage(result: Recorded) -> dict[StageName, float]:
    """Device-seconds of every recorded stage: CPU time on a CPU, wall time on any other device."""
    unit = "cpu_seconds" if result.facts.get("device") == CPU else "seconds"
    known = {stage: result.cost.get(f"{stage}_{unit}") for stage in STAGES}
    return {stage: float(seconds) for stage, seconds in known.items() if seconds is not None}


def costs_of(done: Sequence[Recorded]) -> tuple[Cost, ...]:
    """The costs of the finished seeds of one row, by device; results that recorded nothing are left out."""
    found: dict[str, list[dict[StageName, float]]] = defaultdict(list)
    for result in done:
        if stages := by_stage(result):
            found[str(result.facts.get("device", ""))].append(stages)
    costs = []
    for device, spent in sorted(found.items()):
        totals = [math.fsum(stages.values()) for stages in spent]
        means = {stage: math.fsum(one.get(stage, 0.0) for one in spent) / len(spent) for stage in STAGES}
        costs.append(Cost(device, len(spent), math.fsum(totals) / len(spent), min(totals), max(totals), means))
    return tuple(costs)


def table(rows: Sequence[Row], price: float | None = None) -> bytes:
    """costs.csv: one line per row and device; with ``price`` (per hour of the device) also money per result."""
    lines = []
    for row in rows:
        head = [row.suite, row.data, row.tier, row.budget, str(row.images or ""), row.label, row.role]
        for cost in row.costs:
            figures = [cost.mean, cost.least, cost.most, *(cost.stages[stage] for stage in STAGES)]
            line = [*head, cost.device, cost.unit, str(cost.seeds), *map(number, figures)]
            lines.append(line if price is None else [*line, number(price), number(cost.money(price))])
    return csv_bytes(HEADER if price is None else (*HEADER, *PRICED), lines)


def price_in(path: Path) -> float | None:
    """The price per hour with which a costs.csv was written; None where there is none, or no such file."""
    try:
        line = next(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))), {})
        return float(line[PRICED[0]])
    except (OSError, KeyError, ValueError, TypeError):
        return None


def console_columns(rows: Sequence[Row], price: float | None = None) -> list[tuple[str, list[str]]]:
    """Headings and cells, a cell per row: a column per unit that occurs, and money where a ``price`` is given."""
    shown = []
    for unit in (CPU_SECONDS, DEVICE_SECONDS):
        cells = [", ".join(_short(cost.mean) for cost in row.costs if cost.unit == unit) for row in rows]
        shown += [(f"{unit}\nper result", cells)] if any(cells) else []
    if price is not None:
        cells = [", ".join(f"{cost.money(price):.3g}" for cost in row.costs) for row in rows]
        shown += [("money\nper result", cells)] if any(cells) else []
    return shown


def _short(seconds: float) -> str:
    return fixed(seconds, 1 if seconds < 100 else 0)


def by_cell(results: Iterable[StoredResult]) -> bytes:
    """costs.json: what each finished cell cost in every unit, by key."""
    content = {
        result.key: {
            "method": result.cell.variant,
            "seed": result.cell.seed,
            "budget": result.cell.budget.name,
            "images": result.cell.budget.images,
            "cost": dict(result.cost),
        }
        for result in results
        if result.status == "done"
    }
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
