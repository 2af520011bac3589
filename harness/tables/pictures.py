"""Pictures of the shown rows beside the tables: all of the first seed, and one strip of every seed."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from harness.atomic import write_bytes
from harness.store import StoredResult
from harness.tables.beside import CAPTION, NAME, beside
from harness.tables.figures import read_picture
from harness.tables.rows import Row, group_of
from harness.tables.sheets import SHARED, SHEETS, sheets
from harness.tables.text import file_name

STRIPS = ("turntable", "samples")
"""Pictures whose first line is shown for every seed: good and bad seeds alike, since no seed is chosen."""

SHOWN = 64


def copy(results: Iterable[StoredResult], rows: Sequence[Row], folder: Path) -> list[Path]:
    """Write the pictures of every row but the floors to ``folder``/pictures and return them, sorted."""
    made = collect(results, rows)
    paths = []
    for stem in sorted(made):
        paths.append(folder / "pictures" / f"{stem}.png")
        write_bytes(paths[-1], made[stem])
    return paths


def collect(results: Iterable[StoredResult], rows: Sequence[Row]) -> dict[str, bytes]:
    """The pictures of every row but the floors as PNG, by file name without its ending.

    ``<row>-<budget>-s<seed>-<picture>`` for the first finished seed; ``<row>-<budget>-seeds-<picture>`` has a
    line per finished seed, in order. Where a row of that name stands in a table before, the data and the number of
    images follow the budget. Pictures that differ between rows in one line only stand together on ``sheets``; what is
    plugged into another method stands ``beside`` it.
    A picture that cannot be read is left out: the tables do not depend on it.
    """
    by_row: dict[tuple[object, ...], list[StoredResult]] = {}
    for result in sorted(results, key=lambda r: (r.cell.seed, r.key)):
        if result.status == "done" and result.cell.role != "floor":
            by_row.setdefault(group_of(result.cell), []).append(result)
    titles = picture_titles(rows)
    made: dict[str, bytes] = {}
    for group, members in by_row.items():
        if group not in titles:
            continue
        first, row = members[0].cell, titles[group]
        for name, path in members[0].pictures.items():
            content = None if name in SHARED else _read(path)
            if content is not None:
                made[file_name(*row, f"s{first.seed}", name)] = content
        distinct = {member.cell.seed: member for member in members}
        side = _line_height(first.data.resolution)
        for name in STRIPS:
            strip = _strip([member.pictures[name] for member in distinct.values() if name in member.pictures], side)
            if strip is not None:
                made[file_name(*row, "seeds", name)] = strip
    firsts = {group: members[0] for group, members in by_row.items()}
    return made | beside(rows, by_row, titles) | sheets(rows, firsts)


def picture_titles(rows: Sequence[Row]) -> dict[tuple[object, ...], tuple[str, ...]]:
    """What the pictures of every row are called, by group; no two rows share a name."""
    tables = list(dict.fromkeys(row.table for row in rows))
    titles: dict[tuple[object, ...], tuple[str, ...]] = {}
    for row in sorted(rows, key=lambda row: (tables.index(row.table), -row.images)):
        title: tuple[str, ...] = (row.label, row.budget)
        if title in titles.values():
            title = (*title, row.data.split(" ")[0], str(row.images or ""))
        titles[row.group] = title
    return titles


def caption(file: str) -> str:
    """What a picture of several rows shows, by its file name; empty for one of a single row."""
    name = file.partition("-")[0]
    return SHEETS[name].caption if name in SHEETS else CAPTION if name == NAME else ""


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (OSError, ValueError):  # a name that no file can have is a ValueError
        return None


def _line_height(resolution: int) -> int:
    """Protocols enlarge small images by a whole factor to at least 64 pixels."""
    return resolution * max(1, -(-SHOWN // resolution))


def _strip(paths: Sequence[Path], side: int) -> bytes | None:
    """The first line of every picture, below one another, as PNG; None for fewer than two pictures of one width."""
    read = [read_picture(path) for path in paths]
    lines = [pixels[:side] for pixels in read if pixels is not None]
    if len(lines) < 2 or len({line.shape for line in lines}) > 1:
        return None
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(lines)).save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()
