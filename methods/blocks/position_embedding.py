"""Position embeddings of a square grid of tokens: learned tables, fixed sines, or none."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from harness.types import ConfigError

Position = Literal["learned", "sine", "none"]


class PositionEmbedding(nn.Module):
    """Embeddings [T,width] of ``grid`` x ``grid`` row-major tokens, or None for ``none``.

    ``learned``: [column; row] of two tables that start uniform in [0,1); ``sine``: [y; x], see ``sines``. Raises
    ConfigError for a width that cannot be halved (``sine``: quartered). Source: UniAD's appendix after DETR.
    """

    def __init__(self, kind: Position, grid: int, width: int, generator: Generator) -> None:
        super().__init__()
        if width % (4 if kind == "sine" else 2):
            raise ConfigError(f"width {width} does not suit {kind} positions", where="position")
        self.kind, self.grid = kind, grid
        if kind == "learned":
            self.column = nn.Parameter(torch.rand(grid, width // 2, generator=generator))
            self.row = nn.Parameter(torch.rand(grid, width // 2, generator=generator))
        elif kind == "sine":
            self.register_buffer("table", sines(grid, width), persistent=False)

    def forward(self) -> Tensor | None:
        if self.kind == "none":
            return None
        if self.kind == "sine":
            return self.get_buffer("table")
        g = self.grid
        return torch.cat([self.column.expand(g, g, -1), self.row[:, None].expand(g, g, -1)], dim=-1).flatten(0, 1)


def sines(grid: int, width: int) -> Tensor:
    """Table [T,width]: per axis, y first, feature k is the sine (even k) or cosine (odd k) of
    2 pi (index + 1) / (grid + 1e-6) / 10000^(2 floor(k/2) / (width/2))."""
    half = width // 2
    coordinate = 2 * math.pi * torch.arange(1, grid + 1, dtype=torch.float64) / (grid + 1e-6)
    angle = coordinate[:, None] / 10000 ** (torch.arange(0, half, 2, dtype=torch.float64) / half)
    axis = torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).float()
    y, x = axis[:, None].expand(grid, grid, half), axis.expand(grid, grid, half)
    return torch.cat([y, x], dim=-1).flatten(0, 1)
