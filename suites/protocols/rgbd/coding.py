"""The coding of depth that training sees, and its inverse.

A stored depth is a whole number 0..60000, d = (code - 30000) / 30000 in [-1,1], large = far (DepthGAN, Shi et al.
2022). The rotation warp takes (d + 1) / 2 + 0.13 as the metric depth, here called level + offset: with ``coding=common`` it is
the depth in units of ``depth_unit`` metres; with ``coding=per_image``, the published form, the depth relative to the
farthest pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.types import DataSpec

FIELD = "depth_coded"
MIDDLE = 30000
OFFSET = 0.13
NEAREST = 0.01
"""Smaller depths, in units, are set to it: a generated depth may be anything, a camera sees nothing behind itself."""


@dataclass(frozen=True)
class Coding:
    """How the depth of a data set is coded: ``unit`` in metres, ``per_image`` for relative depths."""

    unit: float
    per_image: bool

    @classmethod
    def of(cls, spec: DataSpec) -> Coding:
        """The coding of a data set; one metre where none is stated, as for folders of relative depth maps."""
        return cls(float(spec.options.get("depth_unit", 1.0)), spec.options.get("coding", "per_image") == "per_image")

    def metric(self, codes: NDArray) -> NDArray[np.float32]:
        """Stored codes [N,H,W] -> the z-depth in world units that the warp assumes."""
        return ((levels(codes) + OFFSET) * self.unit).astype(np.float32)

    def levels_of(self, depth: NDArray) -> NDArray[np.float64]:
        """z-depth [N,H,W] of a generator in world units -> level (d + 1) / 2."""
        return depth.astype(np.float64) / self.unit - OFFSET

    def levels_of_metres(self, depth: NDArray) -> NDArray[np.float64]:
        """True or estimated z-depth [N,H,W] in metres -> level as the data would code it."""
        depth = depth.astype(np.float64)
        if self.per_image:
            return depth / depth.max(axis=(1, 2), keepdims=True)
        return depth / self.unit - OFFSET

    def warped(self, depth: NDArray) -> NDArray[np.float64]:
        """z-depth of a generator -> level + offset, the depth of the warp, at least ``NEAREST``."""
        return np.maximum(depth.astype(np.float64) / self.unit, NEAREST)


def levels(codes: NDArray) -> NDArray[np.float64]:
    """Stored codes [N,H,W] -> level (d + 1) / 2 in [0,1]."""
    return codes.astype(np.float64) / (2 * MIDDLE)


def signed(codes: NDArray) -> NDArray[np.float32]:
    """Stored codes [N,H,W] -> d in [-1,1]."""
    return (codes.astype(np.float32) - MIDDLE) / MIDDLE
