"""The plots of the report page: effects of claims, standings between floor and oracle, quality against cost, curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from harness.tables import svg
from harness.tables.claim_terms import Claim
from harness.tables.claims import Comparison
from harness.tables.svg import Scale
from harness.tables.text import fixed

SERIES = 7
"""Colours that the style sheet tells apart; later lines repeat them dashed."""


@dataclass(frozen=True)
class Point:
    """A row in the scatter: what it cost, its score and the interval of the score; ``number`` names it in the key."""

    number: int
    name: str
    cost: float
    score: float
    low: float = math.nan
    high: float = math.nan
    series: int = 0


@dataclass(frozen=True)
class Curve:
    """A line of a panel: ``steps`` [T] and ``values`` [seeds,T], NaN where nothing was measured; one point of
    ``steps`` makes a level line."""

    name: str
    series: int
    steps: NDArray[np.float64]
    values: NDArray[np.float64] = field(repr=False)


def series(place: int) -> str:
    """The class of the style sheet for the line at a place."""
    return f"s{place % SERIES}{' dashed' if place >= SERIES else ''}"


# ------------------------------------------------------------------------------------------------------- effects
def effect(c: Comparison, claim: Claim, *, small: bool = False) -> Markup | None:
    """Every seed's difference, their mean and interval against 0 and the smallest effect that matters (the shaded part
    of the axis); None where nothing was compared. ``small`` leaves the axis out."""
    ends = [end for end in c.interval if math.isfinite(end)]
    values = [value for value in c.differences if math.isfinite(value)]
    width, height = (150.0, 26.0) if small else (420.0, 92.0)
    pad = 4.0 if small else 12.0
    across = svg.scale([0.0, claim.smallest_effect, *values, *ends], pad, width - pad, margin=0.08)
    if across is None or not values:
        return None
    middle, top, bottom = (13.0, 2.0, 24.0) if small else (34.0, 6.0, 62.0)
    parts = [svg.box(across(claim.smallest_effect), top, across.end - across(claim.smallest_effect), bottom - top,
                     "matters")]  # fmt: skip
    parts.append(svg.line(across(0.0), top, across(0.0), bottom, "zero"))
    if claim.smallest_effect:
        place = across(claim.smallest_effect)
        parts.append(svg.line(place, top, place, bottom, "bar"))
    if not any(map(math.isnan, c.interval)):
        low, high = (across(min(max(end, across.low), across.high)) for end in c.interval)
        kind = "interval" if not any(map(math.isinf, c.interval)) else "interval open"
        parts.append(svg.line(low, middle, high, middle, kind))
    for seed, value in zip(c.seeds, c.differences, strict=True):
        if math.isfinite(value):
            parts.append(svg.dot(across(value), middle, 2.0 if small else 3.5, "seed", f"seed {seed}: {value:.4g}"))
    parts.append(svg.diamond(across(c.effect), middle, 4.5 if small else 7, f"mean v-{c.verdict}", f"{c.effect:.4g}"))
    if not small:
        parts += [svg.text(x, 78, words, "middle") for x, words in across.ticks(6)]
        parts.append(svg.line(across.start, bottom, across.end, bottom, "axis"))
    label = f"effect {c.effect:.4g} {claim.unit} against {c.control}, matters from {claim.smallest_effect:g}"
    return svg.picture(width, height, label, parts, "effect small" if small else "effect")


# ----------------------------------------------------------------------------------------------------- standings
def strip(mean: float, span: tuple[float, float], marks: Mapping[str, float], ends: Sequence[float]) -> Markup | None:
    """A score and its interval on a line; ``marks`` (``floor``, ``oracle``) are where those stand, ``ends`` are all
    numbers that the lines of one standing share."""
    across = svg.scale(ends, 6, 234, margin=0.03)
    if across is None or not math.isfinite(mean):
        return None
    parts = [svg.line(across.start, 9, across.end, 9, "grid")]
    for name, value in marks.items():
        if math.isfinite(value):
            parts.append(svg.line(across(value), 0, across(value), 18, name))
    if all(map(math.isfinite, span)):
        parts.append(svg.line(across(span[0]), 9, across(span[1]), 9, "interval"))
    parts.append(svg.dot(across(mean), 9, 4, "mean"))
    told = ", ".join([f"{mean:.4g}", *(f"{name} {value:.4g}" for name, value in marks.items() if math.isfinite(value))])
    return svg.picture(240, 18, told, parts, "strip")


# ------------------------------------------------------------------------------------------------------- scatter
def scatter(points: Sequence[Point], xlabel: str, ylabel: str, marks: Mapping[str, float]) -> Markup | None:
    """Score against cost on a logarithmic axis, every point with its number; level lines for ``marks``."""
    across = svg.scale([point.cost for point in points], 50, 404, logarithmic=True)
    ends = [end for point in points for end in (point.score, point.low, point.high)]
    up = svg.scale(ends, 270, 26)
    shown = [p for p in points if math.isfinite(p.cost) and p.cost > 0 and math.isfinite(p.score)]
    if across is None or up is None or not shown:
        return None
    parts = svg.frame(across, up)
    for name, value in marks.items():
        if math.isfinite(value) and up.low <= value <= up.high:
            parts.append(svg.line(across.start, up(value), across.end, up(value), name))
            parts.append(svg.text(across.end, up(value) - 4, name, "end", "faint"))
    for point in shown:
        if math.isfinite(point.low) and math.isfinite(point.high):
            x = across(point.cost)
            parts.append(svg.line(x, up(point.low), x, up(point.high), f"interval {series(point.series)}"))
    places = [(across(point.cost), up(point.score)) for point in shown]
    for point, (x, y) in zip(shown, places, strict=True):
        told = f"{point.name}: {point.score:.4g} at {point.cost:.4g}"
        parts.append(svg.dot(x, y, 5, f"point {series(point.series)}", told))
    for point, (x, y) in zip(shown, _labels(places), strict=True):
        parts.append(svg.text(x, y + 4, str(point.number), "middle", f"number {series(point.series)}"))
    parts += [svg.text((across.start + across.end) / 2, 304, xlabel, "middle", "label")]
    parts += [svg.text(8, 14, ylabel, "start", "label")]
    return svg.picture(420, 310, f"{ylabel} against {xlabel}", parts, "scatter")


def _labels(places: svg.Points) -> list[tuple[float, float]]:
    """Where the number of every point stands: of eight places around it the one farthest from dots and numbers."""
    around = [(round(13 * math.cos(turn), 3), round(13 * math.sin(turn), 3)) for turn in np.arange(8) * math.pi / 4]
    taken = list(places)
    found = []
    for x, y in places:
        free = [(x + dx, y + dy) for dx, dy in around]
        best = max(
            free, key=lambda spot: min((math.dist(spot, other) for other in taken if other != (x, y)), default=0)
        )
        taken.append(best)
        found.append(best)
    return found


# -------------------------------------------------------------------------------------------------------- curves
def panel(title: str, curves: Sequence[Curve]) -> Markup | None:
    """Lines of means over seeds with a band from the lowest to the highest; a logarithmic axis for losses that fall by
    more than a factor of ten. None where nothing finite was measured."""
    drawn = [line for curve in curves if (line := _line(curve)) is not None]
    every = np.concatenate([values for line in drawn for values in (line.low, line.high)]) if drawn else np.zeros(0)
    last = max((float(line.at[-1]) for line in drawn if not line.level), default=0.0)
    logarithmic = bool(len(every)) and every.min() > 0 and every.max() / every.min() > 10
    up = svg.scale(every.tolist(), 176, 10, logarithmic=logarithmic, margin=0.05)
    if up is None or last <= 0:
        return None
    across = Scale(0.0, last, 48, 320)
    parts = svg.frame(across, up, (4, 4))
    for line in drawn:
        kind = series(line.series)
        if line.level:
            y = up(float(line.mean[0]))
            parts.append(svg.line(across.start, y, across.end, y, f"curve level {kind}"))
            continue
        if line.seeds > 1:
            rim = _places(across, up, line.at, line.high) + _places(across, up, line.at, line.low)[::-1]
            parts.append(svg.area(rim, f"band {kind}"))
        parts.append(svg.path(_places(across, up, line.at, line.mean), f"curve {kind}"))
    ends = ", ".join(f"{line.name} {fixed(float(line.mean[-1]), 3)}" for line in drawn)
    return svg.picture(344, 198, f"{title} along the training; at the end: {ends}", parts, "curves")


@dataclass(frozen=True)
class _Line:
    """A curve where it has finite values: steps, mean, lowest and highest [T]."""

    name: str
    series: int
    seeds: int
    level: bool
    at: NDArray[np.float64]
    mean: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def _line(curve: Curve) -> _Line | None:
    values = np.clip(np.where(np.isfinite(curve.values), curve.values, np.nan), -svg.WIDEST, svg.WIDEST)
    known = np.isfinite(values).any(axis=0)
    if not known.any():
        return None
    at, values, level = curve.steps[known], values[:, known], len(curve.steps) == 1
    found = (np.nanmean(values, axis=0), np.nanmin(values, axis=0), np.nanmax(values, axis=0))
    return _Line(curve.name, curve.series, len(values), level, at, *found)


def _places(
    across: Scale, up: Scale, at: NDArray[np.float64], values: NDArray[np.float64]
) -> list[tuple[float, float]]:
    return [(across(float(x)), up(float(y))) for x, y in zip(at, values, strict=True)]
