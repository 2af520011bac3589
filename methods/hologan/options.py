"""The options of HoloGAN: the keys of its presets, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.types import ConfigError
from methods.blocks.adain import StyleActivation
from methods.blocks.initial import WeightRule
from methods.blocks.options import parse_options
from methods.blocks.rotation import Centre, Padding
from methods.blocks.schedule import Schedule

Projection = Literal["concat_mlp", "depth_mean", "depth_max"]
StyleHeads = Literal["none", "paper", "code"]


@dataclass(frozen=True)
class Options:
    """One field per preset key; README.md explains each, and which values are the paper's."""

    batch_size: int
    # generator
    z_dim: int
    constant_width: int
    constant: Literal["ramps", "noise"]
    widths_3d: tuple[int, ...]
    frustum_convs: int
    frustum_width: int
    projection: Projection
    projection_width: int
    near_bias: float
    roughness: float
    roughness_2d: float
    ramp_depth: float
    widths_2d: tuple[int, ...]
    upsampling: Literal["nearest", "transposed"]
    activation_slope: float
    adain_act: StyleActivation
    adain_eps: float
    style_std_3d: float
    style_std_2d: float
    weights: WeightRule
    # the transform
    mask_radius: float
    rotation_centre: Centre
    rotation_padding: Padding
    train_rotation: Literal["random", "none"]
    pose_input: Literal["rotation", "vector"]
    pose_range: float
    z_input: Literal["adain", "first_layer"]
    # discriminator
    d_widths: tuple[int, ...]
    d_kernel: int
    d_norm: Literal["none", "instance"]
    spectral_norm: bool
    style_heads: StyleHeads
    input_noise: float
    # objective
    identity_weight: float
    style_weight: float
    style_in_g: bool
    recognise_pose: float
    r1_gamma: float
    r1_every: int
    # optimisation
    g_steps: int
    lr_g: float
    lr_d: float
    beta1: float
    beta2: float
    lr_schedule: Schedule
    lr_hold: float
    lr_floor: float
    ema_decay: float
    fast: bool

    @property
    def grid(self) -> int:
        """Side of the voxel grid that is rotated."""
        return 4 * 2 ** len(self.widths_3d)

    @property
    def resolution(self) -> int:
        """Side of the images the generator draws."""
        return self.grid * 2 ** len(self.widths_2d)


_POSITIVE: tuple[str, ...] = ("batch_size", "z_dim", "constant_width", "projection_width", "d_kernel", "g_steps")
_POSITIVE += ("lr_g", "lr_d", "r1_every")
_NOT_NEGATIVE: tuple[str, ...] = ("frustum_convs", "style_std_3d", "style_std_2d", "pose_range", "mask_radius")
_NOT_NEGATIVE += ("identity_weight", "style_weight", "recognise_pose", "r1_gamma", "activation_slope", "lr_hold")
_NOT_NEGATIVE += ("lr_floor", "ema_decay", "input_noise", "near_bias", "roughness")
_NOT_NEGATIVE += ("ramp_depth", "roughness_2d")


def parse(config: Any, resolution: int) -> Options:
    """Options of ``config`` for images of ``resolution`` pixels. Raises ConfigError for values that cannot work."""
    options = parse_options(Options, config, "hologan")
    for name in _POSITIVE:
        if getattr(options, name) <= 0:
            raise ConfigError(f"must be positive, got {getattr(options, name)}", where=f"hologan.{name}")
    for name in _NOT_NEGATIVE:
        if getattr(options, name) < 0:
            raise ConfigError(f"must not be negative, got {getattr(options, name)}", where=f"hologan.{name}")
    if options.resolution != resolution:
        raise ConfigError(
            f"draws {options.resolution}-pixel images (4, doubled by every entry of widths_3d and widths_2d), "
            f"the data have {resolution}",
            where="hologan.widths_2d",
            remedy="Add or remove an entry, or choose the tier that fits the data.",
        )
    if not options.d_widths or resolution % 2 ** len(options.d_widths):
        raise ConfigError(f"cannot halve {resolution} pixels {len(options.d_widths)} times", where="hologan.d_widths")
    return options
