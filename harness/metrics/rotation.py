"""Rotation consistency of images with depth (DepthGAN, Shi et al. 2022, RotEval): ratios of sums over pairs of views.

View 1 of a scene is unprojected by its depth, turned about the vertical axis through the middle of its cloud (mid-range
of X and of Z over all pixels) by theta = yaw 2 - yaw 1, and projected into view 2:
    X' = cos t (X - o_x) + sin t (Z - o_z) + o_x,  Z' = -sin t (X - o_x) + cos t (Z - o_z) + o_z,  Y' = Y.
Pixels m that land in frame are compared with bilinear samples of view 2 (zero beyond the frame): e_depth = sum m
|D_2 - Z'| / sum m, e_rgb = sum m |I_2 - I_1| / sum m with channels averaged (the published code sums them, which gives
three times this). Pixel centres are at +0.5; the published warp, which takes integer coordinates for centres, has an
error of half a pixel at theta = 0. Points behind the camera do not count. No occlusion test, except in ``warp_psnr``.

A flat depth scores as well as the truth: read the gain 1 - e(theta) / e(0) beside the error, e(0) comparing the same
pairs without rotation, and the error at -theta. A generator whose view never changes has e(0) = 0, and gain -inf.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.metrics.card import Invariance, MetricCard, column_name
from harness.metrics.checks import Array
from harness.metrics.errors import EmptyInput, NonPositiveDepth, OutOfRange, ProtocolMismatch, ShapeMismatch
from harness.metrics.samples import float_array

OCCLUDED = 0.1  # a surface of view 2 that is nearer than the point by this share hides it
CAP_DB = 100.0
BLOCK_PIXELS = 1 << 18

_FLOOR, _ORACLE = "pairs of different scenes; a flat depth", "exact renders of the scene"
_PAIRS: frozenset[Invariance] = frozenset({"joint-permutation", "split-merge", "batch"})


def _card(name: str, unit: str, *more: Invariance, identity: float | None = None) -> MetricCard:
    return MetricCard(
        name, unit, "lower", (0.0, math.inf), ("theta",), _PAIRS | set(more), floor=_FLOOR, oracle=_ORACLE,
        identity=identity,
    )  # fmt: skip


def _gain(name: str, *more: Invariance) -> MetricCard:
    return MetricCard(
        name, "1", "higher", (-math.inf, 1.0), (), _PAIRS | set(more), floor="0: no rotation; -inf: the view is still",
        oracle=_ORACLE,
    )  # fmt: skip


E_DEPTH = _card("e_depth", "depth of the warp")
E_RGB = _card("e_rgb", "intensity of [-1,1]")
GAIN_DEPTH, GAIN_RGB = _gain("gain_depth", "scale"), _gain("gain_rgb", "scale")
MASK_SHARE = MetricCard("mask_share", "share", "none", (0.0, 1.0), (), _PAIRS, floor="1: no rotation", oracle=_ORACLE)
WARP_PSNR = MetricCard(
    "warp_psnr", "dB", "higher", (-math.inf, CAP_DB), (), _PAIRS, floor="pairs of different scenes", oracle=_ORACLE
)
CARDS: tuple[MetricCard, ...] = (E_DEPTH, E_RGB, GAIN_DEPTH, GAIN_RGB, MASK_SHARE, WARP_PSNR)


# -------------------------------------------------------------------------------------------------------- warp
@dataclass(frozen=True)
class Rotated:
    """View 1 seen from view 2.

    ``grid`` float64 [N,H,W,2] as ``grid_sample`` takes it (x, y; the frame ends at -1 and 1), ``z`` [N,H,W] the depth
    there, ``inside`` bool [N,H,W] whether that is in frame and in front of the camera.
    """

    grid: Tensor
    z: Tensor
    inside: Tensor

    def sample(self, maps: Tensor) -> Tensor:
        """Bilinear samples [N,C,H,W] of float64 maps of view 2; zero beyond the frame."""
        return F.grid_sample(maps, self.grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def rotate(depth: Tensor, theta: Tensor, *, focal: float) -> Rotated:
    """Turn views by ``theta`` float64 [N] radians; ``depth`` float64 [N,H,W] positive, ``focal`` in pixels."""
    height, width = depth.shape[1:]
    u = torch.arange(width, dtype=torch.float64, device=depth.device) + 0.5 - width / 2
    v = torch.arange(height, dtype=torch.float64, device=depth.device) + 0.5 - height / 2
    x, y = depth * (u / focal), depth * (v / focal)[:, None]
    pivot_x, pivot_z = _mid_range(x), _mid_range(depth)
    cosine, sine = theta.cos()[:, None, None], theta.sin()[:, None, None]
    turned = cosine * (x - pivot_x) + sine * (depth - pivot_z) + pivot_x
    z = -sine * (x - pivot_x) + cosine * (depth - pivot_z) + pivot_z
    grid = torch.stack((turned / z * (2 * focal / width), y / z * (2 * focal / height)), dim=-1)
    inside = (z > 0) & (grid.abs() <= 1).all(-1)
    return Rotated(torch.where(inside[..., None], grid, 2.0), z, inside)


def _mid_range(points: Tensor) -> Tensor:
    return ((points.amax((1, 2)) + points.amin((1, 2))) / 2)[:, None, None]


# ------------------------------------------------------------------------------------------------- accumulation
class RotationErrors:
    """Rotation errors of pairs of views that arrive in batches; sums per pair in float64.

    ``focal`` is in units of the image width (0.5 / tan(fov / 2)), so that resolutions can be compared; accumulators of
    another ``focal`` do not merge.
    """

    FIELDS = (
        "pixels", "inside", "depth", "rgb", "depth_still", "rgb_still", "inside_flipped", "depth_flipped",
        "rgb_flipped", "psnr",
    )  # fmt: skip
    """Per pair: numbers of pixels, sums of absolute differences, and the PSNR over visible pixels."""

    def __init__(self, *, focal: float) -> None:
        if not (math.isfinite(focal) and focal > 0):
            raise OutOfRange(f"focal = {focal}, expected a positive number of image widths", where="RotationErrors")
        self.focal = float(focal)
        self.reset()

    def reset(self) -> None:
        """Forget all pairs."""
        self._rows = np.empty((0, len(self.FIELDS)))

    def update(
        self, depth: Array, depth_2: Array, theta: Array, images: Array | None = None, images_2: Array | None = None
    ) -> None:
        """Add P pairs: ``depth``, ``depth_2`` float [P,H,W] > 0 of views 1 and 2, ``theta`` float [P] radians, their
        images float [P,3,H,W] in [-1,1], or none of them (RGB columns are then NaN).

        Raises NonPositiveDepth, ShapeMismatch, EmptyInput, NonFinite.
        """
        first = float_array(depth, "depth", (None, None, None), metric="e_depth")
        second = float_array(depth_2, "depth_2", tuple(first.shape), metric="e_depth").to(first.device)
        angle = float_array(theta, "theta", (len(first),), metric="e_depth").to(first.device)
        for name, value in (("depth", first), ("depth_2", second)):
            if bad := int((value <= 0).sum()):
                raise NonPositiveDepth(f"{name} is not positive at {bad} pixels", where="e_depth")
        shape = (len(first), 3, *first.shape[1:])
        if (images is None) != (images_2 is None):
            raise ShapeMismatch("images of both views are needed, or of neither", where="e_rgb")
        shown = None
        if images is not None and images_2 is not None:
            shown = tuple(
                float_array(value, name, shape, metric="e_rgb").to(first.device)
                for name, value in (("images", images), ("images_2", images_2))
            )
        step = max(1, BLOCK_PIXELS // first[0].numel())
        for start in range(0, len(first), step):
            block = slice(start, start + step)
            views = first[block].double(), second[block].double()
            pictures = None if shown is None else (shown[0][block].double(), shown[1][block].double())
            self._append(self._pairs(views, angle[block].double(), pictures).cpu().numpy())

    def _pairs(self, views: tuple[Tensor, Tensor], theta: Tensor, pictures: tuple[Tensor, Tensor] | None) -> Tensor:
        first, second = views
        focal = self.focal * first.shape[2]
        pixels = torch.full_like(theta, float(first[0].numel()))
        missing = torch.full_like(theta, math.nan)
        warp, flipped = rotate(first, theta, focal=focal), rotate(first, -theta, focal=focal)
        seen = warp.sample(second[:, None])[:, 0]
        rgb = rgb_still = rgb_flipped = psnr = missing
        if pictures is not None:
            moved = warp.sample(pictures[1])
            rgb = _total((moved - pictures[0]).abs().mean(1), warp.inside)
            rgb_still = (pictures[1] - pictures[0]).abs().mean(1).sum((1, 2))
            rgb_flipped = _total((flipped.sample(pictures[1]) - pictures[0]).abs().mean(1), flipped.inside)
            visible = warp.inside & (seen > warp.z * (1 - OCCLUDED))
            squared = _total((moved - pictures[0]).square().mean(1), visible) / visible.sum((1, 2))
            psnr = (10 * torch.log10(4 / squared)).clamp_max(CAP_DB)
        return torch.stack(
            [
                pixels,
                warp.inside.sum((1, 2)).double(),
                _total((seen - warp.z).abs(), warp.inside),
                rgb,
                (second - first).abs().sum((1, 2)),
                rgb_still,
                flipped.inside.sum((1, 2)).double(),
                _total((flipped.sample(second[:, None])[:, 0] - flipped.z).abs(), flipped.inside),
                rgb_flipped,
                psnr,
            ],
            dim=1,
        )

    def merge(self, other: Self) -> Self:
        """Append the pairs of ``other`` and return self; ProtocolMismatch for another focal length."""
        if self.focal != other.focal:
            raise ProtocolMismatch(f"focal {self.focal} cannot take {other.focal}", where="RotationErrors")
        self._append(other._rows)
        return self

    def compute(self) -> dict[str, float]:
        """Columns ``e_depth``, ``e_depth[theta=0]``, ``e_depth[theta=flipped]``, ``gain_depth``, the same of ``rgb``,
        ``mask_share`` and ``warp_psnr`` (mean over pairs with a visible pixel).

        Raises EmptyInput when no pixel lands in frame.
        """
        total = dict(zip(self.FIELDS, self._rows.sum(0), strict=True))
        if not total["inside"] or not total["inside_flipped"]:
            raise EmptyInput("no pixel of any pair lands in the other view", where="e_depth")
        found: dict[str, float] = {}
        for kind, card in (("depth", E_DEPTH), ("rgb", E_RGB)):
            error, still = total[kind] / total["inside"], total[f"{kind}_still"] / total["pixels"]
            found[column_name(card)] = float(error)
            found[column_name(card, protocol={"theta": "0"})] = float(still)
            found[column_name(card, protocol={"theta": "flipped"})] = float(
                total[f"{kind}_flipped"] / total["inside_flipped"]
            )
            found[f"gain_{kind}"] = -math.inf if still == 0 else float(1 - error / still)
        found["mask_share"] = float(total["inside"] / total["pixels"])
        decibels = self._rows[:, -1]
        found["warp_psnr"] = float(np.nanmean(decibels)) if np.isfinite(decibels).any() else math.nan
        return found

    def per_sample(self) -> np.ndarray:
        """Sums of every pair, float64 [P, len(FIELDS)], in the order of arrival."""
        return self._rows.copy()

    def state_dict(self) -> dict[str, np.ndarray]:
        """The state as arrays."""
        return {"rows": self._rows.copy()}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Restore what ``state_dict`` returned; ShapeMismatch for other fields."""
        rows = np.array(state["rows"], np.float64)
        if rows.ndim != 2 or rows.shape[1] != len(self.FIELDS):
            raise ShapeMismatch(f"rows are {rows.shape}, expected [P, {len(self.FIELDS)}]", where="RotationErrors")
        self._rows = rows

    def _append(self, rows: np.ndarray) -> None:
        self._rows = np.concatenate([self._rows, rows])


def _total(values: Tensor, mask: Tensor) -> Tensor:
    return torch.where(mask, values, 0.0).sum((1, 2))


def rotation_errors(
    depth: Array,
    depth_2: Array,
    theta: Array,
    *,
    focal: float,
    images: Array | None = None,
    images_2: Array | None = None,
) -> dict[str, float]:
    """The columns of ``RotationErrors`` for P pairs given at once; arguments as in its constructor and ``update``."""
    errors = RotationErrors(focal=focal)
    errors.update(depth, depth_2, theta, images, images_2)
    return errors.compute()
