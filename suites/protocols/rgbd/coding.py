"""The coding of depth that training sees, and its inverse.

A stored depth is a whole number 0..60000, d = (code - 30000) / 30000 in [-1,1], large = far (DepthGAN, Shi et al.
2022). The rotation warp takes (d + 1) / 2 + 0.13 as the metric depth, here called level + offset. With
``coding=common`` it is the depth in units of ``depth_unit`` metres; with ``coding=per_image``, the published form, the
level is the depth relative to the farthest pixel, and the offset an assumption of the warp.
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
        """The coding of a data set; where none is stated, as for folders, depth is relative."""
        return cls(float(spec.options.get("depth_unit", 1.0)), spec.options.get("coding", "per_image") == "per_image")

    def rendered(self, codes: NDArray) -> NDArray[np.float32]:
        """Stored codes [N,H,W] -> the z-depth in world units that a generator of them renders."""
        return ((codes.astype(np.float64) / (2 * MIDDLE) + OFFSET) * self.unit).astype(np.float32)

    def level(self, rendered: NDArray) -> NDArray[np.float64]:
        """z-depth [...,H,W] of a generator, in world units -> level (d + 1) / 2."""
        return rendered.astype(np.float64) / self.unit - OFFSET

    def level_of_truth(self, depth: NDArray) -> NDArray[np.float64]:
        """True or estimated z-depth [N,H,W] in metres -> the level that the data gives it."""
        depth = depth.astype(np.float64)
        if self.per_image:
            return depth / depth.max(axis=(1, 2), keepdims=True)
        return depth / self.unit - OFFSET

    def warped(self, rendered: NDArray) -> NDArray[np.float64]:
        """z-depth of a generator -> level + offset, the depth of the warp, at least ``NEAREST``."""
        return np.maximum(rendered.astype(np.float64) / self.unit, NEAREST)

    def shape_of(self, rendered: NDArray) -> NDArray[np.float64]:
        """z-depth of a generator -> what is proportional to the true depth, at least ``NEAREST``."""
        return np.maximum(self.level(rendered), NEAREST) if self.per_image else self.warped(rendered)


def signed(codes: NDArray) -> NDArray[np.float32]:
    """Stored codes [N,H,W] -> d in [-1,1]."""
    return (codes.astype(np.float32) - np.float32(MIDDLE)) / np.float32(MIDDLE)
