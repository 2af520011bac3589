"""Depth against the depth judge on the same pictures, floors on the same pixels, and reprojection between views."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from harness.cameras import look_at
from harness.judges.shelf import Judges
from harness.metrics.consistency import cycle_displacement, depth_reprojection_error, reprojection_error
from harness.metrics.depth import (
    eroded,
    mean_angle_deviation,
    normals_from_depth,
    scale_invariant_depth_error,
    standardised_depth_error,
)
from harness.metrics.errors import EmptyInput
from harness.types import PosePrior
from suites.protocols.generation.sheet import Sheet, channels_first
from suites.protocols.generation.sizes import neighbours

SIDE = "side[x100]"
FLOORS = ("side_const[x100]", "side_mean_map[x100]")
VIEWS = ("side_own[x100]", "side_other[x100]")
COLUMNS = (SIDE, *FLOORS, "mad", "depth_mse_std")
REPROJECTION = ("reproj_l1", "reproj_mse", "reproj_floor")
CONSISTENCY = ("depth_reproj", "cycle_px")
OPAQUE = 127
EMPTY = "no opaque pixel is left after eroding the mask"


def score_depth(
    sheet: Sheet,
    pictures: NDArray,
    depth: NDArray,
    mask: NDArray,
    judges: Judges,
    prior: PosePrior,
    mean_map: NDArray,
) -> Tensor:
    """Enter SIDE and its floors, MAD and the standardised depth error; returns the judge's depth [m,H,W].

    ``pictures`` uint8 [m,H,W,3], ``depth`` float [m,H,W], ``mask`` uint8 opacity, ``mean_map`` [H,W] the mean depth of
    real pictures. Pixels count whose 3x3 neighbourhood is opaque and has a depth. Truth is the judge's depth.
    """
    own, target = torch.from_numpy(depth.astype(np.float32)), judges.depth(channels_first(pictures))
    inside = solid_inside(own, mask)
    if not bool(inside.any()):
        sheet.lack(COLUMNS, EMPTY)
        return target
    values = side_errors(own, target, inside)
    sheet.put(SIDE, 100 * mean_of(values), EMPTY)
    sheet.per_sample["side"] = values
    sheet.notes["depth"] = f"{np.count_nonzero(~np.isnan(values))} of {len(values)} pictures count"
    constant = torch.ones_like(own)
    mean = torch.from_numpy(mean_map.astype(np.float32)).expand_as(own)
    for column, floor in zip(FLOORS, (constant, mean), strict=True):
        sheet.put(column, 100 * mean_of(side_errors(floor, target, inside)))
    intrinsics = look_at(torch.zeros(1), torch.zeros(1), prior).intrinsics.expand(len(own), 3, 3)
    filled = torch.where(inside, own, 1.0)
    solid = torch.from_numpy(mask > OPAQUE) & (own > 0)
    normals = (normals_from_depth(torch.where(solid, own, 1.0), intrinsics), normals_from_depth(target, intrinsics))
    sheet.put("mad", float(mean_angle_deviation(*normals, mask=inside, erode=0)), EMPTY)
    sheet.put(
        "depth_mse_std", float(standardised_depth_error(filled, target, mask=inside)), "constant depth in every picture"
    )
    return target


def score_views(sheet: Sheet, predictions: Mapping[str, NDArray], judges: Judges, prior: PosePrior) -> None:
    """Enter the reprojection error of neighbouring views and its floor (views of different objects), how well their
    depths agree without colour, and SIDE with the depth of another object at the same pose beside SIDE with the own
    depth on the same pixels."""
    pictures, depth, mask = (predictions[name] for name in ("views", "views_depth", "views_mask"))
    count, views = pictures.shape[:2]
    azimuth = torch.from_numpy(np.tile(neighbours(prior, views), count))
    cameras = look_at(azimuth, torch.full_like(azimuth, prior.elevation[0]), prior)
    images = channels_first(pictures)
    z = torch.from_numpy(depth.astype(np.float32)).flatten(0, 1)
    opacity = torch.from_numpy(mask).flatten(0, 1).float() / 255 * (z > 0)
    index = torch.arange(count * views).reshape(count, views)
    own = torch.stack([index[:, :-1].flatten(), index[:, 1:].flatten()], dim=1)
    other = torch.stack([index[:, :-1].flatten(), index.roll(-1, 0)[:, 1:].flatten()], dim=1)
    unit = images.float() / 127.5 - 1
    try:
        for column, pairs, norm in zip(REPROJECTION, (own, own, other), ("l1", "l2", "l1"), strict=True):
            found = reprojection_error(unit, z, cameras, pairs=pairs, opacity=opacity, norm=norm)  # type: ignore[arg-type]
            sheet.put(column, found["value"], "every pair of views overlaps by less than a tenth")
            if column == REPROJECTION[0]:
                sheet.notes["reprojection"] = (
                    f"{found['valid_fraction']:.2f} of the foreground counts, {found['n_skipped']:.0f} of {len(pairs)} "
                    "pairs skipped"
                )
        for column, measure in zip(CONSISTENCY, (depth_reprojection_error, cycle_displacement), strict=True):
            sheet.put(column, measure(z, cameras, pairs=own, opacity=opacity), "no pixel lands inside the next view")
    except EmptyInput:
        sheet.lack((*REPROJECTION, *CONSISTENCY), "no view has an opaque pixel")
    target = judges.depth(images)
    swapped = z.reshape(count, views, *z.shape[1:]).roll(-1, 0).flatten(0, 1)
    other_mask = np.roll(mask, -1, 0).reshape(-1, *mask.shape[2:])
    inside = solid_inside(z, mask.reshape(other_mask.shape)) & solid_inside(swapped, other_mask)
    for column, candidate in zip(VIEWS, (z, swapped), strict=True):
        sheet.put(column, 100 * mean_of(side_errors(candidate, target, inside)), EMPTY)


def solid_inside(depth: Tensor, mask: NDArray) -> Tensor:
    """Pixels whose 3x3 neighbourhood is opaque and has a positive depth: bool [N,H,W]."""
    return eroded(torch.from_numpy(mask > OPAQUE) & (depth > 0), 1)


def side_errors(own: Tensor, target: Tensor, inside: Tensor) -> NDArray[np.float64]:
    """SIDE per picture [N]; NaN where fewer than two pixels are ``inside``; elsewhere ``own`` may be anything."""
    if not bool(inside.any()):
        return np.full(len(own), math.nan)
    positive = torch.where(inside, own, 1.0)
    return np.asarray(scale_invariant_depth_error(positive, target, mask=inside, reduction="none"))


def mean_of(values: NDArray[np.float64]) -> float:
    """Mean without NaN; NaN where nothing else is left."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
