"""Path length regularisation (Karras et al. 2020, section 3.2): equal steps in W shall change the image equally."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor


def path_lengths(images: Tensor, styles: Tensor, generator: Generator) -> Tensor:
    """Lengths [N] of J^T y, J = d images / d styles, for y ~ N(0, 1 / (H W)) per pixel.

    ``images`` [N,C,H,W] depend on the codes ``styles`` [N,L,W]. Root of the mean over the L codes of the squared norm
    over W. Keeps the graph. The caller switches autocast off.
    """
    height, width = images.shape[2:]
    noise = torch.randn(images.shape, generator=generator, device=images.device) / (height * width) ** 0.5
    (slope,) = torch.autograd.grad((images * noise).sum(), styles, create_graph=True)
    return slope.square().sum(2).mean(1).sqrt()


class PathLength:
    """The penalty E (l - a)^2, where a is the running mean of the lengths l (``decay`` 0.01 per call, from 0)."""

    def __init__(self, device: torch.device, decay: float = 0.01) -> None:
        self.decay = decay
        self.mean = torch.zeros((), device=device)

    def __call__(self, images: Tensor, styles: Tensor, generator: Generator) -> Tensor:
        """Penalty, a scalar with its graph; moves the running mean. See ``path_lengths`` for shapes."""
        lengths = path_lengths(images, styles, generator)
        # The new mean enters with its graph, as published; what is kept for the next call is without.
        mean = self.mean.lerp(lengths.mean(), self.decay)
        self.mean = mean.detach()
        return (lengths - mean).square().mean()

    def state_dict(self) -> dict[str, Any]:
        """The running mean."""
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.mean = state["mean"].to(self.mean)
