"""How many images the protocol draws, and at which poses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from harness.types import ConfigError, DataSpec, PosePrior

FULL_TURN = math.pi - 1e-6
TWO_SIGMA = 2.0
FULL = 1024
"""From this many images on, meshes and inversions have their full size."""
PROBES = "probes"
"""How often a training is measured is not said here: see ``running.probes``."""


@dataclass(frozen=True)
class Sizes:
    """Numbers of images.

    ``n`` images for the distances between sets, ``geometry`` of them with a scored depth; ``latents`` objects, each at
    ``azimuths`` poses of the sweep, ``tilts`` elevations and ``views`` neighbouring views; ``swaps`` pairs of objects.
    ``meshes`` prior samples of a radiance field become meshes, on ``grid`` points per axis; ``inversions`` real objects
    are fitted in ``inversion_steps`` steps.
    """

    n: int
    geometry: int
    latents: int
    azimuths: int
    tilts: int
    views: int
    swaps: int
    meshes: int
    grid: int
    inversions: int
    inversion_steps: int
    inception: bool


def sizes(settings: Mapping[str, Any], data: DataSpec) -> Sizes:
    """Sizes of a suite's settings: ``n`` (at most the test split), the rest follows from it unless given.

    Raises ConfigError for an unknown setting or one that is not a positive whole number.
    """
    known = [field.name for field in fields(Sizes)]
    for name, value in settings.items():
        if name not in (*known, PROBES):
            raise ConfigError(f"unknown setting {name!r}", where="generation_3d", remedy=f"Known: {', '.join(known)}.")
        if not isinstance(value, int) or (value < 1 and name not in ("inception", PROBES)):
            raise ConfigError(f"{name}: {value!r} must be a positive whole number", where="generation_3d")
    n = min(int(settings.get("n", 2048)), data.splits.get("test", 0) or int(settings.get("n", 2048)))
    latents = int(settings.get("latents", min(64, max(8, n // 32))))
    return Sizes(
        n=n,
        geometry=min(n, int(settings.get("geometry", 512))),
        latents=latents,
        azimuths=int(settings.get("azimuths", 13)),
        tilts=int(settings.get("tilts", 5)),
        views=int(settings.get("views", 5)),
        swaps=int(settings.get("swaps", latents)),
        meshes=int(settings.get("meshes", min(6, max(2, n // 256)))),
        grid=int(settings.get("grid", 48 if n >= FULL else 16)),
        inversions=int(settings.get("inversions", min(16, max(2, n // 128)))),
        inversion_steps=int(settings.get("inversion_steps", 150 if n >= FULL else 10)),
        inception=bool(settings.get("inception", True)),
    )


def sweep(prior: PosePrior, count: int) -> np.ndarray:
    """Commanded azimuths float32 [count]: even over the prior's range (two sd of a Gaussian one), ends included; even
    over the circle for a full turn."""
    centre, spread = prior.azimuth
    if spread >= FULL_TURN:
        return (centre + np.linspace(-math.pi, math.pi, count, endpoint=False)).astype(np.float32)
    reach = spread * (TWO_SIGMA if prior.kind == "gauss" else 1.0)
    return np.linspace(centre - reach, centre + reach, count).astype(np.float32)


def tilt(prior: PosePrior, count: int) -> np.ndarray:
    """Commanded elevations float32 [count], even over the prior's range."""
    centre, spread = prior.elevation
    reach = spread * (TWO_SIGMA if prior.kind == "gauss" else 1.0)
    return np.linspace(centre - reach, centre + reach, count).astype(np.float32)


VIEW_REACH = 0.4
INVERTED_REACH = math.pi / 3


def neighbours(prior: PosePrior, count: int) -> np.ndarray:
    """Azimuths float32 [count] of the views that are warped into each other: +-0.4 rad about the prior's centre, or
    its range where that is smaller."""
    reach = min(VIEW_REACH, prior.azimuth[1] * (TWO_SIGMA if prior.kind == "gauss" else 1.0))
    return np.linspace(prior.azimuth[0] - reach, prior.azimuth[0] + reach, count).astype(np.float32)


def inverted(prior: PosePrior) -> np.ndarray:
    """Azimuths float32 [5] of the exact views of an inverted object: first the one that is given, at the prior's
    centre, then new ones, even over +-60 degrees or the prior's range where that is smaller."""
    reach = min(INVERTED_REACH, prior.azimuth[1] * (TWO_SIGMA if prior.kind == "gauss" else 1.0))
    return (prior.azimuth[0] + reach * np.asarray([0.0, -1.0, -0.5, 0.5, 1.0])).astype(np.float32)
