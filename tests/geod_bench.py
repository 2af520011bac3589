"""GeoD over a base whose scenes are two tensors, and over the registered bases, for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from harness import registry
from harness.cameras import PRIORS
from harness.types import Cameras, DataSpec, Guide, Renders, SceneRenders
from methods.geod.method import GeoD
from tests import gan_bench

PRIOR = PRIORS["wide60"]
SIDE = 16
ROWS = 2
DATA = DataSpec("objects/head", SIDE, {}, prior=PRIOR)


def disc(side: int = SIDE) -> Tensor:
    """Opacity [side,side] of a disc in the middle."""
    axis = torch.linspace(-1, 1, side)
    return (axis[:, None].square() + axis.square() < 0.64).float()


def scene(rgb: Tensor, relief: Tensor, cameras: Cameras) -> SceneRenders:
    """A disc whose surface lies ``relief`` [B,S,S] in front of the origin's depth; the same from every camera."""
    opacity = disc(relief.shape[-1]).expand_as(relief)
    depth = torch.where(opacity > 0, cameras.radius - relief, cameras.far)
    return SceneRenders(rgb, depth, opacity, cameras, lambda others: scene(rgb, relief, others))


class Card(nn.Module):
    """The generator of ``CardBase``: colours and relief of its pictures."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.colour = nn.Parameter(torch.randn(ROWS, 3, SIDE, SIDE, generator=generator))
        self.relief = nn.Parameter(0.1 * torch.rand(ROWS, SIDE, SIDE, generator=generator))


class CardBase:
    """A radiance field of which only the training step is real."""

    def __init__(self, config: Any, data: DataSpec, context: Any) -> None:
        self.context, self.guides = context, list[Guide]()
        self.generator = Card(context.seed)
        self.optimiser = torch.optim.SGD(self.generator.parameters(), lr=0.1)
        self.averages = ()

    def train_step(self, batch: Mapping[str, Tensor], step: int) -> dict[str, Tensor]:
        cameras = self.context.sample_cameras(ROWS, self.context.generator)
        self.optimiser.zero_grad()
        made = scene(torch.tanh(self.generator.colour), self.generator.relief, cameras)
        loss = made.rgb.square().mean() + sum(guide(made, step) for guide in self.guides)
        loss.backward()
        self.optimiser.step()
        return {"loss_g": loss.detach()}

    def latents(self, n: int, generator: Generator) -> Tensor:
        return torch.zeros(n, 1)

    def sample(self, latents: Tensor, cameras: Cameras | None) -> Renders:
        return Renders(torch.zeros(len(latents), 3, SIDE, SIDE))

    def codes(self, latents: Tensor) -> Tensor:
        return latents

    def mean_code(self) -> Tensor:
        return torch.zeros(1)

    def render_codes(self, codes: Tensor, cameras: Cameras) -> Renders:
        return self.sample(codes, cameras)

    def density(self, codes: Tensor, points: Tensor) -> Tensor:
        return points.new_zeros(points.shape[:2])

    def state_dict(self) -> dict[str, Any]:
        return {"generator": self.generator.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.optimiser.load_state_dict(state["optimiser"])


OWN = registry.methods()["geod"]._own("smoke", "")[0] | {"head_size": SIDE, "head_widths": [8, 8], "base": "card"}
"""The smoke preset without that of a base, at 16 pixels."""


def over_card(steps: int = 20, seed: int = 0, **overrides: Any) -> Any:
    """GeoD over ``CardBase``."""
    assert not set(overrides) - set(OWN)
    lent = replace(gan_bench.context(steps=steps, batch_size=ROWS, seed=seed), base=CardBase)
    return GeoD(OWN | overrides, DATA, lent)


def over(base: str, steps: int = 4, **overrides: Any) -> Any:
    """GeoD over a registered base, with the smoke presets of both."""
    config = registry.methods()["geod"].preset("smoke", base=base) | overrides
    lent = gan_bench.context(steps=steps, batch_size=config["batch_size"])
    return GeoD(config, DataSpec("objects/head", 32, {}, prior=PRIOR), replace(lent, base=registry.load(base)))


def alone(base: str, steps: int = 4) -> Any:
    """The registered base as it is."""
    config = registry.methods()[base].preset("smoke")
    lent = gan_bench.context(steps=steps, batch_size=config["batch_size"])
    return registry.load(base)(config, DataSpec("objects/head", 32, {}, prior=PRIOR), lent)


def batch(n: int = ROWS, side: int = SIDE, seed: int = 0) -> dict[str, Tensor]:
    """Smooth images with the depth of a disc whose relief is their brightness, and poses."""
    made = gan_bench.images(n, side, seed)
    depth = torch.where(disc(side) > 0, PRIOR.radius - 0.2 * made["image"].mean(1), 0.0)
    pose = torch.zeros(n, 3)
    return {**made, "depth": depth, "pose": pose}
