"""HoloGAN as a method of the harness: one training step and sampling."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from harness.types import Cameras, ConfigError, Context, DataSpec, Renders, Stage
from methods.blocks.adversarial import discriminator_loss, generator_loss, r1_penalty
from methods.blocks.convolution import to_channels_last
from methods.blocks.ema import Ema
from methods.blocks.schedule import rate_factor, set_rate
from methods.hologan.discriminator import HoloDiscriminator, Verdict
from methods.hologan.loss import recognition_loss, style_loss_d, style_loss_g
from methods.hologan.model import HoloGenerator, pose_code
from methods.hologan.options import parse

if TYPE_CHECKING:
    from harness.types import Batch

SAMPLE_CHUNK = 64


class HoloGAN:
    """Trains one generator and one discriminator on single unposed views (Nguyen-Phuoc et al., ICCV 2019).

    Latents are [N,2,Z]: row 0 is the shape code (3D styles), row 1 the appearance code (2D styles). Training and
    ``latents`` use the same vector for both; swap rows between samples to change one of them.
    """

    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        if data.prior is None:
            raise ConfigError(
                "HoloGAN needs the data's pose prior", where=data.name, remedy="Choose data with a prior."
            )
        self.options = parse(config, data.resolution)
        self.context = context
        self.centre = (data.prior.azimuth[0], data.prior.elevation[0])
        # Weights come from the CPU so that one seed gives one network on every device.
        seeded = torch.Generator().manual_seed(context.seed)
        self.generator = HoloGenerator(self.options, seeded).to(context.device)
        self.discriminator = HoloDiscriminator(self.options, seeded).to(context.device)
        if self.options.fast:
            to_channels_last(self.generator)
            to_channels_last(self.discriminator)
        self.average = Ema(self.generator, self.options.ema_decay)
        self.averages = (self.average,)
        self.optimiser_g = self._adam(self.generator, self.options.lr_g)
        self.optimiser_d = self._adam(self.discriminator, self.options.lr_d)

    def _adam(self, module: nn.Module, rate: float) -> torch.optim.Adam:
        o = self.options
        return torch.optim.Adam(module.parameters(), lr=rate, betas=(o.beta1, o.beta2), foreach=o.fast)

    # ------------------------------------------------------------------------------------------------- training
    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One update of D, then ``g_steps`` updates of G, all with the same latents, poses and real images."""
        o, context = self.options, self.context
        factor = rate_factor(step, context.total_steps, o.lr_schedule, o.lr_hold, o.lr_floor)
        set_rate(self.optimiser_g, o.lr_g * factor)
        set_rate(self.optimiser_d, o.lr_d * factor)
        real = batch["image"]
        latents = self._codes(len(real), context.generator)
        azimuth, elevation = self._poses(len(real))
        log: dict[str, Tensor] = {}
        fake = self._forward(latents, azimuth, elevation)
        log |= self._step_d(real, fake.detach(), latents, pose_code(azimuth, elevation))
        if o.r1_gamma and step % o.r1_every == 0:
            log["r1"] = self._step_r1(real)
        for index in range(o.g_steps):
            # D's update leaves G as it was: the fakes of the D step still carry the right graph for the first G step.
            if index or not o.fast:
                fake = self._forward(latents, azimuth, elevation)
            log |= self._step_g(fake, latents, pose_code(azimuth, elevation))
        return log

    def _codes(self, n: int, generator: Generator) -> Tensor:
        """Latents [N,Z], uniform in (-1, 1)."""
        return torch.rand(n, self.options.z_dim, generator=generator, device=generator.device) * 2 - 1

    def _poses(self, n: int) -> tuple[Tensor, Tensor]:
        """Training angles [N]: the prior's, stretched about its centre by ``pose_range``, or the centre alone."""
        cameras = self.context.sample_cameras(n, self.context.generator)
        angles = []
        for drawn, centre in zip((cameras.azimuth, cameras.elevation), self.centre, strict=True):
            if self.options.train_rotation == "none":
                angles.append(torch.full_like(drawn, centre))
            else:
                angles.append(centre + self.options.pose_range * (drawn - centre))
        return angles[0], angles[1]

    def _forward(self, latents: Tensor, azimuth: Tensor, elevation: Tensor) -> Tensor:
        with self.context.autocast():
            return self.generator(latents, latents, azimuth, elevation)

    def _judge(self, images: Tensor) -> Verdict:
        if self.options.input_noise:
            noise = torch.empty_like(images).normal_(generator=self.context.generator)
            images = images + self.options.input_noise * noise
        with self.context.autocast():
            return self.discriminator(images)

    def _step_d(self, real: Tensor, fake: Tensor, latents: Tensor, code: Tensor) -> dict[str, Tensor]:
        o = self.options
        if o.fast:
            both = self._judge(torch.cat([real, fake]))
            verdict_real, verdict_fake = split(both, len(real))
        else:
            verdict_real, verdict_fake = self._judge(real), self._judge(fake)
        adversarial = discriminator_loss(verdict_real.logit, verdict_fake.logit)
        recognition = recognition_loss(self.discriminator, verdict_fake.flat, latents, code, o)
        loss = adversarial + recognition + o.style_weight * style_loss_d(verdict_real, verdict_fake)
        self.optimiser_d.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser_d.step()
        return {
            "loss_d": adversarial.detach(),
            "recognition": recognition.detach(),
            "logit_real": verdict_real.logit.detach().mean(),
            "logit_fake": verdict_fake.logit.detach().mean(),
        }

    def _step_r1(self, real: Tensor) -> Tensor:
        """Lazy R1 on real images: its own step, scaled by the interval (Karras et al. 2020, section 3.1)."""
        o = self.options
        penalty = r1_penalty(lambda images: self.discriminator(images).logit, real)
        self.optimiser_d.zero_grad(set_to_none=True)
        (0.5 * o.r1_gamma * o.r1_every * penalty).backward()
        self.optimiser_d.step()
        return penalty.detach()

    def _step_g(self, fake: Tensor, latents: Tensor, code: Tensor) -> dict[str, Tensor]:
        o = self.options
        self.discriminator.requires_grad_(False)
        verdict = self._judge(fake)
        adversarial = generator_loss(verdict.logit)
        loss = adversarial + recognition_loss(self.discriminator, verdict.flat, latents, code, o)
        if o.style_in_g:
            loss = loss + o.style_weight * style_loss_g(verdict)
        self.optimiser_g.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser_g.step()
        self.discriminator.requires_grad_(True)
        return {"loss_g": adversarial.detach()}

    # ------------------------------------------------------------------------------------------------- sampling
    def latents(self, n: int, generator: Generator) -> Tensor:
        """Codes [N,2,Z] with equal shape and appearance rows, as in training."""
        return self._codes(n, generator)[:, None].repeat(1, 2, 1)

    @torch.no_grad()
    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        """Images of the averaged generator in fp32; poses from the prior where ``cameras`` is None."""
        latents = latents.to(self.context.device)
        if cameras is None:
            # The poses are a function of the latents, so that equal calls give equal images.
            seed = zlib.crc32(latents.cpu().numpy().tobytes())
            drawing = Generator(device=self.context.device).manual_seed(seed)
            cameras = self.context.sample_cameras(len(latents), drawing)
        azimuth, elevation = (a.to(self.context.device).float() for a in (cameras.azimuth, cameras.elevation))
        images = [
            self.average.module(codes[:, 0], codes[:, 1], a, e)
            for codes, a, e in zip(
                latents.split(SAMPLE_CHUNK), azimuth.split(SAMPLE_CHUNK), elevation.split(SAMPLE_CHUNK), strict=True
            )
        ]
        return Renders(rgb=torch.cat(images))

    # ---------------------------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """Networks, average and optimisers."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            "optimiser_g": self.optimiser_g,
            "optimiser_d": self.optimiser_d,
        }


def split(verdict: Verdict, n: int) -> tuple[Verdict, Verdict]:
    """The verdicts on the first ``n`` images and on the rest of a batch."""
    # A style head of the released form stacks mean and variance along the batch: [2N,1], means first.
    parts: list[list[Tensor]] = [[], []]
    total = len(verdict.logit)
    for style in verdict.styles:
        rows = style.view(-1, total)
        parts[0].append(rows[:, :n])
        parts[1].append(rows[:, n:])
    return (
        Verdict(verdict.logit[:n], verdict.flat[:n], tuple(parts[0])),
        Verdict(verdict.logit[n:], verdict.flat[n:], tuple(parts[1])),
    )
