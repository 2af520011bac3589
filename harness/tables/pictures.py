"""Pictures of the shown rows, copied beside the tables under readable names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.atomic import write_bytes
from harness.store import StoredResult
from harness.tables.rows import Row

LIMIT = 3
"""Seeds per row whose pictures are copied; the store keeps the rest."""


def copy(results: Iterable[StoredResult], rows: Sequence[Row], folder: Path) -> list[Path]:
    """Copy the pictures of the first seeds of every row but the floors to ``folder``/pictures and return them, sorted.

    Named ``<row>-<budget>-s<seed>-<picture>.png``. A picture that cannot be read is left out: the tables do not depend
    on it.
    """
    wanted = {
        (row.data_digest, row.method, row.images, seed)
        for row in rows
        if row.role != "floor"
        for seed in row.done[:LIMIT]
    }
    written: dict[str, Path] = {}
    for result in sorted(results, key=lambda r: r.key):
        cell = result.cell
        images = cell.budget.images if cell.role == "method" else 0
        if result.status != "done" or (cell.data.recipe_digest, cell.method, images, cell.seed) not in wanted:
            continue
        for name, source in sorted(result.pictures.items()):
            stem = file_name(cell.variant, cell.budget.name if images else "", f"s{cell.seed}", name)
            try:
                content = source.read_bytes()
            except OSError:
                continue
            path = folder / "pictures" / f"{stem}.png"
            if stem not in written:
                write_bytes(path, content)
                written[stem] = path
    return [written[stem] for stem in sorted(written)]


def file_name(*parts: str) -> str:
    """Parts joined by ``-``, with every other character than letters, digits, ``._=`` turned into ``_``."""
    return "-".join(re.sub(r"[^A-Za-z0-9._=]+", "_", part).strip("_") for part in parts if part)
