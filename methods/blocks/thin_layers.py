"""Run-time weights of a discriminator in which only some channels take part, in two forms.

``MaskedWeights`` multiplies full weights by masks, as DynamicD was released; ``SlicedWeights`` cuts the live part out,
so that the network computes less. Both read the parameters of the full network: their gradients and the optimiser's
state keep the full size, with zeros where nothing was active.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from methods.blocks.width_layout import Layer, Layout, Wire

LayerMask: TypeAlias = tuple[Tensor | None, Tensor | None]
"""Inputs (without protected channels) and outputs of a layer, 1 where live, float32; None: all."""
Live: TypeAlias = int | Tensor | None
"""The channels of a feature map that are computed: the first n, those of an index, all."""
Weights: TypeAlias = tuple[Tensor | None, Tensor | None]


@dataclass(frozen=True)
class MaskedWeights:
    """Full weights times mask times ``gains`` [layers]; the bias is masked where ``mask_bias`` says so."""

    layout: Layout
    gains: Sequence[float]
    masks: Sequence[LayerMask]
    mask_bias: bool = False

    def weights(self, index: int, layer: Layer) -> Weights:
        """Scaled weight and bias of the layer at ``index``; None where they are the layer's own."""
        reads, writes = self.masks[index]
        if reads is None and writes is None:
            return None, None
        weight = _scaled(layer.weight, self.layout.wires[index], reads, writes, self.gains[index])
        if not self.mask_bias or layer.bias is None or writes is None:
            return weight, None
        return weight, layer.bias * writes


@dataclass(frozen=True)
class SlicedWeights:
    """The live part of every weight; ``live`` says per feature map which channels are computed.

    ``masks`` hold what a layer does not use of maps that are computed whole (None everywhere where layers agree).
    """

    layout: Layout
    gains: Sequence[float]
    live: Sequence[Live]
    masks: Sequence[LayerMask]
    mask_bias: bool = False

    def weights(self, index: int, layer: Layer) -> Weights:
        """Scaled weight and bias of the layer at ``index``; None where they are the layer's own."""
        wire, (reads, writes) = self.layout.wires[index], self.masks[index]
        rows = None if wire.writes is None else self.live[wire.writes]
        columns = None if wire.reads is None else self.live[wire.reads]
        if rows is None and columns is None and reads is None and writes is None:
            return None, None
        weight: Tensor = _columns(_rows(layer.weight, rows), columns, wire)
        weight = _scaled(weight, wire, reads, writes, self.gains[index])
        if layer.bias is None:
            return weight, None
        bias = _rows(layer.bias, rows)
        return weight, bias * writes if self.mask_bias and writes is not None else bias


def _rows(values: Tensor, live: Live) -> Tensor:
    if live is None:
        return values
    return values[:live] if isinstance(live, int) else values.index_select(0, live)


def _columns(weight: Tensor, live: Live, wire: Wire) -> Tensor:
    """The live columns, whole groups of them, and the protected ones behind."""
    if live is None:
        return weight
    if wire.group > 1:
        grouped = weight.view(len(weight), wire.inputs, wire.group)
        kept = grouped[:, :live] if isinstance(live, int) else grouped.index_select(1, live)
        return kept.flatten(1)
    kept = weight[:, :live] if isinstance(live, int) else weight.index_select(1, live)
    return torch.cat([kept, weight[:, -wire.protected :]], 1) if wire.protected else kept


def _scaled(weight: Tensor, wire: Wire, reads: Tensor | None, writes: Tensor | None, gain: float) -> Tensor:
    """``weight`` times gain and mask; the small factors are multiplied first."""
    scale: Tensor | float = gain
    if reads is not None:
        if wire.protected:
            reads = torch.cat([reads, reads.new_ones(wire.protected)])
        scale = (reads.repeat_interleave(wire.group) * gain)[None]
    if writes is not None:
        scale = writes[:, None] * scale
    return weight * (scale.view(*scale.shape, *(1,) * (weight.dim() - 2)) if isinstance(scale, Tensor) else scale)
