"""Training of a radiance-field generator against StyleGAN2's discriminator (EG3D, VolumeGAN).

Phases of a step, each with a backward pass and an optimiser step of its own: G (adversarial, with the guides), path
length and total variation of the density (where they are due), D, and R1 (every ``r1_every`` steps). What generates is
left to subclasses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from harness.cameras import look_at, select
from harness.types import Cameras, ConfigError, Context, DataSpec, Guide, Renders, SceneRenders, Stage
from methods.blocks.adversarial import generator_loss, r1_penalty
from methods.blocks.convolution import to_channels_last
from methods.blocks.density_variation import density_variation
from methods.blocks.field_rendering import FieldView, field_density
from methods.blocks.half_life import HalfLifeEma
from methods.blocks.image_blur import blur_at, blurred
from methods.blocks.lazy_adam import LazyAdam, clean_gradients, lazy_adam
from methods.blocks.path_length import PathLength
from methods.blocks.pose_discriminator import POSE, pose_label, told_poses
from methods.blocks.pose_range import cameras_in_range, prior_in_range, training_prior
from methods.blocks.pose_swapping import swap_probability, swapped
from methods.blocks.radiance_gan_options import parse_radiance_gan
from methods.blocks.resizing import resized
from methods.blocks.schedule import rate_factor
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.style_mixing import crossover, mix_styles
from methods.blocks.views import Views, together
from methods.blocks.volume_rendering import EMPTY

if TYPE_CHECKING:
    from harness.types import Batch

MEAN_SAMPLES = 10_000  # latents behind the mean code
MEAN_SEED = 22_11_207945
POSE_SEED = 926


class RadianceGan:
    """Trains one radiance-field generator and one discriminator; both may be told the pose.

    Hooks of subclasses: ``_generator`` and ``_discriminator`` build the networks, ``_after_step`` ends a training step.
    ``slow`` names the parts of the generator that learn at ``slow_lr``, ``mix_from`` the first layer that may take a
    second style; ``upsamples`` says that a network behind the rendering makes the images.
    """

    name: ClassVar[str] = "radiance_gan"
    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)
    slow: ClassVar[tuple[str, ...]] = ("mapping", "decoder")
    mix_from: int = 1
    upsamples: bool = True

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        if data.prior is None:
            raise ConfigError("needs a pose prior", where=self.name, remedy="Give the data a `prior` option.")
        o = self.options = parse_radiance_gan(config, data, self.name)
        self.config, self.context, self.resolution = config, context, data.resolution
        self.prior = prior_in_range(data.prior, o.ray_range)
        self.training_prior = training_prior(self.prior, o.pose_prior)
        self.guides: list[Guide] = []
        # Weights come from the CPU so that one seed gives one network on every device.
        seeded = torch.Generator().manual_seed(context.seed)
        self.generator: Any = self._generator(seeded).to(context.device)
        self.discriminator = self._discriminator(seeded).to(context.device)
        if o.channels_last:
            to_channels_last(self.generator)
            to_channels_last(self.discriminator)
        self.average = HalfLifeEma(self.generator, 1000 * o.ema_kimg, o.batch_size, o.ema_ramp)
        self.averages = (self.average,)
        self._g_parameters = list(self.generator.parameters())
        self._d_parameters = list(self.discriminator.parameters())
        self.optimiser_g = self._generator_optimiser()
        self.optimiser_d = lazy_adam(self._d_parameters, o.d_lr, o.r1_every if o.r1_gamma else 0)
        self._full_rates = [[group["lr"] for group in x.param_groups] for x in (self.optimiser_g, self.optimiser_d)]
        self.path_length = PathLength(context.device)
        self._mean: Tensor | None = None
        self._at(0)

    @staticmethod
    def supervision(config: Any) -> tuple[str, ...]:
        """A discriminator that is told the pose needs it of real images."""
        return ("pose",) if config["d_pose"] else ()

    def _generator(self, seeded: Generator) -> nn.Module:
        """A fresh network, a ``methods.blocks.radiance_generator.RadianceGenerator``."""
        raise NotImplementedError

    def _discriminator(self, seeded: Generator) -> nn.Module:
        """A fresh discriminator."""
        network = StyleDiscriminator(self.options.judge, self.resolution, seeded, **self._discriminator_shape())
        return told_poses(network, self.options.d_pose_layers, seeded) if self.options.d_pose else network

    def _discriminator_shape(self) -> dict[str, int]:
        o = self.options
        return {"image_channels": 6 if o.dual else 3, "classes": POSE if o.d_pose else 0}

    def _generator_optimiser(self) -> LazyAdam:
        o = self.options
        slow = {id(p) for name, p in self.generator.named_parameters() if name.split(".")[0] in self.slow}
        quick = [p for p in self._g_parameters if id(p) not in slow]
        intervals = [k for k, weight in ((o.path_every, o.path_weight), (o.tv_every, o.tv_weight)) if weight]
        optimiser = lazy_adam(quick, o.lr, min(intervals, default=0))
        kept = [p for p in self._g_parameters if id(p) in slow]
        if kept:
            rate = optimiser.param_groups[0]["lr"] * o.slow_lr / o.lr
            optimiser.add_param_group({"params": kept, "lr": rate})
        return optimiser

    # ------------------------------------------------------------------------------------------------- training
    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One update of G and one of D, and those of their regularisers where they are due."""
        o = self.options
        self._at(step)
        real = self._real(batch)
        n = len(real.rgb)
        log, fakes = self._step_g(n, step)
        if o.path_weight and step % o.path_every == 0:
            log |= self._step_path(n)
        if o.tv_weight and step % o.tv_every == 0:
            log |= self._step_tv(n)
        if not o.reuse_fakes:
            with torch.no_grad():
                fakes = self._views(*self._draw(n))
        log |= self._step_d(real, fakes)
        if o.r1_gamma and step % o.r1_every == 0:
            log |= self._step_r1(real)
        self._after_step(step)
        return log

    def _after_step(self, step: int) -> None:
        """Nothing here; called at the end of every training step."""

    def _at(self, step: int) -> None:
        """Set what follows a schedule to its value at ``step``."""
        o, total, seen = self.options, max(self.context.total_steps, 1), step * self.options.batch_size
        ends = torch.tensor(o.ray_shares, dtype=torch.float64).cumsum(0) / sum(o.ray_shares) * total
        self.rays = o.rays[min(int((ends <= step).sum()), len(o.rays) - 1)]
        self.blur = blur_at(seen, o.blur_sigma, o.blur_kimg)
        self.swap = swap_probability(seen, o.swap_floor, o.swap_kimg)
        scale = min(1.0, (step + 1) / max(o.warmup_steps, 1))
        scale *= rate_factor(step, total, "linear_to_zero", o.lr_hold, o.lr_floor)
        for optimiser, rates in zip((self.optimiser_g, self.optimiser_d), self._full_rates, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * scale
        self._mean = None

    def _real(self, batch: Batch) -> Views:
        """The batch as the discriminator is shown it: mirrored at random, reduced to the rays of the present stage."""
        o, images = self.options, batch["image"]
        label = None
        sign = images.new_ones(len(images))
        if o.flip:
            generator = self.context.generator
            coin = (torch.rand(len(images), generator=generator, device=generator.device) < 0.5).to(images.device)
            images = torch.where(coin[:, None, None, None], images.flip(3), images)
            sign = torch.where(coin, -1.0, 1.0)
        if o.d_pose:
            pose = batch["pose"]
            label = pose_label(look_at(pose[:, 0] * sign, pose[:, 1], self.prior))
        if o.dual:
            return Views(images, resized(images, self.rays), label)
        if not self.upsamples:
            images = resized(resized(images, self.rays), self.resolution)
        return Views(images, None, label)

    def _draw(self, n: int) -> tuple[Tensor, Cameras]:
        """Codes [n,L,W] of fresh latents, mixed where the preset says so, and cameras from the training prior."""
        o, generator = self.options, self.context.generator
        cameras = self.context.sample_cameras(n, generator, prior=self.training_prior)
        z = torch.randn(n, o.z_dim, generator=generator, device=generator.device)
        pose = swapped(pose_label(cameras), self.swap, generator) if o.g_pose else None
        first = self.generator.codes(z, pose)
        if not o.style_mixing:
            return first, cameras
        z = torch.randn(n, o.z_dim, generator=generator, device=generator.device)
        second = self.generator.codes(z, pose)
        start = crossover(first.shape[1] - self.mix_from + 1, o.style_mixing, generator) + self.mix_from - 1
        return mix_styles(first, second[:, -1], start), cameras

    def _render(self, scene: Any, cameras: Cameras) -> tuple[Tensor, Tensor | None, FieldView]:
        """Images at the data's resolution, images at that of the rays where the generator upsamples, and the view."""
        with self.context.autocast():
            rgb, raw, view = self.generator.render(
                scene, cameras, self.rays, self.options.rendering(), self.context.generator
            )
        return resized(rgb, self.resolution), raw, view

    def _scene(self, codes: Tensor) -> Any:
        with self.context.autocast():
            return self.generator.scene(codes)

    def _views(self, codes: Tensor, cameras: Cameras) -> Views:
        rgb, raw, _ = self._render(self._scene(codes), cameras)
        return self._shown(rgb, raw, cameras)

    def _shown(self, rgb: Tensor, raw: Tensor | None, cameras: Cameras) -> Views:
        o = self.options
        return Views(rgb, raw if o.dual else None, pose_label(cameras) if o.d_pose else None)

    def _scene_renders(self, scene: Any, cameras: Cameras, rgb: Tensor, view: FieldView) -> SceneRenders:
        def again(others: Cameras) -> SceneRenders:
            others = cameras_in_range(others, self.options.ray_range)
            seen, _, behind = self._render(scene, others)
            return self._scene_renders(scene, others, seen, behind)

        return SceneRenders(rgb, view.depth, view.opacity, cameras, again)

    def _judge(self, views: Views) -> Tensor:
        """Logits [N] of what the discriminator is shown, blurred while training is young."""
        images = blurred(views.rgb, self.blur) if self.blur else views.rgb
        if views.raw is not None:
            images = torch.cat((images, resized(views.raw, self.resolution)), 1)
        return self.discriminator(images, views.label)

    def _step_g(self, n: int, step: int) -> tuple[dict[str, Tensor], Views]:
        self.optimiser_g.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)  # no gradients of D's weights are computed for G
        codes, cameras = self._draw(n)
        scene = self._scene(codes)
        rgb, raw, view = self._render(scene, cameras)
        shown = self._shown(rgb, raw, cameras)
        with self.context.autocast():
            logits = self._judge(shown)
        adversarial = loss = generator_loss(logits)
        log = {"loss_g": adversarial.detach(), "opacity": view.opacity.detach().mean()}
        if self.guides:
            renders = self._scene_renders(scene, cameras, rgb, view)
            guidance = torch.stack([guide(renders, step) for guide in self.guides]).sum()
            loss = adversarial + guidance
            log["guidance"] = guidance.detach()
        loss.backward()
        for parameter in self._d_parameters:
            parameter.requires_grad_(True)
        self._apply(self.optimiser_g, self._g_parameters)
        raw = None if shown.raw is None else shown.raw.detach()
        return log, replace(shown, rgb=shown.rgb.detach(), raw=raw)

    def _step_path(self, n: int) -> dict[str, Tensor]:
        """Path length penalty on half as many fresh samples, in fp32."""
        self.optimiser_g.zero_grad(set_to_none=True)
        o = self.options
        codes, cameras = self._draw(max(n // 2, 1))
        rgb, _, _ = self.generator.render(
            self.generator.scene(codes), cameras, self.rays, o.rendering(), self.context.generator
        )
        penalty = self.path_length(rgb, codes, self.context.generator)
        (o.path_weight * o.path_every * penalty).backward()
        self._apply(self.optimiser_g, self._g_parameters)
        return {"path_penalty": penalty.detach(), "path_length": self.path_length.mean}

    def _step_tv(self, n: int) -> dict[str, Tensor]:
        self.optimiser_g.zero_grad(set_to_none=True)
        o = self.options
        field = self.generator.field(self._scene(self._draw(n)[0]))
        with self.context.autocast():
            variation = density_variation(field, n, self.context.generator)
        (o.tv_weight * o.tv_every * variation).backward()
        self._apply(self.optimiser_g, self._g_parameters)
        return {"density_tv": variation.detach()}

    def _step_d(self, real: Views, fakes: Views) -> dict[str, Tensor]:
        self.optimiser_d.zero_grad(set_to_none=True)
        if self.options.d_passes == 2:
            with self.context.autocast():
                logits_fake = self._judge(fakes)
            loss_fake = F.softplus(logits_fake.float()).mean()
            loss_fake.backward()
            with self.context.autocast():
                logits_real = self._judge(real)
            loss_real = F.softplus(-logits_real.float()).mean()
            loss_real.backward()
        else:
            both, order = together(fakes, real, self.options.mbstd_group)
            with self.context.autocast():
                logits = self._judge(both)
            logits_fake, logits_real = logits[order.argsort()].chunk(2)
            loss_fake, loss_real = F.softplus(logits_fake.float()).mean(), F.softplus(-logits_real.float()).mean()
            (loss_fake + loss_real).backward()
        self._apply(self.optimiser_d, self._d_parameters)
        return {
            "loss_d": (loss_real + loss_fake).detach(),
            "logit_real": logits_real.detach().float().mean(),
            "logit_fake": logits_fake.detach().float().mean(),
        }

    def _step_r1(self, real: Views) -> dict[str, Tensor]:
        """R1 at all that is shown of ``r1_share`` of the batch, before it is blurred or resized, in fp32."""
        self.optimiser_d.zero_grad(set_to_none=True)
        o, n = self.options, max(1, round(len(real.rgb) * self.options.r1_share))
        rgb, raw = real.rgb[:n], None if real.raw is None else real.raw[:n]
        label = None if real.label is None else real.label[:n]
        size = rgb[0].numel()
        flat = rgb.flatten(1) if raw is None else torch.cat((rgb.flatten(1), raw.flatten(1)), 1)

        def logits(points: Tensor) -> Tensor:
            small = None if raw is None else points[:, size:].view_as(raw)
            return self._judge(Views(points[:, :size].view_as(rgb), small, label))

        penalty = r1_penalty(logits, flat)
        (0.5 * o.r1_gamma * o.r1_every * penalty).backward()
        self._apply(self.optimiser_d, self._d_parameters)
        return {"r1": penalty.detach()}

    def _apply(self, optimiser: Optimizer, parameters: Sequence[Tensor]) -> None:
        # The losses are logged as they are: the loop stops at one that is not finite, whatever is cleaned here.
        clean_gradients(parameters)
        optimiser.step()

    # -------------------------------------------------------------------------------------------------- scoring
    def latents(self, n: int, generator: Generator) -> Tensor:
        """Standard normal latents [n,z_dim]."""
        z = torch.randn(n, self.options.z_dim, generator=generator, device=generator.device)
        return z.to(self.context.device)

    @torch.no_grad()
    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        """Renders of the averaged generator without jitter; the generator is told the prior's mean pose if any."""
        if cameras is None:
            generator = torch.Generator(self.context.device).manual_seed(POSE_SEED)
            cameras = self.context.sample_cameras(len(latents), generator)
        parts = torch.arange(len(latents), device=latents.device).split(self.options.eval_batch)
        made = [self.render_codes(self.codes(latents[part]), select(cameras, part)) for part in parts]
        rgb, depth, mask = zip(*((one.rgb, one.depth, one.mask) for one in made), strict=True)
        return Renders(torch.cat(rgb), torch.cat(depth), torch.cat(mask))

    @property
    def averaged(self) -> Any:
        """The averaged ``RadianceGenerator``, which everything is scored by."""
        return self.average.module

    @torch.no_grad()
    def codes(self, latents: Tensor) -> Tensor:
        """Codes [N,L,W] of the averaged generator."""
        latents = latents.to(self.context.device)
        pose = None
        if self.options.g_pose:
            centre = latents.new_tensor([self.prior.azimuth[0], self.prior.elevation[0]])
            pose = pose_label(look_at(centre[:1], centre[1:], self.prior)).expand(len(latents), -1)
        return self.averaged.codes(latents, pose)

    def mean_code(self) -> Tensor:
        """Mean of the codes of 10,000 latents: [L,W]."""
        if self._mean is None:
            generator = torch.Generator(self.context.device).manual_seed(MEAN_SEED)
            self._mean = self.codes(self.latents(MEAN_SAMPLES, generator)).mean(0)
        return self._mean

    def render_codes(self, codes: Tensor, cameras: Cameras) -> Renders:
        """Renders of codes [N,L,W] by the averaged generator at the last stage's rays, cut off at [-1,1]."""
        o, model = self.options, self.averaged
        with self.context.autocast():
            scene = model.scene(codes.to(self.context.device))
            rgb, _, view = model.render(
                scene, cameras_in_range(cameras, o.ray_range), o.rays[-1], o.rendering(evaluation=True)
            )
        opacity = resized(view.opacity[:, None], self.resolution)[:, 0]
        # Depths count as much as their rays absorb: the background does not bleed into a silhouette.
        depth = resized((view.depth * view.opacity)[:, None], self.resolution)[:, 0] / opacity.clamp_min(EMPTY)
        depth = torch.where(opacity > EMPTY, depth, cameras.far)
        return Renders(resized(rgb.float(), self.resolution).clamp(-1, 1), depth, opacity)

    @torch.no_grad()
    def density(self, codes: Tensor, points: Tensor) -> Tensor:
        """Density [N,P] of the averaged generator at world points [N,P,3], per unit of world length."""
        model = self.averaged
        with self.context.autocast():
            field = model.field(model.scene(codes.to(self.context.device)))
            return field_density(field, model.density, points, self.options.density_act)

    # ---------------------------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """Networks, average, optimisers and running path length."""
        return {name: part.state_dict() for name, part in self._parts().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self._mean = None

    def _parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "average": self.average,
            "optimiser_g": self.optimiser_g,
            "optimiser_d": self.optimiser_d,
            "path_length": self.path_length,
        }
