"""The options that every method over StyleGAN2 shares: the keys of its presets, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal

from harness.types import ConfigError, DataSpec
from methods.blocks.options import parse_options
from methods.blocks.style_options import Architecture, Modulation, NoiseKind, StyleOptions, num_ws

AugmentationKind = Literal["none", "ada", "diffaug", "fixed"]


@dataclass(frozen=True)
class StyleGanOptions:
    """One field per preset key; methods/stylegan2/README.md explains each.

    An interval (``r1_every``, ``path_every``) of 0 puts the regulariser into every main step.
    """

    batch_size: int
    train_images: int
    conditional: bool
    mirror: bool
    # networks
    z_dim: int
    w_dim: int
    mapping_layers: int
    mapping_rate: float
    channel_base: int
    channel_max: int
    g_architecture: Architecture
    d_architecture: Architecture
    noise: NoiseKind
    demodulate: bool
    modulation: Modulation
    folded: bool
    channels_last: bool
    mbstd_group: int
    freeze_d: int
    # objective
    r1_gamma: float
    r1_every: int
    path_weight: float
    path_every: int
    style_mixing: float
    augmentation: AugmentationKind
    augmentation_pipe: str
    augmentation_p: float
    ada_target: float
    ada_kimg: int
    diffaug_policy: str
    # optimisation
    lr: float
    ema_kimg: float
    ema_ramp: float

    @property
    def networks(self) -> StyleOptions:
        """The part that shapes the two networks."""
        return StyleOptions(**{item.name: getattr(self, item.name) for item in fields(StyleOptions)})


_POSITIVE = (
    "batch_size",
    "z_dim",
    "w_dim",
    "mapping_layers",
    "channel_base",
    "channel_max",
    "mbstd_group",
    "lr",
    "ada_kimg",
)
_NOT_NEGATIVE = ("train_images", "freeze_d", "r1_gamma", "r1_every", "path_weight", "path_every", "ema_kimg")
_NOT_NEGATIVE += ("ema_ramp", "augmentation_p", "ada_target")  # type: ignore[assignment]


def parse_style_gan(config: Any, data: DataSpec, method: str) -> StyleGanOptions:
    """Options of ``config`` for images of ``data``. Raises ConfigError for values that cannot work together."""
    options = parse_options(StyleGanOptions, config, method)
    for name in _POSITIVE:
        if getattr(options, name) <= 0:
            raise ConfigError(f"must be positive, got {getattr(options, name)}", where=f"{method}.{name}")
    for name in _NOT_NEGATIVE:
        if getattr(options, name) < 0:
            raise ConfigError(f"must not be negative, got {getattr(options, name)}", where=f"{method}.{name}")
    if not 0.0 <= options.style_mixing <= 1.0:
        raise ConfigError(f"must be a probability, got {options.style_mixing}", where=f"{method}.style_mixing")
    group = min(options.mbstd_group, options.batch_size)
    if options.batch_size % group:
        raise ConfigError(
            f"batches of {options.batch_size} cannot be cut into groups of {group}",
            where=f"{method}.mbstd_group",
            remedy="Choose a divisor of batch_size.",
        )
    num_ws(data.resolution)
    if options.conditional and int(data.options.get("classes", 0)) < 2:
        raise ConfigError(
            "the data have no classes to condition on",
            where=f"{method}.conditional",
            remedy="Use conditional=false, or data with classes.",
        )
    return options
