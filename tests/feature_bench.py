"""Small trainings of feature reconstruction for tests: random backbone, striped pictures, no harness loop."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness import registry
from harness.types import Context, DataSpec

CATEGORIES = 3


def context(*, seed: int = 0, steps: int = 50, batch_size: int = 4, device: str = "cpu") -> Context:
    """A context as the training loop would lend it, fp32."""
    where = torch.device(device)
    generator = torch.Generator(device=where).manual_seed(seed + 1)

    def cameras(*_: Any) -> Any:
        raise AssertionError("no cameras here")

    return Context(where, "fp32", seed, steps, batch_size, generator, contextlib.nullcontext, cameras)


def build(name: str, tier: str = "smoke", overrides: Mapping[str, Any] | None = None, **settings: Any) -> Any:
    """The method ``name`` with a preset on untrained features; ``settings`` go to ``context``."""
    config = registry.methods()[name].preset(tier)
    changed = {"backbone": "random-features", **(overrides or {})}
    assert set(changed) <= set(config), f"no such keys: {set(changed) - set(config)}"
    data = DataSpec("defects", 32, {}, options={"categories": CATEGORIES})
    return registry.load(name)({**config, **changed}, data, context(**settings))


def samples(n: int = 24, resolution: int = 32, seed: int = 0) -> dict[str, NDArray[Any]]:
    """Striped pictures uint8 [n,H,W,3] whose direction is the category, and int32 categories."""
    rng = np.random.default_rng(seed)
    category = np.arange(n, dtype=np.int32) % CATEGORIES
    angle = category * np.pi / CATEGORIES
    y, x = np.mgrid[:resolution, :resolution] / resolution
    along = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y + rng.random((n, 1, 1))
    grey = 0.5 + 0.4 * np.sin(2 * np.pi * 3 * along)
    image = np.clip(grey[..., None] * rng.uniform(0.7, 1.0, (n, 1, 1, 3)), 0, 1)
    return {"image": (image * 255).astype(np.uint8), "category": category}


def images(n: int = 6, seed: int = 1) -> torch.Tensor:
    """Striped pictures float32 [n,3,32,32] in [-1,1]."""
    return torch.from_numpy(samples(n, seed=seed)["image"]).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(method: Any, data: Mapping[str, NDArray[Any]], steps: int, batch: int = 4) -> list[float]:
    """Prepare and train as the loop would, on shuffled batches; the losses."""
    method.prepare(data)
    order = torch.Generator().manual_seed(3)
    losses = []
    for step in range(steps):
        rows = torch.randint(len(data["image"]), (batch,), generator=order)
        if getattr(method, "batch_groups", None) == "category":
            rows = rows // CATEGORIES * CATEGORIES + step % CATEGORIES
        losses.append(float(method.train_step(batch_of(data, rows), step)["loss"]))
    return losses


def batch_of(data: Mapping[str, NDArray[Any]], rows: torch.Tensor) -> dict[str, torch.Tensor]:
    """The rows of the training split as the loop hands them over."""
    pictures = torch.from_numpy(data["image"])[rows].permute(0, 3, 1, 2)
    categories = torch.from_numpy(data["category"]).long()[rows]
    return {"image": pictures.float().div_(127.5).sub_(1.0), "index": rows, "category": categories}
