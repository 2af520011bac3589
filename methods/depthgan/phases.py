"""The separate training steps of DepthGAN: each with fresh codes, a forward pass and an optimiser step of its own.

Which network a loss moves is decided by freezing the others; one Adam per network is shared by all its steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harness.types import Context
from methods.blocks.adversarial import generator_loss, r1_penalty
from methods.blocks.depth_warp import metric_depth, rotation_loss
from methods.blocks.lazy_adam import clean_gradients, lazy_adam
from methods.blocks.path_length import PathLength
from methods.blocks.style_mixing import crossover
from methods.depthgan.discriminator import SwitchableDiscriminator
from methods.depthgan.generators import DualGenerator, Geometry, Mixing, Rgbd, SingleGenerator, mapped
from methods.depthgan.losses import depth_prediction_loss
from methods.depthgan.options import Options

GRADIENT_LIMIT = 1e5
Log = dict[str, Tensor]


@dataclass(frozen=True)
class Draw:
    """Random inputs of a batch: ``codes`` [N,2,Z], ``angle`` [N] radians, and style mixing of the appearance path."""

    codes: Tensor
    angle: Tensor
    mixing: Mixing | None


class Phases:
    """Trains ``generator`` and ``discriminator``; every method is one step and returns what is logged of it.

    ``focal`` is in pixels; angles are the prior's, stretched about ``centre`` (radians) by ``angle_range``.
    """

    def __init__(
        self,
        options: Options,
        context: Context,
        generator: DualGenerator | SingleGenerator,
        discriminator: SwitchableDiscriminator,
        focal: float,
        centre: float,
    ) -> None:
        o = self.options = options
        self.context, self.generator, self.discriminator = context, generator, discriminator
        self.focal, self.centre = focal, centre
        self.networks: dict[str, nn.Module] = {**dict(generator.named_children()), "discriminator": discriminator}
        self.parameters = {name: list(network.parameters()) for name, network in self.networks.items()}
        intervals = {name: o.r1_every if name == "discriminator" else o.path_every for name in self.networks}
        self.optimisers = {
            name: lazy_adam(owned, o.lr, intervals[name], fused=True) for name, owned in self.parameters.items()
        }
        self.paths = {name: PathLength(context.device) for name in self.networks if name != "discriminator"}
        single = isinstance(generator, SingleGenerator)
        self.all_generators = tuple(self.paths)
        self.shapers = self.all_generators if single else ("geometry",)
        self.painters = self.all_generators if single else ("appearance",)

    # --------------------------------------------------------------------------------------------- random inputs
    def draw(self, n: int) -> Draw:
        """Fresh codes and angles of ``n`` pictures."""
        generator = self.context.generator
        codes = torch.randn(n, 2, self.options.z_dim, generator=generator, device=generator.device)
        return Draw(codes, self._angles(n), self._mixing(n, 1))

    def draw_pairs(self, n: int) -> Draw:
        """Fresh codes of ``n // 2`` scenes, all of them twice, each time with an angle of its own.

        As published the two views of a scene are mixed with different styles; ``share_mixing: pair`` gives them one.
        """
        half, generator = n // 2, self.context.generator
        codes = torch.randn(half, 2, self.options.z_dim, generator=generator, device=generator.device)
        shared = 2 if self.options.share_mixing == "pair" else 1
        return Draw(codes.repeat(2, 1, 1), self._angles(2 * half), self._mixing(2 * half, shared))

    def _angles(self, n: int) -> Tensor:
        drawn = self.context.sample_cameras(n, self.context.generator).azimuth
        return self.centre + self.options.angle_range * (drawn - self.centre)

    def _mixing(self, n: int, shared: int) -> Mixing | None:
        """Second codes, each for ``shared`` rows; None where styles are never mixed."""
        o, generator = self.options, self.context.generator
        if not o.style_mixing:
            return None
        codes = torch.randn(n // shared, o.z_dim, generator=generator, device=generator.device)
        layers = self.generator.num_ws
        return Mixing(codes.repeat(shared, 1), crossover(layers, o.style_mixing, generator))

    def _pictures(self, draw: Draw, geometry: Geometry | None = None) -> Rgbd:
        with self.context.autocast():
            return self.generator(draw.codes, draw.angle, draw.mixing, geometry=geometry)

    def _logits(self, images: Tensor) -> Tensor:
        with self.context.autocast():
            return self.discriminator.score(images)

    def _depth_of(self, rgb: Tensor) -> Tensor:
        with self.context.autocast():
            return self.discriminator.depth(rgb)

    # ------------------------------------------------------------------------------------------ freezing, stepping
    def learn(self, *names: str) -> None:
        """Let gradients reach the networks called ``names`` and no other; forget earlier gradients."""
        for name, owned in self.parameters.items():
            learns = name in names
            for parameter in owned:
                parameter.requires_grad_(learns)
                parameter.grad = None

    def step(self, *names: str) -> None:
        """One optimiser step of the networks called ``names``.

        A parameter that the loss does not touch has a gradient of 0, as where unused outputs are multiplied by 0: its
        second moment fades in every step of its network.
        """
        for name in names:
            owned = self.parameters[name]
            for parameter in owned:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
            clean_gradients(owned, GRADIENT_LIMIT)
            gradients = [parameter.grad for parameter in owned if parameter.grad is not None]
            torch._foreach_clamp_min_(gradients, -GRADIENT_LIMIT)
            torch._foreach_clamp_max_(gradients, GRADIENT_LIMIT)
            self.optimisers[name].step()

    # ------------------------------------------------------------------------------------------------- the steps
    def adversarial(self, n: int) -> Log:
        """The generators' step against the judge of pictures with depth."""
        self.learn(*self.all_generators)
        fake = self._pictures(self.draw(n))
        loss = generator_loss(self._logits(fake.joined()))
        loss.backward()
        self.step(*self.all_generators)
        return {"loss_g": loss.detach(), "depth_std": fake.depth.detach().flatten(1).std(1).mean()}

    def path_length(self, n: int) -> Log:
        """Path length regularisation of each path by its own styles, in fp32, on half as many pictures."""
        log: Log = {}
        for name in self.all_generators:
            self.learn(name)
            draw = self.draw(max(n // 2, 1))
            if isinstance(self.generator, DualGenerator) and name == "appearance":
                features = self.generator.shape(draw.codes, draw.angle).features
                styles = mapped(self.generator.appearance.mapping, draw.codes[:, 1], draw.mixing)
                images = self.generator.appearance.draw(styles, features)
            else:
                styles = self.generator.posed.styles(draw.codes[:, 0], draw.angle)
                images = self.generator.posed.draw(styles, draw.angle, with_features=False).depth
            penalty = self.paths[name](images, styles, self.context.generator)
            (self.options.path_weight * self.options.path_every * penalty).backward()
            self.step(name)
            log[f"path_{name}"] = penalty.detach()
        return log

    def rotation(self, n: int) -> Log:
        """Two views of every scene shall be turned into one another: first in depth, then in colour.

        Depth moves the geometry alone, through both views, the grid and the axis; colour moves the appearance alone.
        ``share_pairs`` uses one drawing of the geometry, from before its step, for both.
        """
        o = self.options
        log: Log = {}
        draw, made = self.draw_pairs(n), None
        if o.rot_depth:
            self.learn(*self.shapers)
            with self.context.autocast():
                made = self.generator.shape(draw.codes, draw.angle, draw.mixing)
            views = metric_depth(made.depth[:, 0]).chunk(2)
            loss, share = self._disagreement((views[0], None), (views[1], None), draw.angle)
            (o.rot_depth * o.rotation_every * loss).backward()
            self.step(*self.shapers)
            log |= {"rot_depth": loss.detach(), "mask_share": share}
        if o.rot_rgb:
            self.learn(*self.painters)
            if o.share_pairs and made is not None:
                fake = self._pictures(draw, made.detached())
            else:
                draw = self.draw_pairs(n) if o.rot_depth else draw
                fake = self._pictures(draw)
            views = metric_depth(fake.depth[:, 0].detach()).chunk(2)
            one, two = fake.rgb.chunk(2)
            loss, _ = self._disagreement((views[0], one), (views[1], two), draw.angle)
            (o.rot_rgb * o.rotation_every * loss).backward()
            self.step(*self.painters)
            log["rot_rgb"] = loss.detach()
        return log

    def _disagreement(
        self, first: tuple[Tensor, Tensor | None], second: tuple[Tensor, Tensor | None], angle: Tensor
    ) -> tuple[Tensor, Tensor]:
        o = self.options
        here, there = angle.chunk(2)
        return rotation_loss(first, second, there - here, self.focal, o.half_pixel, o.occlusion_aware)

    def depth_of_fakes(self, n: int) -> Log:
        """The appearance shall look as deep as the geometry said, in the eyes of the discriminator's head."""
        self.learn(*self.painters)
        fake = self._pictures(self.draw(n))
        loss = depth_prediction_loss(self._depth_of(fake.rgb), fake.depth[:, 0], self.options)
        (self.options.g_depth * loss).backward()
        self.step(*self.painters)
        return {"g_depth": loss.detach()}

    def discriminate(self, real: Tensor) -> Log:
        """The discriminator's step on real [N,4,R,R] and fake; two passes, so that their statistics do not mix."""
        self.learn("discriminator")
        with torch.no_grad():
            fake = self._pictures(self.draw(len(real))).joined()
        logits_fake = self._logits(fake)
        loss_fake = F.softplus(logits_fake.float()).mean()
        loss_fake.backward()
        logits_real = self._logits(real)
        loss_real = F.softplus(-logits_real.float()).mean()
        loss_real.backward()
        self.step("discriminator")
        return {
            "loss_d": (loss_real + loss_fake).detach(),
            "logit_real": logits_real.detach().mean(),
            "logit_fake": logits_fake.detach().mean(),
        }

    def depth_of_reals(self, real: Tensor) -> Log:
        """The discriminator's head learns depth from real colour."""
        self.learn("discriminator")
        loss = depth_prediction_loss(self._depth_of(real[:, :3]), real[:, 3], self.options)
        (self.options.d_depth * loss).backward()
        self.step("discriminator")
        return {"d_depth": loss.detach()}

    def penalise(self, real: Tensor) -> Log:
        """Lazy R1 on all four channels of real pictures, in fp32."""
        self.learn("discriminator")
        penalty = r1_penalty(self.discriminator.score, real)
        (0.5 * self.options.r1_gamma * self.options.r1_every * penalty).backward()
        self.step("discriminator")
        return {"r1": penalty.detach()}

    # ---------------------------------------------------------------------------------------------------- state
    def parts(self) -> dict[str, Any]:
        """What has a state: networks, optimisers, running path lengths."""
        steps = {f"optimiser_{name}": optimiser for name, optimiser in self.optimisers.items()}
        return {**self.networks, **steps, **{f"path_{name}": path for name, path in self.paths.items()}}
