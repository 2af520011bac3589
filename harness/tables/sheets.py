"""One picture of many rows: what is the same for all of them, then a line of each row's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.store import StoredResult
from harness.tables import figures
from harness.tables.rows import Row
from harness.tables.sections import contest, families, short_name, stem

SHOWN = 64
"""Lower lines are enlarged by a whole factor to at least so many pixels."""
MARGIN, CHARACTER = 12, 6.5
"""Pixels beside a label, and of its every character."""

Line = tuple[str, NDArray[np.uint8]]
Picture = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""Shared and own lines uint8 [L,H,W,3]."""


@dataclass(frozen=True)
class Sheet:
    """A sheet made of one ``picture`` of every row: its first lines are ``shared`` by all rows, below them each row has
    its own, of which ``own`` are shown, the first after skipping ``skipped``. ``lines`` are the numbers of lines that
    such pictures can have, the largest first."""

    picture: str
    lines: tuple[int, ...]
    shared: tuple[str, ...]
    own: tuple[str, ...]
    caption: str
    skipped: int = 0


SHEETS = {
    "overlays": Sheet(
        "overlays",
        (3,),
        ("picture", "truth"),
        ("",),
        "Heat maps of the first seed over the same test images for every row, chosen before any run; colours are "
        "scaled per row and category, so compare shapes, not heights.",
    ),
    "predictions": Sheet(
        "predictions",
        (5, 3),
        ("image", "truth"),
        ("",),
        "Classes that the first seed of every row predicts for the same test images, chosen before any run; black is "
        "not scored.",
    ),
    "pseudo_labels": Sheet(
        "predictions",
        (5,),
        ("image", "truth"),
        ("pseudo-label", "confidence"),
        "Pseudo-labels of the first seed at the end of the training on the same test images, and how sure the "
        "labelling network is: black 0, white 1.",
        skipped=1,
    ),
}
SHARED = frozenset(sheet.picture for sheet in SHEETS.values())
"""Pictures of cells that become sheets."""


def sheets(rows: Sequence[Row], firsts: Mapping[tuple[object, ...], StoredResult]) -> dict[str, bytes]:
    """PNG by file name, a sheet per group of comparable methods and one per method with variants, oracles below.

    ``firsts`` holds the result of the first finished seed by the row's group. A picture that cannot be read, or differs
    in what should be shared, is left out.
    """
    made = {}
    for name, sheet in SHEETS.items():
        for title, members in _groups(name, rows):
            found = [(row, firsts[row.group]) for row in members if row.group in firsts]
            read = [(row, one.cell.seed, _read(one, sheet)) for row, one in found]
            seeds = [seed for _, seed, picture in read if picture is not None]
            pictures = [
                (short_name(row) if seed == min(seeds) else f"{short_name(row)}, seed {seed}", picture)
                for row, seed, picture in read
                if picture is not None
            ]
            if pictures:
                made[stem((*title, f"s{min(seeds)}"), members[0], rows)] = _drawn(pictures, sheet)
    return made


def _groups(name: str, rows: Sequence[Row]) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    methods: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.role == "method" and not row.changes:
            methods.setdefault(contest(row), []).append(row)
    titled = [((name, *found[0].setting), found) for found in methods.values()]
    titled += [((name, found[0].method, *found[0].setting), found) for found in families(rows)]
    for title, found in titled:
        yield title, [*found, *_oracles(found[0], rows)]


def _oracles(row: Row, rows: Sequence[Row]) -> list[Row]:
    """Oracles beside this row: references of its data and trained ones of its budget."""
    beside = [other for other in rows if other.role == "oracle" and not other.changes and other.table == row.table]
    return [other for other in beside if not other.trained or contest(other) == contest(row)]


def _read(result: StoredResult, sheet: Sheet) -> Picture | None:
    """The lines of a row's picture that a sheet shows; None for a picture that is not there or has other lines."""
    pixels = figures.read_picture(result.pictures.get(sheet.picture))
    if pixels is None:
        return None
    resolution = result.cell.data.resolution  # a line is a whole number of times as high
    count = next((count for count in sheet.lines if len(pixels) % (count * resolution) == 0), 0)
    if not count:
        return None
    height = len(pixels) // count
    factor = -(-SHOWN // height)
    lines = pixels.reshape(count, height, *pixels.shape[1:]).repeat(factor, axis=1).repeat(factor, axis=2)
    top = len(sheet.shared)
    first = top + sheet.skipped
    return lines[:top], lines[first : first + len(sheet.own)]


def _drawn(pictures: Sequence[tuple[str, Picture]], sheet: Sheet) -> bytes:
    top = pictures[0][1][0]
    lines: list[Line] = list(zip(sheet.shared, top, strict=True))
    for label, (shared, own) in pictures:
        if np.array_equal(shared, top):
            names = [f"{label}: {name}" if name else label for name in sheet.own]
            lines += zip(names, own, strict=True)
    labels, height = [label for label, _ in lines], len(lines[0][1])
    margin = MARGIN + round(CHARACTER * max(map(len, labels)))
    picture = np.concatenate([pixels for _, pixels in lines])
    down, across = len(picture), picture.shape[1] + margin
    figure = figures.new(across / figures.DPI, down / figures.DPI, layout=None)
    figure.figimage(picture, xo=margin, yo=0, origin="upper")
    for number, label in enumerate(labels):
        place = ((margin - MARGIN / 2) / across, 1 - (number + 0.5) * height / down)
        figure.text(*place, label, ha="right", va="center", fontsize=8, parse_math=False)
    return figures.png(figure)
