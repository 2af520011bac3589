"""What the judges learn: arrays of the ``oracle`` split turned into standardised targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.factors import Factor
from harness.judges.training import Truth, to_unit

FIELDS = ("image", "coverage", "depth", "pose", "light", "factors")
CHANNELS = ("red", "green", "blue")
VIEW = "view"


@dataclass(frozen=True)
class Attribute:
    """One target column: ``name``; ``group``, the factor's group, or ``view`` for what does not belong to the object;
    mirror ``sign`` (-1: changes sign under a left-right flip)."""

    name: str
    group: str
    sign: float = 1.0


def attributes_of(
    fields: Mapping[str, NDArray], factors: Sequence[Factor]
) -> tuple[tuple[Attribute, ...], NDArray[np.float64]]:
    """Attribute columns and their values [N,A], not yet standardised.

    Linear factors stand as they are, circular ones as sine and cosine, categories as one column each; then pose, light
    and the mean colour of the object's pixels, which are visible without knowing any factor.
    """
    columns: list[tuple[Attribute, NDArray]] = []
    for factor, values in zip(factors, np.asarray(fields["factors"], np.float64).T, strict=True):
        if factor.kind == "circular":
            turn = 2 * np.pi * (values - factor.low) / (factor.high - factor.low)
            columns += [
                (Attribute(f"{factor.name}.sin", factor.group), np.sin(turn)),
                (Attribute(f"{factor.name}.cos", factor.group), np.cos(turn)),
            ]
        elif factor.kind == "category":
            columns += [
                (Attribute(f"{factor.name}.{k}", factor.group), values == k) for k in range(len(factor.weights))
            ]
        else:
            columns.append((Attribute(factor.name, factor.group), values))
    pose, light = np.asarray(fields["pose"], np.float64), np.asarray(fields["light"], np.float64)
    columns += [
        (Attribute("azimuth.sin", VIEW, -1.0), np.sin(pose[:, 0])),
        (Attribute("azimuth.cos", VIEW), np.cos(pose[:, 0])),
        (Attribute("elevation", VIEW), pose[:, 1]),
        (Attribute("light.x", VIEW, -1.0), light[:, 0]),
        (Attribute("light.y", VIEW), light[:, 1]),
        (Attribute("ambient", VIEW), light[:, 3]),
    ]
    share = np.asarray(fields["coverage"], np.float64)[..., None] / 255
    colour = (np.asarray(fields["image"]) * share).sum((1, 2)) / np.maximum(share.sum((1, 2)), 1e-9)
    columns += [(Attribute(f"mean_{name}", "appearance"), colour[:, c]) for c, name in enumerate(CHANNELS)]
    return tuple(attribute for attribute, _ in columns), np.stack([v.astype(np.float64) for _, v in columns], axis=1)


def truth_of(
    fields: Mapping[str, NDArray], factors: Sequence[Factor], radius: float, rows: int
) -> tuple[Truth, tuple[Attribute, ...]]:
    """Tensors of the oracle split; attributes are standardised by their first ``rows`` rows (the training part).

    Depth is divided by ``radius``, the camera's distance. A column that never varies stays 0.
    """
    names, values = attributes_of(fields, factors)
    centre, spread = values[:rows].mean(0), values[:rows].std(0)
    standardised = (values - centre) / np.where(spread > 1e-9, spread, 1.0)
    pose = torch.from_numpy(np.array(fields["pose"], np.float32))
    truth = Truth(
        images=to_unit(fields["image"]),
        coverage=torch.from_numpy(np.asarray(fields["coverage"], np.float32) / 255)[:, None],
        azimuth=pose[:, 0],
        elevation=pose[:, 1],
        attributes=torch.from_numpy(standardised.astype(np.float32)),
        depth=torch.from_numpy(np.asarray(fields["depth"], np.float32) / np.float32(radius)),
    )
    return truth, names
