"""Depth as classes, and the loss of the discriminator's depth head."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from methods.depthgan.options import Options


def depth_classes(coded: Tensor, bins: int) -> Tensor:
    """Class floor((d + 1) / 2 K) of coded depth d, kept in 0 .. K - 1; int64, any shape, without gradient."""
    return ((coded.detach() + 1) / 2 * bins).floor().clamp(0, bins - 1).long()


def depth_prediction_loss(predicted: Tensor, coded: Tensor, options: Options) -> Tensor:
    """How badly the depth head's ``predicted`` [N,K,H,W] tells the coded depth [N,H,W], which takes no gradient.

    ``bins``: mean cross-entropy over pixels, ln K for a head that knows nothing; ``l1``: mean |p - (d + 1) / 2|.
    """
    if options.depth_target == "bins":
        return F.cross_entropy(predicted.float(), depth_classes(coded, options.num_bins))
    return (predicted[:, 0].float() - (coded.detach() + 1) / 2).abs().mean()
