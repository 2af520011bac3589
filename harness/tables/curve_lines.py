"""What figures of curves share: the look of every line, its mean with a band of the seeds, the legend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.tables.figures import COLOURS, MARKS, REFERENCE
from harness.tables.learning import Learning

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Look = dict[str, str]


def looks(members: Sequence[Learning], black: Sequence[Learning]) -> list[Look]:
    """Colour and mark of every line; those that the others are compared with are ``black``."""
    found = []
    place = 0
    for one in members:
        if any(one is other for other in black):
            found.append({"color": REFERENCE, "marker": MARKS[-1], "linestyle": "-"})
            continue
        look = {"color": COLOURS[place % len(COLOURS)], "marker": MARKS[place % len(MARKS)], "linestyle": "-"}
        if len(one.steps) == 1:
            look |= {"marker": "", "linestyle": "--"}
        elif place >= len(COLOURS):
            look["linestyle"] = ":"
        found.append(look)
        place += 1
    return found


def draw_line(axis: Axes, steps: NDArray[np.float64], curves: NDArray[np.float64], look: Mapping[str, str]) -> None:
    """Mean and range over the seeds at every step that some seed was measured at; one point makes a level line."""
    known = np.isfinite(curves).any(axis=0)
    at, whole = steps[known], curves[:, known]
    mean, low, high = np.nanmean(whole, axis=0), np.nanmin(whole, axis=0), np.nanmax(whole, axis=0)
    if len(steps) == 1:
        axis.axhline(mean[0], linewidth=1.2, color=look["color"], linestyle=look["linestyle"])
        return
    axis.fill_between(at, low, high, color=look["color"], alpha=0.13, linewidth=0)
    axis.plot(at, mean, linewidth=1.6, markersize=4, **look)  # type: ignore[arg-type]


def legend(figure: Figure, axis: Axes, names: Sequence[str], drawn: Sequence[Look], across: int) -> None:
    """Names of all lines below the figure; ``axis`` is any of its panels."""
    handles = [axis.plot([], [], linewidth=1.6, markersize=4, **look)[0] for look in drawn]  # type: ignore[arg-type]
    shown = figure.legend(handles, names, loc="outside lower center", ncols=across, fontsize=8, frameon=False)
    for text in shown.get_texts():
        text.set_parse_math(False)
