"""What tables know about columns: direction, group, digits and a reading; a test compares it with the cards."""

from __future__ import annotations

from dataclasses import dataclass

from harness.tables import styles_anomaly, styles_generation, styles_rgbd, styles_segmentation
from harness.tables.column_style import ColumnStyle

OTHER = "Other"
_FAMILIES = (styles_generation, styles_rgbd, styles_anomaly, styles_segmentation)
GROUPS = (*(group for family in _FAMILIES for group in family.GROUPS), OTHER)
STYLES: dict[str, ColumnStyle] = {name: style for family in _FAMILIES for name, style in family.STYLES.items()}

PARTS: dict[str, str] = {**styles_anomaly.PARTS, **styles_segmentation.PARTS}
"""Protocol fields that name a part of the test data or the training, and what it holds; a column that has one stays out
of the main tables."""

MEANS: dict[str, str] = styles_segmentation.MEANS
"""Metrics that exist only in parts, and the column that is their mean."""


@dataclass(frozen=True)
class Part:
    """A column's part of the test data: ``aupro[limit=0.3|defect=hole]`` is ``whole`` ``aupro[limit=0.3]`` on
    ``member`` hole of ``field`` defect."""

    whole: str
    field: str
    member: str


def part_of(column: str) -> Part | None:
    """Which part of the test data a column covers; None for the whole. Of several such fields the first one counts."""
    metric, _, rest = column.partition("[")
    fields = rest.removesuffix("]").split("|")
    for position, text in enumerate(fields):
        name, _, member = text.partition("=")
        if name in PARTS:
            others = [*fields[:position], *fields[position + 1 :]]
            return Part(f"{metric}[{'|'.join(others)}]" if others else metric, name, member)
    return None


def metric_of(column: str) -> str:
    """``fid[proc-v1|n=2048]`` -> ``fid``."""
    return column.partition("[")[0]


def style(column: str) -> ColumnStyle:
    """The style of a column; an unknown metric is shown under Other and never ranked."""
    return STYLES.get(metric_of(column), ColumnStyle("none", OTHER, 4, ""))


def is_ranked(column: str) -> bool:
    """Whether rows are compared in a column."""
    return style(column).better != "none" and style(column).ranked


def order(column: str) -> tuple[int, int, str]:
    """Sort key: groups in their order, metrics as listed above, then the name."""
    metric = metric_of(column)
    known = list(STYLES)
    position = known.index(metric) if metric in STYLES else len(known)
    return GROUPS.index(style(column).group), position, column
