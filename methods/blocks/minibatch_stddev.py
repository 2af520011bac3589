"""Minibatch standard deviation: a discriminator's view of its batch's variety (Karras et al. 2018, section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.types import DataError

FLOOR = 1e-8


def minibatch_stddev(x: Tensor, group: int, channels: int | None = None) -> Tensor:
    """Append one channel to ``x`` [N,C,H,W]: the mean deviation within each sample's group, fp32.

    Groups of min(group, N) samples are strided: sample n belongs to group n mod (N / size). The deviation is
    sqrt(biased variance + 1e-8), averaged over pixels and over ``channels`` (default C; further ones count as maps of
    zeros, as those of a thinner network would). Raises DataError where the group size does not divide N.
    """
    n, c, h, w = x.shape
    size = min(group, n)
    if n % size:
        raise DataError(f"{n} samples do not split into groups of {size}", where="minibatch_stddev")
    x = x.float()
    grouped = x.reshape(size, n // size, c, h, w)
    deviation = (grouped.var(0, correction=0) + FLOOR).sqrt()
    if channels is not None and channels > c:
        deviation = F.pad(deviation, (0, 0, 0, 0, 0, channels - c), value=FLOOR**0.5)
    statistic = deviation.mean((1, 2, 3)).repeat(size)
    return torch.cat((x, statistic.view(n, 1, 1, 1).expand(n, 1, h, w)), 1)
