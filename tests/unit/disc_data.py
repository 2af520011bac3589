"""A data set of coloured discs in memory: exact pose, depth and factors without rendering anything."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from harness.data.factors import Factor
from harness.priors import PRIORS
from harness.types import DataSpec

SIDE = 16
FACTORS = (
    Factor("size", "shape", 0.4, 0.9),
    Factor("hue", "appearance", 0.0, 1.0, "circular"),
    Factor("kind", "appearance", 0.0, 1.0, "category", (0.5, 0.5)),
)
SPEC = DataSpec(
    name="objects/head",
    resolution=SIDE,
    splits={"train": 40, "val": 12, "test": 40, "oracle": 48, "multiview": 12},
    prior=PRIORS["wide60"],
    options={"views": 6, "light": "camera", "background": "sky"},
)


class DiscSplit:
    """One split; the azimuth moves the disc sideways, the elevation up, the size factor sets its radius."""

    factors = FACTORS

    def __init__(self, name: str, rows: int, number: int) -> None:
        random = np.random.default_rng(number)
        prior = SPEC.prior
        assert prior is not None
        azimuth = random.uniform(-1, 1, rows) * prior.azimuth[1]
        elevation = random.uniform(-1, 1, rows) * prior.elevation[1]
        size, hue, kind = random.uniform(0.4, 0.9, rows), random.random(rows), random.integers(0, 2, rows)
        y, x = np.mgrid[:SIDE, :SIDE] / (SIDE / 2) - 1 + 1 / SIDE
        centre_x, centre_y = azimuth / math.pi, -elevation
        square = (x - centre_x[:, None, None]) ** 2 + (y - centre_y[:, None, None]) ** 2
        inside = square < (size[:, None, None] / 2) ** 2
        colour = 0.5 + 0.4 * np.cos(2 * np.pi * (hue[:, None] + np.arange(3) / 3)) * np.where(kind, 1, 0.6)[:, None]
        image = np.where(inside[..., None], colour[:, None, None], np.array([0.55, 0.75, 0.95]))
        height = np.sqrt(np.maximum((size[:, None, None] / 2) ** 2 - square, 0))
        zero = np.zeros(rows)
        self._arrays: dict[str, np.ndarray] = {
            "image": np.rint(255 * image).astype(np.uint8),
            "coverage": np.where(inside, 255, 0).astype(np.uint8),
            "depth": np.where(inside, prior.radius - height, 0).astype(np.float32),
            "pose": np.stack([azimuth, elevation, np.full(rows, prior.radius)], 1).astype(np.float32),
            "light": np.stack([zero, zero + 1, zero, zero + 0.5, zero + 0.6], 1).astype(np.float32),
            "factors": np.stack([size, hue, kind], 1).astype(np.float32),
        }
        self.name, self.digest, self.fields = name, f"{name}-{rows}", tuple(self._arrays)

    def view(self, fields: Sequence[str]) -> Mapping[str, np.ndarray]:
        """The named arrays."""
        return {name: self._arrays[name] for name in fields}


class DiscDataset:
    """Stands in for ``harness.data`` Dataset."""

    def __init__(self, spec: DataSpec = SPEC) -> None:
        self.spec = spec
        self._splits: dict[str, Any] = {}

    def split(self, name: str) -> DiscSplit:
        """The split, made on first use."""
        if name not in self._splits:
            self._splits[name] = DiscSplit(name, self.spec.splits[name], list(self.spec.splits).index(name))
        return self._splits[name]
