"""A stack of 3x3 convolutions at one resolution."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import ConfigError
from methods.blocks.feature_jitter import Jitter
from methods.blocks.initial import initialise


class ConvolutionStack(nn.Module):
    """Features [B,C,g,g] rebuilt by ``layers`` 3x3 convolutions C -> width -> ... -> width -> C, zero padding 1.

    Batch norm and ReLU after all but the last. Raises ConfigError for fewer than two layers.
    """

    def __init__(
        self, channels: int, width: int, layers: int, norm: bool, jitter: Jitter, generator: Generator
    ) -> None:
        super().__init__()
        if layers < 2 or width < 1:
            raise ConfigError(f"{layers} layers of width {width}", where="recon_cnn", remedy="Use 2 or more, and >= 1.")
        self.jitter = jitter
        hidden = [channels, *[width] * (layers - 1)]
        # A batch norm has its own shift.
        self.hidden = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=not norm) for a, b in pairwise(hidden))
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) if norm else nn.Identity() for _ in self.hidden)
        self.out = nn.Conv2d(width, channels, 3, padding=1)
        initialise(self, generator, convolution="he", linear="he", slope=0.0)

    def forward(self, features: Tensor, generator: Generator | None) -> Tensor:
        """Rebuilt features; jitter is drawn from ``generator`` in training mode only."""
        x = features
        if self.training:
            x = self.jitter(x.flatten(2).transpose(1, 2), generator).transpose(1, 2).reshape(x.shape)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = F.relu(norm(layer(x)))
        return self.out(x)
