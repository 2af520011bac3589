"""Random numbers from an explicit generator; indices are drawn on the CPU so that the device does not change them."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

RandomSource: TypeAlias = "np.random.Generator | np.random.RandomState | torch.Generator"


def subset(generator: RandomSource, n: int, size: int) -> Tensor:
    """Return int64 [size] distinct indices below ``n``.

    With a ``numpy.random.RandomState`` the stream is that of ``choice(n, size, replace=False)``, as peers draw it.
    """
    if isinstance(generator, torch.Generator):
        return torch.randperm(n, generator=generator, device=generator.device)[:size].cpu()
    return torch.from_numpy(generator.choice(n, size, replace=False).astype(np.int64))


def resample(generator: RandomSource, n: int) -> Tensor:
    """Return int64 [n] indices below ``n`` drawn with replacement."""
    if isinstance(generator, torch.Generator):
        return torch.randint(n, (n,), generator=generator, device=generator.device).cpu()
    return torch.from_numpy(generator.choice(n, n, replace=True).astype(np.int64))


def uniform(generator: RandomSource, shape: tuple[int, ...]) -> np.ndarray:
    """Return float64 ``shape`` uniform in [0, 1)."""
    if isinstance(generator, torch.Generator):
        drawn = torch.rand(shape, generator=generator, device=generator.device, dtype=torch.float64)
        return drawn.cpu().numpy()
    return generator.random(shape)
