"""Affine warps of images between two oversampling filters, differentiable to every order (StyleGAN2-ADA, appendix B).

Every step is linear in the image: reflecting and filtering are constant matrices, one per axis, and the bilinear
sampler's adjoint is itself written as a function whose adjoint is the sampler. PyTorch's own has no second derivative.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SYM6 = (
    *(0.0154041, 0.0034907, -0.1179901, -0.0483117, 0.4910559, 0.7876411),
    *(0.3379294, -0.0726375, -0.0210603, 0.0447249, 0.0017677, -0.0078007),
)
"""Low-pass taps of the wavelet sym6: orthonormal to their even shifts, so that up and down again is the identity."""
DELAY = sum(i * tap for i, tap in enumerate(SYM6)) / sum(SYM6) - (len(SYM6) - 1) / 2
"""Centre of mass of the taps beyond their middle, in fine samples: a warp must know it to turn about the middle."""
REACH = len(SYM6) // 2
"""Source pixels to either side of a position that its value depends on, as a margin."""
BORDER = 3
"""Pixels by which the oversampled result is larger than the image on every side, for the filter that reduces it."""


def resample(images: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """Warp square ``images`` [N,C,S,S]: the value at p comes from ``linear`` p + ``shift``.

    Positions are (x, y) in pixels from the image's middle, ``linear`` [N,2,2], ``shift`` [N,2]. The image is continued
    by reflection up to S - 1 pixels, doubled by ``SYM6``, sampled bilinearly and halved by the mirrored filter.
    """
    size = images.shape[-1]
    (left, right), (top, bottom) = margins(linear, shift, size)
    across = _enlarge(size, left, right, images.dtype, images.device)
    down = _enlarge(size, top, bottom, images.dtype, images.device)
    fine = down @ (images @ across.mT)
    # A fine sample stands for a place half a delay (in pixels) before its own, in the image and in the result.
    shift = shift + DELAY / 2 * (1 - linear.sum(2))
    # In units of the half extents: of the padded image for sources, of the grid of results for targets.
    extent = torch.tensor([size + left + right, size + top + bottom], dtype=shift.dtype, device=shift.device)
    offset = torch.tensor([left - right, top - bottom], dtype=shift.dtype, device=shift.device)
    step = (linear * (size + 2 * BORDER) / extent[:, None]).to(images.dtype)
    start = ((2 * shift + offset) / extent).to(images.dtype)
    side = 2 * (size + 2 * BORDER)
    line = (torch.arange(side, dtype=images.dtype, device=images.device) + 0.5) * (2 / side) - 1
    columns = line[:, None] * step[:, None, :, 0] + start[:, None]
    rows = line[:, None] * step[:, None, :, 1]
    fine = _Bilinear.apply(fine, columns[:, None] + rows[:, :, None])
    reduce = _reduce(size, images.dtype, images.device)
    return reduce @ (fine @ reduce.mT)


def margins(linear: Tensor, shift: Tensor, size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pixels (left, right), (top, bottom) to continue the images by, so that the whole batch finds its sources.

    Beyond ``size`` - 1 there is nothing to reflect. On an accelerator always that most, which gives the same values:
    asking for less would wait for the device.
    """
    if linear.device.type != "cpu":
        return (size - 1, size - 1), (size - 1, size - 1)
    middle = (size - 1) / 2
    reach = linear.abs().sum(2) * middle
    low, high = (reach - shift).amax(0).tolist(), (reach + shift).amax(0).tolist()
    # Round-off must not cost a row; a transform that is not finite gets a defined size and keeps its bad values.
    least = [
        min(max(math.ceil(v + REACH - middle - 1e-4), 0), size - 1) if math.isfinite(v) else size - 1
        for v in (*low, *high)
    ]
    return (least[0], least[2]), (least[1], least[3])


def rearrange(images: Tensor, linear: Tensor, shift: Tensor) -> Tensor:
    """``resample`` for flips, quarter turns and whole pixels: every value is one of the image's, exactly."""
    channels, size = images.shape[1:3]
    line = torch.arange(size, dtype=shift.dtype, device=shift.device) - (size - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    position = linear @ torch.stack([x, y]).flatten(1) + shift[..., None] + (size - 1) / 2
    index = position.round().long().abs()
    index = torch.minimum(index, 2 * (size - 1) - index)
    flat = (index[:, 1] * size + index[:, 0])[:, None].expand(-1, channels, -1)
    return images.flatten(2).gather(2, flat).view_as(images)


class _Bilinear(torch.autograd.Function):
    """``F.grid_sample`` (zeros outside, half-pixel corners) as a linear function of the image alone."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, grid: Tensor) -> Tensor:
        ctx.save_for_backward(grid)
        ctx.shape = images.shape
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        (grid,) = ctx.saved_tensors
        return _BilinearAdjoint.apply(gradients[0], grid, ctx.shape), None


class _BilinearAdjoint(torch.autograd.Function):
    """The transpose of ``_Bilinear`` for images of ``shape``."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, grid: Tensor, shape: torch.Size) -> Tensor:
        ctx.save_for_backward(grid)
        # The operator wants images for their shape only, as long as no gradient of the grid is asked for.
        images = gradient.new_empty(1).expand(shape)
        adjoint, _ = torch.ops.aten.grid_sampler_2d_backward(gradient, images, grid, 0, 0, False, [True, False])
        return adjoint

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        (grid,) = ctx.saved_tensors
        return _Bilinear.apply(gradients[0], grid), None, None


def _enlarge(size: int, before: int, after: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[2 (size + before + after), size]: an axis continued by reflection and doubled."""
    first = 2 * (size - 1 - before)
    return _enlarge_all(size, dtype, device)[first : first + 2 * (size + before + after)]


@functools.lru_cache(maxsize=16)
def _enlarge_all(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """``_enlarge`` with the greatest margins: fine sample m has 2 f[m - 2k + 5] of coarse sample k."""
    # A cached constant must be an ordinary tensor even where it is first needed under inference mode.
    with torch.inference_mode(False):
        length = 3 * size - 2
        weight = 2 * _tap(torch.arange(2 * length)[:, None] - 2 * torch.arange(length))
        source = (torch.arange(length) - (size - 1)).abs()
        source = torch.minimum(source, 2 * (size - 1) - source)
        return (weight @ F.one_hot(source, size).to(weight)).to(device, dtype)


@functools.lru_cache(maxsize=16)
def _reduce(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[size, 2 (size + 2 BORDER)]: the transpose of doubling, cut to the image."""
    with torch.inference_mode(False):
        fine = torch.arange(2 * (size + 2 * BORDER)) - 2 * BORDER
        return _tap(fine - 2 * torch.arange(size)[:, None]).to(device, dtype)


def _tap(distance: Tensor) -> Tensor:
    """The tap (of sum 1) between a coarse sample and the fine one that lies ``distance`` fine samples after it."""
    taps = torch.tensor(SYM6, dtype=torch.float64)
    place = distance + REACH - 1
    found = (taps / taps.sum())[place.clamp(0, len(taps) - 1)]
    return torch.where((place >= 0) & (place < len(taps)), found, 0)
