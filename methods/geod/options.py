"""The options of GeoD beyond those of the base it is plugged into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from harness.types import ConfigError
from methods.blocks.options import parse_options
from methods.blocks.schedule import Schedule
from methods.geod.schedule import Unit

Head = Literal["depth_supervised", "inverse_renderer", "scene"]
Novel = Literal["none", "warp_gen_depth", "warp_disc_depth", "learned"]


@dataclass(frozen=True)
class Options:
    """One field per key; README.md explains each."""

    base: str
    # geometry head
    head: Head
    head_widths: tuple[int, ...]
    head_mirror: bool
    head_lr: float
    head_lr_schedule: Schedule
    head_beta1: float
    head_beta2: float
    head_weight_decay: float
    head_in_use: Literal["live", "frozen", "ema"]
    head_ema_decay: float
    head_learns_from: Literal["real", "real_fake"]
    head_stop: float
    # inverse renderer
    head_size: int
    head_width: int
    head_bottleneck: int
    head_encoder_width: int
    head_range: tuple[float, ...]
    symmetry: float
    confidence: bool
    perceptual: Literal["none", "vgg16", "random"]
    perceptual_weight: float
    smoothness: float
    # scene head
    scene_target: Literal["regression", "bins"]
    # schedule
    schedule_unit: Unit
    geo_t0: float
    geo_t1: float
    geo_stop: float
    geo_w0: float
    geo_w1: float
    geo_ramp: bool
    geo_every: int
    lazy_scaled: bool
    # supervision of the generator
    geo_target: Literal["normals", "depth", "both"]
    geo_depth_weight: float
    detach_image: bool
    z_conversion: bool
    opaque: float
    mask_erosion: int
    # novel views
    nvs: Novel
    nvs_weight: float
    nvs_every: int
    nvs_degrees: float
    nvs_tolerance: float
    nvs_width: int
    nvs_lr: float
    nvs_features: float


_POSITIVE = (
    "head_size",
    "head_width",
    "head_bottleneck",
    "head_encoder_width",
    "head_lr",
    "geo_every",
    "nvs_every",
    "nvs_width",
    "nvs_lr",
)
_NOT_NEGATIVE: tuple[str, ...] = ("head_weight_decay", "head_stop", "symmetry", "perceptual_weight", "smoothness")
_NOT_NEGATIVE += ("geo_t0", "geo_w0", "geo_w1", "geo_depth_weight", "mask_erosion", "nvs_weight", "nvs_degrees")
_NOT_NEGATIVE += ("nvs_tolerance", "nvs_features")


def parse(config: Any) -> Options:
    """Options of ``config``. Raises ConfigError for values that cannot work."""
    o = parse_options(Options, config, "geod")
    for name in _POSITIVE:
        if getattr(o, name) <= 0:
            raise ConfigError(f"must be positive, got {getattr(o, name)}", where=f"geod.{name}")
    for name in _NOT_NEGATIVE:
        if getattr(o, name) < 0:
            raise ConfigError(f"must not be negative, got {getattr(o, name)}", where=f"geod.{name}")
    for name in ("head_beta1", "head_beta2", "head_ema_decay", "opaque"):
        if not 0 <= getattr(o, name) < 1:
            raise ConfigError(f"must be in [0, 1), got {getattr(o, name)}", where=f"geod.{name}")
    if not o.geo_t0 <= o.geo_t1:
        raise ConfigError(
            f"the ramp ends at {o.geo_t1:g}, before it starts at {o.geo_t0:g}",
            where="geod.geo_t1",
            remedy="Set geo_t1 >= geo_t0; geo_ramp=false gives the full weight at once.",
        )
    if o.schedule_unit == "share" and max(o.head_stop, o.geo_t0, o.geo_stop) > 1:
        raise ConfigError("shares of a training end at 1", where="geod.schedule_unit", remedy="Or count in kimg.")
    if o.head_range and (len(o.head_range) != 3 or o.head_range[0] >= o.head_range[1]):
        raise ConfigError(
            "must be [] or [nearest, farthest, centre of rotation] relative to the origin's depth",
            where="geod.head_range",
        )
    if o.nvs == "learned" and not 0 < o.nvs_degrees <= 30:
        raise ConfigError(
            "the views that the learned head sees are warped by fixed-point iteration, good below 30 degrees",
            where="geod.nvs_degrees",
            remedy="Use a number in (0, 30].",
        )
    return o
