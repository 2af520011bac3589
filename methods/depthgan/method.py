"""DepthGAN as a method of the harness: the order of its steps, sampling and scoring."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Generator, Tensor

from harness.types import Cameras, ConfigError, Context, DataError, DataSpec, Renders, Stage, Unsupported
from methods.blocks.convolution import to_channels_last
from methods.blocks.depth_warp import metric_depth
from methods.blocks.half_life import HalfLifeEma
from methods.depthgan.discriminator import SwitchableDiscriminator
from methods.depthgan.generators import DualGenerator, Rgbd, SingleGenerator
from methods.depthgan.options import parse
from methods.depthgan.phases import Phases

if TYPE_CHECKING:
    from harness.types import Batch

SAMPLE_CHUNK = 64
HALF_RANGE = 30000.0
"""Stored depth 0 .. 60000 is -1 .. 1 to the networks."""
CLOSEST = 0.01
"""Smallest depth that is ever returned, in the unit of the coding."""


class DepthGAN:
    """Trains a depth path, an appearance path and a switchable discriminator on RGBD (Shi et al., ECCV 2022).

    Latents are [N,2,Z]: row 0 is the geometry's code, row 1 the appearance's. Of a camera only the azimuth matters.
    ``discriminate`` takes pictures with coded depth [N,4,H,W] or without.
    """

    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        if data.prior is None:
            raise ConfigError(
                "DepthGAN needs the data's pose prior", where=data.name, remedy="Choose data with a prior."
            )
        o = self.options = parse(config, data.resolution)
        self.context = context
        self.train_images = o.train_images
        self.depth_bins = o.num_bins
        self.depth_unit = float(data.options.get("depth_unit", 1.0))
        # Weights come from the CPU so that one seed gives one network on every device.
        seeded = torch.Generator().manual_seed(context.seed)
        kind = DualGenerator if o.single_generator == "none" else SingleGenerator
        self.generator = kind(o, data.resolution, seeded).to(context.device)
        self.discriminator = SwitchableDiscriminator(o, data.resolution, seeded).to(context.device)
        if o.channels_last:
            to_channels_last(self.generator)
            to_channels_last(self.discriminator)
        self.average = HalfLifeEma(self.generator, 1000 * o.ema_kimg, o.batch_size)
        self.averages = (self.average,)
        focal = data.resolution * (o.focal or 0.5 / math.tan(data.prior.fov / 2))
        self.phases = Phases(o, context, self.generator, self.discriminator, focal, data.prior.azimuth[0])
        self.optimisers = self.phases.optimisers

    # ------------------------------------------------------------------------------------------------- training
    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """The separate steps in the published order; those with weight 0 are left out."""
        o, phases, n = self.options, self.phases, len(batch["image"])
        real = with_depth(batch)
        log = phases.adversarial(n)
        if o.path_weight and step % o.path_every == 0:
            log |= phases.path_length(n)
        if step % o.rotation_every == 0:
            log |= phases.rotation(n)
        if o.g_depth:
            log |= phases.depth_of_fakes(n)
        log |= phases.discriminate(real)
        if o.d_depth:
            log |= phases.depth_of_reals(real)
        if o.r1_gamma and step % o.r1_every == 0:
            log |= phases.penalise(real)
        return log

    # -------------------------------------------------------------------------------------------------- sampling
    def latents(self, n: int, generator: Generator) -> Tensor:
        """Codes [N,2,Z], standard normal and independent: geometry, appearance."""
        return torch.randn(n, 2, self.options.z_dim, generator=generator, device=generator.device)

    @torch.no_grad()
    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        """Pictures and depth of the averaged generators in fp32; poses from the prior where ``cameras`` is None."""
        latents = latents.to(self.context.device)
        angle = self._azimuth(latents, cameras)
        parts = zip(latents.split(SAMPLE_CHUNK), angle.split(SAMPLE_CHUNK), strict=True)
        return self._renders([self.average.module(codes, a) for codes, a in parts])

    def _azimuth(self, latents: Tensor, cameras: Cameras | None) -> Tensor:
        if cameras is None:
            # The poses are a function of the latents, so that equal calls give equal images.
            seed = zlib.crc32(latents.cpu().numpy().tobytes())
            drawing = Generator(device=self.context.device).manual_seed(seed)
            cameras = self.context.sample_cameras(len(latents), drawing)
        return cameras.azimuth.to(self.context.device).float()

    def _renders(self, parts: list[Rgbd]) -> Renders:
        depth = torch.cat([part.depth[:, 0] for part in parts])
        rgb = torch.cat([part.rgb for part in parts]).clamp(-1, 1)
        return Renders(rgb, metric_depth(depth).clamp_min(CLOSEST) * self.depth_unit)

    # ---------------------------------------------------------------------------------------------------- styles
    @torch.no_grad()
    def styles(self, latents: Tensor) -> Tensor:
        """Codes [N,2L,W] before the angle, those of geometry first ([N,L,W] of a single generator).

        Raises Unsupported where the angle is part of the latent.
        """
        if self.options.angle_injection == "concat_z":
            raise Unsupported("styles depend on the angle", where="depthgan.angle_injection=concat_z")
        latents = latents.to(self.context.device)
        return self.average.module.styles(latents, latents.new_zeros(len(latents)))

    def mean_style(self) -> Tensor:
        """Running mean [2L,W] of the styles, as ``styles`` orders them."""
        return self.average.module.mean_style()

    @torch.no_grad()
    def render_styles(self, styles: Tensor, cameras: Cameras | None = None) -> Renders:
        """Pictures and depth of any codes [N,2L,W]; poses from the prior where ``cameras`` is None."""
        styles = styles.to(self.context.device)
        angle = self._azimuth(styles, cameras)
        parts = zip(styles.split(SAMPLE_CHUNK), angle.split(SAMPLE_CHUNK), strict=True)
        return self._renders([self.average.module.draw(codes, a) for codes, a in parts])

    # --------------------------------------------------------------------------------------------------- scoring
    @torch.no_grad()
    def discriminate(self, images: Tensor) -> Tensor:
        """Logits float32 [N] of images [N,4,H,W] with coded depth, or [N,3,H,W], in fp32.

        The minibatch statistic compares images of a batch: they are judged in batches of the training's size in the
        order given, and the last batch is filled up from the start.
        """
        images, size = images.to(self.context.device).float(), self.options.batch_size
        if not len(images):
            return images.new_zeros(0)
        rows = torch.arange(-(-len(images) // size) * size, device=images.device) % len(images)
        return torch.cat([self.discriminator.score(images[part]) for part in rows.split(size)])[: len(images)]

    @torch.no_grad()
    def depth_logits(self, images: Tensor) -> Tensor:
        """Logits float32 [N,K,H,W] of the depth bins that the discriminator reads off images [N,3,H,W].

        Raises Unsupported where the head regresses depth.
        """
        if self.options.depth_target != "bins":
            raise Unsupported("the head has no bins", where=f"depthgan.depth_target={self.options.depth_target}")
        images = images.to(self.context.device).float()
        return torch.cat([self.discriminator.depth(part) for part in images.split(SAMPLE_CHUNK)])

    # ---------------------------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """Networks, average, optimisers and running path lengths."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        return {**self.phases.parts(), "average": self.average}


def with_depth(batch: Batch) -> Tensor:
    """Real pictures with coded depth, float32 [B,4,H,W]. Raises DataError where the depth is missing or of other size.

    ``depth_coded`` is int64 [B,H,W] in 0 .. 60000, large = far.
    """
    image = batch["image"]
    if "depth_coded" not in batch:
        raise DataError("the batch has no depth", where="depth_coded", remedy="Train on RGBD data such as rooms.")
    depth = batch["depth_coded"]
    if depth.shape != (len(image), *image.shape[2:]):
        raise DataError(f"{tuple(depth.shape)} does not fit images {tuple(image.shape)}", where="depth_coded")
    joined = torch.cat((image, (depth.to(image.dtype) / HALF_RANGE - 1)[:, None]), dim=1)
    return joined.contiguous(memory_format=torch.channels_last)
