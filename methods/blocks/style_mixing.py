"""Style mixing (Karras et al. 2019, section 3.1): two latents share one image from a random layer on."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def crossover(codes: int, probability: float, generator: Generator) -> Tensor:
    """First of ``codes`` layers that takes the second style, int64 scalar on the generator's device.

    Uniform in 1 .. codes - 1 with ``probability``, else ``codes`` (nothing is mixed); it stays a tensor so that nothing
    waits for the device.
    """
    device = generator.device
    drawn = torch.randint(1, codes, (), generator=generator, device=device)
    mixed = torch.rand((), generator=generator, device=device) < probability
    return torch.where(mixed, drawn, codes)


def mix_styles(first: Tensor, second: Tensor, start: Tensor) -> Tensor:
    """Codes [N,L,W] of ``first`` [N,L,W], from layer ``start`` on replaced by the style ``second`` [N,W]."""
    later = torch.arange(first.shape[1], device=first.device) >= start
    return torch.where(later[:, None], second[:, None], first)
