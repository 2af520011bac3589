"""One picture of many rows: what is the same for all of them, then a line of each row's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.store import StoredResult
from harness.tables import figures
from harness.tables.rows import Row
from harness.tables.sections import contest, families, short_name, stem

SHARED: dict[str, tuple[str, ...]] = {"overlays": ("picture", "truth")}
"""Pictures of cells that become sheets: what their first lines hold, equal for all rows; each has one line more."""
CAPTIONS = {
    "overlays": "Heat maps of the first seed over the same test images for every row, chosen before any run; colours "
    "are scaled per row and category, so compare shapes, not heights."
}
MARGIN, CHARACTER = 12, 6.5
"""Pixels beside a label, and of its every character."""

Line = tuple[str, NDArray[np.uint8]]


def sheets(rows: Sequence[Row], firsts: Mapping[tuple[object, ...], StoredResult]) -> dict[str, bytes]:
    """PNG by file name, a sheet per group of comparable methods and one per method with variants, oracles below.

    ``firsts`` holds the result of the first finished seed by the row's group. A picture that cannot be read, or differs
    in what should be shared, is left out.
    """
    made = {}
    for name, shared in SHARED.items():
        for title, members in _groups(name, rows):
            found = [(row, firsts[row.group]) for row in members if row.group in firsts]
            read = [(row, one.cell.seed, _read(one.pictures.get(name), len(shared))) for row, one in found]
            seeds = [seed for _, seed, pixels in read if pixels is not None]
            lines = [
                (short_name(row) if seed == min(seeds) else f"{short_name(row)}, seed {seed}", pixels)
                for row, seed, pixels in read
                if pixels is not None
            ]
            if lines:
                made[stem((*title, f"s{min(seeds)}"), members[0], rows)] = _sheet(lines, shared)
    return made


def caption(file: str) -> str:
    """What a sheet of this file name shows; empty for other pictures."""
    return CAPTIONS.get(file.partition("-")[0], "")


def _groups(name: str, rows: Sequence[Row]) -> Iterator[tuple[tuple[str, ...], list[Row]]]:
    methods: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row.role == "method" and not row.changes:
            methods.setdefault(contest(row), []).append(row)
    titled = [((name, *found[0].setting), found) for found in methods.values()]
    titled += [((name, found[0].method, *found[0].setting), found) for found in families(rows)]
    for title, found in titled:
        yield title, [*found, *(row for row in rows if row.role == "oracle" and row.table == found[0].table)]


def _read(path: Path | None, shared: int) -> NDArray[np.uint8] | None:
    if path is None:
        return None
    try:
        with Image.open(path) as picture:
            pixels = np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError):
        return None
    return pixels if len(pixels) % (shared + 1) == 0 else None


def _sheet(lines: Sequence[Line], shared: Sequence[str]) -> bytes:
    first = lines[0][1]
    height = len(first) // (len(shared) + 1)
    top = first[: height * len(shared)]
    alike = [(label, pixels) for label, pixels in lines if np.array_equal(pixels[: len(top)], top)]
    labels = [*shared, *(label for label, _ in alike)]
    margin = MARGIN + round(CHARACTER * max(map(len, labels)))
    picture = np.concatenate([top, *(pixels[len(top) :] for _, pixels in alike)])
    down, across = len(picture), picture.shape[1] + margin
    figure = figures.new(across / figures.DPI, down / figures.DPI, layout=None)
    figure.figimage(picture, xo=margin, yo=0, origin="upper")
    for number, label in enumerate(labels):
        place = ((margin - MARGIN / 2) / across, 1 - (number + 0.5) * height / down)
        figure.text(*place, label, ha="right", va="center", fontsize=8, parse_math=False)
    return figures.png(figure)
