"""Adam for networks whose regulariser runs only every k-th step (Karras et al. 2020, "lazy regularization")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim import Adam

BETAS = (0.0, 0.99)


def lazy_adam(
    parameters: Iterable[Tensor],
    rate: float,
    interval: int,
    betas: tuple[float, float] = BETAS,
    eps: float = 1e-8,
    *,
    fused: bool = False,
) -> Adam:
    """Adam that takes k + 1 steps, k main ones and one of the regulariser, where plain Adam would take k.

    With r = k / (k + 1): learning rate times r, betas to the power r. ``interval`` k = 0 means that the regulariser is
    part of every main step: no correction. ``fused`` takes one kernel per step where foreach takes many
    (methods of many small steps). Raises ValueError for a negative interval.
    """
    if interval < 0:
        raise ValueError(f"an interval must be at least 0, got {interval}")
    ratio = interval / (interval + 1) if interval else 1.0
    # Plain floats throughout: torch refuses one beta of int and one of float.
    first, second = (float(beta) ** ratio for beta in betas)
    return Adam(parameters, lr=rate * ratio, betas=(first, second), eps=eps, foreach=not fused, fused=fused)


@torch.no_grad()
def clean_gradients(parameters: Sequence[Tensor], limit: float = 1e5) -> None:
    """Replace NaN by 0 and infinities by +-``limit`` in the gradients, in place and without waiting for the device."""
    for parameter in parameters:
        if parameter.grad is not None:
            torch.nan_to_num(parameter.grad, nan=0.0, posinf=limit, neginf=-limit, out=parameter.grad)
