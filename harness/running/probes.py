"""Learning curves: what a protocol measures along a training, without touching it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from math import nan
from statistics import fmean
from typing import Any

import numpy as np

from harness.store_files import from_number
from harness.types import Method


@dataclass(frozen=True)
class Probe:
    """``measure(method)`` gives numbers by name, at ``count`` evenly spaced steps of a training, its last included."""

    count: int
    measure: Callable[[Method], Mapping[str, float]]

    def due(self, step: int, total: int) -> bool:
        """Whether to measure after ``step`` of ``total`` steps."""
        return step * self.count // total > (step - 1) * self.count // total


def curves(probes: Sequence[Mapping[str, Any]], log: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """``probe_step``, ``probe_<name>`` and ``probe_<loss>``, float64 [T] each; what is not known is NaN.

    ``probes`` are the measured points, ``log`` the records of the training log: a loss is its mean since the point
    before.
    """
    if not probes:
        return {}
    spans = list(pairwise([0, *(probe["step"] for probe in probes)]))
    found = {name: [from_number(probe.get(name)) for probe in probes] for name in dict.fromkeys(chain(*probes))}
    for name in dict.fromkeys(chain(*(record["losses"] for record in log))):
        logged = [(record["step"], record["losses"][name]) for record in log if name in record["losses"]]
        parts = [[value for step, value in logged if low < step <= high] for low, high in spans]
        found[name] = [fmean(part) if part else nan for part in parts]
    return {f"probe_{name}": np.array(values, np.float64) for name, values in found.items()}
