"""The hierarchical transformer encoder MiT: overlapping patches, attention with reduced keys, Mix-FFN.

Source: Xie et al., SegFormer (2021). Positions are known from the zero padding of the convolutions alone, so that
images of any size and shape fit.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import ConfigError
from methods.blocks.segmentation_layers import drop_path

EPS = 1e-6


class ReducedAttention(nn.Module):
    """Self-attention over a grid [B,H,W,C] whose keys and values come from cells of ``reduction`` x ``reduction``."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ConfigError(f"{heads} heads do not divide width {width}", where="heads")
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.reduce = nn.Conv2d(width, width, reduction, reduction) if reduction > 1 else None
        self.reduced_norm = nn.LayerNorm(width, EPS) if reduction > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        source = x
        if self.reduce is not None and self.reduced_norm is not None:
            source = self.reduced_norm(self.reduce(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))
        q = self.query(x).flatten(1, 2).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k, v = self.key_value(source).flatten(1, 2).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if x.device.type == "cpu" and x.requires_grad:
            # The fused kernel's backward pass on CPU takes two to four times as long in bf16.
            mixed = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1).to(v.dtype) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        return self.out(mixed.transpose(1, 2).flatten(2).view_as(x))


class MixBlock(nn.Module):
    """Pre-norm block on [B,H,W,C]: attention, then Mix-FFN (linear, depthwise 3x3, GELU, linear), both residual.

    ``path`` is the probability with which either branch of a sample is dropped in training.
    """

    def __init__(self, width: int, heads: int, reduction: int, ratio: int, path: float) -> None:
        super().__init__()
        self.path = path
        self.norm1, self.norm2 = nn.LayerNorm(width, EPS), nn.LayerNorm(width, EPS)
        self.attention = ReducedAttention(width, heads, reduction)
        hidden = width * ratio
        self.enter = nn.Linear(width, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.leave = nn.Linear(hidden, width)

    def forward(self, x: Tensor, generator: Generator | None) -> Tensor:
        x = x + drop_path(self.attention(self.norm1(x)), self.path, generator)
        hidden = self.depthwise(self.enter(self.norm2(x)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + drop_path(self.leave(F.gelu(hidden)), self.path, generator)


@dataclass(frozen=True)
class MixSizes:
    """One entry per stage, the finest first; ``ratio`` is that of the Mix-FFN's hidden width."""

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    reductions: tuple[int, ...]
    ratio: int


B5 = MixSizes((64, 128, 320, 512), (3, 6, 40, 3), (1, 2, 5, 8), (8, 4, 2, 1), 4)


class MixTransformer(nn.Module):
    """The encoder: maps at strides 4, 8, 16, 32; ``path`` grows linearly from 0 to its value over all blocks."""

    def __init__(self, sizes: MixSizes, path: float) -> None:
        super().__init__()
        paths = torch.linspace(0.0, path, sum(sizes.depths), device="cpu").tolist()
        inputs = (3, *sizes.widths)
        self.embeds = nn.ModuleList(
            nn.Conv2d(i, o, 3 if stage else 7, 2 if stage else 4, 1 if stage else 3)
            for stage, (i, o) in enumerate(pairwise(inputs))
        )
        self.embed_norms = nn.ModuleList(nn.LayerNorm(width, EPS) for width in sizes.widths)
        self.norms = nn.ModuleList(nn.LayerNorm(width, EPS) for width in sizes.widths)
        self.stages = nn.ModuleList()
        for width, depth, heads, reduction in zip(
            sizes.widths, sizes.depths, sizes.heads, sizes.reductions, strict=True
        ):
            self.stages.append(
                nn.ModuleList(MixBlock(width, heads, reduction, sizes.ratio, paths.pop(0)) for _ in range(depth))
            )

    def forward(self, images: Tensor, generator: Generator | None) -> list[Tensor]:
        """Standardised images [B,3,H,W] -> maps [B,C,h,w] of the stages; branches are dropped with a generator."""
        maps = []
        x = images
        for embed, embed_norm, blocks, norm in zip(self.embeds, self.embed_norms, self.stages, self.norms, strict=True):
            grid = embed_norm(embed(x).permute(0, 2, 3, 1))
            for block in blocks:  # type: ignore[attr-defined]
                grid = block(grid, generator)
            x = norm(grid).permute(0, 3, 1, 2)
            maps.append(x)
        return maps


def draw_transformer(module: nn.Module, generator: Generator) -> None:
    """Draw SegFormer's initial weights in place: linear layers from a normal of 0.02 cut at 2 (in units of 1),
    convolutions He-normal by fan-out, biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02, generator=generator)
        elif isinstance(layer, nn.Conv2d):
            fan_out = layer.weight[0, 0].numel() * layer.out_channels // layer.groups
            nn.init.normal_(layer.weight, 0.0, math.sqrt(2.0 / fan_out), generator=generator)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


_PLACES = (
    (r"patch_embed(\d)\.proj", "embeds.{}"),
    (r"patch_embed(\d)\.norm", "embed_norms.{}"),
    (r"norm(\d)", "norms.{}"),
    (r"block(\d)", "stages.{}"),
)
_LAYERS = {
    "attn.q": "attention.query",
    "attn.kv": "attention.key_value",
    "attn.proj": "attention.out",
    "attn.sr": "attention.reduce",
    "attn.norm": "attention.reduced_norm",
    "mlp.fc1": "enter",
    "mlp.dwconv.dwconv": "depthwise",
    "mlp.fc2": "leave",
}


def transformer_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict of a MiT under the names of ``MixTransformer``, whose stages count from 0."""
    named = {}
    for key, value in state.items():
        for pattern, place in _PLACES:
            match = re.match(pattern + r"\.", key)
            if match:
                rest = key[match.end() :]
                for old, new in _LAYERS.items():
                    rest = rest.replace(f".{old}.", f".{new}.")
                named[f"{place.format(int(match[1]) - 1)}.{rest}"] = value
    return named
