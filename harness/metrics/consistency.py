"""Multi-view consistency of images and depths rendered from known cameras; statistics in float64.

A pixel p of view k goes to the world point X_k(p) by its z-depth and from there to view l. It counts where view k is
opaque, and X lands inside view l by at least one pixel and in front of it. Bilinear sampling between pixel centres that
are all opaque: on the rim a mean of surface and background belongs to neither, and what a renderer says of the depth of
empty space is its own affair.
A flat card scores well on all of these: print them beside a depth error and the pose range.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from harness.metrics.card import MetricCard
from harness.metrics.checks import Array
from harness.metrics.errors import EmptyInput, NonPositiveDepth, OutOfRange, ShapeMismatch, UnknownOption
from harness.metrics.samples import bool_mask, float_array, integer_array
from harness.types import Cameras

OPAQUE = 0.5  # opacity above which a pixel is foreground
MINIMUM_OVERLAP = 0.1  # of the foreground; pairs with less are skipped and counted
DEPTH_CAP = 5.0  # in units of tau
BORDER = 1.0  # pixels
SNAP = 1e-6  # pixels: closer samples are the pixel centre itself, so that an unmoved camera has error 0
WHOLE = 1e-9  # of a sum of weights that rounding may take from 1
BLOCK_PIXELS = 1 << 18

_PROTOCOL = ("tau", "views", "span", "n")
_FLOOR, _ORACLE = "pairs of different identities", "exact renders with exact depth"


def _card(name: str, unit: str, top: float) -> MetricCard:
    return MetricCard(
        name,
        unit=unit,
        better="lower",
        range=(0.0, top),
        protocol=_PROTOCOL,
        floor=_FLOOR,
        oracle=_ORACLE,
    )


CARDS: tuple[MetricCard, ...] = (
    _card("reproj_mse", "squared intensity of [-1,1]", 4.0),
    _card("reproj_l1", "intensity of [-1,1]", 2.0),
    _card("depth_reproj", "share of far - near", 1.0),
    _card("cycle_px", "px", math.inf),
    _card("warp_rgb", "intensity of [-1,1]", math.inf),
    _card("warp_depth", "depth", math.inf),
)


def reprojection_error(
    images: Array,
    depth: Array,
    cameras: Cameras,
    *,
    pairs: Array,
    opacity: Array | None = None,
    tau: float = 0.02,
    norm: Literal["l1", "l2"],
) -> dict[str, float]:
    """Photometric reprojection error: mean over pairs (k, l) of the mean over visible pixels of |I_k - I_l(X_k)|^q.

    ``images`` float [N,3,H,W] in [-1,1]; ``depth`` z-depth [N,H,W], positive where opaque; ``pairs`` integer [P,2];
    ``opacity`` [N,H,W] in [0,1], None: opaque where depth is positive; q = 2 for ``norm="l2"``, 1 for ``"l1"``;
    channels averaged. Visible: it lands on opaque pixels of view l, whose depth there is within ``tau`` times its own.
    Returns ``value``, ``valid_fraction`` (mean share of foreground that counts) and ``n_skipped`` (pairs whose share is
    below 0.1); value is NaN when every pair is skipped. Raises UnknownOption, NonPositiveDepth, OutOfRange,
    ShapeMismatch, EmptyInput, NonFinite.
    """
    metric = f"reproj_{'mse' if norm == 'l2' else norm}"
    if norm not in ("l1", "l2"):
        raise UnknownOption(f"unknown norm {norm!r}", where="reprojection_error", nearest=("l1", "l2"))
    views = _Views.of(depth, cameras, pairs, opacity, metric)
    pictures = float_array(images, "images", (len(views.depth), 3, *views.depth.shape[1:]), metric=metric)
    pictures = pictures.to(views.depth.device)
    values, fractions = [], []
    for warp in views.warps():
        seen = _bilinear(views.depth[warp.into][:, None].double(), warp.position)[:, 0]
        visible = warp.hits & ((warp.z - seen).abs() < tau * warp.z)
        moved = _bilinear(pictures[warp.into].double(), warp.position)
        difference = (pictures[warp.source].double() - moved).abs()
        error = (difference.square() if norm == "l2" else difference).mean(1)
        count = visible.sum((1, 2)).double()
        values.append(torch.where(visible, error, 0.0).sum((1, 2)) / count)
        fractions.append(count / views.opaque[warp.source].sum((1, 2)))
    value, fraction = torch.cat(values), torch.cat(fractions).nan_to_num(0.0)
    used = fraction >= MINIMUM_OVERLAP
    return {
        "value": float(value[used].mean()),
        "valid_fraction": float(fraction.mean()),
        "n_skipped": float((~used).sum()),
    }


def depth_reprojection_error(
    depth: Array, cameras: Cameras, *, pairs: Array, opacity: Array | None = None, tau: float = 0.02
) -> float:
    """Geometry-only consistency: mean over pairs of the mean over opaque in-frame pixels of the relative depth gap.

    The gap is min(|z_l(X) - depth_l(pi_l X)|, 5 tau (far - near)) / (far - near), in [0, 5 tau], without a visibility
    test; 5 tau where view l is empty, none on the rim between. Arguments as in ``reprojection_error``. Pairs without a
    pixel that counts are left out; NaN if none is left.
    Raises NonPositiveDepth, OutOfRange, ShapeMismatch, EmptyInput, NonFinite.
    """
    views = _Views.of(depth, cameras, pairs, opacity, "depth_reproj")
    span = cameras.far - cameras.near
    values = []
    for warp in views.warps():
        seen = _bilinear(views.depth[warp.into][:, None].double(), warp.position)[:, 0]
        gap = torch.where(warp.hits, (warp.z - seen).abs() / span, torch.inf).clamp_max(DEPTH_CAP * tau)
        counted = warp.hits | warp.misses
        values.append(torch.where(counted, gap, 0.0).sum((1, 2)) / counted.sum((1, 2)))
    return float(torch.cat(values).nanmean())


def cycle_displacement(depth: Array, cameras: Cameras, *, pairs: Array, opacity: Array | None = None) -> float:
    """Median displacement in pixels of going from view k to view l and back by the two depth maps; mean over pairs.

    Arguments as in ``reprojection_error``. Pixels count that land in frame on opaque pixels. Pairs without any are left
    out; NaN if none is left. Raises NonPositiveDepth, OutOfRange, ShapeMismatch, EmptyInput, NonFinite.
    """
    views = _Views.of(depth, cameras, pairs, opacity, "cycle_px")
    values = []
    for warp in views.warps():
        seen = _bilinear(views.depth[warp.into][:, None].double(), warp.position)[:, 0]
        back, _ = views.project(views.lift(warp.position, seen, warp.into), warp.source)
        moved = torch.linalg.vector_norm(back - views.grid, dim=-1)
        moved = torch.where(warp.hits, moved, torch.nan)
        values.append(moved.flatten(1).nanquantile(0.5, dim=1))
    return float(torch.cat(values).nanmean())


def warping_error(images: Array, depth: Array, warped_coords: Array, mask: Array, *, pairs: Array) -> dict[str, float]:
    """Rotation consistency in the form of DepthGAN (Shi et al. 2022): ratios of sums over all pairs (k, l).

    ``images`` float [N,3,H,W], ``depth`` float [N,H,W], ``pairs`` integer [P,2]; ``warped_coords`` float [P,H,W,3]
    holds for each pixel of view k its normalised position (u, v) in view l and its depth there; ``mask`` bool [P,H,W].
    ``rgb`` = sum of masked |I_l(u, v) - I_k|, channels averaged (the published code sums them: 3 times this), over the
    sum of the mask; ``depth`` = the same of |depth_l(u, v) - warped depth|. No occlusion test; samples outside the
    frame read zero. Raises ShapeMismatch, EmptyInput, OutOfRange, NonFinite.
    """
    metric = "warping_error"
    z = float_array(depth, "depth", (None, None, None), metric=metric)
    n, height, width = z.shape
    pictures = float_array(images, "images", (n, 3, height, width), metric=metric).to(z.device)
    index = _pair_index(pairs, n, metric).to(z.device)
    coords = float_array(warped_coords, "warped_coords", (len(index), height, width, 3), metric=metric).to(z.device)
    valid = bool_mask(mask, (len(index), height, width), z.device, metric=metric)
    size = torch.tensor([width, height], dtype=torch.float64, device=z.device)
    rgb, gap = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    step = max(1, BLOCK_PIXELS // (height * width))
    for start in range(0, len(index), step):
        block = slice(start, start + step)
        source, into = index[block].unbind(1)
        position = coords[block, ..., :2].double() * size - 0.5
        colour = (_bilinear(pictures[into].double(), position) - pictures[source].double()).abs().mean(1)
        away = (_bilinear(z[into][:, None].double(), position)[:, 0] - coords[block, ..., 2].double()).abs()
        rgb += torch.where(valid[block], colour, 0.0).sum().cpu()
        gap += torch.where(valid[block], away, 0.0).sum().cpu()
    count = int(valid.sum())
    return {"rgb": float(rgb) / count, "depth": float(gap) / count}


# ---------------------------------------------------------------------------------------------------- geometry
@dataclass(frozen=True)
class _Warp:
    """Opaque pixels of some pairs' first views seen from their second ones: ``position`` in pixel indices [B,H,W,2],
    those that land on opaque pixels alone (``hits``) and on empty ones alone (``misses``)."""

    source: Tensor
    into: Tensor
    position: Tensor
    z: Tensor
    hits: Tensor
    misses: Tensor


@dataclass(frozen=True)
class _Views:
    """Checked depth maps [N,H,W] and float64 cameras; positions are pixel indices (x, y), centres at integers."""

    depth: Tensor
    opaque: Tensor
    pairs: Tensor
    rotation: Tensor
    inverse: Tensor
    centre: Tensor
    focal: Tensor
    principal: Tensor
    grid: Tensor

    @classmethod
    def of(cls, depth: Array, cameras: Cameras, pairs: Array, opacity: Array | None, metric: str) -> _Views:
        z = float_array(depth, "depth", (None, None, None), metric=metric)
        n, height, width = z.shape
        if len(cameras) != n:
            raise ShapeMismatch(f"{len(cameras)} cameras for depth {tuple(z.shape)}", where=metric)
        opaque = z > 0
        if opacity is not None:
            opaque = float_array(opacity, "opacity", (n, height, width), metric=metric).to(z.device) > OPAQUE
            bad = int((opaque & (z <= 0)).sum())
            if bad:
                raise NonPositiveDepth(f"depth <= 0 at {bad} opaque pixels", where=metric)
        if not bool(opaque.any()):
            raise EmptyInput("no view has an opaque pixel", where=metric)
        pose = cameras.cam2world.detach().to(device=z.device, dtype=torch.float64)
        k = cameras.intrinsics.detach().to(device=z.device, dtype=torch.float64)
        size = k.new_tensor([width, height])
        x = torch.arange(width, device=z.device, dtype=torch.float64)
        y = torch.arange(height, device=z.device, dtype=torch.float64)
        return cls(
            depth=z,
            opaque=opaque,
            pairs=_pair_index(pairs, n, metric).to(z.device),
            rotation=pose[:, :3, :3],
            inverse=torch.linalg.inv(pose[:, :3, :3]),  # the stored float32 matrix is orthogonal to 1e-7 only
            centre=pose[:, :3, 3],
            focal=torch.stack((k[:, 0, 0], k[:, 1, 1]), -1) * size,
            principal=k[:, :2, 2] * size - 0.5,
            grid=torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1),
        )

    def warps(self) -> Iterator[_Warp]:
        """Blocks of pairs, so that the float64 maps of many pairs never coexist."""
        height, width = self.depth.shape[1:]
        limit = self.grid.new_tensor([width, height]) - BORDER - 0.5
        for part in self.pairs.split(max(1, BLOCK_PIXELS // (height * width))):
            source, into = part.unbind(1)
            points = self.lift(self.grid.expand(len(part), -1, -1, -1), self.depth[source].double(), source)
            position, z = self.project(points, into)
            framed = ((position >= BORDER - 0.5) & (position <= limit)).all(-1)
            inside = self.opaque[source] & framed & (z > 0)
            share = _bilinear(self.opaque[into][:, None].double(), position)[:, 0]
            yield _Warp(source, into, position, z, inside & (share > 1 - WHOLE), inside & (share < WHOLE))

    def lift(self, position: Tensor, z: Tensor, view: Tensor) -> Tensor:
        """World points [B,H,W,3] at pixel positions [B,H,W,2] and z-depths [B,H,W] of the views [B]."""
        plane = (position - self.principal[view, None, None]) / self.focal[view, None, None]
        local = torch.cat((plane, torch.ones_like(plane[..., :1])), dim=-1) * z[..., None]
        return torch.einsum("bij,bhwj->bhwi", self.rotation[view], local) + self.centre[view, None, None]

    def project(self, points: Tensor, view: Tensor) -> tuple[Tensor, Tensor]:
        """Pixel positions [B,H,W,2] and z-depths [B,H,W] of world points in the views [B]."""
        local = torch.einsum("bij,bhwj->bhwi", self.inverse[view], points - self.centre[view, None, None])
        z = local[..., 2]
        position = local[..., :2] / z[..., None] * self.focal[view, None, None] + self.principal[view, None, None]
        centre = position.round()
        return torch.where((position - centre).abs() < SNAP, centre, position), z


def _pair_index(pairs: Array, n: int, metric: str) -> Tensor:
    index = integer_array(pairs, "pairs", (None, 2), metric=metric)
    if bool(((index < 0) | (index >= n)).any()):
        raise OutOfRange(f"pairs name views outside 0..{n - 1}", where=metric)
    return index


def _bilinear(maps: Tensor, position: Tensor) -> Tensor:
    """Sample maps [B,C,H,W] at pixel positions [B,h,w,2] (x, y; centres at integers); zero outside the frame."""
    n, channels, height, width = maps.shape
    position = torch.nan_to_num(position, nan=-2.0).clamp(-2.0, max(height, width) + 1.0)
    low = position.floor()
    weight = position - low
    flat = maps.flatten(2)
    total = torch.zeros(n, channels, *position.shape[1:3], dtype=maps.dtype, device=maps.device)
    for dx in (0, 1):
        for dy in (0, 1):
            x, y = (low[..., 0] + dx).long(), (low[..., 1] + dy).long()
            share = (weight[..., 0] if dx else 1 - weight[..., 0]) * (weight[..., 1] if dy else 1 - weight[..., 1])
            share = torch.where((x >= 0) & (x < width) & (y >= 0) & (y < height), share, 0.0)
            index = y.clamp(0, height - 1) * width + x.clamp(0, width - 1)
            taken = flat.gather(2, index.flatten(1)[:, None].expand(-1, channels, -1))
            total += share[:, None] * taken.reshape(total.shape)
    return total
