"""A perceptron that sees one token at a time."""

from __future__ import annotations

from itertools import pairwise

import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import ConfigError
from methods.blocks.feature_jitter import Jitter
from methods.blocks.initial import initialise


class TokenMLP(nn.Module):
    """Features [B,C,g,g] rebuilt cell by cell: ``layers`` linear layers C -> width -> ... -> width -> C.

    Batch norm and ReLU after all but the last, which is what 1x1 convolutions compute. Raises ConfigError for fewer
    than two layers.
    """

    def __init__(
        self, channels: int, width: int, layers: int, norm: bool, jitter: Jitter, generator: Generator
    ) -> None:
        super().__init__()
        if layers < 2 or width < 1:
            raise ConfigError(f"{layers} layers of width {width}", where="recon_mlp", remedy="Use 2 or more, and >= 1.")
        self.jitter = jitter
        hidden = [channels, *[width] * (layers - 1)]
        # A batch norm has its own shift.
        self.hidden = nn.ModuleList(nn.Linear(a, b, bias=not norm) for a, b in pairwise(hidden))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) if norm else nn.Identity() for _ in self.hidden)
        self.out = nn.Linear(width, channels)
        initialise(self, generator, convolution="he", linear="he", slope=0.0)

    def forward(self, features: Tensor, generator: Generator | None) -> Tensor:
        """Rebuilt features; jitter is drawn from ``generator`` in training mode only."""
        batch, channels, height, width = features.shape
        tokens = features.flatten(2).transpose(1, 2)
        if self.training:
            tokens = self.jitter(tokens, generator)
        x = tokens.reshape(-1, channels)
        for layer, norm in zip(self.hidden, self.norms, strict=True):
            x = F.relu(norm(layer(x)))
        return self.out(x).view(batch, height, width, channels).permute(0, 3, 1, 2)
