"""The report: everything the store and kept results know about some suites, gathered for one self-contained page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import registry
from harness.atomic import write_bytes
from harness.store import Store, StoredResult
from harness.tables import archive, label_curves, report_boards, report_charts, report_claims, report_pictures, webpage
from harness.tables.claim_files import read_claims
from harness.tables.claims import judge
from harness.tables.intervals import setting_changes, variant_scores
from harness.tables.leaderboard import is_stale
from harness.tables.learning import learning_of
from harness.tables.ledger import about_tier
from harness.tables.loss_curves import losses_of
from harness.tables.markdown import INSTRUMENTS
from harness.tables.reported import Published, read_published
from harness.tables.rows import UNFINISHED, Row, gather
from harness.tables.text import clean, count
from harness.tables.throughput_files import Sheet, read_sheets
from harness.types import ConfigError, HarnessError

NAME = "report.html"
CONSOLE = ("suite", "tier", "cells", "rows", "verdicts")
LONGEST_NAME = 200
STATES = ("done", "failed", "skipped", "corrupt", *UNFINISHED)
WORDS = ("SUPPORTED", "REFUTED", "INCONCLUSIVE", "UNTESTED")


@dataclass(frozen=True)
class Ending:
    """A cell that is not done: what it was, how it stands and why."""

    row: str
    data: str
    budget: str
    seed: int
    status: str
    reason: str
    key: str


@dataclass(frozen=True)
class Part:
    """One suite at one tier, ready to be shown."""

    anchor: str
    suite: str
    title: str
    tier: str
    states: Mapping[str, int]
    verdicts: Mapping[str, int]
    methods: tuple[str, ...]
    boards: tuple[report_boards.Board, ...]
    standings: tuple[report_charts.Standing, ...]
    published: tuple[tuple[Published, str], ...]
    rulings: tuple[report_claims.Ruling, ...]
    claims_preface: str
    claims_about: str
    costs: tuple[report_charts.CostPlot, ...]
    learning: tuple[report_charts.CurveChart, ...]
    losses: tuple[report_charts.CurveChart, ...]
    galleries: tuple[report_pictures.Gallery, ...]
    endings: tuple[Ending, ...]
    stale: tuple[tuple[str, str], ...]
    provenance: tuple[tuple[str, tuple[str, ...]], ...]

    @property
    def largest(self) -> tuple[report_charts.Standing, ...]:
        """The standing with most rows of several seeds, alone; empty where nothing was ranked."""
        told = sorted(self.standings, key=lambda one: -sum(place.seeds > 1 for place in one.places))
        return tuple(told[:1])


def write(
    store: Store, out: Path, suite: str | None = None, tier: str | None = None, kept: Path | None = None
) -> list[Part]:
    """Write the page of a suite (of all that have cells) to the file ``out`` and return what it shows.

    Reads the store and, where ``kept`` is given, archives, pictures and throughput tables below that folder. A store
    with cells but without a finished one makes a page that says so; one without any cell raises ConfigError.
    """
    if out.is_dir() or out.suffix not in (".html", ".htm"):
        raise ConfigError("the page needs a file name that ends in .html", where=f"out={out}", remedy=f"out={NAME}")
    problems: list[str] = []
    known = list(store.results(lambda error: problems.append(str(error))))
    names = [suite] if suite else sorted({r.cell.suite for r in known} | _kept_suites(kept))
    found: list[tuple[str, str, list[StoredResult]]] = []
    for name in names:
        every = archive.merged(known, kept, name) if kept else known
        mine = [r for r in every if r.cell.suite == name and tier in (None, r.cell.tier)]
        found += [(name, one, [r for r in mine if r.cell.tier == one]) for one in sorted({r.cell.tier for r in mine})]
    if not found:
        told = f" of suite {suite}" if suite else ""
        raise ConfigError(
            f"no cell{told}{f' at tier {tier}' if tier else ''}",
            where=str(store.root),
            remedy="Run a suite first (python -m harness run suite=...), or give kept=results.",
        )
    prepared = [_prepared(name, one, results, kept) for name, one, results in found]
    galleries = report_pictures.galleries([pictures for _, pictures in prepared])
    parts = [
        _part(number, name, one, results, rows, shown)
        for number, ((name, one, results), (rows, _), shown) in enumerate(zip(found, prepared, galleries, strict=True))
    ]
    throughput = read_sheets(kept) if kept and suite in (None, "throughput") else []
    page = webpage.render(_context(parts, throughput, problems))
    write_bytes(out, page.encode())
    return parts


def console_rows(parts: Sequence[Part]) -> list[list[str]]:
    """A line per suite and tier below ``CONSOLE``."""

    def told(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{number} {name}" for name, number in counts.items())

    rows = [str(sum(len(block.lines) for board in part.boards for block in board.blocks)) for part in parts]
    return [
        [part.suite, part.tier, told(part.states), number, told(part.verdicts)]
        for part, number in zip(parts, rows, strict=True)
    ]


def _kept_suites(kept: Path | None) -> set[str]:
    return {path.parent.name for path in kept.glob(f"*/*/{archive.NAME}")} if kept else set()


def _prepared(
    suite: str, tier: str, results: Sequence[StoredResult], kept: Path | None
) -> tuple[list[Row], list[report_pictures.Candidate]]:
    rows = gather(results, suite, is_stale)
    drawn = [_drawable(row) for row in rows]
    learned = learning_of(results, drawn)
    drawings = [*label_curves.draw(learned, drawn), *setting_changes(drawn), *variant_scores(drawn)]
    folder = kept / tier / suite if kept else None
    return rows, report_pictures.candidates(results, drawn, folder, drawings)


def _drawable(row: Row) -> Row:
    """The row with names that fit into a figure: without control characters, none longer than ``LONGEST_NAME``."""

    def short(name: str) -> str:
        return clean(name) if len(name) <= LONGEST_NAME else f"{clean(name)[: LONGEST_NAME - 1]}…"

    overrides = {short(name): short(value) for name, value in row.overrides.items()}
    return replace(row, label=short(row.label), method=short(row.method), data=short(row.data), overrides=overrides)


def _part(
    number: int,
    suite: str,
    tier: str,
    results: Sequence[StoredResult],
    rows: Sequence[Row],
    galleries: Sequence[report_pictures.Gallery],
) -> Part:
    title, rulings, preface, about = _claims(suite, tier, results)
    states = Counter[str](r.status for r in results)
    verdicts = Counter(ruling.word for ruling in rulings)
    tables = list(dict.fromkeys(row.table for row in rows))
    learned = learning_of(results, rows)
    return Part(
        anchor=f"suite{number + 1}",
        suite=suite,
        title=title,
        tier=tier,
        states={name: states[name] for name in STATES if states[name]},
        verdicts={word: verdicts[word] for word in WORDS if verdicts[word]},
        methods=tuple(sorted({r.cell.method for r in results if r.cell.role == "method"})),
        boards=tuple(report_boards.board([row for row in rows if row.table == table]) for table in tables),
        standings=tuple(report_charts.standings(rows)),
        published=tuple(_published(rows)),
        rulings=tuple(rulings),
        claims_preface=preface,
        claims_about=about,
        costs=tuple(report_charts.cost_plots(rows)),
        learning=tuple(report_charts.learning_charts(rows, learned)),
        losses=tuple(report_charts.loss_charts(rows, results, losses_of(results))),
        galleries=tuple(galleries),
        endings=tuple(_endings(results)),
        stale=tuple((row.label, ", ".join(map(str, row.stale))) for row in rows if row.stale),
        provenance=tuple(_provenance(rows, results)),
    )


def _claims(suite: str, tier: str, results: Sequence[StoredResult]) -> tuple[str, list[report_claims.Ruling], str, str]:
    """The suite's title and, where it states claims, the rulings with what stands above them."""
    try:
        card = registry.suite(suite)
    except (HarnessError, OSError):
        return suite, [], "", "The suite's file is not here, so that its claims cannot be judged."
    try:
        claims, about = read_claims(card)
    except HarnessError as error:
        return card.title, [], "", str(error)
    verdicts = judge(about_tier(claims, tier), results, tier, is_stale)
    return card.title, report_claims.rulings(verdicts), report_claims.preface(verdicts), about


def _published(rows: Sequence[Row]) -> Iterable[tuple[Published, str]]:
    """Published numbers, each with what was reproduced on the same data by the same protocol, which may be nothing."""
    for one in read_published(row.method for row in rows):
        mine = [row for row in rows if (one.method.lower(), one.dataset) == (row.method, row.data)]
        values = [row.values[one.metric] for row in mine if one.metric in row.values]
        yield one, f"{values[0].mean:.4g}" if values else ""


def _endings(results: Sequence[StoredResult]) -> list[Ending]:
    order = {state: place for place, state in enumerate(STATES)}
    wrong = sorted((r for r in results if r.status != "done"), key=lambda r: (order[r.status], r.cell.variant, r.key))
    unsaid = {
        "partial": "begun and interrupted; the run command goes on where it stopped",
        "running": "a run was working on it when this page was made",
        "absent": "recorded, not begun",
    }
    return [
        Ending(
            row=r.cell.variant,
            data=f"{r.cell.data.name} {r.cell.data.resolution} px",
            budget=f"{r.cell.budget.name}, {count(r.cell.budget.images)} images" if r.cell.role == "method" else "",
            seed=r.cell.seed,
            status=r.status,
            reason=r.reason or unsaid.get(r.status, "no reason was recorded"),
            key=r.key[:12],
        )
        for r in wrong
    ]


def _provenance(rows: Sequence[Row], results: Sequence[StoredResult]) -> Iterable[tuple[str, tuple[str, ...]]]:
    yield "protocol", tuple(sorted({row.protocol for row in rows}))
    yield "data recipe", tuple(sorted({row.data_digest[:12] for row in rows}))
    yield "data content", tuple(sorted({text[:12] for row in rows for text in row.facts.get("data", ())}))
    yield "code", tuple(sorted({code[:12] for row in rows for code in row.codes}))
    for name, meaning in INSTRUMENTS.items():
        texts = {t for row in rows for t in (*row.facts.get(name, ()), *row.notes.get(name, {}).values())}
        yield meaning.replace("`", ""), tuple(sorted(texts))
    environments = [r.env for r in results if r.env]
    yield "git", tuple(sorted({_git(env) for env in environments} - {""}))
    for name, key in (("processor", "cpu"), ("device", "device"), ("system", "system"), ("Python", "python")):
        yield name, tuple(sorted({str(env[key]) for env in environments if env.get(key)}))
    packages = {f"{name} {version}" for env in environments for name, version in _mapping(env.get("packages")).items()}
    yield "packages", tuple(sorted(packages))
    missing = sum(not r.env for r in results)
    if missing:
        yield "not recorded", (f"git state, packages and hardware of {missing} cells read from the archive",)


def _git(env: Mapping[str, Any]) -> str:
    git = _mapping(env.get("git"))
    commit = str(git.get("commit") or "")[:12]
    return f"{commit} with uncommitted changes" if commit and git.get("changed") else commit


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _context(parts: Sequence[Part], throughput: Sequence[Sheet], problems: Sequence[str]) -> dict[str, Any]:
    states, verdicts = Counter[str](), Counter[str]()
    for part in parts:
        states.update(part.states)
        verdicts.update(part.verdicts)
    return {
        "parts": parts,
        "throughput": throughput,
        "problems": problems,
        "states": {name: states[name] for name in STATES if states[name]},
        "cells": sum(states.values()),
        "verdicts": {word: verdicts[word] for word in WORDS},
        "methods": sorted({method for part in parts for method in part.methods}),
        "meanings": report_claims.MEANINGS,
    }
