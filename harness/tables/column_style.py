"""How one metric is shown in tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["lower", "higher", "none"]


@dataclass(frozen=True)
class ColumnStyle:
    """How one metric is shown: ``better`` direction, ``group`` of columns, ``digits`` after the point.

    ``ranked`` False: the direction holds only beside another column, so that no row is called best. ``page`` False:
    left out of the page, kept in the CSV files.
    """

    better: Better
    group: str
    digits: int
    reading: str
    ranked: bool = True
    page: bool = True
