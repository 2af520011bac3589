"""What a metric declares about itself, and the column names that carry its protocol.

Tables read direction and unit from the card; the property tests read ``invariances``, ``range`` and ``identity`` and
generate their checks from them. This module does not import torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal, get_args

from harness.metrics.errors import ProtocolMismatch, UnknownOption

Direction = Literal["lower", "higher", "none"]
Invariance = Literal[
    "symmetric",  # swapping prediction and truth changes nothing; left out = declared asymmetric
    "permutation",  # the rows of each side may be permuted on their own: a metric of two sets
    "joint-permutation",  # prediction and truth may be permuted together: a metric of pairs
    "split-merge",  # updating in parts and merging equals one shot
    "batch",  # the size of internal batches or blocks does not matter
    "rotation",  # a common rotation of both sides
    "shift",  # a common shift of both sides
    "scale",  # a common positive factor on both sides
    "preds-shift",  # a shift of the prediction alone
    "preds-scale",  # a positive factor on the prediction alone
    "joint-flip",  # mirroring both sides left to right
]
_NAME = re.compile(r"[a-z][a-z0-9_.@]*")
_PART = re.compile(r"[^\[\]|=,\s]+")


@dataclass(frozen=True)
class MetricCard:
    """One metric's declaration.

    ``name`` is the column's prefix; ``unit`` the printed unit; ``better`` the direction; ``range`` the closed interval
    of legal values; ``protocol`` the fields that a column name may state, in their printed order; ``invariances`` what
    the property tests must find true, and absent ones of which symmetry is checked to be absent; ``identity`` the value
    for a perfect prediction (None: none is defined); ``bias`` how the value depends on the sample size; ``min_n`` the
    fewest samples per side; ``floor`` and ``oracle`` say which rows bound the usable range.
    """

    name: str
    unit: str
    better: Direction
    range: tuple[float, float]
    protocol: tuple[str, ...] = ()
    invariances: frozenset[Invariance] = frozenset()
    bias: str = ""
    min_n: int = 1
    floor: str = ""
    oracle: str = ""
    identity: float | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise UnknownOption(f"metric name {self.name!r} is not of the form {_NAME.pattern}", where="MetricCard")
        unknown = set(self.invariances) - set(get_args(Invariance))
        if unknown:
            raise UnknownOption(f"unknown invariances {sorted(unknown)}", where=self.name, nearest=get_args(Invariance))


@dataclass(frozen=True)
class Column:
    """A parsed column name: ``fid[proc-v1|n=2048]`` is metric ``fid``, space ``proc-v1``, protocol ``{"n": "2048"}``.

    ``space`` is the bare word that comes first: the feature space, or a display factor such as ``x100``.
    """

    metric: str
    space: str | None = None
    protocol: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        parts = [self.space] if self.space else []
        parts += [f"{key}={value}" for key, value in self.protocol.items()]
        return f"{self.metric}[{'|'.join(parts)}]" if parts else self.metric


def column_name(
    card: MetricCard, space: str | None = None, protocol: Mapping[str, str | int | float] | None = None
) -> str:
    """Return the canonical column name of a metric under a feature space and protocol.

    Fields are printed in the order of ``card.protocol``, so equal protocols give equal names; rows may be merged only
    when the whole name is equal. Raises ``ProtocolMismatch`` for a field that the card does not know.
    """
    given = dict(protocol or {})
    for key in given:
        if key not in card.protocol:
            raise ProtocolMismatch(
                f"unknown protocol field {key!r}",
                where=card.name,
                nearest=get_close_matches(key, card.protocol, 1, 0.0),
                remedy=f"Known fields: {', '.join(card.protocol) or 'none'}.",
            )
    parts = {key: str(given[key]) for key in card.protocol if key in given}
    for part in (*parts.values(), *([space] if space else [])):
        if not _PART.fullmatch(part):
            raise ProtocolMismatch(f"{part!r} cannot stand in a column name", where=card.name)
    return str(Column(card.name, space, parts))


def parse_column(name: str) -> Column:
    """Return the parts of a column name; ``str(parse_column(name)) == name``.

    Raises ``ProtocolMismatch`` when ``name`` is not of the form ``metric``, ``metric[space|key=value|...]``.
    """
    metric, bracket, rest = name.partition("[")
    if not _NAME.fullmatch(metric) or (bracket and not rest.endswith("]")):
        raise ProtocolMismatch(f"{name!r} is not a column name", where="parse_column")
    space, protocol = None, {}
    for position, part in enumerate(rest[:-1].split("|") if bracket else ()):
        key, equals, value = part.partition("=")
        if not _PART.fullmatch(key) or (equals and not _PART.fullmatch(value)) or key in protocol:
            raise ProtocolMismatch(f"{name!r} is not a column name: {part!r}", where="parse_column")
        if equals:
            protocol[key] = value
        elif position == 0:
            space = key
        else:
            raise ProtocolMismatch(f"{name!r}: {part!r} lacks a value", where="parse_column")
    return Column(metric, space, protocol)
