"""What data sets, methods and protocols hand to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal, TypeAlias

from harness.types.digests import digest_of

if TYPE_CHECKING:
    from torch import Tensor

Batch: TypeAlias = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class PosePrior:
    """Distribution of camera poses around the origin; angles in radians, lengths in object radii.

    ``kind`` says how azimuth and elevation are drawn: ``uniform`` in mean +- spread, ``gauss`` with sd = spread
    (clipped at 2.5 sd), ``area`` uniform in azimuth and in the sine of the elevation. ``fov`` is the full vertical
    angle, ``radius`` the distance of the camera from the origin, ``near`` and ``far`` are z-depths.
    """

    name: str
    kind: Literal["uniform", "gauss", "area"]
    azimuth: tuple[float, float]
    elevation: tuple[float, float]
    fov: float
    radius: float
    near: float
    far: float


@dataclass(frozen=True)
class Cameras:
    """Pinhole cameras that look at the origin, OpenCV axes (x right, y down, z forward).

    ``cam2world`` is float32 [N,4,4]; ``intrinsics`` float32 [N,3,3], normalised by image width and height;
    ``azimuth``, ``elevation`` are [N] radians, ``near``/``far`` z-depths shared by all cameras.
    """

    cam2world: Tensor
    intrinsics: Tensor
    azimuth: Tensor
    elevation: Tensor
    radius: float
    near: float
    far: float

    def __len__(self) -> int:
        return len(self.azimuth)


@dataclass(frozen=True)
class Renders:
    """What a generator returns: ``rgb`` float [N,3,H,W] in [-1,1]; z-depth [N,H,W] in world units and opacity [N,H,W]
    in [0,1] where the method has a geometry, else None."""

    rgb: Tensor
    depth: Tensor | None = None
    mask: Tensor | None = None


@dataclass(frozen=True)
class AnomalyMaps:
    """What an anomaly detector returns: ``scores`` float32 [N] of whole images and ``maps`` float32 [N,H,W] at image
    resolution, raw, both higher where more anomalous."""

    scores: Tensor
    maps: Tensor


@dataclass(frozen=True)
class PseudoLabels:
    """What a network says of unlabelled pixels: ``labels`` int64 [N,H,W], ``confidence`` float32 [N,H,W] in [0,1], and
    ``kept`` bool [N,H,W], the pixels its method learns from at full weight."""

    labels: Tensor
    confidence: Tensor
    kept: Tensor


@dataclass(frozen=True)
class DataSpec:
    """A data set by name and recipe; equal ``recipe_digest`` means comparable results.

    ``name`` is ``objects/head`` for procedural families or ``folder/<layout>`` for published ones (then ``root`` is
    the path and ``content`` a digest of the files). ``splits`` maps a split to its number of samples.
    """

    name: str
    resolution: int
    splits: Mapping[str, int]
    prior: PosePrior | None = None
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    version: str = "1"
    seed: int = 0
    channels: int = 3
    root: str | None = None
    content: str = ""

    @property
    def family(self) -> str:
        return self.name.split("/")[0]

    @cached_property
    def recipe_digest(self) -> str:
        """SHA-256 of the canonical JSON of the recipe; a path on this machine is not part of it."""
        recipe = asdict(self)
        recipe.pop("root")
        return digest_of(recipe)
