"""The dynamic width of a discriminator: how many channels take part when, and which (DynamicD, Yang et al. 2022).

A selection is a function of the seed and the moment: it takes nothing from the generator that draws latents, so that
arms stay paired, and needs no state of its own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from methods.blocks.thin_layers import LayerMask, Live, MaskedWeights, SlicedWeights
from methods.blocks.width_layout import Layer, Reading, at_least_one, attenuation, entire, layout, shares

Schedule = Literal["linear", "step", "cosine"]
Select = Literal["prefix", "random", "random_consistent"]
Resample = Literal["forward", "iteration", "interval", "once"]
Rescale = Literal["active_fan_in", "fixed"]


@dataclass(frozen=True)
class WidthOptions:
    """How the share r of active channels moves, and which channels these are; defaults: the increasing scheme.

    ``r_start`` to ``r_end`` in (0, 1] over the whole run, changed every ``update_interval`` steps. ``select``: the
    first channels (``prefix``), masks of their own for the inputs and the outputs of every layer (``random``, as
    released), or one subset per feature map (``random_consistent``); drawn anew per ``resample``. ``keepd`` and
    ``reading`` say which layers stay full (methods.blocks.width_layout.shares), ``rescale`` which fan-in the equalised
    gain counts. ``rescale_logits`` divides the logits of ``random`` by their analytic attenuation. ``sliced`` computes
    live channels only.
    """

    r_start: float = 0.5
    r_end: float = 1.0
    schedule: Schedule = "linear"
    select: Select = "prefix"
    resample: Resample = "forward"
    keepd: int = -1
    reading: Reading = "whole"
    rescale: Rescale = "active_fan_in"
    rescale_logits: bool = False
    mask_bias: bool = False
    sliced: bool = False
    update_interval: int = 4

    def ratio(self, images: float, total: float) -> float:
        """r after ``images`` of ``total`` training images; ``step`` changes once, half way."""
        progress = min(images / total, 1.0)
        if self.schedule == "step":
            progress = float(progress >= 0.5)
        elif self.schedule == "cosine":
            progress = 0.5 - 0.5 * math.cos(math.pi * progress)
        return self.r_start + (self.r_end - self.r_start) * progress


class DynamicWidth:
    """Hands a discriminator the weights of each forward pass at the present ratio.

    ``layers`` are the discriminator's names and layers in Freeze-D order. ``begin`` announces a training step, ``draw``
    selects for one training forward pass, ``prefix`` is the selection by which the network is judged.
    """

    def __init__(self, layers: Sequence[tuple[str, Layer]], options: WidthOptions, seed: int) -> None:
        self.options, self.seed = options, seed
        self.layout = layout(layers)
        self.layers = [layer for _, layer in layers]
        self._step, self._calls = 0, 0
        self.set_ratio(options.r_start)

    def set_ratio(self, ratio: float) -> None:
        """Let floor(ratio x channels) channels of every dynamic layer take part. ValueError outside (0, 1]."""
        if not 0.0 < ratio <= 1.0:
            raise ValueError(f"a ratio must be in (0, 1], got {ratio}")
        o = self.options
        self.ratio = ratio
        self.shares = shares(self.layout, ratio, o.keepd, o.reading)
        self.full = all(share.reads_all and share.writes_all for share in self.shares)
        rescaled = o.rescale_logits and o.select == "random"
        self.logit_scale = 1.0 / attenuation(self.layout, self.shares) if rescaled else 1.0
        self.gains = tuple(self._gain(index) for index in range(len(self.layers)))
        self._drawn: tuple[tuple[int, ...], MaskedWeights | SlicedWeights] | None = None
        self._prefix: MaskedWeights | SlicedWeights | None = None

    def begin(self, step: int, batch_size: int, total: int) -> None:
        """Start training step ``step`` of a run over ``total`` images; the ratio moves every few steps only."""
        settled = step - step % self.options.update_interval
        ratio = self.options.ratio(settled * batch_size, total)
        if ratio != self.ratio:
            self.set_ratio(ratio)
        self._step, self._calls = step, 0

    def draw(self) -> MaskedWeights | SlicedWeights | None:
        """The selection of one training forward pass; None where the whole network takes part."""
        o = self.options
        if self.full or o.select == "prefix":
            return self.prefix()
        moments: dict[Resample, tuple[int, ...]] = {
            "forward": (self._step, self._calls),
            "iteration": (self._step,),
            "interval": (self._step // o.update_interval,),
            "once": (),
        }
        moment = moments[o.resample]
        self._calls += 1
        if self._drawn is None or self._drawn[0] != moment:
            seed = hashlib.sha256(f"{self.seed}/dynamic width/{moment}".encode()).digest()[:4]
            made = self._independent if o.select == "random" else self._consistent
            self._drawn = moment, made(int.from_bytes(seed, "big"))
        return self._drawn[1]

    def prefix(self) -> MaskedWeights | SlicedWeights | None:
        """The selection of the first channels; None where the whole network takes part."""
        if self.full:
            return None
        if self._prefix is None:
            self._prefix = self._consistent(None)
        return self._prefix

    def masked(self, masks: Sequence[LayerMask]) -> MaskedWeights:
        """The given masks at the gains of the present ratio."""
        return MaskedWeights(self.layout, self.gains, masks, self.options.mask_bias)

    def _gain(self, index: int) -> float:
        """The equalised gain of a layer: rate / sqrt(fan-in), the fan-in being that of its live inputs."""
        wire, layer = self.layout.wires[index], self.layers[index]
        if self.options.rescale == "fixed":
            return layer.weight_gain
        # layer.fan_in is a multiple of the channels, so that a full layer gets its own gain exactly.
        live = layer.fan_in // wire.inputs * (self.shares[index].reads + wire.protected)
        return layer.weight_gain if live == layer.fan_in else layer.weight_gain * math.sqrt(layer.fan_in / live)

    def _independent(self, seed: int) -> MaskedWeights:
        """Masks of their own for the inputs and the outputs of every layer."""
        sides = [
            side
            for wire, share in zip(self.layout.wires, self.shares, strict=True)
            for side in (
                (wire.inputs - wire.protected, share.reads, share.reads_all),
                (wire.outputs, share.writes, share.writes_all),
            )
        ]
        masks = iter(self._chosen([side[:2] for side in sides], seed)[1])
        kept = [None if everything else mask for mask, (_, _, everything) in zip(masks, sides, strict=True)]
        return self.masked(list(zip(kept[::2], kept[1::2], strict=True)))

    def _consistent(self, seed: int | None) -> MaskedWeights | SlicedWeights:
        """One subset per feature map, for all that read and write it; ``seed`` None: the first channels."""
        o, widths = self.options, self.layout.widths
        counts = [at_least_one(self.ratio, width) for width in widths]
        orders, masks = self._chosen(list(zip(widths, counts, strict=True)), seed)
        whole = [
            everything or count == width
            for everything, count, width in zip(entire(self.layout, self.shares), counts, widths, strict=True)
        ]
        uneven = whole if o.sliced else [True] * len(widths)

        def mask(number: int | None, everything: bool) -> Tensor | None:
            return None if number is None or everything or not uneven[number] else masks[number]

        kept = [
            (mask(wire.reads, share.reads_all), mask(wire.writes, share.writes_all))
            for wire, share in zip(self.layout.wires, self.shares, strict=True)
        ]
        if not o.sliced:
            return self.masked(kept)
        live: list[Live] = [
            None if everything else count if seed is None else order[:count].sort().values
            for everything, count, order in zip(whole, counts, orders, strict=True)
        ]
        return SlicedWeights(self.layout, self.gains, live, kept, o.mask_bias)

    def _chosen(self, sides: Sequence[tuple[int, int]], seed: int | None) -> tuple[list[Tensor], list[Tensor]]:
        """For every (channels, count): the channels in the order of choice, and a mask with the first ``count`` set.

        One draw and two sorts for all of them; nothing waits for the device.
        """
        device = self.layers[0].weight.device
        sizes = torch.tensor(sides, device=device)
        width = max(channels for channels, _ in sides)
        places = torch.arange(width, device=device)
        keys = places.float().expand(len(sides), -1)
        if seed is not None:
            generator = torch.Generator(device=device).manual_seed(seed)
            drawn = torch.rand(len(sides), width, generator=generator, device=device)
            keys = torch.where(places < sizes[:, :1], drawn, keys + 1)  # channels that do not exist come last
        orders = keys.argsort(dim=1, stable=True)
        masks = (orders.argsort(1) < sizes[:, 1:]).float()
        return (
            [row[:channels] for row, (channels, _) in zip(orders, sides, strict=True)],
            [row[:channels] for row, (channels, _) in zip(masks, sides, strict=True)],
        )
