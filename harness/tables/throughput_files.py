"""Throughput tables that ``profile`` left beside the results, read as they are: every column of every CSV file."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from harness.types import StoreError


@dataclass(frozen=True)
class Sheet:
    """One table: the device's folder, the file's name, its header and lines."""

    device: str
    name: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers, and gaps, alone."""
        columns = zip(*self.lines, strict=True) if self.lines else ((),) * len(self.header)
        return tuple(any(column) and all(_number(text) for text in column if text) for column in columns)


def read_sheets(folder: Path) -> list[Sheet]:
    """throughput.csv and phases.csv of every ``folder``/<device>/throughput; raises StoreError for unreadable ones."""
    found = []
    for name in ("throughput.csv", "phases.csv"):
        for path in sorted(folder.glob(f"*/throughput/{name}")):
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    header, *lines = csv.reader(file)
            except (OSError, ValueError, csv.Error) as error:
                raise StoreError(f"cannot be read: {error}", where=str(path)) from error
            even = [tuple([*line, *[""] * len(header)][: len(header)]) for line in lines]
            found.append(Sheet(path.parent.parent.name, path.stem, tuple(header), tuple(even)))
    return found


def _number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
