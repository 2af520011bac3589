"""The depth that a method reads from real pictures, against their exact depth (the gate of GeoD, claim D1)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.metrics.depth import standardised_depth_error
from harness.types import Context, ReadsDepth
from suites.protocols.generation import geometry
from suites.protocols.generation.sampling import BATCH, Arrays
from suites.protocols.generation.sheet import Sheet, channels_first

COLUMNS = ("head_side[x100]", "head_side_const[x100]", "head_side_mean_map[x100]", "head_corr")
TRUTH = ("image", "depth", "coverage")
NO_HEAD = "no depth head"


@torch.no_grad()
def read(model: ReadsDepth, dataset: Dataset, count: int, context: Context) -> Arrays:
    """``head_depth`` float32 [m,H,W]: what the head says of the first ``count`` test pictures; nothing where the data
    keep no exact depth."""
    split = dataset.split("test")
    if not set(TRUTH) <= set(split.fields):
        return {}
    images = channels_first(split.view(("image",))["image"][:count])
    parts = [model.read_depth(part.to(context.device).float() / 127.5 - 1) for part in images.split(BATCH)]
    return {"head_depth": torch.cat(parts).float().cpu().numpy()}


def score_head(sheet: Sheet, predictions: Mapping[str, NDArray], dataset: Dataset, mean_map: NDArray) -> None:
    """Enter SIDE of the head and its floors inside the true masks, and the mean correlation with the exact depth."""
    if "head_depth" not in predictions:
        sheet.lack(COLUMNS, NO_HEAD)
        return
    own = torch.from_numpy(predictions["head_depth"].astype(np.float32))
    view = dataset.split("test").view(TRUTH)
    depth = torch.from_numpy(np.array(view["depth"][: len(own)], np.float32))
    inside = geometry.solid_inside(depth, np.array(view["coverage"][: len(own)]))
    truth = torch.where(inside, depth, 1.0)
    mean = torch.from_numpy(mean_map.astype(np.float32)).expand_as(own)
    for column, candidate in zip(COLUMNS, (own, torch.ones_like(own), mean), strict=False):
        sheet.put(column, 100 * geometry.mean_of(geometry.side_errors(candidate, truth, inside)), geometry.EMPTY)
    errors = np.asarray(standardised_depth_error(own, truth, mask=inside, reduction="none"))
    sheet.put("head_corr", 1 - geometry.mean_of(errors) / 2, "constant depth in every picture")
