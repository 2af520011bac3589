"""Small DepthGANs, and pictures with depth to train them on, for tests."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from harness import registry
from methods.depthgan.method import DepthGAN
from methods.depthgan.options import Options, parse
from tests.gan_bench import build, images


def batch(n: int = 4, seed: int = 0, size: int = 32) -> dict[str, Tensor]:
    """Smooth images and, as their depth, the brightness."""
    made = images(n, size, seed)
    return made | {"depth_coded": ((made["image"].mean(1) + 1) * 30000).long().clamp(0, 60000)}


def train(method: Any, steps: int) -> list[dict[str, float]]:
    """Run ``steps`` training steps as the loop does and return their logs."""
    log = []
    for step in range(steps):
        log.append({name: float(value) for name, value in method.train_step(batch(seed=step), step).items()})
        for average in method.averages:
            average.update(step)
    return log


def trained() -> DepthGAN:
    """A smoke model after two steps."""
    method: DepthGAN = build("depthgan")
    train(method, 2)
    return method


def options(tier: str, size: int, **overrides: Any) -> Options:
    """The options of a preset for images of ``size`` pixels."""
    return parse({**registry.methods()["depthgan"].preset(tier), **overrides}, size)
