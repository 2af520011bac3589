"""What a detector answers on the test split, and what it rebuilds of every defect."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.data.views import Split
from harness.types import Context, ReconstructsFeatures, ScoresAnomalies
from suites.protocols.anomalies.detection import Truth

CHUNK = 128
"""Images scored at once."""


def answers(model: ScoresAnomalies, split: Split, context: Context) -> dict[str, NDArray[np.float32]]:
    """``scores`` float32 [N] and ``maps`` float32 [N,H,W] of every image of ``split``."""
    made = [model.anomaly(images, labels) for _, images, labels in _chunks(model, split, "image", context)]
    return {
        "scores": torch.cat([part.scores for part in made]).float().cpu().numpy(),
        "maps": torch.cat([part.maps for part in made]).float().cpu().numpy(),
    }


def features_of(model: Any) -> NDArray[np.uint8]:
    """Name and digest of the frozen backbone that a model sees, as bytes of text; empty where it has none."""
    backbone = getattr(getattr(model, "feature_map", None), "backbone", None)
    text = "" if backbone is None else f"{backbone.name} {backbone.digest[:12]}"
    return np.frombuffer(text.encode(), np.uint8)


def rebuilt_errors(model: Any, split: Split, truth: Truth, context: Context) -> dict[str, NDArray[np.float64]]:
    """How far the rebuilt features are from those of the picture shown and from those of its clean twin; float64 [N].

    ``to_input`` and ``to_twin`` are squared errors per channel over the cells that touch the mask of a defective image
    (NaN for good ones), ``good`` over all cells of a good image (NaN for others). Empty for a model that does not
    rebuild features; ``to_twin`` is missing where the data have no twins or whole images are anomalous.
    """
    if not isinstance(model, ReconstructsFeatures):
        return {}
    masks = torch.from_numpy(truth.masks)
    twinned = "twin" in split.fields and not truth.whole
    twins = _twin_features(model, split, context) if twinned else None
    parts: dict[str, list[Tensor]] = {"to_input": [], "to_twin": [], "good": []}
    for rows, images, labels in _chunks(model, split, "image", context):
        shown = model.features(images)
        rebuilt = model.reconstruct(shown, labels)
        touched = _touched(masks[rows].to(shown.device), shown.shape[2])
        everywhere = torch.ones_like(touched)
        own = (rebuilt - shown).square().mean(1)
        parts["to_input"].append(_mean_over(own, touched))
        parts["good"].append(_mean_over(own, everywhere * (touched.sum((1, 2), keepdim=True) == 0)))
        if twins is not None:
            parts["to_twin"].append(_mean_over((rebuilt - twins[rows]).square().mean(1), touched))
    return {name: torch.cat(values).double().cpu().numpy() for name, values in parts.items() if values}


def _twin_features(model: ReconstructsFeatures, split: Split, context: Context) -> Tensor:
    return torch.cat([model.features(images) for _, images, _ in _chunks(None, split, "twin", context)])


def _chunks(model: Any, split: Split, field: str, context: Context) -> Iterator[tuple[slice, Tensor, Tensor | None]]:
    """Rows, images float32 [n,3,H,W] in [-1,1], and their categories where the model has one network per category."""
    view = split.view((field, "category"))
    labelled = getattr(model, "separate", False)
    for first in range(0, len(view), CHUNK):
        rows = slice(first, first + CHUNK)
        pixels = torch.from_numpy(np.array(view[field][rows])).to(context.device).permute(0, 3, 1, 2)
        categories = torch.from_numpy(np.array(view["category"][rows], np.int64)) if labelled else None
        yield rows, pixels.float().div_(127.5).sub_(1.0), categories


def _touched(masks: Tensor, grid: int) -> Tensor:
    """1 for the cells of a ``grid`` x ``grid`` map that hold a pixel of masks [N,H,W]: float [N,g,g]."""
    return F.adaptive_max_pool2d(masks[:, None].float(), grid)[:, 0]


def _mean_over(values: Tensor, weights: Tensor) -> Tensor:
    """Mean of values [N,g,g] where the weights are 1: [N], NaN where none is."""
    return (values.double() * weights).sum((1, 2)) / weights.double().sum((1, 2))
