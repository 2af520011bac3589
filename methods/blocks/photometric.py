"""Strong augmentation of colours: jitter and Gaussian blur without a branch or a loop over images (DACS)."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

GREY = (0.299, 0.587, 0.114)
SIGMA = (0.15, 1.15)
"""Range of the blur's standard deviation in pixels."""
WIDEST = 9
"""Taps of the largest kernel: 3.5 deviations to either side at the widest blur."""


def colour_jitter(images: Tensor, strength: float, probability: float, generator: Generator) -> Tensor:
    """``images`` f32 [N,3,H,W] in [-1,1] with other brightness, contrast, saturation and hue.

    Factors are uniform in 1 +- ``strength``, the hue turns by up to +- ``strength`` of a full turn, drawn per image;
    whether anything changes at all is drawn once per batch. All four are linear maps of colour (hue: a rotation of the
    chroma plane of YIQ), so that together they are one 3x3 matrix and an offset per image, and one clamp to the range.
    """
    draws = torch.rand(1 + 4 * len(images), generator=generator, device=images.device)
    amount = strength * (draws[0] < probability)
    shift = (draws[1:].view(4, -1) * 2 - 1) * amount
    brightness, contrast, saturation = 1 + shift[0], 1 + shift[1], 1 + shift[2]
    angle = shift[3] * (2 * math.pi)
    to_yiq, to_rgb, grey = _colour_spaces(images.device)
    turn = torch.zeros(len(images), 3, 3, device=images.device)
    turn[:, 0, 0] = 1
    cosine, sine = angle.cos() * saturation, angle.sin() * saturation
    turn[:, 1, 1], turn[:, 1, 2], turn[:, 2, 1], turn[:, 2, 2] = cosine, -sine, sine, cosine
    gain = brightness * contrast
    matrix = (to_rgb @ turn @ to_yiq) * gain[:, None, None]
    # In [0,1] contrast draws colours towards the mean grey; the same map on [-1,1] needs this offset.
    flat = images.flatten(2)
    mean = (flat.mean(2) * grey).sum(1) * 0.5 + 0.5
    offset = 2 * brightness * (1 - contrast) * mean + gain - 1
    return torch.baddbmm(offset[:, None, None], matrix, flat).clamp_(-1, 1).view_as(images)


def gaussian_blur(images: Tensor, probability: float, generator: Generator) -> Tensor:
    """``images`` [N,3,H,W] blurred with a deviation of their own each; whether is drawn once per batch.

    A kernel has the largest odd number of taps within ceil(0.1 size), at most ``WIDEST``; borders are reflected.
    """
    n, channels, height, width = images.shape
    draws = torch.rand(1 + n, generator=generator, device=images.device)
    sigma = SIGMA[0] + (SIGMA[1] - SIGMA[0]) * draws[1:]
    # A deviation of nothing is the identity: no branch is needed for batches that stay sharp.
    sigma = torch.where(draws[0] < probability, sigma, 1e-3)
    planes = images.reshape(1, n * channels, height, width)
    rows, columns = _taps(height), _taps(width)
    planes = F.pad(planes, (columns // 2, columns // 2, rows // 2, rows // 2), mode="reflect")
    for taps, shape in ((rows, (rows, 1)), (columns, (1, columns))):
        distance = torch.arange(taps, device=images.device) - taps // 2
        kernel = (-0.5 * (distance / sigma[:, None]).square()).exp()
        kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(channels, 0)
        planes = F.conv2d(planes, kernel.view(-1, 1, *shape), groups=n * channels)
    return planes.view_as(images)


def _taps(size: int) -> int:
    taps = math.ceil(0.1 * size)
    return min(max(taps - 1 + taps % 2, 1), WIDEST)


@functools.lru_cache(maxsize=4)
def _colour_spaces(device: torch.device) -> Sequence[Tensor]:
    to_yiq = torch.tensor([GREY, (0.596, -0.274, -0.322), (0.211, -0.523, 0.312)], dtype=torch.float64)
    return tuple(m.to(device, torch.float32) for m in (to_yiq, torch.linalg.inv(to_yiq), to_yiq[0]))
