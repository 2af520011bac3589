"""Which channels a discriminator of reduced width computes: how its layers are wired and how many channels each keeps.

Layers are numbered as in Freeze-D: from-RGB, conv0, conv1, skip of the first block, conv0, conv1, skip of every further
block, then conv, fc and out of the 4x4 epilogue (DynamicD, Yang et al., NeurIPS 2022).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from harness.types import ConfigError
from methods.blocks.equalised import EqualConv2d, EqualLinear

Layer: TypeAlias = EqualConv2d | EqualLinear
Reading = Literal["whole", "official"]


@dataclass(frozen=True)
class Wire:
    """One layer: the feature maps it reads and writes (numbers of ``Layout.widths``; None for images and logits).

    ``inputs`` channels enter, of which the last ``protected`` are always read; a channel is ``group`` consecutive
    columns of the weight (16 where 4x4 maps are flattened). ``protectable``: ``keepd`` may exclude the layer.
    """

    reads: int | None
    writes: int | None
    inputs: int
    outputs: int
    protected: int = 0
    group: int = 1
    protectable: bool = True


@dataclass(frozen=True)
class Share:
    """How many channels a layer reads (without the protected ones) and writes, and whether these are all."""

    reads: int
    writes: int
    reads_all: bool
    writes_all: bool


@dataclass(frozen=True)
class Layout:
    """The wires of a discriminator; ``widths`` [number of maps] are their channels, ``pooled`` is the map whose
    standard deviation over the batch becomes the protected channel."""

    wires: tuple[Wire, ...]
    widths: tuple[int, ...]
    pooled: int


def layout(layers: Sequence[tuple[str, Layer]]) -> Layout:
    """Read the wiring off the layers' names (their last word). Raises ConfigError for an unknown one."""
    wires: list[Wire] = []
    widths: list[int] = []
    block = hidden = after = -1  # maps: input of the block, between its convolutions, its output
    for name, layer in layers:
        kind = name.partition("_")[2]
        outputs, inputs = layer.weight.shape[:2]
        if kind == "from_rgb":
            if block < 0:
                widths.append(outputs)
                block = after = 0
            wires.append(Wire(None, after, inputs, outputs))
        elif kind == "conv0":
            block, hidden = after, len(widths)
            widths.append(outputs)
            wires.append(Wire(block, hidden, inputs, outputs))
        elif kind == "conv1":
            after = len(widths)
            widths.append(outputs)
            wires.append(Wire(hidden, after, inputs, outputs))
        elif kind == "skip":
            wires.append(Wire(block, after, inputs, outputs))
        elif kind == "conv":
            pooled, inner = after, len(widths)
            widths.append(outputs)
            wires.append(Wire(pooled, inner, inputs, outputs, protected=inputs - widths[pooled], protectable=False))
        elif kind == "fc":
            flat = len(widths)
            widths.append(outputs)
            group = inputs // widths[inner]
            wires.append(Wire(inner, flat, inputs // group, outputs, group=group, protectable=False))
        elif kind == "out":
            wires.append(Wire(flat, None, inputs, outputs, protectable=False))
        else:
            raise ConfigError(f"{name!r} is no layer of a discriminator", where="layers")
    return Layout(tuple(wires), tuple(widths), pooled)


def shares(plan: Layout, ratio: float, keepd: int = -1, reading: Reading = "whole") -> tuple[Share, ...]:
    """Channels that each layer keeps at ``ratio`` in (0, 1]: floor(ratio x channels), at least one.

    Layers with a number below ``keepd`` are always full. ``reading`` says who else reads everything: ``official``, the
    layer whose number equals ``keepd`` alone; ``whole``, every layer whose input only full layers write (at the
    published keepd = 9 of 256 pixels this is the same layer).
    """

    def full(index: int) -> bool:
        return plan.wires[index].protectable and index < keepd

    def reads_all(index: int, wire: Wire) -> bool:
        if wire.reads is None or full(index):
            return True
        if not wire.protectable or reading == "official":
            return wire.protectable and index == keepd
        return all(full(other) for other in _writers(plan, wire.reads))

    made = []
    for index, wire in enumerate(plan.wires):
        total = wire.inputs - wire.protected
        entire, kept = reads_all(index, wire), full(index) or wire.writes is None
        reads = total if entire else at_least_one(ratio, total)
        writes = wire.outputs if kept else at_least_one(ratio, wire.outputs)
        made.append(Share(reads, writes, entire or reads == total, kept or writes == wire.outputs))
    return tuple(made)


def at_least_one(ratio: float, channels: int) -> int:
    """max(1, floor(ratio x channels)), the unguarded floor of the float product."""
    return max(1, int(ratio * channels))


def entire(plan: Layout, kept: Sequence[Share]) -> tuple[bool, ...]:
    """Which feature maps have to be computed whole, because somebody reads all of their channels.

    Of the others only the live channels are ever read. Every channel of the pooled map counts: where a full layer
    writes it, all of them vary over the batch.
    """
    return tuple(
        any(kept[index].reads_all for index in _readers(plan, number))
        or (number == plan.pooled and any(kept[index].writes_all for index in _writers(plan, number)))
        for number in range(len(plan.widths))
    )


def attenuation(plan: Layout, kept: Sequence[Share]) -> float:
    """Standard deviation of the logits under independent random masks, relative to that of the full network.

    A layer that draws its inputs without regard to what was written reads the mean energy of all channels, dead ones
    included, so that the mean energy it writes is this times its share of live outputs; a sum of branches has the mean
    of theirs. Holds for biases of zero; published nowhere.
    """
    energy: dict[int, float] = {}
    for number in range(len(plan.widths)):
        written = [
            (1.0 if plan.wires[index].reads is None else energy[plan.wires[index].reads])  # type: ignore[index]
            * kept[index].writes
            / plan.wires[index].outputs
            for index in _writers(plan, number)
        ]
        energy[number] = sum(written) / len(written)
    last = plan.wires[-1].reads
    assert last is not None
    return float(energy[last] ** 0.5)


def _writers(plan: Layout, number: int) -> Iterator[int]:
    return (index for index, wire in enumerate(plan.wires) if wire.writes == number)


def _readers(plan: Layout, number: int) -> Iterator[int]:
    return (index for index, wire in enumerate(plan.wires) if wire.reads == number)
