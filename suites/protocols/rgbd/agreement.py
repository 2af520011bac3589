"""Depth against the depth judge on the same pictures, and what binds image and depth together."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from harness.data.views import Dataset
from harness.judges.shelf import Judges
from harness.metrics.binned_depth import binned_cross_entropy, frequency_logits
from harness.metrics.rgbd_structure import change_along, edge_correlation
from harness.types import PosePrior
from suites.protocols.generation import geometry
from suites.protocols.generation.references import mean_depth_map
from suites.protocols.generation.sheet import Sheet, channels_first
from suites.protocols.rgbd.coding import FIELD, Coding, signed
from suites.protocols.rgbd.drawing import held_out_split

JUDGED = (*geometry.COLUMNS, "side_judge[x100]", "depth_agree", "depth_agree_floor")
STRUCTURE = ("depth_std", "edge_corr", "edge_corr_other")
SWAPS = ("swap_depth", "swap_rgb_same_depth")
HEAD = ("d_depth_ce", "d_depth_ce_prior")
ONE_CODE, NO_HEAD = "no two codes to swap", "no depth head"
FLAT = "no picture has edges in image and depth"


def score_judged(
    sheet: Sheet, pictures: NDArray, depth: NDArray, judges: Judges, dataset: Dataset, prior: PosePrior
) -> NDArray[np.float64]:
    """Enter SIDE, its floors and relatives, and the mean difference of depth codes; returns the judged levels [m,H,W].

    ``pictures`` uint8 [m,H,W,3], ``depth`` [m,H,W] in world units. ``depth_agree_floor`` is the judge's own error on as
    many real pictures of split ``test``, ``side_judge`` that on the pictures it was held back from.
    """
    coding = Coding.of(dataset.spec)
    opaque = np.full(depth.shape, 255, np.uint8)
    mean_map = mean_depth_map(dataset, "val")
    geometry.score_depth(sheet, pictures, coding.shape_of(depth) * coding.unit, opaque, judges, prior, mean_map)
    sheet.put("side_judge[x100]", judges.report["depth_side_x100"])
    judged = coding.level_of_truth(judges.depth(channels_first(pictures)).numpy())
    sheet.put("depth_agree", float(np.abs(coding.level(depth) - judged).mean()))
    view = dataset.split("test").view(("image", "depth"))
    real = np.array(view["image"][: len(pictures)])
    seen, true = judges.depth(channels_first(real)).numpy(), np.array(view["depth"][: len(pictures)])
    own = np.abs(coding.level_of_truth(seen) - coding.level_of_truth(true))
    sheet.put("depth_agree_floor", float(own.mean()))
    return judged


def score_structure(sheet: Sheet, pictures: NDArray, depth: NDArray, coding: Coding) -> None:
    """Enter the spread of depth within a picture, and how edges of image and depth coincide; ``edge_corr_other``
    compares with the depth of the next picture: layouts alone coincide too."""
    sheet.put("depth_std", float(coding.level(depth).std(axis=(1, 2)).mean()))
    images, z = channels_first(pictures).double(), torch.from_numpy(coding.warped(depth))
    sheet.put("edge_corr", float(edge_correlation(images, z)), FLAT)
    sheet.put("edge_corr_other", float(edge_correlation(images, z.roll(-1, 0))), FLAT)


def score_swaps(sheet: Sheet, predictions: Mapping[str, NDArray], coding: Coding) -> None:
    """Enter the mean absolute change of depth and image when another appearance code meets the same depth code."""
    if "swap_depth" not in predictions:
        sheet.lack(SWAPS, ONE_CODE)
        return
    sheet.put("swap_depth", change_along(coding.level(predictions["swap_depth"]), 1))
    sheet.put("swap_rgb_same_depth", change_along(predictions["swap"].astype(np.float64) / 127.5, 1))


def score_head(sheet: Sheet, predictions: Mapping[str, NDArray], dataset: Dataset) -> None:
    """Enter the cross-entropy of the discriminator's depth head on images of ``val``, and that of the training set's
    frequencies per pixel, which a head that never looks at the image reaches; equal logits give ln K."""
    if "head_ce" not in predictions:
        sheet.lack(HEAD, NO_HEAD)
        return
    bins, rows = int(predictions["head_bins"]), len(predictions["head_ce"])
    sheet.put("d_depth_ce", float(predictions["head_ce"].mean()))
    known, held_out = (dataset.split(name).view((FIELD,))[FIELD] for name in ("train", held_out_split(dataset)))
    logits = frequency_logits(signed(np.asarray(known)), bins)
    truth = torch.from_numpy(signed(np.asarray(held_out[:rows])))
    prior = binned_cross_entropy(logits.expand(rows, -1, -1, -1), truth)
    sheet.put("d_depth_ce_prior", float(prior))
    sheet.notes["d_depth_ce"] = f"equal logits: {math.log(bins):.3f}"
