"""A method beside the one it is plugged into: the same seed and latents, the base on the left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from harness import registry
from harness.store import StoredResult
from harness.tables import figures
from harness.tables.rows import Row
from harness.tables.sections import contest
from harness.tables.text import file_name
from harness.types import Cell, HarnessError

NAME = "beside_base"
CAPTION = "The base on the left, on the right what is plugged into it: the same seed, the same latents."
KINDS = ("shapes", "meshes")
"""Pictures of cells that are set beside each other."""
GAP, HEAD = 12, 22
"""Pixels between the two, and above them for their names."""


def beside(
    rows: Sequence[Row],
    members: Mapping[tuple[object, ...], Sequence[StoredResult]],
    titles: Mapping[tuple[object, ...], Sequence[str]],
) -> dict[str, bytes]:
    """PNG by file name without its ending, for every row whose base stands unchanged in the same table and budget.

    ``members`` holds the finished results of a row by its group, ``titles`` what its pictures are called. The first
    seed of both is shown; pictures that cannot be read or are not equally high are left out.
    """
    bases = {(contest(row), row.method): row for row in rows if row.trained and not row.changes}
    made = {}
    for row in rows:
        found = members.get(row.group, ())
        base = bases.get((contest(row), _base_of(found[0].cell))) if found and row.trained else None
        if base is None or row.group not in titles:
            continue
        ours, theirs = (_by_seed(members.get(one.group, ())) for one in (row, base))
        for seed in sorted(set(ours) & set(theirs))[:1]:
            for kind in KINDS:
                pair = [figures.read_picture(one[seed].pictures.get(kind)) for one in (theirs, ours)]
                drawn = _drawn([base.label, row.label], [picture for picture in pair if picture is not None])
                if drawn is not None:
                    made[file_name(NAME, *titles[row.group], f"s{seed}", kind)] = drawn
    return made


def _base_of(cell: Cell) -> str:
    """Name of the method into which that of the cell is plugged; empty without one, or where it is gone."""
    named = cell.config.get("base")
    try:
        return registry.find(named).name if isinstance(named, str) else ""
    except HarnessError:
        return ""


def _by_seed(results: Sequence[StoredResult]) -> dict[int, StoredResult]:
    return {result.cell.seed: result for result in results}


def _drawn(labels: Sequence[str], pictures: Sequence[NDArray[np.uint8]]) -> bytes | None:
    if len(pictures) < 2 or len({len(picture) for picture in pictures}) > 1:
        return None
    starts = np.cumsum([0, *(picture.shape[1] + GAP for picture in pictures)])
    across, down = int(starts[-1]) - GAP, len(pictures[0]) + HEAD
    figure = figures.new(across / figures.DPI, down / figures.DPI, layout=None)
    for label, picture, start in zip(labels, pictures, starts, strict=False):
        figure.figimage(picture, xo=int(start), yo=0, origin="upper")
        place = ((start + picture.shape[1] / 2) / across, 1 - HEAD / 2 / down)
        figure.text(*place, label, ha="center", va="center", fontsize=8, parse_math=False)
    return figures.png(figure)
