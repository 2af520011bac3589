"""Optimiser of a segmentation network: head and encoder at their own rates, and the rate as a function of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer


@dataclass(frozen=True)
class OptimiserOptions:
    """Preset keys: ``head_lr`` is a factor on ``lr``, ``momentum`` is SGD's, ``warmup`` counts steps, ``power`` is that
    of the polynomial decay (1: linear)."""

    optimiser: Literal["adamw", "sgd"]
    lr: float
    head_lr: float
    weight_decay: float
    momentum: float
    warmup: int
    power: float


def make_optimiser(network: nn.Module, o: OptimiserOptions) -> Optimizer:
    """One fused AdamW (0.9, 0.999) or SGD over ``network``.

    Parameters of ``network.head_parameters()`` learn at ``head_lr`` times the rate; layer norms do not decay.
    """
    head = {id(p) for p in network.head_parameters()}  # type: ignore[operator]
    norms = {id(p) for m in network.modules() if isinstance(m, nn.LayerNorm) for p in m.parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for p in network.parameters():
        if p.requires_grad:
            groups.setdefault((id(p) in head, id(p) in norms), []).append(p)
    described: list[dict[str, Any]] = [
        {"params": members, "factor": o.head_lr if high else 1.0, "weight_decay": 0.0 if norm else o.weight_decay}
        for (high, norm), members in groups.items()
    ]
    if o.optimiser == "sgd":
        return torch.optim.SGD(described, lr=o.lr, momentum=o.momentum, fused=True)
    return torch.optim.AdamW(described, lr=o.lr, fused=True)


def rate_factor(step: int, total: int, warmup: int, power: float) -> float:
    """(1 - step / total)^power, times (step + 1) / ``warmup`` during the first ``warmup`` steps."""
    rising = min(1.0, (step + 1) / warmup) if warmup else 1.0
    return rising * max(0.0, 1.0 - step / max(total, 1)) ** power


def set_rates(optimiser: Optimizer, rate: float) -> None:
    """Give every parameter group ``rate`` times its own factor."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
