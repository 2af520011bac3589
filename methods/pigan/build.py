"""Networks and rendering settings of pi-GAN from its options."""

from __future__ import annotations

from harness.types import PosePrior
from methods.blocks.field_rendering import Density, Rendering
from methods.blocks.progressive import ProgressiveDiscriminator
from methods.blocks.siren import EmbeddingGrid, MappingNetwork, SirenField
from methods.blocks.volume_rendering import Quadrature
from methods.pigan.model import Generator
from methods.pigan.options import Options


def build_generator(config: Options, prior: PosePrior) -> Generator:
    """Mapping network, field and density of the configuration; lengths follow ``length_unit`` and ``box_side``."""
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
    return Generator(mapping, field, density, lock_view=config.lock_view_dependence)


def build_discriminator(config: Options) -> ProgressiveDiscriminator:
    """Outputs: score, latent (z_dim) and pose (2) of the encoder versions."""
    sizes = [2 ** (len(config.d_widths) - k) for k in range(len(config.d_widths))]
    return ProgressiveDiscriminator(
        dict(zip(sizes, config.d_widths, strict=True)),
        outputs=1 + config.z_dim + 2,
        pool=config.discriminator == "pooled",
        coordinates=config.coordinates,
        minibatch_groups=config.minibatch_groups,
    )


def training_rendering(config: Options, noise: float = 0.0) -> Rendering:
    """Samples, quadrature and background used in training steps."""
    return _rendering(config, config.samples, config.fine_samples, config.last_back == "always", noise)


def evaluation_rendering(config: Options) -> Rendering:
    """Samples, quadrature and background used by ``sample``: no density noise."""
    return _rendering(config, config.eval_samples, config.eval_fine_samples, config.last_back != "never", 0.0)


def _rendering(config: Options, samples: int, fine: int, last_back: bool, noise: float) -> Rendering:
    background = (1.0, 1.0, 1.0) if config.white_back else config.background
    return Rendering(
        samples=samples,
        fine=fine,
        quadrature=Quadrature(config.rule, config.density_act, config.last_interval, last_back),
        background=background,
        noise=noise,
        shared_jitter=config.shared_jitter,
    )
