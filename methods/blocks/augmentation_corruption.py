"""The optional ends of ADA's pipe: gains of frequency bands, noise and cutout (Karras et al. 2020, appendix B)."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

SPECTRUM = (10 / 13, 1 / 13, 1 / 13, 1 / 13)
"""Share of the power of natural images in each band, lowest first."""
NOISE = 0.1
"""Standard deviation of the noise's standard deviation."""
CUT = 0.5
"""Side of the cut-out square, as a share of the image's size."""


def filter_bands(images: Tensor, probability: Tensor, generator: Generator) -> Tensor:
    """Square ``images`` [N,C,S,S] with random gains 2^N(0,1) of four octaves, each with ``probability``.

    One filter per image along both axes, borders reflected. Every gain is followed by a factor for all bands that keeps
    the power of an image with the spectrum ``SPECTRUM``.
    """
    n, bands = len(images), len(SPECTRUM)
    device = probability.device
    on = torch.rand(bands, n, generator=generator, device=generator.device).to(device) < probability
    z = torch.randn(bands, n, generator=generator, device=generator.device).to(device)
    gain = torch.exp2(z * on)
    share = torch.tensor(SPECTRUM, device=device)[:, None]
    total = (share * gain.square() + 1 - share).rsqrt().prod(0)
    operators = band_operators(images.shape[-1], images.dtype, images.device)
    matrix = torch.einsum("bn,bij->nij", (gain * total).to(images.dtype), operators)[:, None]
    return matrix @ images @ matrix.mT


def add_noise(images: Tensor, probability: Tensor, generator: Generator) -> Tensor:
    """``images`` plus white noise of standard deviation |N(0, ``NOISE``)|, with ``probability``."""
    n, device = len(images), probability.device
    on = torch.rand(n, generator=generator, device=generator.device).to(device) < probability
    z = torch.randn(n, generator=generator, device=generator.device).to(device)
    noise = torch.randn(images.shape, generator=generator, device=generator.device).to(images)
    return images + noise * (z.abs() * NOISE * on).to(images.dtype)[:, None, None, None]


def cut_out(images: Tensor, probability: Tensor, generator: Generator) -> Tensor:
    """``images`` with a square of half their size set to 0 (mid grey), its centre uniform, with ``probability``."""
    n, device = len(images), probability.device
    u = torch.rand(3, n, 1, generator=generator, device=generator.device).to(device)
    rows, columns = (
        (((torch.arange(size, device=device) + 0.5) / size - u[i]).abs() < CUT / 2)
        for i, size in ((1, images.shape[-2]), (2, images.shape[-1]))
    )
    cut = rows[:, :, None] & columns[:, None, :] & (u[0] < probability)[..., None]
    # A product, not a choice: a pixel that is not finite stays visible even where it is cut away.
    return images * ~cut[:, None]


@functools.lru_cache(maxsize=8)
def band_operators(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[4,S,S]: what each octave of a signal of ``size`` samples is, lowest first; their sum is the identity.

    With a(z) = h(z) h(1/z) / 2 of the wavelet sym2 the highest band is 1 - a(z), the next a(z) (1 - a(z^2)) and so on;
    all are symmetric, and borders are reflected as often as the filter's reach needs.
    """
    # A cached constant must be an ordinary tensor even where it is first needed under inference mode.
    with torch.inference_mode(False):
        return _band_operators(size).to(device, dtype)


def _band_operators(size: int) -> Tensor:
    root = math.sqrt(3)
    low = torch.tensor([1 + root, 3 + root, 3 - root, 1 - root], dtype=torch.float64) / (4 * math.sqrt(2))
    half = F.conv1d(low.view(1, 1, -1), low.view(1, 1, -1), padding=3).flatten() / 2
    rest = torch.ones(1, dtype=torch.float64)
    kernels = []
    for octave in range(len(SPECTRUM) - 1):
        spread = torch.zeros(6 * 2**octave + 1, dtype=torch.float64)
        spread[:: 2**octave] = half
        lower = _convolved(rest, spread)
        kernels.append(_centred(rest, len(lower)) - lower)
        rest = lower
    kernels.append(rest)
    place = torch.arange(size)
    period = max(2 * (size - 1), 1)
    operators = torch.zeros(len(kernels), size, size, dtype=torch.float64)
    for operator, kernel in zip(operators, reversed(kernels), strict=True):
        for tap, weight in enumerate(kernel.tolist()):
            source = (place + tap - len(kernel) // 2) % period
            operator[place, torch.minimum(source, period - source).clamp(max=size - 1)] += weight
    return operators


def _convolved(a: Tensor, b: Tensor) -> Tensor:
    """Full convolution of two symmetric kernels."""
    return F.conv1d(a.view(1, 1, -1), b.view(1, 1, -1), padding=len(b) - 1).flatten()


def _centred(kernel: Tensor, length: int) -> Tensor:
    """An odd ``kernel`` in the middle of ``length`` taps."""
    return F.pad(kernel, [(length - len(kernel)) // 2] * 2)
