"""Anomaly methods in the training loop: a resumed training with probes is the undisturbed one, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from harness import registry
from harness.data import catalogue
from harness.data.batches import ResidentBatches
from harness.running import devices, training
from harness.running.probes import Probe
from harness.types import Budget, Cell

STEPS = 12
GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (12, 32, 32, 3), np.uint8)
CATEGORY = np.arange(12, dtype=np.int32) % 2


def trainer(name: str, mode: str) -> training.Trainer:
    entry = registry.find(name)
    preset = {**entry.preset("smoke"), "backbone": "random-features", "mode": mode, "batch_size": 4}
    spec = catalogue.spec("defects", tier="smoke", categories=2)
    cell = Cell("s", "p", name, "smoke", 3, Budget("b", 4 * STEPS), spec, config=preset, precision="fp32")
    kind = registry.load(name)
    context = devices.make_context(cell, torch.device("cpu"), "train", STEPS, assets=Path("nowhere"))
    method: Any = training.build_method(cell, kind, context)
    view = {"image": IMAGES, "category": CATEGORY}
    training.prepare(method, view)
    groups = CATEGORY if getattr(method, "batch_groups", "") else None
    order = devices.generator(cell.seed, "data")
    batches = ResidentBatches(IMAGES, 4, order, "cpu", True, labels={"category": CATEGORY}, groups=groups)
    return training.Trainer(method, batches, context, training.cell_schedule(cell, kind), Probe(3, seen))


def seen(method: Any) -> dict[str, float]:
    """Scores a picture in the middle of a training: this must not change how the training goes on."""
    labels = torch.zeros(1, dtype=torch.int64) if method.separate else None
    return {"score": float(method.anomaly(torch.zeros(1, 3, 32, 32), labels).scores[0])}


def advance(trainer: training.Trainer, steps: int) -> None:
    for _ in range(steps):
        trainer.advance()
        trainer.observe()


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor):
        return bool(torch.equal(a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


@pytest.mark.parametrize("mode", ["unified", "separate"])
@pytest.mark.parametrize("name", ["uniad", "recon_transformer", "recon_mlp", "recon_cnn", "padim", "patchcore"])
def test_a_resumed_training_is_the_undisturbed_one(name: str, mode: str) -> None:
    whole = trainer(name, mode)
    advance(whole, STEPS)
    first = trainer(name, mode)
    advance(first, 5)
    second = trainer(name, mode)
    second.load_state_dict(first.state_dict())
    advance(second, STEPS - 5)
    assert same(whole.state_dict(), second.state_dict())
    assert [probe["step"] for probe in whole.probes] == [4, 8, 12]


@pytest.mark.parametrize("name", ["uniad", "recon_mlp"])
def test_probes_change_nothing_of_a_training(name: str) -> None:
    probed, plain = trainer(name, "unified"), trainer(name, "unified")
    plain.probe = None
    advance(probed, STEPS)
    advance(plain, STEPS)
    assert same(probed.method.state_dict(), plain.method.state_dict())
