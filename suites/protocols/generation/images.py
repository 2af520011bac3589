"""Distances between the set of generated images and held-out real ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from harness.metrics.card import column_name
from harness.metrics.errors import SingularCovariance
from harness.metrics.features import FeatureSpace
from harness.metrics.fid import FID, frechet_distance, frechet_distance_stderr
from harness.metrics.kid import KID_FULL, kernel_distance_full
from harness.metrics.manifold import COVERAGE, DENSITY, PRECISION, RECALL, precision_recall_density_coverage
from suites.protocols.generation.card import DIVERSITY, FID_SE, KID_SE
from suites.protocols.generation.sheet import Sheet

K_BALLS, K_NEIGHBOURS = 3, 5
COLLAPSED = 0.3
"""Diversity below this share of the real set's is a collapse (HoloGAN dossier, section 14)."""


def score_images(sheet: Sheet, fake: Tensor, real: Tensor, spaces: Sequence[FeatureSpace]) -> float:
    """Score uint8 images [n,3,H,W] against as many real ones in every space; returns the diversity in the first one.

    The standard errors are within one seed: they say how much another draw of n images would differ.
    """
    diversities = [_score_in(sheet, fake, real, space) for space in spaces]
    return diversities[0]


def _score_in(sheet: Sheet, fake_images: Tensor, real_images: Tensor, space: FeatureSpace) -> float:
    fake, real = space(fake_images), space(real_images)
    n = len(fake)
    resize = {} if space.resize == "none" else {"resize": space.resize}
    protocol: dict[str, str | int | float] = {"n": n, **resize}
    sheet.put(column_name(FID, space.name, protocol), frechet_distance(fake, real))
    enough = n > fake.shape[1]
    stderr = _stderr(fake, real) if enough else math.nan
    reason = f"n = {n} is not above the {fake.shape[1]} features" if not enough else "singular covariance"
    sheet.put(column_name(FID_SE, space.name, {"n": n}), stderr, reason)
    value, error = kernel_distance_full(fake, real)
    sheet.put(column_name(KID_FULL, space.name, protocol), value)
    sheet.put(column_name(KID_SE, space.name, {"n": n}), error, "too few images for a jackknife")
    balls = precision_recall_density_coverage(fake, real, k=K_BALLS)
    neighbours = precision_recall_density_coverage(fake, real, k=K_NEIGHBOURS)
    for card, k, share in (
        (PRECISION, K_BALLS, balls.precision),
        (RECALL, K_BALLS, balls.recall),
        (DENSITY, K_NEIGHBOURS, neighbours.density),
        (COVERAGE, K_NEIGHBOURS, neighbours.coverage),
    ):
        sheet.put(column_name(card, space.name, {"k": k, **protocol}), share)
    diversity = _spread(fake) / _spread(real)
    sheet.put(column_name(DIVERSITY, space.name, {"n": n}), diversity)
    return diversity


def _stderr(fake: Tensor, real: Tensor) -> float:
    try:
        return frechet_distance_stderr(fake, real)
    except SingularCovariance:
        return math.nan


def _spread(features: Tensor) -> float:
    """Mean Euclidean distance over all unordered pairs of rows [n,d]."""
    return float(torch.nn.functional.pdist(features.double()).mean())
