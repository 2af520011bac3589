"""The options of a tri-plane generator: the keys of its presets that shape the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.types import ConfigError
from methods.blocks.options import parse_options
from methods.blocks.style_options import Architecture, StyleOptions, resolutions

Planes = Literal["released", "xy_xz_yz"]
Outside = Literal["zeros", "border"]


@dataclass(frozen=True)
class TriplaneOptions:
    """One field per preset key.

    ``box`` is half the side of the cube that the planes cover, in world units. ``plane_gain`` multiplies the mean of
    the three samples. Without ``super_resolution`` the first three of ``feature_channels`` are the image; with it, all
    are what the upsampling blocks, of widths ``sr_channels``, start from. Colours are sigmoid(``colour_gain`` raw)
    stretched by ``colour_margin`` at both ends. ``g_pose``: the mapping network is told a pose label.
    """

    z_dim: int
    g_pose: bool
    w_dim: int
    mapping_layers: int
    mapping_rate: float
    channel_base: int
    channel_max: int
    g_architecture: Architecture
    noise: Literal["const", "none"]
    plane_size: int
    plane_channels: int
    planes: Planes
    outside: Outside
    box: float
    plane_gain: float
    decoder_width: int
    decoder_act: Literal["softplus", "lrelu"]
    feature_channels: int
    colour_gain: float
    colour_margin: float
    super_resolution: bool
    sr_channels: tuple[int, ...]

    @property
    def networks(self) -> StyleOptions:
        """The part that shapes the mapping and synthesis networks."""
        return StyleOptions(
            z_dim=self.z_dim,
            w_dim=self.w_dim,
            mapping_layers=self.mapping_layers,
            mapping_rate=self.mapping_rate,
            channel_base=self.channel_base,
            channel_max=self.channel_max,
            g_architecture=self.g_architecture,
            noise=self.noise,
        )


_POSITIVE = ("z_dim", "w_dim", "mapping_layers", "mapping_rate", "channel_base", "channel_max", "plane_channels")
_POSITIVE += ("box", "plane_gain", "decoder_width", "colour_gain")  # type: ignore[assignment]


def parse_triplane(config: Any, method: str) -> TriplaneOptions:
    """Options of ``config``. Raises ConfigError for values that cannot work together."""
    o = parse_options(TriplaneOptions, config, method)
    for name in _POSITIVE:
        if getattr(o, name) <= 0:
            raise ConfigError(f"must be positive, got {getattr(o, name)}", where=f"{method}.{name}")
    if o.colour_margin < 0:
        raise ConfigError(f"must not be negative, got {o.colour_margin}", where=f"{method}.colour_margin")
    resolutions(o.plane_size)
    if o.feature_channels < 3 or (not o.super_resolution and o.feature_channels != 3):
        raise ConfigError(
            f"{o.feature_channels} channels",
            where=f"{method}.feature_channels",
            remedy="Three without super_resolution, at least three with it.",
        )
    if o.super_resolution and (len(o.sr_channels) != 2 or min(o.sr_channels) < 1):
        raise ConfigError("needs the widths of two blocks", where=f"{method}.sr_channels", remedy="As [128, 64].")
    return o
