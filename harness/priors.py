"""The named distributions of camera poses. Torch-free, so that plans can name a data set without loading it."""

from __future__ import annotations

import math
from dataclasses import replace
from difflib import get_close_matches

from harness.types import ConfigError, PosePrior


def _degrees(centre: float, spread: float) -> tuple[float, float]:
    return math.radians(centre), math.radians(spread)


# The radii put the silhouette of the unit sphere at 92 % of the half frame: r = 1 / sin(arctan(0.92 tan(fov / 2))).
_WIDE = {"fov": math.radians(30.0), "radius": 4.18, "near": 3.13, "far": 5.23}
_TELE = {"fov": math.radians(12.0), "radius": 10.4, "near": 9.36, "far": 11.44}
_PRIORS = (
    PosePrior("ring", "uniform", (0.0, math.pi), _degrees(10.0, 10.0), **_WIDE),
    PosePrior("wide60", "uniform", _degrees(0.0, 60.0), _degrees(0.0, 15.0), **_WIDE),
    PosePrior("front_gauss", "gauss", (0.0, 0.3), (0.0, 0.155), **_TELE),
    PosePrior("front_uniform", "uniform", (0.0, 0.5), (0.0, 0.4), **_TELE),
    PosePrior("hemisphere", "area", (0.0, math.pi), _degrees(46.5, 43.5), **_WIDE),
)
PRIORS: dict[str, PosePrior] = {prior.name: prior for prior in _PRIORS}


def named_prior(name: str) -> PosePrior:
    """The stored prior called ``name``; raises ConfigError with the nearest names."""
    if name not in PRIORS:
        near = get_close_matches(name, PRIORS, n=2)
        raise ConfigError(f"unknown pose prior '{name}'", nearest=near, remedy=f"Priors: {', '.join(PRIORS)}.")
    return PRIORS[name]


def widened(prior: PosePrior, factor: float) -> PosePrior:
    """The prior with both spreads times ``factor`` (0.5: the ``wrong_narrow`` variant); azimuth at most a full turn."""
    if not factor > 0:
        raise ConfigError(f"a prior cannot be widened by {factor}", remedy="Use a factor above 0.")
    azimuth = (prior.azimuth[0], min(prior.azimuth[1] * factor, math.pi))
    elevation = (prior.elevation[0], prior.elevation[1] * factor)
    return replace(prior, name=f"{prior.name}*{factor:g}", azimuth=azimuth, elevation=elevation)


def shifted(prior: PosePrior, radians: float) -> PosePrior:
    """The prior with its mean azimuth moved by ``radians`` (0.3 is the ``wrong_shift`` variant)."""
    azimuth = (prior.azimuth[0] + radians, prior.azimuth[1])
    return replace(prior, name=f"{prior.name}{radians:+g}", azimuth=azimuth)
