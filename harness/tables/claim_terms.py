"""What a claim says: the sides of its comparison, and everything that its digest holds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from harness.types import digest_of

JUDGED_TIERS = ("micro", "small", "paper")
"""Tiers whose budgets can bear a verdict; smoke only shows that everything runs."""


@dataclass(frozen=True)
class Term:
    """One side of a comparison, per seed: a row, a row minus another, or a constant.

    ``metric`` is its column where that is not the claim's, ``data`` are the options in which its data differ from the
    other side's, ``times`` multiplies the value.
    """

    row: str = ""
    minus: str = ""
    constant: float | None = None
    metric: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    times: float = 1.0

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows it needs: their labels, with the options of the data where those differ."""
        return tuple(f"{label}{self._place}" for label in self.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the rows it needs."""
        return tuple(label for label in (self.row, self.minus) if label)

    @property
    def _place(self) -> str:
        return f" at {', '.join(f'{key}={value}' for key, value in sorted(self.data.items()))}" if self.data else ""

    def __str__(self) -> str:
        if self.constant is not None:
            return f"{self.constant:g}"
        rows = f"({self.row} - {self.minus})" if self.minus else self.row
        factor = "" if self.times == 1 else f"{self.times:g} x "
        return f"{factor}{self.metric + ' of ' if self.metric else ''}{rows}{self._place}"


@dataclass(frozen=True)
class Claim:
    """What a paper says, and how it is put to the test: ``treatment`` is ``direction`` than every one of ``controls``
    in ``metric``, by at least ``smallest_effect`` (>= 0, in ``unit``).

    ``tiers`` are those where a verdict may be given, ``budget`` the only budget that gives one; ``data`` are options
    the data set must have. ``gates`` are claims without which this one is void. ``untestable`` holds the reason of a
    claim that is listed but not tested.
    """

    suite: str
    id: str
    text: str
    source: str
    metric: str = ""
    direction: Literal["higher", "lower"] = "higher"
    treatment: Term = Term()
    controls: tuple[Term, ...] = ()
    smallest_effect: float = 0.0
    unit: str = ""
    test: str = "sign_flip"
    tiers: tuple[str, ...] = JUDGED_TIERS
    budget: str = "claims"
    data: Mapping[str, Any] = field(default_factory=dict)
    note: str = ""
    untestable: str = ""
    gates: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[str, ...]:
        """Labels of all rows it needs."""
        labels = (label for term in (self.treatment, *self.controls) for label in term.rows)
        return tuple(dict.fromkeys(labels))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything the claim states; the note, which only explains, may be reworded."""
        stated = {name: value for name, value in asdict(self).items() if name != "note"}
        sides = [stated["treatment"], *stated["controls"]]
        # Claims from before a key existed keep their digests.
        later = [*itertools.product(sides, (("metric", ""), ("data", {}), ("times", 1.0))), (stated, ("gates", ()))]
        for place, (key, usual) in later:
            if place[key] == usual:
                del place[key]
        return digest_of(stated)
