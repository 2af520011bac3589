"""From a run's configuration to an ordered list of cells, upstream cells first, with what is done and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Literal

from harness import registry
from harness.config import Choice, RunConfig, Variant
from harness.running.settings import Rerun
from harness.types import Budget, Cell, ConfigError

REFERENCE_SECONDS = 2.0

State = Literal["to do", "resumes", "running", "done", "stale", "failed", "skipped", "corrupt"]


@dataclass(frozen=True)
class Plan:
    """Cells in an order in which every cell comes after those it needs.

    ``seconds`` estimates each cell's CPU time by key (None where nothing is known), ``state`` says by key what the
    store holds (``stale``: done by older code), ``rerun`` is the rule of ``RunSettings``.
    """

    cells: tuple[Cell, ...]
    seconds: Mapping[str, float | None]
    state: Mapping[str, State]
    rerun: Rerun = "failed"

    @property
    def waiting(self) -> tuple[Cell, ...]:
        """The cells still to be worked on."""
        kept = {"failed": ("done", "stale"), "never": ("done", "stale", "failed", "skipped"), "stale": ("done",)}
        return tuple(cell for cell in self.cells if self.state[cell.key] not in kept.get(self.rerun, ()))

    @property
    def expected_seconds(self) -> float:
        """CPU seconds of the waiting cells, as far as known."""
        return sum(self.seconds[cell.key] or 0.0 for cell in self.waiting)

    def expected_with(self, workers: int) -> float:
        """Seconds until the last waiting cell ends, as far as known: no worker shares a cell with another."""
        longest = max((self.seconds[cell.key] or 0.0 for cell in self.waiting), default=0.0)
        return max(self.expected_seconds / workers, longest)

    @property
    def unknown(self) -> int:
        """How many waiting cells have no estimate."""
        return sum(self.seconds[cell.key] is None for cell in self.waiting)


def cells(config: RunConfig) -> tuple[Cell, ...]:
    """Every cell of a run: reference rows, then methods x variants x seeds with upstream cells first.

    Reference rows have one seed and no budget, so that runs of any budget share them.
    """
    code = registry.code_digest("floor:", config.suite.protocol, config.data.family)
    reference = replace(_cell(config), budget=Budget("none", 0), precision="auto", code=code)
    ordered = [replace(reference, method=name) for name in config.references]
    trained: dict[str, tuple[Variant, ...]] = {choice.entry.name: choice.variants for choice in config.choices}
    keys: dict[tuple[str, int], str] = {}
    for choice in config.choices:
        ordered += _method_cells(config, choice, trained, keys)
    return tuple(ordered)


def build(
    config: RunConfig,
    *,
    state: Callable[[Cell], State] = lambda cell: "to do",
    measured: Mapping[str, float] | None = None,
) -> Plan:
    """The plan of a run. ``state`` asks the store about a cell; ``measured`` (see ``measured_rates``) counts more than
    what presets declare."""
    planned = cells(config)
    rates = {choice.entry.name: _rate(choice, config, measured or {}) for choice in config.choices}
    seconds: dict[str, float | None] = {}
    for cell in planned:
        if cell.role == "method":
            rate = rates[cell.method]
            seconds[cell.key] = None if rate is None else rate * cell.budget.images / 1000
        else:
            seconds[cell.key] = (measured or {}).get(f"{cell.method}/{cell.tier}", REFERENCE_SECONDS)
    return Plan(planned, seconds, {cell.key: state(cell) for cell in planned}, config.run.rerun)


def join(plans: Sequence[Plan]) -> Plan:
    """One plan of several parts of a run; a cell that two of them share, such as a reference row, stands once."""
    by_key = {cell.key: cell for plan in plans for cell in plan.cells}
    seconds = {key: value for plan in plans for key, value in plan.seconds.items()}
    state = {key: value for plan in plans for key, value in plan.state.items()}
    return Plan(tuple(by_key.values()), seconds, state, plans[0].rerun)


def measured_rates(costs: Iterable[tuple[str, str, float, int]]) -> dict[str, float]:
    """Median cost by ``method/tier`` of finished cells, given as (method, tier, seconds, images): seconds per 1000
    images or, where nothing was trained (0 images), seconds per cell."""
    seen: dict[str, list[float]] = {}
    for method, tier, seconds, images in costs:
        if seconds > 0:
            seen.setdefault(f"{method}/{tier}", []).append(1000 * seconds / images if images else seconds)
    return {name: median(rates) for name, rates in seen.items()}


def _cell(config: RunConfig) -> Cell:
    return Cell(
        suite=config.suite.name,
        protocol=config.suite.protocol,
        method="",
        tier=config.tier,
        seed=0,
        budget=config.budget,
        data=config.data,
        settings=config.settings,
        precision=config.precision,
    )


def _method_cells(
    config: RunConfig,
    choice: Choice,
    trained: Mapping[str, tuple[Variant, ...]],
    keys: dict[tuple[str, int], str],
) -> list[Cell]:
    entry, made = choice.entry, list[Cell]()
    needs = {role: registry.find(needed).name for role, needed in entry.card.needs.items()}
    for role, needed in needs.items():
        if len(trained[needed]) != 1:
            raise ConfigError(
                f"{entry.name} needs one {needed} as its {role}, but {len(trained[needed])} variants are swept",
                remedy="Sweep over one at a time.",
            )
    template = replace(
        _cell(config),
        method=entry.name,
        source=str(entry.folder),
    )
    for variant in choice.variants:
        base = str(variant.config.get("base", ""))
        code = registry.code_digest(str(entry.folder), config.suite.protocol, config.data.family, base)
        for seed in config.seeds:
            upstream = {role: keys[needed, seed] for role, needed in needs.items()}
            cell = replace(
                template,
                seed=seed,
                code=code,
                config=variant.config,
                overrides=variant.overrides,
                upstream=upstream,
            )
            made.append(cell)
            keys[entry.name, seed] = cell.key
    return made


def _rate(choice: Choice, config: RunConfig, measured: Mapping[str, float]) -> float | None:
    name = f"{choice.entry.name}/{config.tier}"
    return measured[name] if name in measured else choice.entry.seconds_per_kimg(config.tier, config.suite.setting)
