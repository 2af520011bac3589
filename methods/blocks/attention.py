"""Multi-head attention with an additive mask, and dropout that draws from an explicit generator."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from harness.types import ConfigError

_LEVELS = 2**16


def dropout(x: Tensor, probability: float, generator: Generator | None) -> Tensor:
    """Zero entries of ``x`` with ``probability`` (to the nearest 1/65536) and scale the others to keep the mean.

    Without a generator (evaluation) or at probability 0 nothing happens. One 64-bit draw serves four entries.
    """
    level = round(probability * _LEVELS)
    if generator is None or not level:
        return x
    bits = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    bits.random_(-(2**63), None, generator=generator)
    kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= level - _LEVELS // 2
    return x * (kept.to(x.dtype) * (_LEVELS / (_LEVELS - level)))


def neighbour_mask(height: int, width: int, window: tuple[int, int]) -> Tensor:
    """Additive mask float32 [HW,HW] over row-major tokens: -inf from a query to the keys of the window around it.

    A window of h x w cells reaches h // 2 rows and w // 2 columns each way and is clipped at the border, so that even
    sizes act as the next odd one and sizes 0 and 1 mask the token itself. Raises ConfigError where a query would see
    nothing. Source: UniAD, section 3.3.
    """
    reach_y, reach_x = window[0] // 2, window[1] // 2
    row, column = torch.arange(height).repeat_interleave(width), torch.arange(width).repeat(height)
    near = ((row[:, None] - row).abs() <= reach_y) & ((column[:, None] - column).abs() <= reach_x)
    if near.all(dim=1).any():
        raise ConfigError(
            f"a {window[0]}x{window[1]} window hides the whole {height}x{width} grid from its centre",
            where="mask_window",
            remedy="Choose a smaller window or a finer grid.",
        )
    return torch.zeros(near.shape).masked_fill_(near, float("-inf"))


class Attention(nn.Module):
    """Scaled dot-product attention of ``heads`` heads over tokens [B,T,width] (Vaswani et al., 2017).

    Query, key and value maps are one fused weight [3 width, width], Xavier-uniform as a whole; biases start at 0.
    Raises ConfigError where the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int, drop: float, generator: Generator) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ConfigError(f"{heads} heads do not divide width {width}", where="heads")
        self.width, self.heads, self.drop = width, heads, drop
        self.in_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_bias = nn.Parameter(torch.zeros(3 * width))
        nn.init.xavier_uniform_(self.in_weight, generator=generator)
        self.out = linear(width, width, generator)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, generator: Generator | None
    ) -> Tensor:
        """Attend from ``query`` [B or 1,T,d] to ``key`` and ``value`` [B,T,d]; weights are dropped with a generator."""
        inputs = zip((query, key, value), self.in_weight.chunk(3), self.in_bias.chunk(3), strict=True)
        q, k, v = (F.linear(*each) for each in inputs)
        q, k, v = (x.unflatten(-1, (self.heads, -1)).transpose(1, 2) for x in (q.expand_as(k), k, v))
        if generator is None or not self.drop:
            mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            logits = (q * (self.width // self.heads) ** -0.5) @ k.transpose(-1, -2)
            shares = torch.softmax(logits if mask is None else logits + mask, dim=-1)
            mixed = dropout(shares, self.drop, generator) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


def linear(inputs: int, outputs: int, generator: Generator) -> nn.Linear:
    """A linear layer with Xavier-uniform weights from ``generator`` and zero bias."""
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_uniform_(layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)
    return layer
