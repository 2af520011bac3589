"""The options of DepthGAN: the keys of its presets, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Literal

from harness.types import ConfigError
from methods.blocks.depth_warp import HalfPixel
from methods.blocks.options import parse_options
from methods.blocks.style_options import Modulation, StyleOptions, resolutions

Fusion = Literal["concat_1x1", "add", "film", "none"]
AngleInjection = Literal["mul_w", "concat_z", "all_layers"]


@dataclass(frozen=True)
class Options:
    """One field per preset key; README.md explains each, and which values are the paper's."""

    batch_size: int
    train_images: int
    # networks
    z_dim: int
    w_dim: int
    mapping_layers: int
    channel_base: int
    channel_max: int
    mapping_rate: float
    mbstd_group: int
    modulation: Modulation
    folded: bool
    channels_last: bool
    # generators
    single_generator: Literal["none", "rgbd"]
    angle_injection: AngleInjection
    angle_range: float
    fusion: Fusion
    fusion_layers: Literal["all", "low"]
    style_mixing: float
    share_mixing: Literal["official", "pair"]
    # discriminator
    d_input: Literal["rgbd", "rgb"]
    stems: Literal["sum", "concat4"]
    depth_taps: tuple[int, ...]
    depth_target: Literal["bins", "l1"]
    num_bins: int
    # objective
    rot_depth: float
    rot_rgb: float
    rotation_every: int
    share_pairs: bool
    occlusion_aware: bool
    half_pixel: HalfPixel
    focal: float
    d_depth: float
    g_depth: float
    r1_gamma: float
    r1_every: int
    path_weight: float
    path_every: int
    # optimisation
    lr: float
    ema_kimg: float

    @property
    def style(self) -> StyleOptions:
        """What the StyleGAN2 layers are built from; DepthGAN feeds no noise maps."""
        shared = {field.name for field in fields(StyleOptions)} & {field.name for field in fields(self)}
        return StyleOptions(**{name: getattr(self, name) for name in shared}, noise="none")


_POSITIVE: tuple[str, ...] = ("batch_size", "z_dim", "w_dim", "mapping_layers", "channel_base", "channel_max")
_POSITIVE += ("mapping_rate", "mbstd_group", "num_bins", "rotation_every", "r1_every", "path_every")
_POSITIVE += ("lr",)
_NOT_NEGATIVE: tuple[str, ...] = ("train_images", "angle_range", "style_mixing", "rot_depth", "rot_rgb", "focal")
_NOT_NEGATIVE += ("d_depth", "g_depth", "r1_gamma", "path_weight", "ema_kimg")


def parse(config: Any, resolution: int) -> Options:
    """Options of ``config`` for images of ``resolution`` pixels. Raises ConfigError for values that cannot work."""
    options = parse_options(Options, config, "depthgan")
    for name in _POSITIVE:
        if getattr(options, name) <= 0:
            raise ConfigError(f"must be positive, got {getattr(options, name)}", where=f"depthgan.{name}")
    for name in _NOT_NEGATIVE:
        if getattr(options, name) < 0:
            raise ConfigError(f"must not be negative, got {getattr(options, name)}", where=f"depthgan.{name}")
    if options.style_mixing > 1:
        raise ConfigError("is a probability", where="depthgan.style_mixing")
    if options.batch_size < 2:
        raise ConfigError("rotation needs pairs: at least 2", where="depthgan.batch_size")
    group = min(options.mbstd_group, options.batch_size)
    if options.batch_size % group:
        raise ConfigError(
            f"batches of {options.batch_size} cannot be cut into groups of {group}",
            where="depthgan.mbstd_group",
            remedy="Choose a divisor of batch_size.",
        )
    taps, sizes = options.depth_taps, resolutions(resolution)
    if not taps or any(tap not in sizes[1:] for tap in taps) or any(a != 2 * b for a, b in pairwise(taps)):
        raise ConfigError(
            f"must be sizes that halve from one to the next, among {sizes[:0:-1]}, not {list(taps)}",
            where="depthgan.depth_taps",
        )
    return options
