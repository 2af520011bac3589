"""The options of pi-GAN: the keys of its presets, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.types import ConfigError
from methods.blocks.options import parse_options

LastBack = Literal["never", "evaluation", "always"]


@dataclass(frozen=True)
class Options:
    """One field per preset key; README.md explains each, and which values are the paper's."""

    batch_size: int
    # field
    z_dim: int
    mapping_width: int
    mapping_depth: int
    width: int
    depth: int
    activation: Literal["sine", "relu_pe"]
    conditioning: Literal["film", "concat"]
    octaves: int
    frequency_scale: float
    frequency_offset: float
    omega: float
    view_direction: bool
    lock_view_dependence: bool
    length_unit: Literal["object", "camera_radius"]
    box_side: float
    grid_size: int
    grid_channels: int
    grid_deviation: float
    # density and rendering
    density_act: Literal["relu", "softplus", "softplus_minus_1"]
    density_gain: float
    ball_slope: float
    ball_radius: float
    bound: Literal["none", "ball"]
    samples: int
    fine_samples: int
    eval_samples: int
    eval_fine_samples: int
    eval_batch: int
    shared_jitter: bool
    rule: Literal["left", "midpoint"]
    last_interval: Literal["infinite", "finite"]
    last_back: LastBack
    white_back: bool
    background: tuple[float, ...]
    noise_share: float
    truncation: float
    # discriminator
    discriminator: Literal["pooled", "strided"]
    coordinates: bool
    d_widths: tuple[int, ...]
    minibatch_groups: int
    # curriculum
    resolutions: tuple[int, ...]
    stage_shares: tuple[float, ...]
    stage_batches: tuple[int, ...]
    stage_splits: tuple[int, ...]
    stage_g_lr: tuple[float, ...]
    stage_d_lr: tuple[float, ...]
    fade_share: float
    first_fade: bool
    downsample: Literal["area", "nearest"]
    flip: bool
    # training
    pose_prior: Literal["matched", "shifted", "wide"]
    pos_lambda: float
    latent_lambda: float
    top_k_interval: float
    top_k_floor: float
    r1: float
    r1_every: int
    r1_share: float
    grad_clip: float
    beta1: float
    beta2: float
    warmup_steps: int
    lr_decay_share: float
    reuse_fakes: bool
    ema_decays: tuple[float, ...]


_POSITIVE: tuple[str, ...] = (
    "batch_size",
    "z_dim",
    "mapping_width",
    "mapping_depth",
    "width",
    "depth",
    "octaves",
    "omega",
)
_POSITIVE += ("box_side", "density_gain", "eval_batch", "r1_every", "r1_share", "grid_channels")
_NOT_NEGATIVE: tuple[str, ...] = ("fine_samples", "eval_fine_samples", "noise_share", "fade_share", "minibatch_groups")
_NOT_NEGATIVE += ("pos_lambda", "latent_lambda", "top_k_interval", "top_k_floor", "r1", "grad_clip", "warmup_steps")
_NOT_NEGATIVE += ("lr_decay_share", "grid_size", "grid_deviation", "beta1", "beta2")
_PER_STAGE = ("stage_shares", "stage_batches", "stage_splits", "stage_g_lr", "stage_d_lr")


def parse(config: Any, resolution: int) -> Options:
    """Options of ``config`` for images of ``resolution`` pixels. Raises ConfigError for values that cannot work."""
    options = parse_options(Options, config, "pigan")
    for name in _POSITIVE:
        if getattr(options, name) <= 0:
            raise ConfigError(f"must be positive, got {getattr(options, name)}", where=f"pigan.{name}")
    for name in _NOT_NEGATIVE:
        if getattr(options, name) < 0:
            raise ConfigError(f"must not be negative, got {getattr(options, name)}", where=f"pigan.{name}")
    for name in ("samples", "eval_samples"):
        least = 3 if getattr(options, "fine_samples" if name == "samples" else "eval_fine_samples") else 2
        if getattr(options, name) < least:
            raise ConfigError(f"must be at least {least}, got {getattr(options, name)}", where=f"pigan.{name}")
    if len(options.background) not in (0, 3):
        raise ConfigError("must be [] or three numbers in [0,1]", where="pigan.background")
    if not options.ema_decays:
        raise ConfigError("needs at least one decay: samples come from the first average", where="pigan.ema_decays")
    _check_stages(options, resolution)
    return options


def _check_stages(options: Options, resolution: int) -> None:
    stages = options.resolutions
    for name in _PER_STAGE:
        if len(getattr(options, name)) != len(stages):
            raise ConfigError(
                f"has {len(getattr(options, name))} entries for {len(stages)} resolutions", where=f"pigan.{name}"
            )
    for name in ("stage_shares", "stage_splits", "stage_g_lr", "stage_d_lr"):
        if min(getattr(options, name)) <= 0:
            raise ConfigError(f"must be positive, got {list(getattr(options, name))}", where=f"pigan.{name}")
    if list(stages) != sorted(set(stages)):
        raise ConfigError(f"must grow, got {list(stages)}", where="pigan.resolutions")
    if stages[-1] != resolution:
        raise ConfigError(
            f"the last of resolutions is {stages[-1]}, the data have {resolution} pixels",
            where="pigan.resolutions",
            remedy=f"End it with {resolution}.",
        )
    entries = [2**k for k in range(2, len(options.d_widths) + 1)]
    if not set(stages) <= set(entries):
        raise ConfigError(
            f"the discriminator's {len(options.d_widths)} d_widths serve {entries} pixels, not {list(stages)}",
            where="pigan.d_widths",
            remedy="Give one width per power of two from the largest resolution down to 2.",
        )
