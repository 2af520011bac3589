"""StyleGAN2 with adaptive augmentation as a method (Karras et al., CVPR 2020 and NeurIPS 2020).

Four phases per step, each with latents, a backward pass and an optimiser step of its own: G, path length (every
``path_every`` steps), D, and R1 (every ``r1_every`` steps). ``StyleGAN`` is the whole method; subclasses change the
discriminator or how it is called.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from harness.types import Cameras, Context, DataSpec, Renders, Stage
from methods.blocks.adversarial import generator_loss, r1_penalty
from methods.blocks.augmentation import build_augmentation
from methods.blocks.convolution import to_channels_last
from methods.blocks.half_life import HalfLifeEma
from methods.blocks.lazy_adam import clean_gradients, lazy_adam
from methods.blocks.path_length import PathLength
from methods.blocks.style_discriminator import StyleDiscriminator
from methods.blocks.style_gan_options import parse_style_gan
from methods.blocks.style_generator import StyleGenerator
from methods.blocks.style_mixing import crossover, mix_styles

if TYPE_CHECKING:
    from harness.types import Batch

SAMPLE_CHUNK = 64


class StyleGAN:
    """Trains one style-based generator and one discriminator; cameras are accepted and ignored.

    Latents are [N,Z]; of a conditional method [N,Z+1] with the class in the last column. Hooks of subclasses:
    ``_discriminator`` builds the network, ``_logits`` asks it, ``_judge`` asks it about augmented images,
    ``_after_step`` ends a training step.
    """

    name: ClassVar[str] = "stylegan2"
    stages: ClassVar[tuple[Stage, ...]] = (Stage(),)

    def __init__(self, config: Any, data: DataSpec, context: Context) -> None:
        o = self.options = parse_style_gan(config, data, self.name)
        self.context, self.resolution = context, data.resolution
        self.train_images = o.train_images
        self.classes = int(data.options["classes"]) if o.conditional else 0
        # Weights come from the CPU so that one seed gives one network on every device.
        seeded = torch.Generator().manual_seed(context.seed)
        self.generator = StyleGenerator(o.networks, data.resolution, seeded, classes=self.classes).to(context.device)
        self.discriminator = self._discriminator(seeded).to(context.device)
        if o.channels_last:
            to_channels_last(self.generator)
            to_channels_last(self.discriminator)
        self.average = HalfLifeEma(self.generator, 1000 * o.ema_kimg, o.batch_size, o.ema_ramp)
        self.averages = (self.average,)
        self._g_parameters = list(self.generator.parameters())
        self._d_parameters = [p for p in self.discriminator.parameters() if p.requires_grad]
        self.optimiser_g = lazy_adam(self._g_parameters, o.lr, o.path_every)
        self.optimiser_d = lazy_adam(self._d_parameters, o.lr, o.r1_every)
        self.path_length = PathLength(context.device)
        self.augmentation = build_augmentation(
            o.augmentation,
            pipe=o.augmentation_pipe,
            probability=o.augmentation_p,
            target=o.ada_target,
            speed_images=1000 * o.ada_kimg,
            policy=o.diffaug_policy,
            device=context.device,
        )

    def _discriminator(self, seeded: Generator) -> nn.Module:
        """A fresh discriminator with its first ``freeze_d`` layers frozen."""
        o = self.options
        network = StyleDiscriminator(o.networks, self.resolution, seeded, classes=self.classes)
        network.freeze(o.freeze_d)
        return network

    # ------------------------------------------------------------------------------------------------- training
    def train_step(self, batch: Batch, step: int) -> Mapping[str, Tensor]:
        """One update of G and one of D, and those of their regularisers where they are due."""
        o = self.options
        real, labels = self._mirrored(batch["image"]), batch["category"] if o.conditional else None
        log = self._step_g(len(real), labels)
        if o.path_weight and o.path_every and step % o.path_every == 0:
            log |= self._step_path(len(real), labels)
        log |= self._step_d(real, labels)
        if o.r1_gamma and o.r1_every and step % o.r1_every == 0:
            log |= self._step_r1(real, labels)
        self.augmentation.update(step, len(real))
        if o.augmentation == "ada":
            log["augment_p"] = self.augmentation.probability.clone()
        self._after_step(step)
        return log

    def _after_step(self, step: int) -> None:
        """Nothing here; called at the end of every training step."""

    def _judge(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """Logits [N] of augmented ``images``, in the precision of the phase: R1 calls this in fp32."""
        with torch.autocast(images.device.type, enabled=False):
            images = self.augmentation(images.float(), self.context.generator)
        return self._logits(images, label)

    def _logits(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        """What the discriminator says of ``images`` as they are."""
        return self.discriminator(images, label)

    def _mirrored(self, images: Tensor) -> Tensor:
        """``images``, each turned left to right at the toss of a coin where the preset says so."""
        if not self.options.mirror:
            return images
        coin = torch.rand(len(images), 1, 1, 1, generator=self.context.generator, device=images.device) < 0.5
        return torch.where(coin, images.flip(3), images)

    def _drawn_labels(self, n: int, labels: Tensor | None) -> Tensor | None:
        """Labels of ``n`` fakes, drawn from those of the batch: as frequent as in the data."""
        if labels is None:
            return None
        generator = self.context.generator
        return labels[torch.randint(len(labels), (n,), generator=generator, device=generator.device)]

    def _codes(self, n: int, label: Tensor | None) -> Tensor:
        """Mixed codes [n,L,W] of fresh latents; the running mean of W follows the unmixed ones."""
        o, generator, mapping = self.options, self.context.generator, self.generator.mapping
        first = torch.randn(n, o.z_dim, generator=generator, device=generator.device)
        codes = mapping(first, label, update_average=True)
        if not o.style_mixing:
            return codes
        second = torch.randn(n, o.z_dim, generator=generator, device=generator.device)
        start = crossover(codes.shape[1], o.style_mixing, generator)
        return mix_styles(codes, mapping.style(second, label), start)

    def _draw(self, codes: Tensor) -> Tensor:
        return self.generator.synthesis(codes, generator=self.context.generator).image

    def _step_g(self, n: int, labels: Tensor | None) -> dict[str, Tensor]:
        self.optimiser_g.zero_grad(set_to_none=True)
        self.discriminator.requires_grad_(False)  # no gradients of D's weights are computed for G
        label = self._drawn_labels(n, labels)
        codes = self._codes(n, label)
        with self.context.autocast():
            logits = self._judge(self._draw(codes), label)
        loss = generator_loss(logits)
        loss.backward()
        for parameter in self._d_parameters:
            parameter.requires_grad_(True)
        log = {"loss_g": loss.detach()}
        if self.options.path_weight and not self.options.path_every:
            log |= self._path(n, labels, 1)
        self._apply(self.optimiser_g, self._g_parameters)
        return log

    def _step_path(self, n: int, labels: Tensor | None) -> dict[str, Tensor]:
        self.optimiser_g.zero_grad(set_to_none=True)
        log = self._path(n, labels, self.options.path_every)
        self._apply(self.optimiser_g, self._g_parameters)
        return log

    def _path(self, n: int, labels: Tensor | None, gain: int) -> dict[str, Tensor]:
        """Backward pass of the path length penalty on half as many fresh samples, in fp32."""
        half = max(n // 2, 1)
        codes = self._codes(half, self._drawn_labels(half, labels))
        penalty = self.path_length(self._draw(codes), codes, self.context.generator)
        (self.options.path_weight * gain * penalty).backward()
        return {"path_penalty": penalty.detach(), "path_length": self.path_length.mean}

    def _step_d(self, real: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        self.optimiser_d.zero_grad(set_to_none=True)
        label = self._drawn_labels(len(real), labels)
        with torch.no_grad():
            codes = self._codes(len(real), label)
            with self.context.autocast():
                fake = self._draw(codes)
        # Two passes: the minibatch statistic must not mix real and fake images.
        with self.context.autocast():
            logits_fake = self._judge(fake, label)
        loss_fake = F.softplus(logits_fake.float()).mean()
        loss_fake.backward()
        with self.context.autocast():
            logits_real = self._judge(real, labels)
        loss_real = F.softplus(-logits_real.float()).mean()
        loss_real.backward()
        self.augmentation.observe(logits_real.detach())
        log = {
            "loss_d": (loss_real + loss_fake).detach(),
            "logit_real": logits_real.detach().float().mean(),
            "logit_fake": logits_fake.detach().float().mean(),
        }
        if self.options.r1_gamma and not self.options.r1_every:
            log |= self._r1(real, labels, 1)
        self._apply(self.optimiser_d, self._d_parameters)
        return log

    def _step_r1(self, real: Tensor, labels: Tensor | None) -> dict[str, Tensor]:
        self.optimiser_d.zero_grad(set_to_none=True)
        log = self._r1(real, labels, self.options.r1_every)
        self._apply(self.optimiser_d, self._d_parameters)
        return log

    def _r1(self, real: Tensor, labels: Tensor | None, gain: int) -> dict[str, Tensor]:
        """Backward pass of R1 at the images before augmentation, in fp32."""

        def logits(images: Tensor) -> Tensor:
            made = self._judge(images, labels)
            self.augmentation.observe(made.detach())
            return made

        penalty = r1_penalty(logits, real)
        (0.5 * self.options.r1_gamma * gain * penalty).backward()
        return {"r1": penalty.detach()}

    def _apply(self, optimiser: Optimizer, parameters: Sequence[Tensor]) -> None:
        # The losses are logged as they are: the loop stops at one that is not finite, whatever is cleaned here.
        clean_gradients(parameters)
        optimiser.step()

    # -------------------------------------------------------------------------------------------------- scoring
    def latents(self, n: int, generator: Generator) -> Tensor:
        """Codes [N,Z], standard normal; with classes [N,Z+1], the class uniform in the last column."""
        codes = torch.randn(n, self.options.z_dim, generator=generator, device=generator.device)
        if not self.classes:
            return codes
        label = torch.randint(self.classes, (n, 1), generator=generator, device=generator.device)
        return torch.cat([codes, label.to(codes)], dim=1)

    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        """Images of the averaged generator in fp32, truncation 1, constant noise; the cameras change nothing."""
        return self.render_styles(self.styles(latents), cameras)

    @torch.no_grad()
    def styles(self, latents: Tensor) -> Tensor:
        """Codes [N,L,W] of the averaged mapping for ``latents``, truncation 1."""
        latents = latents.to(self.context.device)
        label = latents[:, -1].long() if self.classes else None
        return self.average.module.mapping(latents[:, : self.options.z_dim], label)

    def mean_style(self) -> Tensor:
        """Running mean of W, once per layer: [L,W]."""
        mapping = self.average.module.mapping
        return mapping.average.expand(mapping.num_ws, -1)

    @torch.no_grad()
    def render_styles(self, styles: Tensor, cameras: Cameras | None = None) -> Renders:
        """Images of any codes [N,L,W] by the averaged generator in fp32 with constant noise, cut off at [-1,1]."""
        synthesis = self.average.module.synthesis
        chunks = styles.to(self.context.device).split(SAMPLE_CHUNK)
        return Renders(rgb=torch.cat([synthesis(chunk, noise="const").image.clamp(-1, 1) for chunk in chunks]))

    @torch.no_grad()
    def discriminate(self, images: Tensor) -> Tensor:
        """Logits [N] of images as they are, in fp32; with classes, the mean over all of them.

        The minibatch statistic compares images of a batch: they are judged in batches of the training's size in the
        order given, and the last batch is filled up from the start.
        """
        images, size = images.to(self.context.device).float(), self.options.batch_size
        if not len(images):
            return images.new_zeros(0)
        rows = torch.arange(-(-len(images) // size) * size, device=images.device) % len(images)
        made = [self._mean_logits(images[part]) for part in rows.split(size)]
        return torch.cat(made)[: len(images)]

    def _mean_logits(self, images: Tensor) -> Tensor:
        if not self.classes:
            return self._logits(images)
        labels = torch.arange(self.classes, device=images.device)
        return torch.stack([self._logits(images, label.expand(len(images))) for label in labels]).mean(0)

    # ---------------------------------------------------------------------------------------------------- state
    def state_dict(self) -> dict[str, Any]:
        """Networks, average, optimisers, running path length and the state of the augmentation."""
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
            "path_length": self.path_length,
            "augmentation": self.augmentation,
        }
