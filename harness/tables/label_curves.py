"""The accuracy of pseudo-labels along the training: of all rows of one setting, and less the ordinary teacher's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.tables import figures
from harness.tables.curve_lines import draw_line, legend, looks
from harness.tables.figures import REFERENCE, Drawing
from harness.tables.learning import Learning
from harness.tables.rows import Row
from harness.tables.sections import contest, stem
from harness.tables.text import count

CURVE = "pl_acc"
ORDINARY = ("self_training", "mean_teacher")
"""Rows with an ordinary mean teacher; the first one of a setting is what the others are compared with."""
CONTROLS = (("restore=all",),)
"""Variants that stand among the methods: the look-ahead that leaves no trace."""


def draw(learned: Sequence[Learning], rows: Sequence[Row]) -> Iterator[Drawing]:
    """A figure per data set, setting and budget where two rows or more have pseudo-labels."""
    contests: dict[tuple[object, ...], list[Learning]] = {}
    for one in learned:
        shown = not one.row.changes or one.row.changes in CONTROLS
        if shown and CURVE in one.curves and np.isfinite(one.curves[CURVE]).any():
            contests.setdefault(contest(one.row), []).append(one)
    for members in contests.values():
        if len(members) > 1:
            row = members[0].row
            ordinary = _ordinary(members)
            text = (
                f"Pseudo-labels on the same unlabelled images, share of all pixels that is right, budget {row.budget} "
                f"({count(row.images)} images): mean of the seeds; the band reaches from the lowest to the highest"
            )
            text += f". Right: minus {ordinary.row.label}, paired by seed" if ordinary else ""
            yield Drawing(stem(("pseudo_labels_curve",), row, rows), text, _figure(members, ordinary))


def _ordinary(members: Sequence[Learning]) -> Learning | None:
    by_label = {one.row.label: one for one in members}
    return next((by_label[label] for label in ORDINARY if label in by_label), None)


def _figure(members: Sequence[Learning], ordinary: Learning | None) -> bytes:
    across = 1 if ordinary is None else 2
    figure = figures.new(5.2 * across, 3.6 + 0.22 * -(-len(members) // (2 * across)))
    axes = list(figure.subplots(1, across, squeeze=False)[0])
    drawn = looks(members, [ordinary] if ordinary else [])
    for one, look in zip(members, drawn, strict=True):
        draw_line(axes[0], one.steps, one.curves[CURVE], look)
        if ordinary is not None and one is not ordinary:
            found = differences(one, ordinary)
            if found is not None:
                draw_line(axes[1], one.steps, found, look)
    figures.tidy(axes[0], "pseudo-labels: share right")
    if ordinary is not None:
        axes[1].axhline(0, color=REFERENCE, linewidth=1)
        figures.tidy(axes[1], f"minus {ordinary.row.label}, by seed")
    for axis in axes:
        axis.set_xlabel("training steps", fontsize=8)
    legend(figure, axes[0], [one.row.label for one in members], drawn, 2 * across)
    return figures.png(figure)


def differences(one: Learning, other: Learning) -> NDArray[np.float64] | None:
    """Accuracy of one minus the other's [S,T] of their common seeds; None without such seeds, or at other steps."""
    common = [seed for seed in one.seeds if seed in other.seeds]
    if not common or not np.array_equal(one.steps, other.steps):
        return None
    places = [(one.seeds.index(seed), other.seeds.index(seed)) for seed in common]
    return np.stack([one.curves[CURVE][mine] - other.curves[CURVE][its] for mine, its in places])
