"""A negative control: pictures on flat cards through the origin, which turn before the camera as objects would.

Every view of a card follows exactly from its picture and every depth is exact, so that reprojection is all but perfect;
only a depth error, the flatness, and how far the judged pose follows the command tell that there is no object.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from harness.cameras import look_at, project, rays
from harness.data.views import Dataset
from harness.metrics.resize import to_uint8
from harness.types import Cameras, PosePrior
from suites.protocols.generation.meshes import height_fields
from suites.protocols.generation.sampling import TURNED, Arrays
from suites.protocols.generation.sizes import Sizes, inverted, neighbours, sweep

EDGE = 0.05
"""Cosine between ray and card's normal below which the card is seen from its edge and shows nothing."""


def turned(picture: Tensor, mask: Tensor, own: Cameras, cameras: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures [N,C,H,W] with masks [N,H,W], taken by ``own`` cameras, as ``cameras`` see them on their cards.

    A card lies in the plane z = 0 of the world, which faces the front. Returns pictures, masks and the cards' z-depth
    [N,H,W]; beyond its picture a card repeats the border and is transparent.
    """
    depth, points, visible = _plane(cameras, picture.shape[-1])
    position, _ = project(points.flatten(1, 2), own)
    grid = (position * 2 - 1).reshape(*depth.shape, 2)
    seen = F.grid_sample(picture, grid, padding_mode="border", align_corners=False)
    opaque = F.grid_sample(mask[:, None], grid, padding_mode="zeros", align_corners=False)[:, 0]
    return seen, opaque * visible, depth


def at_poses(dataset: Dataset, wanted: Sizes) -> Arrays:
    """``sweep`` and ``views`` of the protocol: the test pictures taken nearest to the centre of the prior, turned."""
    prior = dataset.spec.prior
    assert prior is not None
    split = dataset.split("test")
    pose = np.asarray(split.view(("pose",))["pose"], np.float64)
    away = np.abs(pose[:, 0] - prior.azimuth[0]) + np.abs(pose[:, 1] - prior.elevation[0])
    rows = np.sort(np.argsort(away, kind="stable")[: wanted.latents])
    picture, mask = _signed(split.view(("image",))["image"][rows]), _masks(dataset, rows)
    own = _cameras(pose[rows, 0], pose[rows, 1], prior)
    azimuths = sweep(prior, wanted.azimuths)
    swept = _all(picture, mask, own, azimuths, prior)
    views = _all(picture, mask, own, neighbours(prior, wanted.views), prior)
    arrays = {"sweep_azimuth": azimuths, "sweep": swept["rgb"]}
    arrays |= {f"sweep_{name}": swept[name][:TURNED] for name in ("depth", "mask")}
    return arrays | {"views": views["rgb"], "views_depth": views["depth"], "views_mask": views["mask"]}


def own_depth(dataset: Dataset, count: int) -> NDArray[np.float32]:
    """Depth [N,H,W] of cards under the first test pictures at the poses from which these were taken."""
    prior = dataset.spec.prior
    assert prior is not None
    pose = np.asarray(dataset.split("test").view(("pose",))["pose"][:count], np.float64)
    return _plane(_cameras(pose[:, 0], pose[:, 1], prior), dataset.spec.resolution)[0].numpy()


def inversion(truth: Mapping[str, NDArray], prior: PosePrior) -> Arrays:
    """The given view of every inverted object on a card: its other views, its depth and the card as a mesh."""
    picture = _signed(truth["inv_truth"][:, 0])
    mask = torch.from_numpy(truth["inv_truth_mask"][:, 0]).float() / 255
    angles = inverted(prior)
    own = _cameras(np.full(len(picture), angles[0]), np.full(len(picture), prior.elevation[0]), prior)
    seen = _all(picture, mask, own, angles, prior)
    mesh = height_fields(seen["depth"][:, 0], truth["inv_truth_mask"][:, 0], prior).packed("inv_mesh")
    return {**truth, "inv_views": seen["rgb"], "inv_depth": seen["depth"], "inv_mask": seen["mask"], **mesh}


def _all(picture: Tensor, mask: Tensor, own: Cameras, azimuths: NDArray, prior: PosePrior) -> Arrays:
    """Every card at every azimuth: arrays [K,V,...]."""
    columns = []
    for azimuth in azimuths:
        cameras = _cameras(np.full(len(picture), azimuth), np.full(len(picture), prior.elevation[0]), prior)
        columns.append(turned(picture, mask, own, cameras))
    rgb, opaque, depth = (torch.stack(parts, dim=1) for parts in zip(*columns, strict=True))
    whole = to_uint8(rgb.flatten(0, 1), value_range=(-1.0, 1.0)).permute(0, 2, 3, 1)
    return {
        "rgb": whole.reshape(*rgb.shape[:2], *whole.shape[1:]).numpy(),
        "mask": (opaque * 255).round().to(torch.uint8).numpy(),
        "depth": depth.numpy(),
    }


def _plane(cameras: Cameras, resolution: int) -> tuple[Tensor, Tensor, Tensor]:
    """Depth [N,H,W] and points [N,H,W,3] where rays meet the card, and where its face can be seen; elsewhere ``far``.

    The card's normal is world +Z: the front of the object.
    """
    origins, directions = rays(cameras, resolution)
    slope = -directions[..., 2]
    depth = origins[:, None, None, 2] / slope
    visible = (slope.abs() > EDGE * directions.norm(dim=-1)) & (depth > 0)
    depth = torch.where(visible, depth, cameras.far)
    return depth, origins[:, None, None] + depth[..., None] * directions, visible


def _cameras(azimuth: NDArray, elevation: NDArray, prior: PosePrior) -> Cameras:
    return look_at(torch.from_numpy(azimuth).float(), torch.from_numpy(elevation).float(), prior)


def _signed(images: NDArray) -> Tensor:
    return torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _masks(dataset: Dataset, rows: NDArray) -> Tensor:
    """Opacity [N,H,W] of test pictures; all opaque where the data keep none."""
    split = dataset.split("test")
    if "coverage" not in split.fields:
        return torch.ones(len(rows), dataset.spec.resolution, dataset.spec.resolution)
    return torch.from_numpy(np.array(split.view(("coverage",))["coverage"][rows])).float() / 255
