"""Published numbers: plain CSV files with a source for every value; never mixed with measured ones."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness.types import ConfigError

FOLDER = Path(__file__).resolve().parents[2] / "suites" / "reported"
FIELDS = ("method", "dataset", "metric", "value", "std", "protocol", "source", "checked")


@dataclass(frozen=True)
class Published:
    """One published value: what was measured on what by which protocol, where it stands and how it was checked."""

    method: str
    dataset: str
    metric: str
    value: float
    std: float
    protocol: str
    source: str
    checked: str


def read_published(names: Iterable[str], folder: Path = FOLDER) -> list[Published]:
    """Rows of ``<name>.csv`` for every name that has such a file, in file order.

    Raises ConfigError for a missing column, a value that is no number, or a row without a source: a number that nobody
    can trace is left out of tables.
    """
    rows: list[Published] = []
    for name in sorted(set(names)):
        # A user's method may have any name, also one that no file can have.
        if re.fullmatch(r"[A-Za-z0-9_]{1,100}", name) and (path := folder / f"{name}.csv").is_file():
            rows += _read(path)
    return rows


def _read(path: Path) -> list[Published]:
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [name for name in FIELDS if name not in (reader.fieldnames or ())]
        if missing:
            raise ConfigError(f"lacks the columns {', '.join(missing)}", where=str(path))
        return [_published(row, f"{path}:{line}") for line, row in enumerate(reader, start=2)]


def _published(row: dict[str, str], where: str) -> Published:
    texts = {name: (row[name] or "").strip() for name in FIELDS}
    if not texts["source"] or not texts["checked"]:
        raise ConfigError("a published number needs a source and how it was checked", where=where)
    try:
        value, std = float(texts.pop("value")), float(texts.pop("std") or math.nan)
    except ValueError:
        raise ConfigError("value and std must be numbers", where=where) from None
    return Published(value=value, std=std, **texts)
