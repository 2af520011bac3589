"""Builds a registered method with a preset and a plain context, for tests and benchmarks."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from harness import registry
from harness.cameras import sample_cameras
from harness.priors import PRIORS
from harness.types import Cameras, Context, DataSpec, PosePrior

PRIOR = PRIORS["wide60"]


def context(
    *, seed: int = 0, steps: int = 100, batch_size: int = 4, precision: str = "fp32", device: str = "cpu"
) -> Context:
    """A context as the training loop would lend it, without a loop."""
    where = torch.device(device)

    def cameras(n: int, generator: torch.Generator, prior: PosePrior | None = None) -> Cameras:
        return sample_cameras(prior or PRIOR, n, generator, where)

    def autocast() -> contextlib.AbstractContextManager[Any]:
        half = precision == "bf16"
        return torch.autocast(where.type, torch.bfloat16) if half else contextlib.nullcontext()

    generator = torch.Generator(device=where).manual_seed(seed + 1)
    return Context(
        where, "bf16" if precision == "bf16" else "fp32", seed, steps, batch_size, generator, autocast, cameras
    )


def build(
    name: str, tier: str = "smoke", overrides: Mapping[str, Any] | None = None, *, resolution: int = 32, **settings: Any
) -> Any:
    """The method ``name`` with a preset and overrides; ``settings`` go to ``context``."""
    config = registry.methods()[name].preset(tier)
    unknown = set(overrides or {}) - set(config)
    assert not unknown, f"no such keys: {unknown}"
    config.update(overrides or {})
    lent = replace(context(**settings), batch_size=config["batch_size"])
    return registry.load(name)(config, DataSpec("objects/head", resolution, {}, prior=PRIOR), lent)


def images(n: int, resolution: int = 32, seed: int = 0) -> dict[str, torch.Tensor]:
    """A batch of smooth random images in [-1,1]."""
    coarse = torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return {"image": torch.nn.functional.interpolate(coarse, size=resolution, mode="bilinear")}


def train(method: Any, steps: int, batch: int, resolution: int = 32) -> list[dict[str, float]]:
    """Run ``steps`` training steps as the loop does and return their logs."""
    log = []
    for step in range(steps):
        values = method.train_step(images(batch, resolution, step), step)
        for average in method.averages:
            average.update(step)
        log.append({name: float(value) for name, value in values.items()})
    return log
