"""One run from its words to its tables: plan, work, show, write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from harness import config as configuration
from harness.config import RunConfig
from harness.console import Console, columns, duration, leaderboard_text
from harness.running import plan as planning
from harness.running.cell import finished
from harness.running.placement import Placement, place
from harness.running.plan import Plan
from harness.store import Store, StoredResult
from harness.suite_files import MAIN
from harness.tables import leaderboard
from harness.tables.costs import CPU, by_stage
from harness.tables.rows import Row, gather
from harness.types import Cell, Executor, Outcome

FAILED = 3
SHOWN_ROWS = 40
"""Longer plans are shown by variant."""
PICTURE_SECONDS = {"objects": 0.009, "rooms": 0.018}
JUDGE_SECONDS = {"smoke": 10.0, "micro": 150.0, "small": 600.0, "paper": 2400.0}
"""CPU time of one built picture by family, and of training the judges of a tier, measured on one core."""


def run(words: Sequence[str], *, dry_run: bool = False) -> int:
    """Plan and, unless ``dry_run``, work on what is not done; 0 where every cell ended well, else 3."""
    parts = configuration.parts(words)
    store = Store(parts[0].store)
    plans = [make_plan(config, store) for config in parts]
    plan = planning.join(plans)
    placement = place(parts[0].executor, parts[0].workers, parts[0].run, plan)
    print(plan_text(parts, plans, placement.workers))
    return 0 if dry_run else work(parts, store, plan, placement)


def make_plan(config: RunConfig, store: Store) -> Plan:
    """The plan of a part of a run, with what its store holds and what earlier runs cost; unreadable results count as
    to do."""
    known = {result.key: result for result in store.results(report=lambda error: None)}

    def state(cell: Cell) -> planning.State:
        result = known.get(cell.key)
        if result is None or result.status == "absent":
            return "to do"
        if result.status == "done":
            return "stale" if result.stale(cell.code) else "done"
        return "resumes" if result.status == "partial" else result.status

    rates = planning.measured_rates(_costs(known.values(), config.run.device))
    return planning.build(config, state=state, measured=rates)


def work(parts: Sequence[RunConfig], store: Store, plan: Plan, placement: Placement) -> int:
    """Run the waiting cells, showing a partial leaderboard after each, then write the tables.

    ``plan`` holds the cells of all ``parts``; they differ in methods and data, not in how and where to run.
    """
    config = parts[0]
    if config.run.device.startswith("cuda") and placement.executor in ("local", "processes"):
        from harness.running.devices import resolve_device

        resolve_device(config.run.device)
    outcomes: list[Outcome] = []
    todo = [cell for cell in plan.cells if not finished(cell, store, config.run)]
    known = [seconds for seconds in plan.seconds.values() if seconds]
    weights = {cell.key: plan.seconds[cell.key] or max(known, default=60.0) for cell in todo}
    results: dict[str, StoredResult] = {}
    with Console(weights, workers=placement.workers) as console:
        for outcome in _executor(placement, config, store, console).map(todo) if todo else ():
            outcomes.append(outcome)
            console.outcome(outcome)
            if outcome.status == "done":
                results[outcome.key] = store.read(outcome.key)
                if len(outcomes) < len(todo) and results[outcome.key].cell.role == "method":
                    console.line(f"\n{leaderboard_text(_beside(results, outcome.key))}\n")
    written = leaderboard.write(store, config.suite.name, config.out, config.tier)
    print(_ending(parts, store, plan, outcomes, [str(p) for p in written if p.suffix in (".csv", ".md")]))
    return FAILED if any(outcome.status == "failed" for outcome in outcomes) else 0


def _beside(results: Mapping[str, StoredResult], key: str) -> list[Row]:
    """The rows so far on the data of one cell."""
    cell = results[key].cell
    same = [r for r in results.values() if r.cell.data.recipe_digest == cell.data.recipe_digest]
    return gather(same, cell.suite)


def plan_text(parts: Sequence[RunConfig], plans: Sequence[Plan], workers: int) -> str:
    """The plan of every part as a table, what all of them are expected to cost, and where results go."""
    plan = planning.join(plans)
    expected = f"{len(plan.waiting)} of {len(plan.cells)} cells to run"
    if plan.waiting:
        expected += f", expected {duration(plan.expected_with(workers))}"
        if workers > 1:
            expected += f" with {workers} workers ({duration(plan.expected_seconds)} of CPU time)"
        if plan.unknown:
            expected += f", not counting {plan.unknown} cells of unknown cost"
    tables = "\n".join(_part_text(config, part) for config, part in zip(parts, plans, strict=True))
    ready = [(config.data.recipe_digest, _preparation(config, part)) for config, part in zip(parts, plans, strict=True)]
    before = "".join({digest: text for digest, text in ready if text}.values())  # parts on the same data share it
    return f"{tables}\n{expected}\n{before}results: {parts[0].store}\n"


def _part_text(config: RunConfig, plan: Plan) -> str:
    if len(plan.cells) <= SHOWN_ROWS:
        rows = [
            [cell.variant, str(cell.seed), _images(cell), _seconds(plan.seconds[cell.key]), plan.state[cell.key]]
            for cell in plan.cells
        ]
        table = columns(["row", "seed", "images", "CPU time", "state"], rows)
    else:
        table = columns(["row", "cells", "images each", "CPU time", "states"], _by_variant(plan))
    notes = [
        f"\n{choice.entry.name} has no {config.tier}.yaml: its {choice.entry.preset_tier(config.tier)} preset is used"
        for choice in config.choices
        if choice.entry.preset_tier(config.tier) != config.tier
    ]
    part = "" if config.suite.part == MAIN else f", part {config.suite.part}"
    head = f"{config.suite.title}{part}: {config.data.name}, {config.data.resolution} px, tier {config.tier}"
    return f"{head}\n\n{table}\n{''.join(notes)}"


def _by_variant(plan: Plan) -> list[list[str]]:
    groups: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        groups.setdefault(cell.variant, []).append(cell)
    rows = []
    for variant, cells in groups.items():
        states: dict[str, int] = {}
        for cell in cells:
            states[plan.state[cell.key]] = states.get(plan.state[cell.key], 0) + 1
        known = [s for s in (plan.seconds[cell.key] for cell in cells) if s is not None]
        told = ", ".join(f"{count} {state}" for state, count in states.items())
        rows.append([variant, str(len(cells)), _images(cells[0]), _seconds(sum(known) if known else None), told])
    return rows


def _preparation(config: RunConfig, plan: Plan) -> str:
    """What the first run on these data does before its cells, and how long that takes."""
    if not plan.waiting or config.data.family not in PICTURE_SECONDS:
        return ""
    from harness.data.cache import split_folder
    from harness.data.splits import CORE

    absent = [name for name in CORE if not split_folder(config.data, config.run.cache, name).is_dir()]
    pictures = sum(config.data.splits[name] for name in absent)
    if not pictures:
        return ""
    building = pictures * PICTURE_SECONDS[config.data.family] / config.run.data_workers
    what = f"{pictures:,} pictures of {config.data.name} are built and judges trained on them"
    return f"before that {what}, about {duration(building + JUDGE_SECONDS[config.tier])}, once\n"


def _executor(placement: Placement, config: RunConfig, store: Store, console: Console) -> Executor:
    if placement.executor == "processes":
        from harness.running.executors.local import ProcessPool

        # Each of them builds data with processes of its own; what one builds the others need not.
        settings = replace(config.run, data_workers=max(1, config.run.data_workers // placement.workers))
        return ProcessPool(store, settings, workers=placement.workers, observer=console.observe)
    if placement.executor == "slurm":
        from harness.running.executors.slurm import Slurm

        return Slurm(store, config.run, workers=placement.workers, observer=console.observe)
    if placement.executor == "ray":
        from harness.running.executors.ray import Ray

        return Ray(store, config.run, workers=placement.workers, observer=console.observe)
    from harness.running.executors.local import InProcess

    return InProcess(store, config.run, observer=console.observe)


def _ending(
    parts: Sequence[RunConfig], store: Store, plan: Plan, outcomes: Sequence[Outcome], written: Sequence[str]
) -> str:
    """The final tables over everything the store holds on these data, what did not end well, and where things are."""
    rows = leaderboard.rows_of(store, parts[0].suite.name, parts[0].tier)
    told = []
    for digest in dict.fromkeys(config.data.recipe_digest for config in parts):
        members = [row for row in rows if row.data_digest == digest]
        told += [leaderboard_text(members)] if members else []
    bad = [outcome for outcome in outcomes if outcome.status != "done"]
    told += [f"{o.status}: {o.label}: {o.reason.removeprefix(f'{o.label}: ')}\n  {store.folder(o.key)}" for o in bad]
    if not outcomes:
        told.append(f"nothing to do: all {len(plan.cells)} cells were finished before")
    told.append("\n".join(["tables:", *(f"  {path}" for path in written), f"results:\n  {store.root}"]))
    return "\n\n".join(told)


def _costs(results: Iterable[StoredResult], device: str) -> Iterator[tuple[str, str, float, int]]:
    """(method, tier, seconds, images) of finished cells on the kind of device asked for; CPU time on a CPU."""
    for result in results:
        on_cpu = result.facts.get("device") == CPU
        if result.status == "done" and (device == "auto" or on_cpu == (device == "cpu")):
            seconds = sum(by_stage(result).values())
            images = result.cell.budget.images if result.cell.role == "method" else 0
            yield result.cell.method, result.cell.tier, seconds, images


def _images(cell: Cell) -> str:
    return f"{cell.budget.images:,}" if cell.role == "method" else ""


def _seconds(seconds: float | None) -> str:
    return "?" if seconds is None else duration(seconds)
