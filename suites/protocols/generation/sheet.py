"""The score sheet of one cell: columns, reasons for missing values, per-sample arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass
class Sheet:
    """Collects what a protocol measures; a value that cannot be measured is NaN with its reason."""

    metrics: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    per_sample: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    def put(self, column: str, value: float, reason: str = "") -> None:
        """Enter a value; where it is NaN, ``reason`` says why."""
        self.metrics[column] = float(value)
        if math.isnan(value) and reason:
            self.notes[column] = reason

    def lack(self, columns: tuple[str, ...], reason: str) -> None:
        """Enter NaN for columns that this cell cannot have."""
        for column in columns:
            self.put(column, math.nan, reason)


def channels_first(images: NDArray) -> Tensor:
    """uint8 [...,H,W,3] -> uint8 tensor [N,3,H,W], leading dimensions flattened."""
    flat = np.ascontiguousarray(images).reshape(-1, *images.shape[-3:])
    return torch.from_numpy(flat.copy() if not flat.flags.writeable else flat).permute(0, 3, 1, 2)
