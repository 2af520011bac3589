"""The options that all radiance-field GANs against a StyleGAN2 discriminator share: preset keys, typed and checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.types import ConfigError, DataSpec
from methods.blocks.field_rendering import Density, Rendering
from methods.blocks.options import parse_options
from methods.blocks.style_options import Architecture, StyleOptions, resolutions
from methods.blocks.volume_rendering import Quadrature


@dataclass(frozen=True)
class RadianceGanOptions:
    """One field per preset key; methods/triplane/README.md explains each.

    An interval of a regulariser (``r1_every``, ``path_every``, ``tv_every``) of 1 applies it in every step.
    """

    batch_size: int
    z_dim: int
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
    last_back: bool
    smooth: bool
    background: tuple[float, ...]
    ray_range: tuple[float, ...]
    rays: tuple[int, ...]
    ray_shares: tuple[float, ...]
    # discriminator
    d_channel_base: int
    d_channel_max: int
    d_architecture: Architecture
    mbstd_group: int
    d_pose: bool
    d_pose_layers: int
    d_pose_rate: float
    dual: bool
    # generator's pose
    g_pose: bool
    swap_floor: float
    swap_kimg: float
    pose_prior: Literal["matched", "shifted", "wide"]
    # objective
    r1_gamma: float
    r1_every: int
    r1_share: float
    tv_weight: float
    tv_every: int
    path_weight: float
    path_every: int
    style_mixing: float
    blur_sigma: float
    blur_kimg: float
    flip: bool
    reuse_fakes: bool
    d_passes: int
    # optimisation
    lr: float
    slow_lr: float
    d_lr: float
    warmup_steps: int
    lr_hold: float
    lr_floor: float
    ema_kimg: float
    ema_ramp: float
    channels_last: bool

    @property
    def posed(self) -> bool:
        """Whether the poses of real images must be known."""
        return self.d_pose

    @property
    def judge(self) -> StyleOptions:
        """The part that shapes the discriminator."""
        return StyleOptions(
            channel_base=self.d_channel_base,
            channel_max=self.d_channel_max,
            d_architecture=self.d_architecture,
            mbstd_group=self.mbstd_group,
            mapping_rate=self.d_pose_rate,
        )

    @property
    def density(self) -> Density:
        """From raw densities to densities."""
        return Density(self.density_gain, self.ball_slope, self.ball_radius, self.bound == "ball")

    def rendering(self, *, evaluation: bool = False) -> Rendering:
        """Samples, quadrature and background of training, or of sampling."""
        return Rendering(
            samples=self.eval_samples if evaluation else self.samples,
            fine=self.eval_fine_samples if evaluation else self.fine_samples,
            quadrature=Quadrature(self.rule, self.density_act, self.last_interval, self.last_back),
            background=self.background,
            shared_jitter=self.shared_jitter,
            smooth=self.smooth,
        )


_POSITIVE: tuple[str, ...] = (
    "batch_size",
    "z_dim",
    "density_gain",
    "eval_batch",
    "d_channel_base",
    "d_channel_max",
    "mbstd_group",
)
_POSITIVE += ("d_pose_layers", "d_pose_rate", "r1_every", "r1_share", "tv_every", "path_every", "lr", "slow_lr", "d_lr")
_NOT_NEGATIVE: tuple[str, ...] = (
    "fine_samples",
    "eval_fine_samples",
    "swap_kimg",
    "r1_gamma",
    "tv_weight",
    "path_weight",
)
_NOT_NEGATIVE += ("blur_sigma", "blur_kimg", "warmup_steps", "ema_kimg", "ema_ramp")
_SHARES = ("swap_floor", "style_mixing", "r1_share", "lr_hold", "lr_floor")


def parse_radiance_gan(config: Any, data: DataSpec, method: str) -> RadianceGanOptions:
    """Options of ``config`` for images of ``data``. Raises ConfigError for values that cannot work together."""
    o = parse_options(RadianceGanOptions, config, method)
    for name in _POSITIVE:
        if getattr(o, name) <= 0:
            raise ConfigError(f"must be positive, got {getattr(o, name)}", where=f"{method}.{name}")
    for name in _NOT_NEGATIVE:
        if getattr(o, name) < 0:
            raise ConfigError(f"must not be negative, got {getattr(o, name)}", where=f"{method}.{name}")
    for name in _SHARES:
        if not 0.0 <= getattr(o, name) <= 1.0:
            raise ConfigError(f"must be in [0, 1], got {getattr(o, name)}", where=f"{method}.{name}")
    for name, fine in (("samples", o.fine_samples), ("eval_samples", o.eval_fine_samples)):
        least = 3 if fine else 2
        if getattr(o, name) < least:
            raise ConfigError(f"must be at least {least}, got {getattr(o, name)}", where=f"{method}.{name}")
    if o.d_passes not in (1, 2):
        raise ConfigError(f"must be 1 or 2, got {o.d_passes}", where=f"{method}.d_passes")
    if len(o.background) not in (0, 3):
        raise ConfigError("must be [] or three numbers in [0,1]", where=f"{method}.background")
    if o.ray_range and (len(o.ray_range) != 2 or o.ray_range[0] >= o.ray_range[1]):
        raise ConfigError("must be [] or [from, to] relative to the origin's depth", where=f"{method}.ray_range")
    resolutions(data.resolution)
    _check_rays(o, data.resolution, method)
    _check_groups(o, method)
    return o


def _check_rays(o: RadianceGanOptions, resolution: int, method: str) -> None:
    if not o.rays or len(o.rays) != len(o.ray_shares) or min(o.ray_shares) <= 0:
        raise ConfigError("needs one positive entry per entry of rays", where=f"{method}.ray_shares")
    if list(o.rays) != sorted(set(o.rays)) or o.rays[0] < 2:
        raise ConfigError(f"must grow from at least 2, got {list(o.rays)}", where=f"{method}.rays")
    if o.rays[-1] > resolution:
        raise ConfigError(
            f"ends with {o.rays[-1]} rays across images of {resolution} pixels",
            where=f"{method}.rays",
            remedy=f"End it with at most {resolution}.",
        )


def _check_groups(o: RadianceGanOptions, method: str) -> None:
    for images in (o.batch_size, max(1, round(o.batch_size * o.r1_share))):
        group = min(o.mbstd_group, images)
        if images % group:
            raise ConfigError(
                f"{images} images cannot be cut into groups of {group}",
                where=f"{method}.mbstd_group",
                remedy="Choose a divisor of batch_size and of its share r1_share.",
            )
