"""Widths and switches of a StyleGAN2 generator and discriminator (Karras et al. 2020)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.types import ConfigError

Architecture = Literal["skip", "resnet", "orig"]
NoiseKind = Literal["random", "const", "none"]
Modulation = Literal["scaled", "grouped"]


@dataclass(frozen=True)
class StyleOptions:
    """Shape of both networks; the defaults are those of the 256-pixel configuration (paper256).

    ``modulation``: ``scaled`` multiplies activations by styles around one shared convolution, ``grouped`` builds one
    kernel per sample (the usual public formulation); both compute the same function. ``folded``: resampling layers use
    one 6x6 kernel that contains the FIR filter: the same function, two to four times slower on CPUs. ``noise`` is the
    kind used in training. ``mapping_rate`` multiplies the learning rate of the mapping layers.
    """

    z_dim: int = 512
    w_dim: int = 512
    mapping_layers: int = 8
    channel_base: int = 16384
    channel_max: int = 512
    g_architecture: Architecture = "skip"
    d_architecture: Architecture = "resnet"
    noise: NoiseKind = "random"
    demodulate: bool = True
    modulation: Modulation = "scaled"
    folded: bool = False
    mbstd_group: int = 8
    mapping_rate: float = 0.01


def channels(resolution: int, options: StyleOptions) -> int:
    """Width at ``resolution`` pixels: min(base / resolution, max), at least 1."""
    return max(1, min(options.channel_base // resolution, options.channel_max))


def resolutions(resolution: int) -> list[int]:
    """4, 8, ..., ``resolution``; ConfigError unless it is a power of two of at least 8."""
    if resolution < 8 or resolution & (resolution - 1):
        below = 1 << max(3, resolution.bit_length() - 1)
        raise ConfigError(
            f"images of {resolution} pixels: StyleGAN2 needs a power of two of at least 8",
            where="resolution",
            nearest=[str(below), str(2 * below)],
            remedy="Resize the data to one of these sizes.",
        )
    return [2**level for level in range(2, resolution.bit_length())]


def num_ws(resolution: int) -> int:
    """Style codes of a generator: 2 log2 R - 2."""
    return 2 * len(resolutions(resolution))
