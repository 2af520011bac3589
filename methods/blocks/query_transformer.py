"""A transformer that rebuilds feature tokens, with the three decoders of the identical-shortcut study.

Source: UniAD (You et al., NeurIPS 2022), sections 3.2 to 3.4; encoder layer and first-layer query after DETR.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor, nn

from harness.types import ConfigError
from methods.blocks.attention import Attention, dropout, linear, neighbour_mask
from methods.blocks.feature_jitter import Jitter
from methods.blocks.position_embedding import Position, PositionEmbedding

Decoder = Literal["layerwise_query", "first_layer_query", "none_query"]
Place = Literal["encoder", "decoder1", "decoder2"]
"""Where a mask may lie: the encoder's attention and the two of each decoder layer."""


@dataclass(frozen=True)
class StackOptions:
    """Preset keys of the two stacks; ``dropout`` acts on attention weights and outputs and on both FFN layers."""

    width: int
    heads: int
    feedforward: int
    encoder_layers: int
    decoder_layers: int
    dropout: float
    position: Position
    pre_norm: bool

    def __post_init__(self) -> None:
        if self.encoder_layers < 0 or self.decoder_layers < 1:
            raise ConfigError("needs an encoder of 0 or more layers and a decoder of 1 or more", where="layers")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"{self.dropout} is not in [0,1)", where="dropout")


@dataclass(frozen=True)
class Mask:
    """Neighbour masking: every query is kept from ``window`` x ``window`` cells around it, at each of ``places``."""

    window: int
    places: Collection[Place]


class _FeedForward(nn.Module):
    def __init__(self, o: StackOptions, generator: Generator) -> None:
        super().__init__()
        self.drop = o.dropout
        self.inner = linear(o.width, o.feedforward, generator)
        self.outer = linear(o.feedforward, o.width, generator)

    def forward(self, x: Tensor, generator: Generator | None) -> Tensor:
        hidden = dropout(torch.relu_(self.inner(x)), self.drop, generator)
        return dropout(self.outer(hidden), self.drop, generator)


class EncoderLayer(nn.Module):
    """Self-attention and FFN, each with a residual and LayerNorm after it (before it: ``pre_norm``)."""

    def __init__(self, o: StackOptions, generator: Generator) -> None:
        super().__init__()
        self.drop, self.pre_norm = o.dropout, o.pre_norm
        self.attention = Attention(o.width, o.heads, o.dropout, generator)
        self.feedforward = _FeedForward(o, generator)
        self.norms = nn.ModuleList(nn.LayerNorm(o.width) for _ in range(2))

    def forward(self, x: Tensor, position: Tensor | None, mask: Tensor | None, generator: Generator | None) -> Tensor:
        """Tokens [B,T,d] to tokens; positions go to query and key, never to the value."""
        first, second = self.norms
        seen = first(x) if self.pre_norm else x
        query = _placed(seen, position)
        x = x + dropout(self.attention(query, query, seen, mask, generator), self.drop, generator)
        x = x if self.pre_norm else first(x)
        x = x + self.feedforward(second(x) if self.pre_norm else x, generator)
        return x if self.pre_norm else second(x)


class DecoderLayer(nn.Module):
    """Two attentions and an FFN, each with a residual and LayerNorm after it (before it: ``pre_norm``)."""

    def __init__(self, o: StackOptions, generator: Generator) -> None:
        super().__init__()
        self.drop, self.pre_norm = o.dropout, o.pre_norm
        self.attentions = nn.ModuleList(Attention(o.width, o.heads, o.dropout, generator) for _ in range(2))
        self.feedforward = _FeedForward(o, generator)
        self.norms = nn.ModuleList(nn.LayerNorm(o.width) for _ in range(3))

    def forward(
        self,
        query: Tensor,
        stream: Tensor,
        sources: tuple[Tensor | None, Tensor],
        position: Tensor | None,
        masks: tuple[Tensor | None, Tensor | None],
        generator: Generator | None,
    ) -> Tensor:
        """Tokens [B,T,d]: ``query`` asks the first attention, whose answer joins the residual ``stream``.

        ``sources`` give keys and values of the two attentions; None stands for self-attention.
        """
        t, asking = stream, query
        for attention, norm, source, mask in zip(self.attentions, self.norms, sources, masks, strict=False):
            seen = norm(asking) if self.pre_norm else asking
            placed = _placed(seen, position)
            key = placed if source is None else _placed(source, position)
            answer = attention(placed, key, seen if source is None else source, mask, generator)
            t = t + dropout(answer, self.drop, generator)
            t = asking = t if self.pre_norm else norm(t)
        last = self.norms[2]
        t = t + self.feedforward(last(t) if self.pre_norm else t, generator)
        return t if self.pre_norm else last(t)


def _placed(x: Tensor, position: Tensor | None) -> Tensor:
    return x if position is None else x + position


class QueryTransformer(nn.Module):
    """Features [B,C,g,g] to their reconstruction, same shape; ``forward`` draws noise only in training mode.

    Decoders: ``layerwise_query`` starts every layer from its own learned map, so that the previous layer's output
    enters by keys and values only; ``first_layer_query`` is DETR's; ``none_query`` starts from the encoder's output.
    ``residual`` lets the residual stream of ``layerwise_query`` carry the previous output instead of the map, which
    opens an identity path. All layers of a stack start with equal attention maps and queries, as deep copies would.
    """

    def __init__(
        self,
        options: StackOptions,
        channels: int,
        grid: int,
        generator: Generator,
        *,
        decoder: Decoder,
        mask: Mask | None = None,
        jitter: Jitter | None = None,
        residual: bool = False,
    ) -> None:
        super().__init__()
        o = self.options = options
        if residual and decoder != "layerwise_query":
            raise ConfigError(
                f"{decoder} carries its residual stream anyway", where="residual", nearest=("layerwise_query",)
            )
        self.grid, self.decoder, self.residual, self.jitter = grid, decoder, residual, jitter
        self.places = frozenset(mask.places if mask else ())
        hidden = neighbour_mask(grid, grid, (mask.window, mask.window)) if mask else None
        self.register_buffer("mask", hidden, persistent=False)
        self.inward, self.outward = linear(channels, o.width, generator), linear(o.width, channels, generator)
        self.position = PositionEmbedding(o.position, grid, o.width, generator)
        self.encoder = nn.ModuleList(EncoderLayer(o, generator) for _ in range(o.encoder_layers))
        self.layers = nn.ModuleList(DecoderLayer(o, generator) for _ in range(o.decoder_layers))
        self.encoder_norm = nn.LayerNorm(o.width) if o.pre_norm else nn.Identity()
        self.norm = nn.LayerNorm(o.width)
        count = {"layerwise_query": o.decoder_layers, "first_layer_query": 1, "none_query": 0}[decoder]
        if count:
            query = torch.randn(grid**2, o.width, generator=generator)
            self.queries = nn.ParameterList(nn.Parameter(query.clone()) for _ in range(count))
        self._start_alike()

    @torch.no_grad()
    def _start_alike(self) -> None:
        for stack in (self.encoder, self.layers):
            maps = [[m.in_weight for m in layer.modules() if isinstance(m, Attention)] for layer in stack]
            for own in maps[1:]:
                for mine, first in zip(own, maps[0], strict=True):
                    mine.copy_(first)

    def forward(self, features: Tensor, generator: Generator | None = None) -> Tensor:
        if features.device.type == "cpu":
            with torch.autocast("cpu", enabled=False):  # matrices this small are slower in bf16: README, speed
                return self._rebuild(features, generator if self.training else None)
        return self._rebuild(features, generator if self.training else None)

    def _rebuild(self, features: Tensor, generator: Generator | None) -> Tensor:
        tokens = features.flatten(2).transpose(1, 2).contiguous()
        if self.jitter is not None:
            tokens = self.jitter(tokens, generator)
        position = self.position()
        memory = self.inward(tokens)
        for layer in self.encoder:
            memory = layer(memory, position, self._mask_at("encoder"), generator)
        rebuilt = self.outward(self.norm(self._decode(self.encoder_norm(memory), position, generator)))
        return rebuilt.transpose(1, 2).reshape(features.shape)

    def _decode(self, memory: Tensor, position: Tensor | None, generator: Generator | None) -> Tensor:
        masks = (self._mask_at("decoder1"), self._mask_at("decoder2"))
        out = memory
        sources: tuple[Tensor | None, Tensor]
        for number, layer in enumerate(self.layers):
            if self.decoder == "layerwise_query":
                query = self._query(number, memory, generator)
                stream, sources = (out if self.residual else query), (memory, out)
            elif self.decoder == "first_layer_query":
                query = out if number else self._query(0, memory, generator)
                stream, sources = query, (None, memory)
            else:
                query = stream = out
                sources = (memory, out)
            out = layer(query, stream, sources, position, masks, generator)
        return out

    def _query(self, number: int, memory: Tensor, generator: Generator | None) -> Tensor:
        """The learned map [1,T,d], once for all images unless dropout has to differ between them."""
        query = self.queries[number][None]
        return query.expand(len(memory), -1, -1) if generator is not None and self.options.dropout else query

    def _mask_at(self, place: Place) -> Tensor | None:
        return self.get_buffer("mask") if place in self.places else None
