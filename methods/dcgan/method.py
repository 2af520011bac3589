"""DCGAN as a method of the harness: the 2D baseline that knows no camera."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Generator, Tensor, nn

from harness.types import Cameras, Context, DataSpec, Renders, Stage
from methods.blocks.adversarial import discriminator_loss, generator_loss, r1_penalty
from methods.blocks.convolution import to_channels_last
from methods.blocks.ema import Ema
from methods.blocks.schedule import rate_factor, set_rate
from methods.dcgan.model import DcDiscriminator, DcGenerator, parse

if TYPE_CHECKING:
    from harness.types import Batch

SAMPLE_CHUNK = 64


class DCGAN:
    """Trains one 2D generator and one discriminator (Radford et al., ICLR 2016). Cameras are accepted and ignored."""

    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        self.options = parse(config, data.resolution)
        self.context = context
        # Weights come from the CPU so that one seed gives one network on every device.
        seeded = torch.Generator().manual_seed(context.seed)
        self.generator = DcGenerator(self.options, seeded).to(context.device)
        self.discriminator = DcDiscriminator(self.options, data.resolution, seeded).to(context.device)
        if self.options.fast:
            to_channels_last(self.generator)
            to_channels_last(self.discriminator)
        self.average = Ema(self.generator, self.options.ema_decay)
        self.averages = (self.average,)
        self.optimiser_g = self._adam(self.generator)
        self.optimiser_d = self._adam(self.discriminator)

    def _adam(self, module: nn.Module) -> torch.optim.Adam:
        o = self.options
        return torch.optim.Adam(module.parameters(), lr=o.lr, betas=(o.beta1, o.beta2), foreach=o.fast)

    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One update of D and one of G on the same fakes; lazy R1 every ``r1_every`` steps where it is on."""
        o, context = self.options, self.context
        rate = o.lr * rate_factor(step, context.total_steps, o.lr_schedule, o.lr_hold, o.lr_floor)
        set_rate(self.optimiser_g, rate)
        set_rate(self.optimiser_d, rate)
        real = batch["image"]
        with context.autocast():
            fake = self.generator(self.latents(len(real), context.generator))
        log = self._step_d(real, fake.detach())
        if o.r1_gamma and step % o.r1_every == 0:
            penalty = r1_penalty(self.discriminator, real)
            self.optimiser_d.zero_grad(set_to_none=True)
            (0.5 * o.r1_gamma * o.r1_every * penalty).backward()
            self.optimiser_d.step()
            log["r1"] = penalty.detach()
        self.discriminator.requires_grad_(False)
        with context.autocast():
            loss = generator_loss(self.discriminator(fake))
        self.optimiser_g.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser_g.step()
        self.discriminator.requires_grad_(True)
        return {**log, "loss_g": loss.detach()}

    def _step_d(self, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        with self.context.autocast():
            # Batch norm must see real and fake images apart (Radford et al. 2016, section 3).
            logit_real, logit_fake = self.discriminator(real), self.discriminator(fake)
        loss = discriminator_loss(logit_real, logit_fake)
        self.optimiser_d.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser_d.step()
        return {
            "loss_d": loss.detach(),
            "logit_real": logit_real.detach().mean(),
            "logit_fake": logit_fake.detach().mean(),
        }

    def latents(self, n: int, generator: Generator) -> Tensor:
        """Codes [N,Z], uniform in (-1, 1)."""
        return torch.rand(n, self.options.z_dim, generator=generator, device=generator.device) * 2 - 1

    @torch.no_grad()
    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        """Images of the averaged generator in fp32; the cameras change nothing."""
        chunks = latents.to(self.context.device).split(SAMPLE_CHUNK)
        return Renders(rgb=torch.cat([self.average.module(chunk) for chunk in chunks]))

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
