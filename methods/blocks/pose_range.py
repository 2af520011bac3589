"""Where cameras stand in training, and between which depths their rays are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.cameras import shifted, widened
from harness.types import Cameras, PosePrior


def training_prior(prior: PosePrior, name: str) -> PosePrior:
    """The prior that training draws from: ``matched``, or a wrong one for the robustness rows."""
    return {"matched": prior, "shifted": shifted(prior, 0.3), "wide": widened(prior, 1.5)}[name]


def prior_in_range(prior: PosePrior, around: Sequence[float]) -> PosePrior:
    """``prior`` with rays that reach from ``around[0]`` to ``around[1]`` from the origin; empty: as it is."""
    return replace(prior, near=prior.radius + around[0], far=prior.radius + around[1]) if around else prior


def cameras_in_range(cameras: Cameras, around: Sequence[float]) -> Cameras:
    """``cameras`` with rays as of ``prior_in_range``."""
    return replace(cameras, near=cameras.radius + around[0], far=cameras.radius + around[1]) if around else cameras
