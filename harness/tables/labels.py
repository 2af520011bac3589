"""Names that tell rows apart: of data sets under one name, and of methods under several precisions."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.tables.rows import Row

Recipes = Mapping[str, Mapping[str, str]]
"""Options of data sets by the digest of their recipe."""


def tell_apart(rows: Sequence[Row]) -> list[Row]:
    """The same rows; where two would carry the same names, ``data`` states options and ``label`` the precision."""
    rows = _data(rows)
    seen = Counter((row.table, row.budget, row.images, row.label) for row in rows)
    return [
        replace(row, label=f"{row.label} ({row.precision})")
        if seen[row.table, row.budget, row.images, row.label] > 1 and row.precision
        else row
        for row in rows
    ]


def _data(rows: Sequence[Row]) -> list[Row]:
    alike: dict[tuple[str, ...], dict[str, Mapping[str, str]]] = defaultdict(dict)
    for row in rows:
        alike[row.suite, row.tier, row.data][row.data_digest] = row.options
    names = {(*key, digest): name for key, found in alike.items() for digest, name in _names(key[-1], found).items()}
    return [replace(row, data=names[row.suite, row.tier, row.data, row.data_digest]) for row in rows]


def _names(data: str, recipes: Recipes) -> dict[str, str]:
    """A name per digest: with the options in which the recipes differ, or the digest where they differ elsewhere."""
    if len(recipes) == 1:
        return dict.fromkeys(recipes, data)
    options = sorted({option for one in recipes.values() for option in one})
    differing = [option for option in options if len({one.get(option) for one in recipes.values()}) > 1]
    names = {
        digest: ", ".join([data, *(f"{option}={one[option]}" for option in differing if option in one)])
        for digest, one in recipes.items()
    }
    seen = Counter(names.values())
    return {digest: name if seen[name] == 1 else f"{name}, {digest[:6]}" for digest, name in names.items()}
