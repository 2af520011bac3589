"""Figures of seeds, means and intervals: what a task setting costs each method, and what each variant changes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.tables import figures
from harness.tables.columns import style
from harness.tables.figures import COLOURS, REFERENCE, Drawing
from harness.tables.rows import Row, meaning
from harness.tables.sections import contest, families, short_name, stem
from harness.tables.stats import bootstrap_interval, mean_and_deviation
from harness.tables.text import cell, code, count, fixed, markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

IMAGES = ("fid[proc-v1|n=2048]", "kid_full[proc-v1|n=2048]", "d_gap")
COMPARED = ("image_auroc", "pixel_auroc", "aupro[limit=0.3]", *IMAGES)
EXPLAINED = (
    "miou", "miou[classes=tail]", "pl_acc", "image_auroc", "pixel_auroc", "error_ratio", *IMAGES, "gain_depth",
    "gain_rgb", "depth_agree",
)  # fmt: skip
Samples = Mapping[str, Sequence[float]]
"""A line's label -> its values, one per seed."""


def setting_changes(rows: Sequence[Row]) -> Iterator[Drawing]:
    """A figure per data set, budget and setting of the task: the usual one minus it, by method, paired by seed."""
    usual = {_trained(row): row for row in rows if row.role == "method" and not row.overrides}
    pairs: dict[tuple[object, ...], list[tuple[Row, Row]]] = {}
    for row in rows:
        if row.setting and not row.changes and _trained(row) in usual:
            pairs.setdefault(contest(row), []).append((usual[_trained(row)], row))
    for found in pairs.values():
        other = found[0][1]
        panels = {
            column: {one.method: paired_differences(one, two, column) for one, two in found} for column in COMPARED
        }
        text = (
            f"Each method as it is minus {', '.join(f'{name} ({meaning(name)})' for name in other.setting)}, budget "
            f"{other.budget} ({count(other.images)} images), paired by seed: left of the line it loses. {_READING}"
        )
        drawn = _figure(panels, dict.fromkeys(panels, 0.0), "difference of paired seeds")
        if drawn:
            yield Drawing(stem(("change", *other.setting), other, rows), text, drawn, _table(panels))


def variant_scores(rows: Sequence[Row]) -> Iterator[Drawing]:
    """A figure per method that has variants: scores of all of them, the unchanged method's mean as a line."""
    for family in families(rows):
        first = family[0]
        panels: dict[str, Samples] = {}
        reference = {}
        for column in EXPLAINED:
            panels[column] = {short_name(row): row.values[column].values for row in family if column in row.values}
            unchanged = [row.values[column].mean for row in family if not row.changes and column in row.values]
            reference[column] = unchanged[0] if unchanged else math.nan
        text = (
            f"{first.method} and its variants, budget {first.budget} ({count(first.images)} images); the line is the "
            f"unchanged method. {_READING}"
        )
        drawn = _figure(panels, reference, "score")
        if drawn:
            yield Drawing(stem(("variants", first.method, *first.setting), first, rows), text, drawn)


_READING = "Small dots are seeds, the diamond their mean, the bar its 95 % bootstrap interval."


def _trained(row: Row) -> tuple[object, ...]:
    return row.table, row.budget, row.images, row.precision, row.method


def paired_differences(one: Row, two: Row, column: str) -> list[float]:
    """``one`` minus ``two`` for every seed that both have."""
    if column not in one.values or column not in two.values:
        return []
    paired = dict(zip(two.values[column].seeds, two.values[column].values, strict=True))
    mine = zip(one.values[column].seeds, one.values[column].values, strict=True)
    return [value - paired[seed] for seed, value in mine if seed in paired]


def _table(panels: Mapping[str, Samples]) -> str:
    """Mean, deviation and interval of differences: a line per label, a column per panel."""
    shown = {column: lines for column, lines in panels.items() if any(lines.values())}
    labels = dict.fromkeys(label for lines in shown.values() for label in lines)
    header = ["", "pairs", *(code(column) for column in shown)]
    body = [
        [cell(label), str(max(len(lines[label]) for lines in shown.values()))]
        + [_difference(lines[label], style(column).digits) for column, lines in shown.items()]
        for label in labels
    ]
    return markdown_table(header, body)


def _difference(values: Sequence[float], digits: int) -> str:
    mean, std = mean_and_deviation(values)
    low, high = bootstrap_interval(values)
    text = f"{mean:+.{digits}f}" if values else "n/a"
    return f"{text} ± {fixed(std, digits)} [{low:+.{digits}f}, {high:+.{digits}f}]" if len(values) > 1 else text


def _figure(panels: Mapping[str, Samples], reference: Mapping[str, float], unit: str) -> bytes | None:
    panels = {title: lines for title, lines in panels.items() if any(lines.values())}
    labels = list(dict.fromkeys(label for lines in panels.values() for label, values in lines.items() if values))
    if not labels:
        return None
    longest = max(len(label) for label in labels)
    figure = figures.new(0.075 * longest + 3.0 * len(panels), 0.9 + 0.27 * len(labels))
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        if math.isfinite(reference[title]):
            axis.axvline(reference[title], color=REFERENCE, linewidth=1)
        for height, label in enumerate(labels):
            _line(axis, height, lines.get(label, ()))
        figures.tidy(axis, title, grid="x")
        axis.locator_params(axis="x", nbins=5)
    axes[0].set_yticks(range(len(labels)), labels, parse_math=False)
    axes[0].set_ylim(len(labels) - 0.5, -0.5)
    figure.supxlabel(unit, fontsize=8)
    return figures.png(figure)


def _line(axis: Axes, height: int, values: Sequence[float]) -> None:
    if not values:
        return
    colour = COLOURS[0]
    mean = sum(values) / len(values)
    low, high = bootstrap_interval(values)
    if math.isfinite(low):
        axis.plot([low, high], [height, height], color=colour, linewidth=4, alpha=0.35, solid_capstyle="butt")
    axis.plot(values, [height] * len(values), ".", color=colour, markersize=5, alpha=0.8)
    axis.plot([mean], [height], "D", color=colour, markersize=6, markeredgecolor="white")
