"""Networks and rendering settings of pi-GAN from its flat configuration."""

from __future__ import annotations

from typing import Any

from harness.types import ConfigError, PosePrior
from methods.blocks.progressive import ProgressiveDiscriminator
from methods.blocks.siren import EmbeddingGrid, MappingNetwork, SirenField
from methods.blocks.volume_rendering import Quadrature
from methods.pigan.model import Density, Generator, Rendering

CHOICES = {
    "activation": ("sine", "relu_pe"),
    "conditioning": ("film", "concat"),
    "bound": ("none", "ball"),
    "length_unit": ("object", "camera_radius"),
    "discriminator": ("pooled", "strided"),
    "last_back": ("never", "evaluation", "always"),
    "downsample": ("area", "nearest"),
    "rule": ("left", "midpoint"),
    "density_act": ("relu", "softplus", "softplus_minus_1"),
    "last_interval": ("infinite", "finite"),
}


def check_choices(config: Any) -> None:
    """Raise ConfigError for a value outside its list."""
    for key, allowed in CHOICES.items():
        if config[key] not in allowed:
            raise ConfigError(f"{key} is '{config[key]}'", where="pigan", nearest=allowed)


def build_generator(config: Any, prior: PosePrior) -> Generator:
    """Mapping network, field and density of the configuration; lengths follow ``length_unit`` and ``box_side``."""
    check_choices(config)
    unit = 1 / prior.radius if config.length_unit == "camera_radius" else 1.0
    mapping = MappingNetwork(config.z_dim, config.mapping_width, config.mapping_depth, config.depth + 1, config.width)
    grid = EmbeddingGrid(config.grid_channels, config.grid_size, config.grid_deviation) if config.grid_size else None
    field = SirenField(
        width=config.width,
        depth=config.depth,
        frequency=(config.frequency_scale, config.frequency_offset),
        omega=config.omega,
        coordinate_scale=unit * 2 / config.box_side,
        activation=config.activation,
        conditioning=config.conditioning,
        view_direction=config.view_direction,
        octaves=config.octaves,
        code=config.mapping_width,
        grid=grid,
    )
    density = Density(
        gain=config.density_gain,
        slope=config.ball_slope,
        radius=config.ball_radius,
        bounded=config.bound == "ball",
        length=unit,
    )
    return Generator(mapping, field, density)


def build_discriminator(config: Any) -> ProgressiveDiscriminator:
    """Outputs: score, latent (z_dim) and pose (2) of the encoder versions."""
    sizes = [2 ** (len(config.d_widths) - k) for k in range(len(config.d_widths))]
    return ProgressiveDiscriminator(
        dict(zip(sizes, (int(width) for width in config.d_widths), strict=True)),
        outputs=1 + config.z_dim + 2,
        pool=config.discriminator == "pooled",
        coordinates=config.coordinates,
        minibatch_groups=config.minibatch_groups,
    )


def training_rendering(config: Any, noise: float = 0.0) -> Rendering:
    """Samples, quadrature and background used in training steps."""
    return _rendering(config, config.samples, config.fine_samples, config.last_back == "always", noise)


def evaluation_rendering(config: Any) -> Rendering:
    """Samples, quadrature and background used by ``sample``: no density noise."""
    return _rendering(config, config.eval_samples, config.eval_fine_samples, config.last_back != "never", 0.0)


def _rendering(config: Any, samples: int, fine: int, last_back: bool, noise: float) -> Rendering:
    background = (1.0, 1.0, 1.0) if config.white_back else tuple(float(value) for value in config.background)
    return Rendering(
        samples=samples,
        fine=fine,
        quadrature=Quadrature(config.rule, config.density_act, config.last_interval, last_back),
        background=background,
        lock_view=config.lock_view_dependence,
        noise=noise,
        shared_jitter=config.shared_jitter,
    )
