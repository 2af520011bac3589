"""Does a discriminator know its training images, and does a generator repeat them?"""

from __future__ import annotations

import math

import numpy as np
import torch

from harness.metrics.card import MetricCard
from harness.metrics.checks import Array, feature_rows
from harness.metrics.errors import CountMismatch, EmptyInput, NonFinite, ShapeMismatch

_REAL = "real images that were not trained on"
D_GAP = MetricCard(
    name="d_gap",
    unit="share of the distance from fakes to training images",
    better="lower",
    range=(-math.inf, math.inf),
    invariances=frozenset({"permutation", "shift", "scale"}),
    bias="near 0 for a discriminator that separates nothing",
    floor="1: held-out images look as false as fakes",
    oracle="0: held-out images look as real as training images",
)
D_TRAIN, D_VAL, D_FAKE = (
    MetricCard(name, "logit", "none", (-math.inf, math.inf), floor="0", oracle="0")
    for name in ("d_train", "d_val", "d_fake")
)
NN_RATIO = MetricCard(
    name="nn_ratio",
    unit="distance to training images / distance to others",
    better="none",
    range=(0.0, math.inf),
    protocol=("n", "resize"),
    invariances=frozenset({"permutation", "rotation", "shift", "scale"}),
    floor="0: copies of training images",
    oracle=f"1: {_REAL}",
)
CARDS: tuple[MetricCard, ...] = (D_GAP, D_TRAIN, D_VAL, D_FAKE, NN_RATIO)


def discriminator_gap(train: Array, held_out: Array, fake: Array) -> float:
    """Return ``(E D(train) - E D(held_out)) / (E D(train) - E D(fake))`` of logits [n], [m], [k].

    0 where held-out images look like training images, 1 where they look like fakes (Karras et al. 2020, r_v, the sign
    turned so that logits are higher for real). NaN where training images and fakes have equal means. Raises EmptyInput,
    ShapeMismatch for anything but vectors, NonFinite.
    """
    means = [_mean(values, name) for values, name in ((train, "train"), (held_out, "held_out"), (fake, "fake"))]
    distance = means[0] - means[2]
    return (means[0] - means[1]) / distance if distance else math.nan


def memorisation_ratio(fake: Array, train: Array, held_out: Array) -> float:
    """Return the mean distance from rows of ``fake`` [n,d] to their nearest row of ``train`` [m,d], divided by that to
    ``held_out`` [m,d].

    Below 1 generated images are nearer to what was trained on than to other real images; 0 for copies. NaN where the
    held-out distance is 0. Raises CountMismatch where the real sides have unequal numbers of rows, EmptyInput,
    ShapeMismatch, NonFinite.
    """
    rows = feature_rows(fake, "fake", metric="nn_ratio")
    sides = [feature_rows(side, name, metric="nn_ratio") for side, name in ((train, "train"), (held_out, "held_out"))]
    if len(sides[0]) != len(sides[1]):
        raise CountMismatch(
            f"{len(sides[0])} training rows and {len(sides[1])} held-out rows: the nearest of more rows is nearer",
            where="nn_ratio",
        )
    near = [float(nearest(rows, side)[0].mean()) for side in sides]
    return near[0] / near[1] if near[1] else math.nan


def nearest(rows: torch.Tensor, others: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return distances float64 [n] of ``rows`` [n,d] to their nearest of ``others`` [m,d], and int64 [n] which one."""
    # Differences, not products: the distance of a copy has to be 0.
    found = torch.cdist(rows.double(), others.double(), compute_mode="donot_use_mm_for_euclid_dist").min(dim=1)
    return found.values, found.indices


def _mean(values: Array, name: str) -> float:
    logits = np.asarray(values, np.float64)
    if logits.ndim != 1:
        raise ShapeMismatch(f"{name} has shape {list(logits.shape)}, expected one logit per image", where="d_gap")
    if not len(logits):
        raise EmptyInput(f"{name} has no images", where="d_gap")
    bad = np.flatnonzero(~np.isfinite(logits))
    if len(bad):
        raise NonFinite(f"{len(bad)} logits of {name} are not finite, the first at {bad[0]}", where="d_gap")
    return float(logits.mean())
