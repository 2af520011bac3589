"""The feature distance of DAFormer: encoder features of things stay near those of the pretrained network."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.blocks.pixel_losses import IGNORE

MAJORITY = 0.75
"""Share of a cell that one class must cover for the cell to count as one of that class."""


class FeatureDistance:
    """Mean L2 distance to the features of a frozen copy of ``network``, over cells of ``things`` (FST, section 4.8)."""

    def __init__(self, network: nn.Module, classes: int, things: Sequence[int]) -> None:
        self.frozen = copy.deepcopy(network).eval().requires_grad_(False)
        device = next(network.parameters()).device
        self.wanted = torch.zeros(classes + 1, dtype=torch.bool, device=device)
        self.wanted[list(things)] = True

    def __call__(self, features: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        """Scalar for the student's ``features`` [N,D,h,w] of ``images``, ``labels`` int64 [N,H,W]; 0 without a cell.

        A cell has the class that covers most of it, "ignored" being a class of its own.
        """
        height, width = features.shape[2:]
        with torch.no_grad():
            reference = self.frozen(images).features.float()
            classes = len(self.wanted)
            one_hot = F.one_hot(torch.where(labels == IGNORE, classes - 1, labels), classes)
            share, majority = F.adaptive_avg_pool2d(one_hot.movedim(-1, 1).float(), (height, width)).max(1)
            chosen = (share >= MAJORITY) & self.wanted[majority]
        distance = torch.linalg.vector_norm(features.float() - reference, dim=1)
        # The norm has no gradient at equal features, which is where training starts: masked cells must not reach it.
        return torch.where(chosen, distance, 0.0).sum() / chosen.sum().clamp(min=1)
