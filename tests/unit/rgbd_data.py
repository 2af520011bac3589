"""Rooms in memory that are one textured wall: exact image, depth and yaw without rendering anything.

The wall stands on the camera's turning axis, ``middle`` depth units away. Red is its texture, green codes the yaw, blue
is the appearance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.types import DataSpec, PosePrior

SIDE, UNIT, VIEWS = 16, 5.0, 5
PRIOR = PosePrior("yaw15", "uniform", (0.0, math.pi / 12), (0.15, 0.13), math.radians(52.4), 3.1, 0.65, 5.65)
FOCAL = 0.5 / math.tan(PRIOR.fov / 2)
SPEC = DataSpec(
    name="rooms",
    resolution=SIDE,
    splits={"train": 60, "val": 30, "test": 40, "oracle": 48, "multiview": 8 * VIEWS},
    prior=PRIOR,
    options={"views": VIEWS, "coding": "common", "depth_unit": UNIT, "fov": "wide"},
)


def walls(yaw: Tensor, middle: Tensor, appearance: Tensor) -> tuple[Tensor, Tensor]:
    """Images [N,3,S,S] in [-1,1] and z-depths [N,S,S] in world units of walls seen at ``yaw`` [N] radians."""
    u = (torch.arange(SIDE, dtype=torch.float64) + 0.5) / SIDE - 0.5
    yaw, middle, appearance = (value.double()[:, None] for value in (yaw, middle, appearance))
    across = u * middle / (FOCAL * yaw.cos() + u * yaw.sin())  # the wall's own coordinate
    depth = middle - yaw.sin() * across
    red = 0.8 * torch.sin(5 * across + 2 * middle)
    rows = torch.stack([red, (2 * yaw).expand_as(red), appearance.expand_as(red)], dim=1)
    images, maps = (values[..., None, :].expand(*values.shape[:-1], SIDE, SIDE) for values in (rows, depth * UNIT))
    return images.float(), maps.float()


class WallSplit:
    """One split of walls at random yaws; ``multiview`` shows each at the five yaws in turn."""

    def __init__(self, name: str, rows: int, number: int) -> None:
        random = np.random.default_rng(number)
        yaw = random.uniform(-1, 1, rows) * PRIOR.azimuth[1]
        middle, appearance = random.uniform(0.5, 0.8, rows), random.uniform(-1, 1, rows)
        if name == "multiview":
            yaw = np.tile(np.linspace(-1, 1, VIEWS) * PRIOR.azimuth[1], rows // VIEWS)
            middle, appearance = (np.repeat(values[::VIEWS], VIEWS) for values in (middle, appearance))
        images, depth = walls(*(torch.from_numpy(values) for values in (yaw, middle, appearance)))
        code = (depth.double() / UNIT - 0.13) * 60000
        self._arrays: dict[str, NDArray] = {
            "image": ((images.permute(0, 2, 3, 1) + 1) * 127.5).round().to(torch.uint8).numpy(),
            "depth": depth.numpy(),
            "depth_coded": code.round().clamp(0, 60000).numpy().astype(np.uint16),
            "pose": np.stack([yaw, np.full(rows, 0.15), np.full(rows, 3.1)], 1).astype(np.float32),
        }
        self.name, self.digest, self.fields = name, f"{name}-{rows}", tuple(self._arrays)

    def view(self, fields: Sequence[str]) -> Mapping[str, NDArray]:
        """The named arrays."""
        return {name: self._arrays[name] for name in fields}


class WallDataset:
    """Stands in for ``harness.data`` Dataset."""

    def __init__(self, spec: DataSpec = SPEC) -> None:
        self.spec = spec
        self._splits: dict[str, Any] = {}

    def split(self, name: str) -> WallSplit:
        """The split, made on first use."""
        if name not in self._splits:
            self._splits[name] = WallSplit(name, self.spec.splits[name], list(self.spec.splits).index(name))
        return self._splits[name]
