"""From rows to the charts of the report page: who stands where, quality against cost, curves along the training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from harness.store import StoredResult
from harness.tables import report_plots
from harness.tables.columns import style
from harness.tables.learning import SCORES, Learning
from harness.tables.learning_curves import PANELS
from harness.tables.loss_curves import Losses
from harness.tables.metric_tables import is_defined
from harness.tables.ranks import Rank, ranks
from harness.tables.report_boards import (
    ARROWS,
    contest_order,
    contest_title,
    display_name,
    interval_text,
    primary,
    rank_text,
)
from harness.tables.report_plots import Curve, Point, series
from harness.tables.rows import Row, group_of, reference
from harness.tables.sections import contest, main_rows
from harness.tables.text import count, fixed

MOST = 12
"""Rows in one chart of curves; more stand in a second one."""


@dataclass(frozen=True)
class Place:
    """One row of a standing."""

    name: str
    text: str
    interval: str
    rank: str
    best: bool
    seeds: int
    oracle: bool
    strip: Markup | None


@dataclass(frozen=True)
class Standing:
    """The rows of one budget and setting by their first metric, best first, between ``floor`` and ``oracle``."""

    data: str
    title: str
    column: str
    arrow: str
    reading: str
    places: tuple[Place, ...]
    floor: str
    oracle: str
    unscored: tuple[str, ...]


@dataclass(frozen=True)
class CostPlot:
    """Quality against cost of the rows of one budget and setting; ``key`` is number, class, name, cost and score."""

    data: str
    title: str
    plot: Markup
    key: tuple[tuple[int, str, str, str, str], ...]
    unit: str


@dataclass(frozen=True)
class CurveChart:
    """Panels that share one legend of (class, name)."""

    data: str
    title: str
    panels: tuple[tuple[str, Markup], ...]
    legend: tuple[tuple[str, str], ...]


def standings(rows: Sequence[Row]) -> list[Standing]:
    """A standing per data set, setting and budget, those with most rows first."""
    made = []
    for members in _tables(rows).values():
        places = ranks(members)
        for one in _contests(members):
            column = primary(one)
            if not column:
                continue
            ranked = {key: rank for (key, name), rank in places.items() if name == column}
            made.append(_standing(one, members, column, ranked))
    return made


def _standing(one: Sequence[Row], table: Sequence[Row], column: str, places: Mapping[int, Rank]) -> Standing:
    known = style(column)
    marks = {role: reference(table, role, column) for role in ("floor", "oracle")}
    scored = [row for row in one if is_defined(row.values.get(column))]
    sign = -1 if known.better == "higher" else 1
    scored.sort(key=lambda row: (row.role == "oracle", sign * row.values[column].mean))
    ends = [end for row in scored for v in [row.values[column]] for end in (v.mean, v.low, v.high)]
    ends += list(marks.values())
    listed = []
    for row in scored:
        value, rank = row.values[column], places.get(id(row))
        listed.append(
            Place(
                name=display_name(row),
                text=fixed(value.mean, known.digits),
                interval=interval_text(value),
                rank=rank_text(rank),
                best=rank is not None and rank.best,
                seeds=len(row.done),
                oracle=row.role == "oracle",
                strip=report_plots.strip(value.mean, (value.low, value.high), marks, ends),
            )
        )
    floor, oracle = (_reference(table, role, column, value) for role, value in marks.items())
    unscored = tuple(f"{display_name(row)}: {row.status}" for row in one if row not in scored)
    arrow = ARROWS[known.better]
    return Standing(one[0].data, contest_title(one[0]), column, arrow, known.reading, tuple(listed), floor, oracle,
                    unscored)  # fmt: skip


def _reference(rows: Sequence[Row], role: str, column: str, value: float) -> str:
    """A reference's score with the row that has it."""
    if not math.isfinite(value):
        return ""
    who = next(r for r in rows if r.role == role and column in r.values and r.values[column].mean == value)
    return f"{fixed(value, style(column).digits)} ({who.label.removeprefix(f'{role}:')})"


def cost_plots(rows: Sequence[Row]) -> list[CostPlot]:
    """First metric against device-seconds, a plot per data set, setting, budget and unit with two rows or more."""
    made = []
    for members in _tables(rows).values():
        for one in _contests(members, variants=True):
            column = primary(one)
            for unit in sorted({cost.unit for row in one for cost in row.costs}) if column else ():
                plot = _cost_plot(one, members, column, unit)
                if plot is not None:
                    made.append(plot)
    return made


def _cost_plot(one: Sequence[Row], table: Sequence[Row], column: str, unit: str) -> CostPlot | None:
    points: list[Point] = []
    key: list[tuple[int, str, str, str, str]] = []
    methods = list(dict.fromkeys(row.method for row in one))
    for row in one:
        cost = next((cost.mean for cost in row.costs if cost.unit == unit), math.nan)
        value = row.values.get(column)
        if value is None or not is_defined(value) or not cost > 0:
            continue
        number, place = len(points) + 1, methods.index(row.method)
        points.append(Point(number, display_name(row), cost, value.mean, value.low, value.high, place))
        score = fixed(value.mean, style(column).digits)
        key.append((number, series(place), display_name(row), fixed(cost, 0 if cost >= 10 else 1), score))
    if len(points) < 2:
        return None
    marks = {role: reference(table, role, column) for role in ("floor", "oracle")}
    label = f"{column} {ARROWS[style(column).better]}"
    plot = report_plots.scatter(points, f"{unit} per result", label, marks)
    return CostPlot(one[0].data, contest_title(one[0]), plot, tuple(key), unit) if plot is not None else None


def learning_charts(rows: Sequence[Row], learned: Sequence[Learning]) -> list[CurveChart]:
    """Scores measured along the training: a chart per data set, setting and budget, variants in charts of their own."""
    by_group = {one.row.group: one for one in learned}
    made = []
    for members in _tables(rows).values():
        main = {row.group for row in main_rows(members)}
        for one in _contests(members, variants=True):
            plain = [row for row in one if row.group in main]
            apart = [row for row in one if row.group not in main]
            for title, shown in ((contest_title(one[0]), plain), (f"{contest_title(one[0])}: variants", apart)):
                found = [by_group.get(row.group) or _level(row) for row in shown]
                if any(row.group in by_group for row in shown):
                    starts = range(0, len(found), MOST)
                    made += [_chart(one[0].data, title, found[start : start + MOST]) for start in starts]
    return [chart for chart in made if chart.panels]


def _chart(data: str, title: str, learned: Sequence[Learning]) -> CurveChart:
    panels = []
    for name, words in PANELS.items():
        lines = [
            Curve(display_name(one.row), place, one.steps, one.curves[name])
            for place, one in enumerate(learned)
            if name in one.curves
        ]
        if any(len(line.steps) > 1 for line in lines):
            panels.append((words, report_plots.panel(words, lines)))
    legend = tuple((series(place), display_name(one.row)) for place, one in enumerate(learned))
    return CurveChart(data, title, tuple((words, plot) for words, plot in panels if plot), legend)


def _level(row: Row) -> Learning:
    """A method that does not learn step by step: its scores, as one point."""
    values = {name: np.array([row.values[name].values]).T for name in SCORES if name in row.values}
    return Learning(row, np.zeros(1), values)


def loss_charts(rows: Sequence[Row], results: Sequence[StoredResult], losses: Mapping[str, Losses]) -> list[CurveChart]:
    """The training losses of every row that kept some: its own panels, because losses of two methods do not compare."""
    found: dict[tuple[object, ...], list[Losses]] = {}
    for result in sorted(results, key=lambda r: (r.cell.seed, r.key)):
        if result.key in losses and result.status == "done":
            found.setdefault(group_of(result.cell), []).append(losses[result.key])
    made = []
    for row in rows:
        seeds = found.get(row.group, [])
        alike = [one for one in seeds if one.steps == seeds[0].steps]
        names = sorted({name for one in alike for name in one.values})
        panels = []
        for name in names:
            curves = [one.values.get(name, (math.nan,) * len(one.steps)) for one in alike]
            steps = np.array(alike[0].steps, np.float64)
            plot = report_plots.panel(name, [Curve(name, 0, steps, np.array(curves, np.float64))])
            if plot is not None:
                panels.append((name, plot))
        if panels:
            budget = f"budget {row.budget}, {count(row.images)} images, {len(alike)} seeds"
            made.append(CurveChart(row.data, f"{row.label}: {budget}", tuple(panels), ()))
    return made


def _tables(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    found: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        found.setdefault(row.table, []).append(row)
    return found


def _contests(rows: Sequence[Row], *, variants: bool = False) -> list[list[Row]]:
    """Trained rows of one setting and budget, the largest group first."""
    found: dict[tuple[object, ...], list[Row]] = {}
    for row in rows if variants else main_rows(rows):
        if row.trained:
            found.setdefault(contest(row), []).append(row)
    return [found[key] for key in sorted(found, key=contest_order)]
