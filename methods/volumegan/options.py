"""The options of VolumeGAN beyond those of every radiance-field GAN: the keys of its presets, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.types import ConfigError, DataSpec
from methods.blocks.feature_volume import Box
from methods.blocks.neural_renderer import Edge
from methods.blocks.options import parse_options
from methods.blocks.radiance_gan_options import RadianceGanOptions, parse_radiance_gan


@dataclass(frozen=True)
class VolumeOptions:
    """One field per key; README.md explains each."""

    w_dim: int
    mapping_layers: int
    mapping_rate: float
    # feature volume and field
    volume: bool
    volume_start: int
    volume_widths: tuple[int, ...]
    box: tuple[float, ...]
    length_unit: Literal["object", "camera_radius"]
    octaves: int
    field_width: int
    field_depth: int
    features: int
    # neural renderer
    renderer_base: int
    renderer_max: int
    learnt_start: bool
    noise: Literal["random", "const", "none"]
    edge: Edge
    # progressive growing
    grow_from: int
    grow_hold: float
    grow_fade: float
    grow_reset: bool
    fused: bool

    @property
    def corners(self) -> Box:
        """Smallest and largest corner of the volume, in the unit of lengths."""
        low, high = self.box[:3], self.box[3:]
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])


_POSITIVE: tuple[str, ...] = ("w_dim", "mapping_layers", "mapping_rate", "volume_start", "octaves", "field_width")
_POSITIVE += ("field_depth", "features", "renderer_base", "renderer_max")


def parse(config: Any, data: DataSpec) -> VolumeOptions:
    """Own options of ``config``. Raises ConfigError for values that cannot work together."""
    shared = parse_radiance_gan(config, data, "volumegan")
    o = parse_options(VolumeOptions, config, "volumegan")
    for name in _POSITIVE:
        if getattr(o, name) <= 0:
            raise ConfigError(f"must be positive, got {getattr(o, name)}", where=f"volumegan.{name}")
    for name in ("grow_from", "grow_hold", "grow_fade"):
        if getattr(o, name) < 0:
            raise ConfigError(f"must not be negative, got {getattr(o, name)}", where=f"volumegan.{name}")
    if not o.volume_widths or min(o.volume_widths) <= 0:
        raise ConfigError("needs one positive width per stage", where="volumegan.volume_widths")
    if len(o.box) != 6 or any(low >= high for low, high in zip(o.box[:3], o.box[3:], strict=True)):
        raise ConfigError(
            "must be the smallest x, y, z and the largest x, y, z of a box",
            where="volumegan.box",
            remedy="Write it as [-1, -1, -1, 1, 1, 1].",
        )
    if not o.learnt_start and o.features < 3:
        raise ConfigError(f"the start image needs 3 of the features, got {o.features}", where="volumegan.features")
    if o.fused and shared.path_weight:
        raise ConfigError(
            "the path length needs second derivatives of the volume, which the fused norm lacks",
            where="volumegan.fused",
            remedy="Use fused=false or path_weight=0.",
        )
    if shared.g_pose:
        raise ConfigError("this generator is never told the pose", where="volumegan.g_pose", remedy="Use g_pose=false.")
    _check_sizes(shared, o, data.resolution)
    return o


def _check_sizes(shared: RadianceGanOptions, o: VolumeOptions, resolution: int) -> None:
    if len(shared.rays) != 1 or shared.rays[0] & (shared.rays[0] - 1):
        raise ConfigError(
            f"must be one power of two, got {list(shared.rays)}: the renderer starts from one resolution",
            where="volumegan.rays",
        )
    sizes = [shared.rays[0] * 2**k for k in range((resolution // shared.rays[0]).bit_length())]
    if o.grow_from and (o.grow_from not in sizes or o.grow_from < 8):
        allowed = [size for size in sizes if size >= 8]
        raise ConfigError(
            f"must be 0 (no growing) or one of {', '.join(map(str, allowed))}, got {o.grow_from}",
            where="volumegan.grow_from",
        )
    if o.grow_from and shared.dual:
        raise ConfigError("a growing discriminator sees one image", where="volumegan.dual", remedy="Use grow_from=0.")
