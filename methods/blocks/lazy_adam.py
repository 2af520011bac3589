"""Adam for networks whose regulariser runs only every k-th step (Karras et al. 2020, "lazy regularization")."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

BETAS = (0.0, 0.99)


class LazyAdam(Adam):
    """Adam whose moments keep the memory layout of their weights when a state is loaded.

    The fused kernel walks all of them in the order of memory: a moment in another layout would silently be applied to
    other weights.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        super().load_state_dict(state_dict)
        for parameter, values in self.state.items():
            for name in ("exp_avg", "exp_avg_sq"):
                if name in values:
                    values[name] = torch.empty_like(parameter).copy_(values[name])


def lazy_adam(
    parameters: Iterable[Tensor],
    rate: float,
    interval: int,
    betas: tuple[float, float] = BETAS,
    eps: float = 1e-8,
    *,
    fused: bool = True,
) -> LazyAdam:
    """Adam that takes k + 1 steps, k main ones and one of the regulariser, where plain Adam would take k.

    With r = k / (k + 1): learning rate times r, betas to the power r. ``interval`` k = 0 means that the regulariser is
    part of every main step: no correction. ``fused`` takes one kernel per step where foreach takes many. Raises
    ValueError for a negative interval.
    """
    if interval < 0:
        raise ValueError(f"an interval must be at least 0, got {interval}")
    ratio = interval / (interval + 1) if interval else 1.0
    # Plain floats throughout: torch refuses one beta of int and one of float.
    first, second = (float(beta) ** ratio for beta in betas)
    return LazyAdam(parameters, lr=rate * ratio, betas=(first, second), eps=eps, foreach=not fused, fused=fused)


@torch.no_grad()
def clean_gradients(parameters: Sequence[Tensor], limit: float = 1e5) -> None:
    """Replace NaN by 0 and infinities by +-``limit`` in the gradients, in place and without waiting for the device."""
    for parameter in parameters:
        if parameter.grad is not None:
            torch.nan_to_num(parameter.grad, nan=0.0, posinf=limit, neginf=-limit, out=parameter.grad)
