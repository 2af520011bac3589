"""Exponential moving average of a network's weights (Karras et al. 2018, appendix C; warm-up as in StyleGAN2-ADA)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def decay_of_half_life(images: float, batch_size: int) -> float:
    """Decay per step under which a weight's share halves every ``images`` training images."""
    if images <= 0:
        return 0.0
    return float(0.5 ** (batch_size / images))


class Ema(Generic[M]):
    """An averaged copy of ``live``: ``average += (1 - d) (live - average)``, d = min(decay, (1 + n) / (warmup + n)).

    n is the number of updates so far, so that the random start is forgotten early; ``warmup`` 0 turns that off. Buffers
    (running statistics, counters) are copied, not averaged. ``module`` is in eval mode and needs no gradient.
    """

    def __init__(self, live: M, decay: float, warmup: int = 20) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay must be in [0, 1), got {decay}")
        if warmup < 0:
            raise ValueError(f"warmup must be at least 0, got {warmup}")
        self.live = live
        self.decay = decay
        self.warmup = warmup
        self.module: M = copy.deepcopy(live).eval().requires_grad_(False)
        averaged, source = dict(self.module.named_parameters()), dict(live.named_parameters())
        # An integer or frozen parameter has nothing to average: it is handled like a buffer.
        moving = [name for name, value in source.items() if value.is_floating_point() and value.requires_grad]
        self._average: list[Tensor] = [averaged[name] for name in moving]
        self._live: list[Tensor] = [source[name] for name in moving]
        fixed = [name for name in source if name not in set(moving)]
        self._copied: list[tuple[Tensor, Tensor]] = [(averaged[name], source[name]) for name in fixed]
        self._copied += list(zip(self.module.buffers(), live.buffers(), strict=True))

    def weight(self, step: int) -> float:
        """Decay used by the update after ``step`` earlier updates."""
        if not self.warmup:
            return self.decay
        return min(self.decay, (1 + step) / (self.warmup + step))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the live weights; ``step`` is the number of steps done before this one."""
        if self._average:
            torch._foreach_lerp_(self._average, self._live, 1.0 - self.weight(step))
        for averaged, live in self._copied:
            averaged.copy_(live)

    def state_dict(self) -> dict[str, Any]:
        """The averaged network's state."""
        return self.module.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.module.load_state_dict(state)
