"""Pictures of the report page: which are shown, in which order, and how they become small enough to stand in it."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from harness.store import StoredResult
from harness.tables.figures import Drawing
from harness.tables.pictures import caption, collect, picture_titles
from harness.tables.report_boards import contest_order
from harness.tables.rows import Row
from harness.tables.sections import contest
from harness.tables.text import count, file_name

BYTES = 4_000_000
"""All pictures of a page together, before base64 makes them a third larger: a page stays below 10 MB."""
QUALITY = 80
FLAT = 8192
"""Pictures of so many colours are figures or label maps."""
LONGEST = 1600
"""Larger pictures are made smaller to this side."""
KINDS = {
    "samples": "samples, the first ones drawn, none chosen",
    "turntable": "turntable: an object per line, the commanded azimuth from left to right",
    "yaws": "a room per line, the commanded yaw from left to right",
    "depth": "depth beside its picture",
    "shapes": "pictures, their depth (red is near) and normals",
    "meshes": "shapes drawn from the prior, from three sides",
    "swap": "swapped codes: what one code keeps while the other changes",
    "warp": "views warped to each other by depth",
    "inversions": "fits to real objects: given picture, fit, other views, depth, mesh",
    "interpolation": "straight lines through the space of styles",
    "neighbours": "samples and their nearest training images",
    "truncated": "samples with truncated styles",
}
"""Pictures of cells, in the order in which they find room."""
FIGURES = {"pose_curves": "estimated against commanded azimuth, a line per seed"}
FIGURES_TITLE = "Figures"
_DRAWN_ANEW = ("learning_curves-", "variants-", "change-", "pseudo_labels_curve-")
"""Figures in an archive's folder that the page draws itself."""
_OF_ROW = re.compile(r"(?:s(?P<seed>\d+)|seeds)-(?P<kind>[A-Za-z0-9_]+)")


@dataclass(frozen=True)
class Candidate:
    """A picture that could be shown: ``title`` heads its group, ``order`` says how soon it finds room, ``main`` whether
    its group is open at first."""

    title: str
    caption: str
    main: bool
    order: tuple[int, ...]
    png: bytes


@dataclass(frozen=True)
class Shown:
    """A picture in the page: a data URI, its size in pixels, whether its pixels are to stay visible."""

    caption: str
    alt: str
    uri: str
    width: int
    height: int
    pixelated: bool


@dataclass(frozen=True)
class Gallery:
    """Pictures of one comparison (``wide``) or row; ``left`` names those that found no room or cannot be read."""

    title: str
    main: bool
    wide: bool
    shown: tuple[Shown, ...]
    left: tuple[str, ...]


def candidates(
    results: Sequence[StoredResult], rows: Sequence[Row], folder: Path | None, drawings: Sequence[Drawing] = ()
) -> list[Candidate]:
    """Every picture of the rows, from the store's cells and the ``folder`` of an archive: sheets that compare rows, one
    cell per row, figures."""
    found = {path.stem: path for path in sorted((folder / "pictures").glob("*.png"))} if folder else {}
    contents = {stem: _bytes(path) for stem, path in found.items() if not stem.startswith(_DRAWN_ANEW)}
    contents |= collect(results, rows)
    titles = {file_name(*title): group for group, title in picture_titles(rows).items()}
    ordered = sorted(rows, key=lambda row: (row.trained, contest_order(contest(row)), bool(row.changes), row.label))
    by_group = {row.group: (place, row) for place, row in enumerate(ordered)}
    made = [
        Candidate(FIGURES_TITLE, drawing.caption, False, (1, number), drawing.png)
        for number, drawing in enumerate(drawings)
    ]
    for stem, content in sorted(contents.items()):
        name = stem.partition("-")[0]
        if shows := caption(stem):
            about = _words(stem.removeprefix(f"{name}-"))
            made.append(Candidate(_words(name), f"{about}: {shows}", True, (0, len(made)), content))
        elif name in FIGURES:
            made.append(Candidate(FIGURES_TITLE, f"{_words(stem)}: {FIGURES[name]}", False, (1, len(made)), content))
        elif (one := _of_row(stem, titles)) is not None:
            prefix, seed, kind = one
            place, row = by_group[titles[prefix]]
            made.append(_candidate(row, place, seed, kind, content))
        else:
            made.append(Candidate("Further pictures", _words(stem), False, (len(KINDS) + 9, len(made)), content))
    return made


def galleries(found: Iterable[Sequence[Candidate]], limit: int = BYTES) -> list[list[Gallery]]:
    """The galleries of every suite, all within ``limit`` bytes: of each row the most telling first."""
    lists = [list(one) for one in found]
    queue = sorted((one.order, suite, number) for suite, every in enumerate(lists) for number, one in enumerate(every))
    kept: dict[tuple[int, int], Shown] = {}
    spent = 0
    for _, suite, number in queue:
        one = lists[suite][number]
        encoded = encode(one.png)
        if encoded is not None and spent + len(encoded[0]) <= limit:
            spent += len(encoded[0])
            kept[suite, number] = _shown(one, *encoded)
    return [_grouped(every, {n: s for (owner, n), s in kept.items() if owner == suite})
            for suite, every in enumerate(lists)]  # fmt: skip


def encode(png: bytes) -> tuple[bytes, int, int, bool] | None:
    """A picture as WebP with its width, height and whether it is enlarged pixel art; None for what is no picture.

    Pictures of few colours, such as figures, become lossless where that is smaller. Enlarged pixel art keeps its size:
    the halved resolution of colours in WebP then falls on whole pixels.
    """
    try:
        with Image.open(io.BytesIO(png)) as opened:
            picture = opened.convert("RGB")
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError):
        return None
    pixels = np.asarray(picture)
    pixelated = not any(side % 2 for side in picture.size) and all(
        np.array_equal(pixels[::2, ::2], other) for other in (pixels[1::2, ::2], pixels[::2, 1::2])
    )
    if max(picture.size) > LONGEST:
        picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    forms = [_webp(picture, quality=QUALITY)]
    if picture.getcolors(FLAT) is not None:
        forms.append(_webp(picture, lossless=True))
    return min(forms, key=len), *picture.size, pixelated


def _webp(picture: Image.Image, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="WEBP", method=4, **options)
    return buffer.getvalue()


def _shown(one: Candidate, content: bytes, width: int, height: int, pixelated: bool) -> Shown:
    uri = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
    return Shown(one.caption, f"{one.title}: {one.caption}", uri, width, height, pixelated)


def _grouped(every: Sequence[Candidate], kept: Mapping[int, Shown]) -> list[Gallery]:
    titles = sorted({one.title for one in every}, key=lambda title: _place(title, every))
    made = []
    for title in titles:
        members = sorted((one.order, number) for number, one in enumerate(every) if one.title == title)
        shown = tuple(kept[number] for _, number in members if number in kept)
        left = tuple(every[number].caption for _, number in members if number not in kept)
        main = any(one.main for one in every if one.title == title)
        made.append(Gallery(title, main, len(members[0][0]) < 3, shown, left))
    return made


def _place(title: str, every: Sequence[Candidate]) -> tuple[bool, int, tuple[int, ...]]:
    """Sheets first, then rows in the order of the tables, then figures."""
    orders = [one.order for one in every if one.title == title]
    first = min(orders)
    row = len(first) > 2
    return first[0] >= 1 and not row, first[1] if row else -1, first


def _candidate(row: Row, place: int, seed: str, kind: str, content: bytes) -> Candidate:
    names = list(KINDS)
    soon = names.index(kind) if kind in KINDS else len(names)
    told = KINDS.get(kind, kind)
    caption = f"seed {seed}: {told}" if seed else f"a line per seed: {told}"
    budget = f", budget {row.budget}, {count(row.images)} images" if row.budget else ""
    after = 0 if seed else len(names) // 2
    main = not row.trained or (row.budget == "claims" and not row.changes)
    return Candidate(
        f"{row.label}{budget}, {row.data}", caption, main, (2 + soon + after, place, 0 if seed else 1), content
    )


def _of_row(stem: str, titles: Mapping[str, object]) -> tuple[str, str, str] | None:
    """The row's title, the seed (empty for a strip of all) and the kind of a picture's name; longest title wins."""
    for prefix in sorted(titles, key=len, reverse=True):
        match = _OF_ROW.fullmatch(stem.removeprefix(f"{prefix}-")) if stem.startswith(f"{prefix}-") else None
        if match:
            return prefix, match["seed"] or "", match["kind"]
    return None


def _words(stem: str) -> str:
    return stem.replace("_", " ").replace("-", ", ")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""
