"""pi-GAN (Chan et al., CVPR 2021): one training step, sampling and state."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.cameras import select, shifted, widened
from harness.types import Cameras, ConfigError, Context, DataSpec, Guide, PosePrior, Renders, SceneRenders, Stage
from methods.blocks.adversarial import discriminator_loss, r1_penalty
from methods.blocks.ema import Ema
from methods.blocks.field_rendering import FieldView, field_density
from methods.blocks.schedule import rate_factor, set_rate
from methods.pigan.build import build_discriminator, build_generator, evaluation_rendering, training_rendering
from methods.pigan.curriculum import Phase, fade, phase_at, phases
from methods.pigan.loss import density_noise, latent_loss, pose_loss, top_k_fraction, top_k_generator_loss
from methods.pigan.options import parse

if TYPE_CHECKING:
    from harness.types import Batch

MEAN_SAMPLES = 10_000  # latents behind the average conditioning of the truncation trick
MEAN_SEED = 20_12_00926
POSE_SEED = 926


class PiGAN:
    """Mapping network and FiLM-SIREN rendered by quadrature, against a progressive CoordConv discriminator."""

    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        if data.prior is None:
            raise ConfigError("pi-GAN needs a pose prior", where="pigan", remedy="Give the data a `prior` option.")
        self.config = config = parse(config, data.resolution)
        self.context, self.resolution = context, data.resolution
        self.plan = phases(config, context.total_steps)
        self.prior = _training_prior(data.prior, config.pose_prior)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(context.seed)
            self.generator = build_generator(config, data.prior).to(context.device)
            self.discriminator = build_discriminator(config).to(context.device)
        self.discriminator.to(memory_format=torch.channels_last)
        betas = (config.beta1, config.beta2)
        first = self.plan[0]
        self.g_optimiser = _adam(self.generator, first.g_lr, betas)
        self.d_optimiser = _adam(self.discriminator, first.d_lr, betas)
        self.averages = tuple(Ema(self.generator, decay, warmup=10) for decay in config.ema_decays)
        self.rendering = training_rendering(config)
        self.evaluation = evaluation_rendering(config)
        self.guides: list[Guide] = []
        self._mean: Tensor | None = None

    # ------------------------------------------------------------------------------------------------ training
    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One generator step, then one discriminator step, at the phase's image size (pi-GAN, 3.4)."""
        config, total = self.config, self.context.total_steps
        phase = phase_at(self.plan, step)
        alpha = fade(self.plan, step, config.fade_share * total, config.first_fade)
        self._mean = None
        self._set_rates(phase, step)
        self.rendering = training_rendering(config, noise=density_noise(step / total, config.noise_share))
        real = self._real(batch["image"], phase)
        log, fakes = self._generator_step(len(real), phase, alpha, step)
        if not config.reuse_fakes:
            z, cameras = self._draw(len(real))
            with torch.no_grad():
                fakes = (self._scenes(z, cameras, phase.resolution).rgb, z, cameras)
        log.update(self._discriminator_step(real, fakes, alpha, step))
        return log

    def _generator_step(
        self, count: int, phase: Phase, alpha: float, step: int
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor, Cameras]]:
        """Split by split; the mean losses of the splits, and what the guides say to each, add up (pi-GAN, code)."""
        config = self.config
        self.discriminator.requires_grad_(False)
        self.g_optimiser.zero_grad(set_to_none=True)
        z, cameras = self._draw(count)
        fraction = top_k_fraction(step, config.top_k_interval, config.top_k_floor)
        images, losses = [], []
        for index in torch.arange(count, device=z.device).chunk(min(phase.splits, count)):
            part = select(cameras, index)
            scenes = self._scenes(z[index], part, phase.resolution)
            score, code, pose = self._judge(scenes.rgb, alpha)
            loss = top_k_generator_loss(score, fraction)
            total = loss + self._regularisation(code, pose, z[index], part)
            for guide in self.guides:
                total = total + guide(scenes, step)
            total.backward()
            images.append(scenes.rgb.detach())
            losses.append(loss.detach())
        norm = _step(self.g_optimiser, self.generator, config.grad_clip)
        self.discriminator.requires_grad_(True)
        log = {"g_loss": torch.stack(losses).mean(), "g_norm": norm}
        return log, (torch.cat(images), z, cameras)

    def _discriminator_step(
        self, real: Tensor, fakes: tuple[Tensor, Tensor, Cameras], alpha: float, step: int
    ) -> dict[str, Tensor]:
        config = self.config
        self.d_optimiser.zero_grad(set_to_none=True)
        fake, z, cameras = fakes
        scores, code, pose = self._judge(torch.cat((real, fake)), alpha)
        on_real, on_fake = scores.split([len(real), len(fake)])
        loss = discriminator_loss(on_real, on_fake)
        extra = self._regularisation(code[len(real) :], pose[len(real) :], z, cameras)
        (loss + extra).backward()
        log = {
            "d_loss": loss.detach(),
            "d_real": on_real.detach().mean(),
            "d_fake": on_fake.detach().mean(),
            "pose_loss": F.mse_loss(pose[len(real) :].detach(), _angles(cameras)),
        }
        if config.r1 > 0 and step % config.r1_every == 0:
            part = real[: max(1, round(len(real) * config.r1_share))]
            penalty = r1_penalty(lambda image: self.discriminator(image, alpha)[:, 0], part)
            (0.5 * config.r1 * config.r1_every * penalty).backward()
            log["r1"] = penalty.detach()
        log["d_norm"] = _step(self.d_optimiser, self.discriminator, config.grad_clip)
        return log

    def _regularisation(self, code: Tensor, pose: Tensor, z: Tensor, cameras: Cameras) -> Tensor:
        """pos_lambda * pose loss + latent_lambda * latent loss: terms of G and of D on fakes (pi-GAN, code)."""
        total = z.new_zeros(())
        if self.config.pos_lambda > 0:
            total = total + self.config.pos_lambda * pose_loss(pose, cameras.elevation, cameras.azimuth)
        if self.config.latent_lambda > 0:
            total = total + self.config.latent_lambda * latent_loss(code, z)
        return total

    def _judge(self, image: Tensor, alpha: float) -> tuple[Tensor, Tensor, Tensor]:
        """Score [B], latent [B,latent] and (pitch, yaw) [B,2] that the discriminator reads from an image."""
        with self.context.autocast():
            out = self.discriminator(image.contiguous(memory_format=torch.channels_last), alpha)
        return out[:, 0], out[:, 1:-2], out[:, -2:]

    def _scenes(self, z: Tensor, cameras: Cameras, resolution: int) -> SceneRenders:
        """The scenes of latents z from cameras; any further look at them jitters its samples anew."""
        with self.context.autocast():
            condition = self.generator.condition(z)
        return self._look(condition, resolution, cameras)

    def _look(self, condition: tuple[Tensor, Tensor], resolution: int, cameras: Cameras) -> SceneRenders:
        with self.context.autocast():
            view = self.generator.render(*condition, cameras, resolution, self.rendering, self.context.generator)
        return SceneRenders(view.rgb, view.depth, view.opacity, cameras, partial(self._look, condition, resolution))

    def _draw(self, count: int) -> tuple[Tensor, Cameras]:
        z = self.latents(count, self.context.generator)
        return z, self.context.sample_cameras(count, self.context.generator, prior=self.prior)

    def _real(self, image: Tensor, phase: Phase) -> Tensor:
        """The phase's share of a batch, mirrored at random, at its resolution."""
        if phase.batch:
            image = image[: phase.batch]
        if self.config.flip:
            generator = self.context.generator
            mirror = torch.rand(len(image), 1, 1, 1, generator=generator, device=generator.device) < 0.5
            image = torch.where(mirror.to(image.device), image.flip(-1), image)
        if image.shape[-1] == phase.resolution:
            return image
        if self.config.downsample == "area":
            return F.adaptive_avg_pool2d(image, phase.resolution)
        return F.interpolate(image, size=phase.resolution, mode="nearest")

    def _set_rates(self, phase: Phase, step: int) -> None:
        config = self.config
        scale = min(1.0, (step + 1) / max(1, config.warmup_steps))
        if config.lr_decay_share > 0:
            scale *= rate_factor(step, self.context.total_steps, "linear_to_zero", hold=1 - config.lr_decay_share)
        set_rate(self.g_optimiser, phase.g_lr * scale)
        set_rate(self.d_optimiser, phase.d_lr * scale)

    # ------------------------------------------------------------------------------------------------ sampling
    def latents(self, n: int, generator: torch.Generator) -> Tensor:
        """Standard normal latents [n,z_dim]."""
        z = torch.randn(n, self.config.z_dim, generator=generator, device=generator.device)
        return z.to(self.context.device)

    @torch.no_grad()
    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        """Render the averaged generator at full resolution without jitter; depth is ``far`` where nothing is hit."""
        if cameras is None:
            generator = torch.Generator(self.context.device).manual_seed(POSE_SEED)
            cameras = self.context.sample_cameras(len(latents), generator)
        parts = torch.arange(len(latents), device=latents.device).split(self.config.eval_batch)
        views = [self._view(self.codes(latents[index]), select(cameras, index)) for index in parts]
        return Renders(
            torch.cat([view.rgb for view in views]).clamp(-1, 1),
            torch.cat([view.depth for view in views]),
            torch.cat([view.opacity for view in views]),
        )

    @torch.no_grad()
    def codes(self, latents: Tensor) -> Tensor:
        """Frequencies and phases [N,2,layers,width] of the averaged generator, truncated towards their mean."""
        codes = torch.stack(self.averages[0].module.condition(latents), 1)
        if self.config.truncation < 1:
            codes = torch.lerp(self.mean_code(), codes, self.config.truncation)
        return codes

    @torch.no_grad()
    def mean_code(self) -> Tensor:
        """Mean frequencies and phases [2,layers,width] of 10,000 latents (pi-GAN, 3.3)."""
        if self._mean is None:
            generator = torch.Generator(self.context.device).manual_seed(MEAN_SEED)
            condition = self.averages[0].module.condition(self.latents(MEAN_SAMPLES, generator))
            self._mean = torch.stack([part.mean(0) for part in condition])
        return self._mean

    def render_codes(self, codes: Tensor, cameras: Cameras) -> Renders:
        """Render codes [N,2,layers,width] as ``sample`` does, differentiable by them."""
        view = self._view(codes, cameras)
        return Renders(view.rgb.clamp(-1, 1), view.depth, view.opacity)

    def _view(self, codes: Tensor, cameras: Cameras) -> FieldView:
        frequencies, phases_ = codes.unbind(1)
        with self.context.autocast():
            return self.averages[0].module.render(frequencies, phases_, cameras, self.resolution, self.evaluation)

    @torch.no_grad()
    def density(self, codes: Tensor, points: Tensor) -> Tensor:
        """Density [N,P] per unit of world length of codes [N,2,layers,width] at world points [N,P,3]."""
        model = self.averages[0].module
        frequencies, phases_ = codes.unbind(1)
        with self.context.autocast():
            return field_density(model.at(frequencies, phases_), model.density, points, self.config.density_act)

    # --------------------------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """Networks, averages and optimisers."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "averages": [average.state_dict() for average in self.averages],
            "g_optimiser": self.g_optimiser.state_dict(),
            "d_optimiser": self.d_optimiser.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        for average, saved in zip(self.averages, state["averages"], strict=True):
            average.load_state_dict(saved)
        self.g_optimiser.load_state_dict(state["g_optimiser"])
        self.d_optimiser.load_state_dict(state["d_optimiser"])
        self._mean = None


def _training_prior(prior: PosePrior, name: str) -> PosePrior:
    """The prior that training draws from: ``matched``, or a wrong one for the robustness rows."""
    return {"matched": prior, "shifted": shifted(prior, 0.3), "wide": widened(prior, 1.5)}[name]


def _adam(module: nn.Module, rate: float, betas: tuple[float, float]) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), lr=rate, betas=betas, foreach=True)


def _step(optimiser: torch.optim.Optimizer, module: nn.Module, clip: float) -> Tensor:
    """Clip the gradient's norm (0: only measure), step, and return the norm before clipping."""
    norm = nn.utils.clip_grad_norm_(module.parameters(), clip if clip > 0 else float("inf"), foreach=True)
    optimiser.step()
    return norm.detach()


def _angles(cameras: Cameras) -> Tensor:
    return torch.stack((cameras.elevation, cameras.azimuth), 1)
