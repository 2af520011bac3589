"""Non-saturating adversarial losses (Goodfellow et al. 2014) and the R1 gradient penalty (Mescheder et al. 2018)."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor


def discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Binary cross-entropy of logits, ``E[-log s(real)] + E[-log(1 - s(fake))]``; any shapes, computed in fp32."""
    return F.softplus(-real.float()).mean() + F.softplus(fake.float()).mean()


def generator_loss(fake: Tensor) -> Tensor:
    """Non-saturating ``E[-log s(fake)]`` of logits; any shape, computed in fp32."""
    return F.softplus(-fake.float()).mean()


def r1_penalty(logits: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """``E ||d logits(x) / d x||^2`` at ``images`` [N,...]; ``logits`` maps them to [N] or [N,1], independently.

    Keeps the graph, so that the result can be differentiated by the discriminator's weights. The factor gamma / 2 is
    the caller's. Autocast is switched off: squared gradients lose too much in bfloat16.
    """
    with torch.autocast(images.device.type, enabled=False):
        points = images.detach().float().requires_grad_(True)
        (slope,) = torch.autograd.grad(logits(points).sum(), points, create_graph=True)
        return slope.square().flatten(1).sum(1).mean()
