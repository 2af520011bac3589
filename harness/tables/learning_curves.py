"""Figures of learning curves: of the methods as they are, by setting of the task, and of every method's variants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from harness.tables import figures
from harness.tables.curve_lines import draw_line, legend, looks
from harness.tables.figures import Drawing
from harness.tables.learning import SCORES, Learning
from harness.tables.rows import Row, meaning
from harness.tables.sections import contest, families, short_name, stem
from harness.tables.text import count

PANELS = {
    "miou": "mIoU on unlabelled images",
    "pl_acc": "pseudo-labels: share right",
    "pl_miou": "pseudo-labels: mIoU",
    "pl_kept_acc": "kept pseudo-labels: share right",
    "pl_coverage": "share of pixels kept",
    "pl_ece": "calibration error",
    "unreliable_error": "share wrong of the pixels not kept",
    "queue_fnr": "false negatives in the queues",
    "image_auroc": "image AUROC",
    "pixel_auroc": "pixel AUROC",
    "shortcut_ratio": "shortcut ratio (0: copies the defect)",
    "error_defect": "error on defects",
    "error_good": "error on good images",
    "d_gap": "gap of D (1: held-out images as fakes)",
    "d_train": "mean logit of training images",
    "d_val": "mean logit of held-out images",
    "loss": "training loss",
}
ACROSS = 3
WIDE = 5.0
"""Losses that differ by more than this factor are drawn on a logarithmic axis."""
BESIDE = 6
"""Variants in one figure, beside the unchanged method."""


def draw(learned: Sequence[Learning], rows: Sequence[Row]) -> Iterator[Drawing]:
    """A figure per data set, setting and budget of the methods as they are, and one for every six variants of each."""
    known = {id(one.row): one for one in learned}
    plain: dict[tuple[object, ...], list[Learning]] = {}
    for row in rows:
        if row.trained and not row.changes:
            plain.setdefault(contest(row), []).append(known.get(id(row)) or _level(row))
    for members in plain.values():
        if any(id(one.row) in known for one in members):
            setting = members[0].row.setting
            caption = ", ".join(("Learning curves", *(f"{name} ({meaning(name)})" for name in setting)))
            yield from _drawings(("learning_curves", *setting), caption, members, rows)
    for family in families([one.row for one in learned]):
        title = ("learning_curves", family[0].method, *family[0].setting)
        members = [known[id(row)] for row in family]
        first = members[:1] if not family[0].changes else []
        changed = members[len(first) :]
        for start in range(0, len(changed), BESIDE):
            number = str(start // BESIDE + 1) if len(changed) > BESIDE else ""
            shown = [*first, *changed[start : start + BESIDE]]
            caption = f"Learning curves of variants of {family[0].method}"
            yield from _drawings((*title, number), caption, shown, rows)


def _level(row: Row) -> Learning:
    """A detector that does not learn step by step: its scores, as one point."""
    values = {name: np.array([row.values[name].values]).T for name in SCORES if name in row.values}
    return Learning(row, np.zeros(1), values)


def _drawings(
    title: Sequence[str], caption: str, members: Sequence[Learning], rows: Sequence[Row]
) -> Iterator[Drawing]:
    members = [one for one in members if any(_drawn(one, key) for key in PANELS)]
    if not members:
        return
    panels = [key for key in PANELS if any(_drawn(one, key) for one in members)]
    row = members[0].row
    text = f"{caption}, budget {row.budget} ({count(row.images)} images): mean of the seeds; the band reaches from the "
    text += "lowest to the highest"
    if any(len(one.steps) == 1 for one in members):
        text += ", a level line is the score of a detector that does not learn step by step"
    yield Drawing(stem(title, row, rows), text, _figure(members, panels))


def _drawn(one: Learning, key: str) -> bool:
    return key in one.curves and bool(np.isfinite(one.curves[key]).any())


def _figure(members: Sequence[Learning], panels: Sequence[str]) -> bytes:
    across = min(ACROSS, len(panels))
    down = -(-len(panels) // across)
    figure = figures.new(3.6 * across, 2.7 * down + 0.2 + 0.22 * -(-len(members) // ACROSS))
    axes = list(figure.subplots(down, across, squeeze=False, sharex=True).flat)
    among_variants = any(one.row.changes for one in members)
    drawn = looks(members, [one for one in members if among_variants and not one.row.changes])
    for axis, key in zip(axes, panels, strict=False):
        for one, look in zip(members, drawn, strict=True):
            if _drawn(one, key):
                draw_line(axis, one.steps, one.curves[key], look)
        figures.tidy(axis, PANELS[key])
        if key == "loss" and _spread([one.curves[key] for one in members if _drawn(one, key)]) > WIDE:
            figures.logarithmic(axis)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    for axis in axes[max(0, len(panels) - across) : len(panels)]:
        axis.set_xlabel("training steps", fontsize=8)
        axis.tick_params(labelbottom=True)
    legend(figure, axes[0], [short_name(one.row) for one in members], drawn, ACROSS)
    return figures.png(figure)


def _spread(curves: Sequence[NDArray[np.float64]]) -> float:
    """Largest over smallest value; 0 where some value is not positive."""
    low = min(float(np.nanmin(one)) for one in curves)
    return max(float(np.nanmax(one)) for one in curves) / low if low > 0 else 0.0
