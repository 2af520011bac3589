"""``verify``: committed tables made anew from their archives, and cells scored anew from their kept predictions."""

from __future__ import annotations

import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from harness.console import columns
from harness.naming import unknown
from harness.running.cell import label
from harness.running.cell_check import NOT_SCORED, Check, check_cell
from harness.running.settings import RunSettings
from harness.store import Store, StoredResult
from harness.tables import archive, reproduction
from harness.tables.leaderboard import is_stale
from harness.types import ConfigError, HarnessError, StoreError

OK, DIFFERS = 0, 3
HEADER = (
    "suite", "tier", "tables", "tables\ndiffering", "cells", "re-scored", "agreeing", "cells\ndiffering",
    "not\nre-scored", "stale\ncode",
)  # fmt: skip
LIMITED = "beyond limit="


@dataclass(frozen=True)
class Wanted:
    """What to verify: the archives below ``results``, of one ``suite`` and ``tier`` where named; ``methods`` (empty:
    all) and ``limit`` (None: without) say which cells are scored again from ``store``."""

    results: Path
    store: Store
    settings: RunSettings
    suite: str = ""
    tier: str = ""
    methods: tuple[str, ...] = ()
    limit: int | None = None


@dataclass
class Report:
    """What was found in the tables of one suite and tier; ``problems`` are lines for people."""

    tier: str
    suite: str
    tables: int = 0
    differing: int = 0
    stale: int = 0
    checks: list[Check] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def count(self, state: str) -> int:
        return sum(check.state == state for check in self.checks)


def run(wanted: Wanted) -> int:
    """Verify and print; 0 where everything agrees, 3 where something differs. Raises as ``verify`` does."""
    reports = list(verify(wanted, lambda check: print(f"{label(check.result.cell)}: {check}", flush=True)))
    print(text(reports))
    return DIFFERS if any(report.problems for report in reports) else OK


def verify(wanted: Wanted, observe: Callable[[Check], None] = lambda check: None) -> Iterator[Report]:
    """A report per suite and tier below ``wanted.results``; ``observe`` is told of every cell that was scored. The
    store is only read.

    Raises ConfigError where there are no tables or no such method, StoreError where tables lack their archive.
    """
    chosen = _chosen(wanted)
    _require_methods(wanted, chosen)
    for tier, suite in chosen:
        report = Report(tier, suite)
        try:
            kept = list(archive.read(wanted.results / tier / suite / archive.NAME))
        except StoreError as error:
            report.problems.append(str(error))
            yield report
            continue
        _compare_tables(wanted.results, report)
        report.stale = sum(result.status == "done" and is_stale(result) for result in kept)
        for check in _checks(kept, wanted):
            report.checks.append(check)
            if check.state != NOT_SCORED:
                observe(check)
            if check.state == "differs":
                report.problems.append(f"{label(check.result.cell)} ({check.result.key[:12]}): {check.reason}")
        yield report


def _chosen(wanted: Wanted) -> list[tuple[str, str]]:
    if not wanted.results.is_dir():
        raise ConfigError("no such folder", where=str(wanted.results), remedy="Give the folder of tables: results")
    found = reproduction.archived(wanted.results)
    chosen = [(t, s) for t, s in found if wanted.tier in ("", t) and wanted.suite in ("", s)]
    if not chosen:
        asked = " ".join(f"{key}={value}" for key, value in (("suite", wanted.suite), ("tier", wanted.tier)) if value)
        raise ConfigError(
            f"no tables{f' of {asked}' if asked else ''} in <tier>/<suite>/",
            where=str(wanted.results),
            nearest=[f"suite={suite} tier={tier}" for tier, suite in found],
            remedy="" if found else "Write some first: python -m harness leaderboard suite=NAME out=results",
        )
    return chosen


def _require_methods(wanted: Wanted, chosen: Sequence[tuple[str, str]]) -> None:
    """Refuse a method that none of the tables has; a damaged archive is reported later."""
    known: set[str] = set()
    for tier, suite in chosen if wanted.methods else ():
        with suppress(StoreError):
            known |= {result.cell.method for result in archive.read(wanted.results / tier / suite / archive.NAME)}
    for method in wanted.methods:
        if method not in known:
            raise unknown("method", method, sorted(known), str(wanted.results))


# ------------------------------------------------------------------------------------------------------- tables
def _compare_tables(results: Path, report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="parallax-verify-") as scratch:
        try:
            tables = reproduction.compare(results, report.tier, report.suite, Path(scratch))
        except HarnessError as error:
            report.problems.append(f"the tables cannot be made: {error}")
            return
    report.tables, report.differing = len(tables.compared), len(tables.differences)
    report.problems += [f"{name} {text}" for name, text in tables.differences.items()]
    if tables.aged:
        report.remarks.append("the tables agree, but do not say which results are stale: code changed after them")


# -------------------------------------------------------------------------------------------------------- cells
def _checks(kept: Sequence[StoredResult], wanted: Wanted) -> Iterator[Check]:
    """A check of every finished cell, by method and key: the first ``limit`` of each method that can be scored."""
    scored: Counter[str] = Counter()
    done = [result for result in kept if result.status == "done"]
    for result in sorted(done, key=lambda result: (result.cell.method, result.key)):
        if wanted.methods and result.cell.method not in wanted.methods:
            continue
        if wanted.limit is not None and scored[result.cell.method] >= wanted.limit:
            yield Check(result, NOT_SCORED, f"{LIMITED}{wanted.limit} per method")
            continue
        check = check_cell(result, wanted.store, wanted.settings)
        scored[result.cell.method] += check.state != NOT_SCORED
        yield check


# ------------------------------------------------------------------------------------------------------ console
def text(reports: Sequence[Report]) -> str:
    """The summary, what differs and what was not scored again, for a console."""
    lines = [
        [
            *(report.suite, report.tier, str(report.tables), str(report.differing), str(len(report.checks))),
            str(report.count("agrees") + report.count("differs")),
            *(str(report.count(state)) for state in ("agrees", "differs", NOT_SCORED)),
            str(report.stale),
        ]
        for report in reports
    ]
    told = [columns(HEADER, lines)]
    for report in reports:
        place = f"{report.tier}/{report.suite}"
        told += [f"differs: {place}: {problem}" for problem in report.problems]
        told += [f"{place}: {remark}" for remark in report.remarks]
        told += [f"not re-scored: {place}: {line}" for line in _not_scored(report.checks)]
    return "\n".join(told)


def _not_scored(checks: Sequence[Check]) -> list[str]:
    """A line per reason, with the cells by row unless the user left them out."""
    by_reason: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for check in checks:
        if check.state == NOT_SCORED:
            by_reason[check.reason][check.result.cell.variant].append(check.result.cell.seed)
    lines = []
    for reason, rows in sorted(by_reason.items()):
        named = ", ".join(f"{row} {' '.join(map(str, sorted(seeds)))}" for row, seeds in sorted(rows.items()))
        count = f"{reason}: {sum(map(len, rows.values()))} cells"
        lines.append(count if reason.startswith(LIMITED) else f"{count} (row and seeds: {named})")
    return lines
