"""Small plots as inline SVG: scales, ticks and marks. Colours and fonts come from the style sheet of the page around
them, so that a plot follows dark mode and printing; every text is escaped where it is put in."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from harness.tables.text import clean

WIDEST = 1e150
"""Numbers beyond this are drawn at it: their differences stay finite."""
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Scale:
    """From numbers between ``low`` and ``high`` to places between ``start`` and ``end`` in pixels."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """The place of a number; beyond the ends it is the end."""
        value = min(max(value, self.low), self.high)
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log10(value), math.log10(low), math.log10(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, most: int = 5) -> list[tuple[float, str]]:
        """Places and texts of round numbers within the scale."""
        from matplotlib.ticker import LogLocator, MaxNLocator

        locator = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10])
        found = locator.tick_values(self.low, self.high)
        if self.logarithmic:
            for steps in ((1.0,), (1.0, 3.0), (1.0, 2.0, 5.0)):
                fewer = LogLocator(subs=steps).tick_values(self.low, self.high)
                fewer = [value for value in fewer if self.low <= value <= self.high]
                if 2 <= len(fewer) <= most + 1:
                    found = fewer
        inside = [float(value) for value in found if self.low <= value <= self.high]
        return [(self(value), plain(value)) for value in inside]


def scale(
    values: Iterable[float], start: float, end: float, *, logarithmic: bool = False, margin: float = 0.06
) -> Scale | None:
    """A scale around all finite ``values`` with a ``margin`` (a share of the span) on both sides; None without any."""
    known = [min(max(value, -WIDEST), WIDEST) for value in values if math.isfinite(value)]
    if logarithmic:
        known = [max(value, 1 / WIDEST) for value in known if value > 0]
    if not known:
        return None
    low, high = min(known), max(known)
    if logarithmic:
        factor = max((high / low) ** margin, 1.15)
        return Scale(low / factor, high * factor, start, end, True)
    pad = (high - low) * margin if high > low else abs(high) * 0.1 or 1.0
    return Scale(low - pad, high + pad, start, end)


def plain(value: float) -> str:
    """A short number for a tick: groups of three for large ones, no exponent where it can be avoided."""
    if value and (abs(value) >= 1e6 or abs(value) < 1e-4):
        return f"{value:.3g}"
    if value == int(value):
        return f"{int(value):,}".replace(",", "\u202f")
    return f"{value:.6g}"


def picture(width: float, height: float, label: str, parts: Iterable[Markup], kind: str = "") -> Markup:
    """An SVG element that scales with its place; ``label`` is what a screen reader says instead."""
    head = Markup('<svg class="plot {}" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return head.format(kind, px(width), px(height), clean(label)) + Markup("").join(parts) + Markup("</svg>")


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line of a class of the style sheet."""
    ends = (px(x1), px(y1), px(x2), px(y2))
    return Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>').format(*ends, kind)


def box(x: float, y: float, width: float, height: float, kind: str) -> Markup:
    """A rectangle; a negative width or height is none."""
    sizes = (px(x), px(y), px(max(width, 0.0)), px(max(height, 0.0)))
    return Markup('<rect x="{}" y="{}" width="{}" height="{}" class="{}"/>').format(*sizes, kind)


def dot(x: float, y: float, radius: float, kind: str, told: str = "") -> Markup:
    """A disc; ``told`` shows where a pointer rests on it."""
    title = Markup("<title>{}</title>").format(clean(told)) if told else Markup("")
    place = (px(x), px(y), px(radius))
    return Markup('<circle cx="{}" cy="{}" r="{}" class="{}">{}</circle>').format(*place, kind, title)


def diamond(x: float, y: float, radius: float, kind: str, told: str = "") -> Markup:
    """A square on its corner."""
    corners = [(x - radius, y), (x, y - radius), (x + radius, y), (x, y + radius)]
    title = Markup("<title>{}</title>").format(clean(told)) if told else Markup("")
    return Markup('<polygon points="{}" class="{}">{}</polygon>').format(_points(corners), kind, title)


def path(points: Points, kind: str) -> Markup:
    """A line through points."""
    return Markup('<polyline points="{}" class="{}"/>').format(_points(points), kind)


def area(points: Points, kind: str) -> Markup:
    """A filled shape."""
    return Markup('<polygon points="{}" class="{}"/>').format(_points(points), kind)


def text(x: float, y: float, words: str, anchor: str = "start", kind: str = "") -> Markup:
    """A text whose base line begins, has its middle or ends at a place."""
    shape = Markup('<text x="{}" y="{}" text-anchor="{}" class="{}">{}</text>')
    return shape.format(px(x), px(y), anchor, kind, clean(words))


def frame(across: Scale, up: Scale, most: tuple[int, int] = (5, 5)) -> list[Markup]:
    """Grid lines and tick texts of a panel; ``up`` runs from the bottom to the top."""
    parts = []
    for y, words in up.ticks(most[1]):
        parts += [line(across.start, y, across.end, y, "grid"), text(across.start - 5, y + 4, words, "end")]
    for x, words in across.ticks(most[0]):
        parts += [line(x, up.start, x, up.end, "grid"), text(x, up.start + 15, words, "middle")]
    return [*parts, line(across.start, up.start, across.end, up.start, "axis")]


def px(value: float) -> str:
    """A place with one digit after the point, no more than needed."""
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def _points(points: Points) -> str:
    return " ".join(f"{px(x)},{px(y)}" for x, y in points)
