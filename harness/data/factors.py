"""Factors of variation: named parameters of an object, their ranges and how they are drawn."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

import numpy as np

FactorGroup = Literal["shape", "articulation", "appearance"]
FACTOR_GROUPS: tuple[FactorGroup, ...] = ("shape", "articulation", "appearance")


@dataclass(frozen=True)
class Factor:
    """One parameter: ``linear`` in [low, high), ``circular`` (turns or radians in [low, high), high is low again) or a
    ``category`` with probabilities ``weights`` (its value is the category's number)."""

    name: str
    group: FactorGroup
    low: float = 0.0
    high: float = 1.0
    kind: Literal["linear", "circular", "category"] = "linear"
    weights: tuple[float, ...] = ()

    def value(self, unit: float) -> float:
        """Map a uniform number in [0, 1) to the factor's distribution; outside [0, 1) a linear factor extrapolates."""
        if self.kind == "category":
            edges = list(accumulate(self.weights))[:-1]
            return float(bisect_right(edges, unit))
        return self.low + (self.high - self.low) * unit


def shape(name: str, low: float, high: float) -> Factor:
    """A linear shape factor."""
    return Factor(name, "shape", low, high)


def choice(name: str, group: FactorGroup, *weights: float) -> Factor:
    """A categorical factor with the given probabilities (they sum to 1)."""
    return Factor(name, group, 0.0, len(weights) - 1.0, "category", weights)


def units(factors: Sequence[Factor], streams: Mapping[str, np.random.Generator]) -> dict[str, float]:
    """One uniform number in [0, 1) per factor, drawn in order from its group's stream."""
    counts = Counter(factor.group for factor in factors)
    drawn = {group: iter(streams[group].random(count).tolist()) for group, count in counts.items()}
    return {factor.name: next(drawn[factor.group]) for factor in factors}


def values(factors: Sequence[Factor], drawn: Mapping[str, float]) -> dict[str, float]:
    """The factors' values of the drawn uniform numbers."""
    return {factor.name: factor.value(drawn[factor.name]) for factor in factors}


def widened(unit: float, margin: float) -> float:
    """Move a uniform number just outside [0, 1): the lower half to [-margin, 0), the upper half to [1, 1 + margin)."""
    return (unit * 2 - 1) * margin if unit < 0.5 else 1 + (unit * 2 - 1) * margin
